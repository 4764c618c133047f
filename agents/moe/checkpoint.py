"""Checkpoints on disk: safetensors and a JSON header, never pickle; checked before believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialise

from agents.moe.cards import FORMAT, FORMAT_BARE, Header, ModelShape, read_header, write_header
from agents.moe.model import Encoder
from agents.moe.tables import warm_start
from sim.arrays import AnyArray, FloatArray, IntArray
from sim.errors import InputError
from sim.ports import Calibration, ModelCard, Oracle

if TYPE_CHECKING:
    from pathlib import Path

Arrays: TypeAlias = Mapping[str, AnyArray]
_LIMIT_BYTES = 1 << 28
_MODEL = "model."
_FREE = -1  # an axis whose length the file decides


@dataclass(frozen=True, slots=True)
class Tables:
    """All that a checkpoint holds beside the weights.

    P inputs, V clusters, M tasks, C rows, N calibration items; counts are exact. The items are
    what other clusters can be fitted on; files of the first format have none.
    """

    inputs: AnyArray  # (P, T) or (P, T-1, patch), uint8
    labels: AnyArray  # (P,), uint8
    token_weights: AnyArray  # (vocab,), float32; (1,) for patches
    centroids: AnyArray  # (V, D), float32
    cluster_of: AnyArray  # (P,), uint8
    cluster_task_count: AnyArray  # (V, M), int32, on the calibration split
    calibration_weights: AnyArray  # (C, E), float32
    calibration_correct: AnyArray  # (C, V), int32
    task_to_expert: AnyArray  # (M, E), float32
    oracle_weights: AnyArray  # (C', E), float32; no rows without an oracle
    oracle_correct: AnyArray  # (C', M), uint16: the table's size matters
    item_inputs: AnyArray | None = None  # (N, T) or (N, T-1, patch), uint8
    item_task: AnyArray | None = None  # (N,), uint8
    item_hits: AnyArray | None = None  # (C, N / 8 rounded up), uint8, right answers as packed bits

    def calibration(self) -> Calibration:
        """Return the warm-start table of the shipped clusters."""
        count = self.cluster_task_count.sum(1)
        return warm_start(self.calibration_weights, self.calibration_correct, count)

    def oracle(self, pool_sizes: tuple[int, ...]) -> Oracle | None:
        """Return the true accuracy table, or None if the checkpoint was built without."""
        if not len(self.oracle_weights):
            return None
        accuracy = self.oracle_correct / np.array(pool_sizes, np.float64)
        to_expert = self.task_to_expert.astype(np.float64)
        return Oracle(self.oracle_weights.astype(np.float64), accuracy, to_expert)

    def cluster_to_task(self) -> FloatArray:
        """Return P(task | cluster) of the shipped clusters, (V, M)."""
        return task_share(self.cluster_task_count)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded, checked checkpoint."""

    card: ModelCard
    model: Encoder
    tables: Tables

    def task_of(self) -> IntArray:
        """Return the hidden task of each service input, (P,)."""
        sizes = self.card.pool_sizes
        return np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)


def task_share(count: AnyArray) -> FloatArray:
    """Return P(task | cluster) from counts, (V, M); uniform for a cluster without items."""
    total = count.sum(1, keepdims=True).astype(np.float64)
    share: FloatArray = np.where(total > 0.0, count / np.maximum(total, 1.0), 1.0 / count.shape[1])
    return share


def weights_digest(model: Encoder) -> str:
    """Return the sha256 of a model's weights, by name."""
    state = sha256()
    for name, array in sorted(_weights(model).items()):
        state.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def save(folder: Path, card: ModelCard, model: Encoder, tables: Tables) -> Path:
    """Write `<card.name>.safetensors` and its header into a folder, each whole or not at all.

    Raises:
        InputError: The contents would be refused on loading.
    """
    arrays = {**{_MODEL + n: a for n, a in _weights(model).items()}, **_named(tables)}
    path = folder / f"{card.name}.safetensors"
    _check_arrays(arrays, _expected(card, model.shape), str(path))
    _check_values(arrays, card, model.shape, str(path))
    data = serialise({n: np.ascontiguousarray(a) for n, a in arrays.items()})
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".safetensors.tmp")
    partial.write_bytes(data)
    partial.replace(path)
    write_header(path, Header(card, model.shape, len(data), sha256(data).hexdigest()))
    return path


def load(path: Path) -> Checkpoint:
    """Read and check a checkpoint.

    Raises:
        InputError: A file is missing, damaged, of another format, or holds a value out of range.
    """
    header = read_header(path)
    arrays = _parse(path, header)
    _check_arrays(arrays, _expected(header.card, header.shape, header.format), str(path))
    _check_values(arrays, header.card, header.shape, str(path))
    model = Encoder(header.shape)
    weights = {
        n.removeprefix(_MODEL): torch.tensor(a) for n, a in arrays.items() if n.startswith(_MODEL)
    }
    model.load_state_dict(weights)
    if weights_digest(model) != header.card.digest:
        raise InputError(f"{path}: the weights do not match card.digest")
    tables = Tables(**{n: arrays[n] for n in _TABLE_NAMES if n in arrays})
    return Checkpoint(header.card, model.eval(), tables)


_TABLE_NAMES = tuple(Tables.__dataclass_fields__)
_ITEM_NAMES = tuple(n for n in _TABLE_NAMES if n.startswith("item_"))


def _weights(model: Encoder) -> dict[str, AnyArray]:
    """Return a model's parameters as numpy arrays."""
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


def _named(tables: Tables) -> dict[str, AnyArray]:
    """Return the tables by field name."""
    named = {name: getattr(tables, name) for name in _TABLE_NAMES}
    return {name: array for name, array in named.items() if array is not None}


def _parse(path: Path, header: Header) -> dict[str, AnyArray]:
    """Read the file, compare size and sum with the header, and parse it."""
    size = path.stat().st_size
    if size != header.file_bytes or size > _LIMIT_BYTES:
        raise InputError(
            f"{path}: expected {header.file_bytes} bytes (at most {_LIMIT_BYTES}), found {size}"
        )
    data = path.read_bytes()
    if sha256(data).hexdigest() != header.file_sha256:
        raise InputError(
            f"{path}: sha256 differs from the header: the file is damaged or was replaced"
        )
    try:
        arrays: dict[str, AnyArray] = parse(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a safetensors file: {error}") from error
    return arrays


def _expected(
    card: ModelCard, shape: ModelShape, version: str = FORMAT
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and dtype of every tensor of a checkpoint."""
    with torch.device("meta"):
        weights = Encoder(shape).state_dict()
    expected = {_MODEL + n: (tuple(t.shape), "float32") for n, t in weights.items()}
    pool, tokens = card.pool_size, shape.kind == "tokens"
    e, m, v = shape.experts, len(card.tasks), card.clusters
    one = (shape.tokens,) if tokens else (shape.tokens - 1, shape.patch)
    items = {
        "item_inputs": ((_FREE, *one), "uint8"),
        "item_task": ((_FREE,), "uint8"),
        "item_hits": ((_FREE, _FREE), "uint8"),
    }
    tables = {
        "inputs": ((pool, *one), "uint8"),
        "labels": ((pool,), "uint8"),
        "token_weights": ((shape.vocab if tokens else 1,), "float32"),
        "centroids": ((v, shape.d_model), "float32"),
        "cluster_of": ((pool,), "uint8"),
        "cluster_task_count": ((v, m), "int32"),
        "calibration_weights": ((_FREE, e), "float32"),
        "calibration_correct": ((_FREE, v), "int32"),
        "task_to_expert": ((m, e), "float32"),
        "oracle_weights": ((_FREE, e), "float32"),
        "oracle_correct": ((_FREE, m), "uint16"),
    }
    return expected | tables | ({} if version == FORMAT_BARE else items)


def _check_arrays(
    arrays: Arrays, expected: Mapping[str, tuple[tuple[int, ...], str]], where: str
) -> None:
    """Refuse wrong names, shapes and dtypes."""
    missing, unknown = sorted(set(expected) - set(arrays)), sorted(set(arrays) - set(expected))
    if missing or unknown:
        raise InputError(f"{where}: missing tensors {missing}, unknown tensors {unknown}")
    for name, (dims, dtype) in expected.items():
        _check_array(arrays[name], dims, dtype, f"{where}: {name}")


def _check_array(array: AnyArray, dims: tuple[int, ...], dtype: str, where: str) -> None:
    """Refuse one tensor of the wrong shape or dtype, or with a value that is not finite."""
    fits = array.ndim == len(dims) and all(
        d in (_FREE, n) for d, n in zip(dims, array.shape, strict=True)
    )
    if not fits or array.dtype != np.dtype(dtype):
        raise InputError(f"{where}: expected {dtype} {dims}, found {array.dtype} {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{where}: holds NaN or infinity")


def _check_values(arrays: Arrays, card: ModelCard, shape: ModelShape, where: str) -> None:
    """Refuse values outside their ranges, and tables whose rows do not match."""
    limits: dict[str, Any] = {"labels": shape.classes, "cluster_of": card.clusters}
    if shape.kind == "tokens":
        limits |= {"inputs": shape.vocab, "item_inputs": shape.vocab}
    for name, limit in limits.items():
        if name in arrays and int(arrays[name].max()) >= limit:
            raise InputError(
                f"{where}: {name}: expected values below {limit}, found {arrays[name].max()}"
            )
    for name in ("calibration_weights", "oracle_weights", "task_to_expert"):
        rows = arrays[name].astype(np.float64)
        if (rows < 0.0).any() or not np.allclose(rows.sum(1), 1.0, atol=1e-6):
            raise InputError(f"{where}: {name}: rows must lie on the simplex")
    most = {"calibration": arrays["cluster_task_count"].sum(1), "oracle": np.array(card.pool_sizes)}
    for name, bound in most.items():
        correct, weights = arrays[f"{name}_correct"], arrays[f"{name}_weights"]
        if len(correct) != len(weights) or (correct < 0).any() or (correct > bound).any():
            raise InputError(
                f"{where}: {name}_correct: expected one row per weights, counts within the items"
            )
    if not arrays["cluster_task_count"].sum() > 0 or not len(arrays["calibration_weights"]):
        raise InputError(f"{where}: the calibration tables are empty")
    if "item_inputs" in arrays:
        _check_items(arrays, where)


def _check_items(arrays: Arrays, where: str) -> None:
    """Refuse calibration items that contradict the counts made from them."""
    task, hits, count = arrays["item_task"], arrays["item_hits"], arrays["cluster_task_count"]
    if not np.array_equal(np.bincount(task, minlength=count.shape[1]), count.sum(0)):
        raise InputError(f"{where}: item_task: does not add up to cluster_task_count")
    if len(arrays["item_inputs"]) != len(task):
        raise InputError(f"{where}: item_inputs: expected {len(task)} rows")
    right = arrays["calibration_correct"].sum(1)
    if hits.shape != (len(right), (len(task) + 7) // 8) or not np.array_equal(
        np.unpackbits(hits, axis=1, count=len(task)).sum(1), right
    ):
        raise InputError(f"{where}: item_hits: does not add up to calibration_correct")
