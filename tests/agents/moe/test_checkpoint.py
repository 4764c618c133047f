"""Checkpoints: what is written is read back; what is damaged is refused with a reason."""

from __future__ import annotations

import shutil
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialise

from agents.moe.cards import BUILTIN, Header, read_header, write_header
from agents.moe.checkpoint import Tables, load, save, weights_digest
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents.moe.build import Built


def _rewrite(source: Path, target: Path, spoil: Callable[[dict[str, Any]], Any]) -> Path:
    """Change tensors and make the sums agree, so that only the content checks can object."""
    arrays = {name: array.copy() for name, array in parse(source.read_bytes()).items()}
    spoil(arrays)
    data = serialise(arrays)
    header = read_header(source)
    path = target / source.name
    path.write_bytes(data)
    write_header(path, Header(header.card, header.shape, len(data), sha256(data).hexdigest()))
    return path


def test_loading_gives_back_what_was_saved(built: Built, tmp_path: Path) -> None:
    first = load(built.path)
    again = load(save(tmp_path, first.card, first.model, first.tables))
    assert again.card == first.card == built.card
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
    for name in Tables.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first.tables, name), getattr(again.tables, name))
    assert built.path.read_bytes() == (tmp_path / built.path.name).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_the_shipped_checkpoint_is_small_and_sound() -> None:
    files = [BUILTIN / "stream.safetensors", BUILTIN / "stream.json"]
    assert sum(f.stat().st_size for f in files) < 1_100_000
    checkpoint = load(files[0])
    assert checkpoint.card.digest == weights_digest(checkpoint.model)
    assert len(checkpoint.tables.oracle_weights) >= 1000
    assert checkpoint.card.trained["check"]["useful"] is True


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a["model.head.bias"].fill(np.nan), "model.head.bias: holds NaN or infinity"),
        (lambda a: a["centroids"].fill(np.inf), "centroids: holds NaN or infinity"),
        (lambda a: a.pop("labels"), r"missing tensors \['labels'\]"),
        (lambda a: a.update(extra=np.zeros(1)), r"unknown tensors \['extra'\]"),
        (lambda a: a.update(labels=a["labels"][:-1]), r"labels: expected uint8 \(560,\)"),
        (lambda a: a.update(labels=a["labels"].astype(np.int64)), "found int64"),
        (lambda a: a["labels"].fill(4), "labels: expected values below 4, found 4"),
        (lambda a: a["inputs"].fill(255), "inputs: expected values below 202"),
        (lambda a: a["cluster_of"].fill(8), "cluster_of: expected values below 8"),
        (lambda a: a["oracle_weights"].fill(0.2), "oracle_weights: rows must lie on the simplex"),
        (lambda a: a["task_to_expert"].fill(-1), "task_to_expert: rows must lie on the simplex"),
        (lambda a: a["oracle_correct"].fill(71), "oracle_correct: expected one row per weights"),
        (lambda a: a["calibration_correct"].fill(-1), "calibration_correct: expected one row"),
        (
            lambda a: a.update(oracle_correct=a["oracle_correct"][1:]),
            "oracle_correct: expected one",
        ),
        (lambda a: a["item_inputs"].fill(255), "item_inputs: expected values below 202"),
        (lambda a: a["item_task"].fill(1), "item_task: does not add up to cluster_task_count"),
        (lambda a: a["item_hits"].fill(255), "item_hits: does not add up to calibration_correct"),
        (lambda a: a.update(item_inputs=a["item_inputs"][1:]), "item_inputs: expected 320 rows"),
        (lambda a: a.update(item_hits=a["item_hits"][:, 1:]), "item_hits: does not add up"),
        (lambda a: a.pop("item_hits"), r"missing tensors \['item_hits'\]"),
        (lambda a: a["model.head.weight"].fill(0.5), "the weights do not match card.digest"),
    ],
)
def test_bad_contents_are_refused(
    built: Built, tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(_rewrite(built.path, tmp_path, spoil))


def test_an_untouched_rewrite_is_accepted(built: Built, tmp_path: Path) -> None:
    load(_rewrite(built.path, tmp_path, lambda arrays: None))


def test_damaged_files_are_refused(built: Built, tmp_path: Path) -> None:
    path = tmp_path / built.path.name
    shutil.copy(built.path.with_suffix(".json"), path.with_suffix(".json"))
    data = bytearray(built.path.read_bytes())
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"expected \d+ bytes .* found"):
        load(path)
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="sha256 differs from the header"):
        load(path)


def test_a_pickle_is_never_opened(built: Built, tmp_path: Path) -> None:
    path = tmp_path / built.path.name
    torch.save({"weights": torch.zeros(3)}, path)
    data = path.read_bytes()
    header = read_header(built.path)
    write_header(path, replace(header, file_bytes=len(data), file_sha256=sha256(data).hexdigest()))
    with pytest.raises(InputError, match="not a safetensors file"):
        load(path)


def test_saving_refuses_what_loading_would(built: Built, tmp_path: Path) -> None:
    good = load(built.path)
    with torch.no_grad():
        good.model.head.bias.fill_(float("nan"))
    with pytest.raises(InputError, match="holds NaN or infinity"):
        save(tmp_path, good.card, good.model, good.tables)
    assert not list(tmp_path.iterdir())
