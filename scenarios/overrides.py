"""`--set key=value`: changes to a scenario before it is checked, and axes of an experiment.

A key is a path with dots; a list's item is named by its index, or by its `group`, `name` or `label`
(`nodes.edge.count=16`). A value is read like a value of the file. `key=a,b` is an axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenarios.problems import Mark, Problem, ScenarioError
from scenarios.yaml_marks import parse
from sim.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scenarios.problems import Path
    from scenarios.yaml_marks import Document

_LABELS = ("group", "name", "label")
_OPEN, _CLOSE = "[{", "]}"


def split_axes(settings: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Tell fixed settings from axes.

    Args:
        settings: Texts `key=value` or `key=value1,value2`; commas inside brackets or quotes do not
            count.

    Returns:
        The fixed settings as they are, and the axes: key -> values, in the order given.

    Raises:
        InputError: No `=`, an empty key or value, a key given twice, or a value that repeats.
    """
    fixed: list[str] = []
    axes: dict[str, list[str]] = {}
    seen: set[str] = set()
    for setting in settings:
        key, text = split_setting(setting)
        if key in seen:
            raise InputError(f"--set {setting}: {key!r} is set twice")
        seen.add(key)
        values = split_commas(text)
        if len(values) == 1:
            fixed.append(setting)
        elif "" in values or len(set(values)) < len(values):
            raise InputError(f"--set {setting}: expected different values between the commas")
        else:
            axes[key] = values
    return fixed, axes


def split_setting(setting: str) -> tuple[str, str]:
    """Return key and value of `key=value`.

    Raises:
        InputError: It has another form.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key.strip() or not text.strip():
        raise InputError(f"--set {setting}: expected key=value, such as nodes.edge.count=16")
    return key.strip(), text.strip()


def split_commas(text: str) -> list[str]:
    """Split a text at its commas, except those inside brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += (letter in _OPEN) - (letter in _CLOSE) if not quote else 0
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def apply(document: Document, settings: Sequence[str]) -> None:
    """Change a document's data, and mark what was changed as coming from `--set`.

    Raises:
        ScenarioError: Every setting that has no place in the file.
    """
    wrong = [problem for setting in settings if (problem := _apply(document, setting))]
    if wrong:
        raise ScenarioError(wrong)


def _apply(document: Document, setting: str) -> Problem | None:
    mark = Mark(0, 0, setting)
    try:
        key, text = split_setting(setting)
        value = parse(text, f"--set {key}").data
        path = _put(document.data, key.split("."), value)
    except ScenarioError as error:
        return Problem(document.file, mark, (), error.problems[0].text)
    except InputError as error:
        return Problem(document.file, mark, (), str(error).removeprefix(f"--set {setting}: "))
    for table in (document.keys, document.values):
        for old in [known for known in table if known[: len(path)] == path]:
            del table[old]
        table[path] = mark
    return None


def _put(data: Any, parts: list[str], value: Any) -> Path:
    """Set one value, making mappings on the way, and return its path with indices."""
    path: list[str | int] = []
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        index: str | int = part
        if isinstance(data, list):
            index = _index(data, part, path)
        elif not isinstance(data, dict):
            raise InputError(f"{_dotted(path)} is {data!r}, which has no {part!r}")
        path.append(index)
        if last:
            data[index] = value
        elif isinstance(data, dict):
            if data.get(part) is None:
                data[part] = {}
            data = data[part]
        else:
            data = data[index]
    return tuple(path)


def _index(items: list[Any], part: str, path: list[str | int]) -> int:
    """Find a list's item by index or label."""
    if part.isascii() and part.isdecimal():
        if int(part) < len(items):
            return int(part)
        raise InputError(f"{_dotted(path)} has {len(items)} items, there is no {part}")
    labels: dict[str, int] = {_label(item): i for i, item in reversed(list(enumerate(items)))}
    if part in labels:
        return labels[part]
    named = sorted(label for label in labels if label)
    guess = nearest(part, named)
    hint = f"; did you mean {guess!r}?" if guess else ""
    allowed = ", ".join(
        [*named, f"0 to {len(items) - 1}"] if items else ["none: the list is empty"]
    )
    raise InputError(f"{_dotted(path)} has no {part!r}{hint} (allowed: {allowed})")


def _label(item: Any) -> str:
    if isinstance(item, str):
        return item
    found = (
        [item[key] for key in (*_LABELS, "kind") if key in item] if isinstance(item, dict) else []
    )
    return found[0] if found and isinstance(found[0], str) else ""


def _dotted(path: list[str | int]) -> str:
    return ".".join(str(part) for part in path) or "the scenario"
