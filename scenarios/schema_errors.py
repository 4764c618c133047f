"""Turns what pydantic says into problems: where in the file, what was found, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from scenarios.schema_types import Words, shown
from sim.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic_core import ErrorDetails

    from scenarios.problems import Path, Problem
    from scenarios.yaml_marks import Document

_MISSING = frozenset({"missing", "union_tag_not_found"})
_UNKNOWN = "extra_forbidden"
_TAG = "union_tag_invalid"
_QUOTED = re.compile(r"'([^']*)'")


def problems(root: type[Words], document: Document, errors: list[ErrorDetails]) -> list[Problem]:
    """Return one problem per error, less those that only follow from another one.

    Args:
        root: The model that refused the data.
        document: The data and its marks.
        errors: What pydantic found.
    """
    placed = [(error, _path(document.data, error)) for error in errors]
    unknown = [path for error, path in placed if error["type"] == _UNKNOWN]
    return [
        document.problem(path, _text(root, error), key=error["type"] == _UNKNOWN)
        for error, path in placed
        if not _follows(error, path, unknown)
    ]


def _follows(error: ErrorDetails, path: Path, unknown: list[Path]) -> bool:
    """Tell whether an error only follows from another one."""
    if error["type"] in _MISSING:
        return _misspelt(path, unknown)
    if error["type"] == "too_short":  # pydantic counts only the items that are right
        return bool(len(error["input"]) >= error["ctx"]["min_length"])
    return error["loc"][-1:] == ("label",) and path[-1:] != ("label",)  # copied from the kind


def _path(data: Any, error: ErrorDetails) -> Path:
    """Return an error's place in the file: pydantic's, less the tags of unions."""
    path: list[str | int] = []
    names_key = error["type"] in {"missing", _UNKNOWN}
    for i, part in enumerate(error["loc"]):
        if _has(data, part):
            path.append(part)
            data = data[part]
        elif names_key and i == len(error["loc"]) - 1:
            path.append(part)
    if error["type"] in {"union_tag_not_found", _TAG} and isinstance(data, Mapping):
        path.append("kind")
    return tuple(path)


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and 0 <= part < len(data)


def _misspelt(missing: Path, unknown: list[Path]) -> bool:
    """Tell whether an unknown key of the same mapping is nearly the missing one."""
    rivals = [str(path[-1]) for path in unknown if path[:-1] == missing[:-1]]
    return nearest(str(missing[-1]), rivals) is not None


# --- which words are allowed at a place ------------------------------------------------------


def _models_at(root: type[Words], loc: Iterable[str | int]) -> list[type[Words]]:
    """Return the models that may stand at a place; tags of unions narrow the choice."""
    here = [root]
    for part in loc:
        below = [
            info.annotation
            for model in here
            for name, info in model.model_fields.items()
            if (info.alias or name) == part
        ]
        if below:
            here = [model for annotation in below for model in _members(annotation)]
        else:
            here = [model for model in here if part in _kinds([model])] or here
    return here


def _members(annotation: Any) -> list[type[Words]]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, Words) else []
    if get_origin(annotation) is Literal:
        return []
    return [model for inner in get_args(annotation) for model in _members(inner)]


def _kinds(models: Iterable[type[Words]]) -> list[str]:
    fields = [model.model_fields["kind"] for model in models if "kind" in model.model_fields]
    return [str(kind) for info in fields for kind in get_args(info.annotation)]


def _keys(models: Iterable[type[Words]]) -> list[str]:
    return [info.alias or name for model in models for name, info in model.model_fields.items()]


# --- what to say -----------------------------------------------------------------------------


def _text(root: type[Words], error: ErrorDetails) -> str:
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == _UNKNOWN:
        return _unknown_key(str(error["loc"][-1]), _keys(_models_at(root, error["loc"][:-1])))
    if kind == "union_tag_not_found":
        kinds = _kinds(_models_at(root, error["loc"]))
        return f"required key is missing (allowed: {', '.join(kinds)})"
    if kind in _TEXTS:
        return _TEXTS[kind](context, found)
    said = error["msg"]
    return f"{said[:1].lower()}{said[1:]}, found {shown(found)}"


def _unknown_key(key: str, allowed: list[str]) -> str:
    if key == "<<":
        return "unknown key; YAML 1.2 has no merge keys, write the values out"
    guess = nearest(key, allowed)
    return (
        f"unknown key; {_meant(guess)}" if guess else f"unknown key (allowed: {', '.join(allowed)})"
    )


def _meant(guess: str) -> str:
    return f"did you mean {guess!r}?"


def _choice(found: object, allowed: list[str]) -> str:
    guess = nearest(found, allowed) if isinstance(found, str) else None
    hint = f"; {_meant(guess)}" if guess else ""
    return f"expected {', '.join(allowed)}, found {shown(found)}{hint}"


def _bound(sign: str, key: str) -> Callable[[Mapping[str, Any], object], str]:
    return lambda context, found: f"expected {sign} {context[key]:g}, found {shown(found)}"


def _type(name: str) -> Callable[[Mapping[str, Any], object], str]:
    return lambda context, found: f"expected {name}, found {shown(found)}"


def _length(word: str, key: str, unit: str) -> Callable[[Mapping[str, Any], object], str]:
    def say(context: Mapping[str, Any], found: object) -> str:
        return (
            f"expected {word} {context[key]} {unit}, found {context.get('actual_length', 'other')}"
        )

    return say


def _text_type(context: Mapping[str, Any], found: object) -> str:
    quotes = "; put it in quotes" if isinstance(found, bool | int | float) else ""
    return f"expected text, found {shown(found)}{quotes}"


_TEXTS: Mapping[str, Callable[[Mapping[str, Any], Any], str]] = {
    "wrong": lambda context, found: str(context["text"]),
    "missing": lambda context, found: "required key is missing",
    _TAG: lambda context, found: _choice(context["tag"], _QUOTED.findall(context["expected_tags"])),
    "literal_error": lambda context, found: _choice(found, _QUOTED.findall(context["expected"])),
    "string_type": _text_type,
    "int_type": _type("a whole number"),
    "int_from_float": _type("a whole number"),
    "bool_type": _type("true or false"),
    "float_type": _type("a number"),
    "finite_number": _type("a finite number"),
    "dict_type": _type("a mapping"),
    "model_type": _type("a mapping"),
    "model_attributes_type": _type("a mapping"),
    "tuple_type": _type("a list"),
    "list_type": _type("a list"),
    "greater_than": _bound(">", "gt"),
    "greater_than_equal": _bound(">=", "ge"),
    "less_than": _bound("<", "lt"),
    "less_than_equal": _bound("<=", "le"),
    "too_short": _length("at least", "min_length", "items"),
    "too_long": _length("at most", "max_length", "items"),
    "string_too_short": _length("at least", "min_length", "characters"),
    "string_too_long": _length("at most", "max_length", "characters"),
}
