"""Checkpoint cards: what may be known of a checkpoint without torch, and where checkpoints live.

A checkpoint is two files in one folder: `<name>.safetensors` and `<name>.json` (its header: card,
shape, sum). References are `builtin:<name>`, the path of such a folder, or the path of the
`.safetensors` file.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from agents.moe.recipe import RECIPES, Recipe, recipe_hash
from sim.errors import InputError, UnknownName
from sim.ports import ModelCard

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "moedge-checkpoint/2"
FORMAT_BARE = "moedge-checkpoint/1"  # without calibration items: only its own clusters
GATES = ("learned",)  # that a checkpoint has
BUILTIN = Path(__file__).parent / "builtin"
_SCHEME = "builtin:"
_HEADER_LIMIT_BYTES = 1 << 20

InputKind = Literal["tokens", "patches"]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes that determine every tensor; `patch` 0 for tokens, `vocab` 0 for patches."""

    kind: InputKind
    vocab: int
    patch: int
    tokens: int  # positions, CLS included
    classes: int
    experts: int
    layers: int
    heads: int
    d_model: int
    d_ff: int


@dataclass(frozen=True, slots=True)
class Header:
    """The JSON file beside the weights."""

    card: ModelCard
    shape: ModelShape
    file_bytes: int
    file_sha256: str
    format: str = FORMAT


def cache_dir() -> Path:
    """Return the cache: `MOEDGE_CACHE`, else `moedge` under the user's cache folder."""
    override = os.environ.get("MOEDGE_CACHE")
    if override:
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moedge"


def checkpoint_dir(recipe: Recipe) -> Path:
    """Return the cache folder of a recipe's checkpoint."""
    return cache_dir() / "checkpoints" / recipe_hash(recipe)


def resolve(reference: str) -> Path:
    """Find a checkpoint's `.safetensors` file.

    Raises:
        InputError: Nothing is there, or a folder holds no checkpoint or several.
    """
    if reference.startswith(_SCHEME):
        return _resolve_builtin(reference.removeprefix(_SCHEME))
    path = Path(reference).expanduser()
    if path.is_dir():
        return _only_checkpoint(path)
    if path.suffix != ".safetensors" or not path.is_file():
        raise InputError(
            f"checkpoint {reference!r}: no such folder or .safetensors file "
            f"(allowed: builtin:{', builtin:'.join(RECIPES)}, or a folder made by `moedge train`)"
        )
    return path


def _resolve_builtin(name: str) -> Path:
    """Find a bundled recipe's checkpoint: shipped with the package, else in the cache."""
    if name not in RECIPES:
        raise UnknownName("checkpoint", f"{_SCHEME}{name}", [f"{_SCHEME}{n}" for n in RECIPES])
    for folder in (BUILTIN, checkpoint_dir(RECIPES[name])):
        path = folder / f"{name}.safetensors"
        if path.is_file():
            return path
    raise InputError(
        f"checkpoint builtin:{name} is not trained yet: run `moedge train {name}` once"
    )


def _only_checkpoint(folder: Path) -> Path:
    """Return the one checkpoint of a folder."""
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise InputError(
            f"checkpoint folder {str(folder)!r}: expected one .safetensors file, found {names}"
        )
    return found[0]


def read_card(reference: str) -> ModelCard:
    """Read a checkpoint's card; needs no torch.

    Raises:
        InputError: The checkpoint or its header is missing, malformed or of another format.
    """
    return read_header(resolve(reference)).card


def read_header(path: Path) -> Header:
    """Read the JSON header beside a `.safetensors` file.

    Raises:
        InputError: The header is missing, too large, malformed, or of another format.
    """
    file = path.with_suffix(".json")
    raw = _header_json(file)
    version = raw.get("format")
    if version not in (FORMAT, FORMAT_BARE):
        raise InputError(f"{file}: format: expected {FORMAT!r}, found {version!r}")
    card = _card(raw.get("card"), f"{file}: card")
    shape = _shape(raw.get("shape"), f"{file}: shape")
    size, total = _int(raw, "file_bytes", str(file)), _text(raw, "file_sha256", str(file))
    header = Header(card, shape, size, total, version)
    _agree(header, file)
    return header


def write_header(path: Path, header: Header) -> None:
    """Write the JSON header beside a `.safetensors` file, atomically."""
    card = {f.name: getattr(header.card, f.name) for f in fields(ModelCard)}
    body = {
        "format": header.format,
        "card": {**card, "trained": dict(header.card.trained)},
        "shape": asdict(header.shape),
        "file_bytes": header.file_bytes,
        "file_sha256": header.file_sha256,
    }
    target = path.with_suffix(".json")
    partial = target.with_suffix(".json.tmp")
    partial.write_text(json.dumps(body, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(target)


def _header_json(file: Path) -> Mapping[str, Any]:
    """Parse a header file into a mapping, within a size limit."""
    if not file.is_file():
        raise InputError(
            f"{file}: missing: a checkpoint is a .safetensors file and its .json header"
        )
    if file.stat().st_size > _HEADER_LIMIT_BYTES:
        raise InputError(f"{file}: larger than {_HEADER_LIMIT_BYTES} bytes")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON: {error}") from error
    return _mapping(raw, str(file))


def _card(raw: object, where: str) -> ModelCard:
    """Check and build the card."""
    values = _exactly(_mapping(raw, where), [f.name for f in fields(ModelCard)], where)
    checked: dict[str, Any] = {k: _text(values, k, where) for k in ("name", "suite", "digest")}
    checked |= {k: _int(values, k, where) for k in _CARD_COUNTS}
    tasks, pool = values["tasks"], values["pool_sizes"]
    if not isinstance(tasks, list) or not tasks or not all(isinstance(t, str) for t in tasks):
        raise InputError(f"{where}.tasks: expected a list of names, found {tasks!r}")
    if not isinstance(pool, list) or not all(type(n) is int and n >= 1 for n in pool):
        raise InputError(f"{where}.pool_sizes: expected a list of counts, found {pool!r}")
    trained = _mapping(values["trained"], f"{where}.trained")
    return ModelCard(**checked, tasks=tuple(tasks), pool_sizes=tuple(pool), trained=trained)


_CARD_COUNTS: tuple[str, ...] = ("experts", "layers", "clusters", "d_model", "d_ff", "tokens")
_CARD_COUNTS += ("backbone_params", "expert_params", "bytes_per_param")


# Generous, but small enough that a forged header cannot make the loader allocate or loop for long.
_RANGES: Mapping[str, tuple[int, int]] = {
    "vocab": (0, 1 << 16),
    "patch": (0, 1 << 12),
    "tokens": (1, 1 << 12),
    "classes": (1, 256),
    "experts": (1, 64),
    "layers": (2, 64),
    "heads": (1, 256),
    "d_model": (1, 1 << 13),
    "d_ff": (1, 1 << 15),
}


def _shape(raw: object, where: str) -> ModelShape:
    """Check and build the shape."""
    names = [f.name for f in fields(ModelShape)]
    values = _exactly(_mapping(raw, where), names, where)
    if values["kind"] not in get_args(InputKind):
        raise InputError(
            f"{where}.kind: expected one of {get_args(InputKind)}, found {values['kind']!r}"
        )
    counts = {k: _int(values, k, where) for k in names if k != "kind"}
    for name, (low, high) in _RANGES.items():
        if not low <= counts[name] <= high:
            raise InputError(f"{where}.{name}: expected {low} to {high}, found {counts[name]}")
    return ModelShape(kind=values["kind"], **counts)


def _agree(header: Header, file: Path) -> None:
    """Refuse a card that contradicts the shape."""
    for name in ("experts", "layers", "tokens", "d_model", "d_ff"):
        stated, real = getattr(header.card, name), getattr(header.shape, name)
        if stated != real:
            raise InputError(f"{file}: card.{name} is {stated} but shape.{name} is {real}")
    if len(header.card.pool_sizes) != len(header.card.tasks):
        raise InputError(f"{file}: card.pool_sizes: expected one count per task")


def _mapping(raw: object, where: str) -> Mapping[str, Any]:
    """Return a JSON object, or refuse."""
    if not isinstance(raw, dict):
        raise InputError(f"{where}: expected an object, found {type(raw).__name__}")
    return raw


def _exactly(values: Mapping[str, Any], names: list[str], where: str) -> Mapping[str, Any]:
    """Refuse missing and unknown keys."""
    missing = [n for n in names if n not in values]
    unknown = [k for k in values if k not in names]
    if missing or unknown:
        raise InputError(f"{where}: missing keys {missing}, unknown keys {unknown}")
    return values


def _int(values: Mapping[str, Any], key: str, where: str) -> int:
    """Return a non-negative integer, or refuse."""
    value = values.get(key)
    if type(value) is not int or value < 0:
        raise InputError(f"{where}.{key}: expected an integer >= 0, found {value!r}")
    return value


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    """Return a text, or refuse."""
    value = values.get(key)
    if not isinstance(value, str):
        raise InputError(f"{where}.{key}: expected a text, found {value!r}")
    return value
