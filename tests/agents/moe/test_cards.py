"""Cards and recipes: torch-free, strict, and found where they are said to be."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agents.moe.cards import (
    BUILTIN,
    cache_dir,
    checkpoint_dir,
    read_card,
    read_header,
    resolve,
    write_header,
)
from agents.moe.recipe import RECIPES, Recipe, recipe, recipe_from, recipe_hash
from sim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable


def test_reading_a_card_needs_no_torch() -> None:
    code = (
        "import sys; from agents.moe.cards import read_card; c = read_card('builtin:stream');"
        "assert c.experts == 8 and c.pool_size == 4096, c;"
        "bad = {'torch', 'ray', 'scipy', 'safetensors', 'numba'} & set(sys.modules); assert not bad"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_a_header_survives_writing_and_reading(tmp_path: Path) -> None:
    header = read_header(BUILTIN / "stream.safetensors")
    write_header(tmp_path / "copy.safetensors", header)
    assert read_header(tmp_path / "copy.safetensors") == header
    assert [p.name for p in tmp_path.iterdir()] == ["copy.json"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda h: h.update(format="moedge-checkpoint/0"),
            "format: expected 'moedge-checkpoint/2'",
        ),
        (lambda h: h.pop("card"), "card: expected an object, found NoneType"),
        (lambda h: h["card"].pop("tasks"), r"missing keys \['tasks'\], unknown keys \[\]"),
        (lambda h: h["card"].update(colour="red"), r"unknown keys \['colour'\]"),
        (
            lambda h: h["card"].update(experts=-1),
            "card.experts: expected an integer >= 0, found -1",
        ),
        (lambda h: h["card"].update(experts=True), "card.experts: expected an integer"),
        (lambda h: h["card"].update(name=3), "card.name: expected a text, found 3"),
        (lambda h: h["card"].update(tasks=[]), "card.tasks: expected a list of names"),
        (
            lambda h: h["card"].update(pool_sizes=[0] * 8),
            "card.pool_sizes: expected a list of counts",
        ),
        (
            lambda h: h["card"].update(pool_sizes=[5]),
            "card.pool_sizes: expected one count per task",
        ),
        (lambda h: h["card"].update(d_model=64), "card.d_model is 64 but shape.d_model is 48"),
        (lambda h: h["shape"].update(kind="sound"), "shape.kind: expected one of"),
        (lambda h: h["shape"].update(layers=10**9), "shape.layers: expected 2 to 64"),
        (lambda h: h.update(file_sha256=None), "file_sha256: expected a text"),
    ],
)
def test_a_bad_header_says_what_is_wrong(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], message: str
) -> None:
    header = json.loads((BUILTIN / "stream.json").read_text())
    spoil(header)
    (tmp_path / "x.json").write_text(json.dumps(header))
    (tmp_path / "x.safetensors").touch()
    with pytest.raises(InputError, match=message):
        read_card(str(tmp_path))


def test_missing_and_unreadable_headers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.touch()
    with pytest.raises(InputError, match="missing: a checkpoint is"):
        read_card(str(path))
    path.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_card(str(path))
    path.with_suffix(".json").write_text(" " * (1 << 20) + "{}")
    with pytest.raises(InputError, match="larger than"):
        read_card(str(path))


def test_references_that_lead_nowhere_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOEDGE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UnknownName, match="did you mean 'builtin:stream'"):
        resolve("builtin:steam")
    with pytest.raises(InputError, match=r"not trained yet: run `moedge train digits`"):
        resolve("builtin:digits")
    with pytest.raises(InputError, match=r"no such folder or \.safetensors file"):
        resolve(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"expected one \.safetensors file, found none"):
        resolve(str(tmp_path))
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").touch()
    with pytest.raises(InputError, match=r"found a\.safetensors, b\.safetensors"):
        resolve(str(tmp_path))


def test_a_bundled_name_may_live_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOEDGE_CACHE", str(tmp_path))
    path = checkpoint_dir(RECIPES["digits"]) / "digits.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    assert resolve("builtin:digits") == path
    assert resolve(str(path.parent)) == path
    assert resolve("builtin:stream") == BUILTIN / "stream.safetensors"


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOEDGE_CACHE", "/a")
    assert cache_dir() == Path("/a")
    monkeypatch.delenv("MOEDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_dir() == Path("/b/moedge")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "moedge"


def test_the_hash_changes_with_every_field() -> None:
    base = recipe("stream")
    changed = {
        "suite": "digits",
        "name": "other",
        "heads": 3,
        "overlap": 0.25,
        "experts": 16,
        "aware": 0.25,
        "dense_lr": 0.1,
        "branch_lr": 0.1,
    }
    hashes = {recipe_hash(base)}
    for field in fields(Recipe):
        value = changed.get(field.name, getattr(base, field.name))
        if field.name not in changed:
            value = value + 4 * base.heads
        hashes.add(recipe_hash(replace(base, **{field.name: value})))
    assert len(hashes) == len(fields(Recipe)) + 1


def test_a_recipe_survives_its_card() -> None:
    card = read_card("builtin:stream")
    assert recipe_from(card.trained["recipe"]) == RECIPES["stream"]
    assert card.trained["hash"] == recipe_hash(RECIPES["stream"])
    assert recipe_from(asdict(RECIPES["digits"])) == RECIPES["digits"]
    with pytest.raises(UnknownName, match="recipe field 'awake'; did you mean 'aware'"):
        recipe_from({"awake": 0.1})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("aware", 1.5, r"recipe.aware: expected a share in \[0, 1\], found 1.5"),
        ("aware", float("nan"), "recipe.aware: expected"),
        ("dense_lr", 0.0, "recipe.dense_lr: expected > 0"),
        ("branch_steps", 0, "recipe.branch_steps: expected at least 1, found 0"),
        ("layers", 1, "recipe.layers: expected at least 2, found 1"),
        ("d_model", 50, r"recipe.d_model: expected a multiple of heads \(4\), found 50"),
        ("clusters", 256, "recipe.clusters: expected at most 255, found 256"),
        ("name", "../x", "recipe.name: expected lower-case letters"),
        ("seed", -1, "recipe.seed: expected >= 0, found -1"),
        ("experts", 0, "recipe.experts: expected at least 1, or None, found 0"),
    ],
)
def test_a_recipe_out_of_range_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(RECIPES["stream"], **{field: value})


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown recipe 'digit'; did you mean 'digits'"):
        recipe("digit")
