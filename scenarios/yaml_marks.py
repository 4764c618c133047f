"""Strict YAML: plain data with a mark for every key and value, or problems that say where and why.

Limits on size, depth, nodes and aliases hold before anything is built. Scalars follow YAML 1.2
(only true and false are booleans; `on`, `no`, `12:30` and `010` stay text; `1e6` is a number);
duplicate keys, tags, anchors that contain themselves and second documents are refused.

Source: yaml.org/spec/1.2.2, core schema. Deviation: numbers with a leading zero, octal and
hexadecimal ones stay text; merge keys (`<<`) do not exist.
"""

from __future__ import annotations

import math
import os
import re
import stat
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from scenarios.problems import Mark, Path, Problem, ScenarioError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_ALIASES = 100
MAX_DUPLICATES = 20
_LONGEST_NUMBER = 64
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_SPECIAL |= dict.fromkeys(("true", "True", "TRUE"), True)
_SPECIAL |= dict.fromkeys(("false", "False", "FALSE"), False)
_SPECIAL |= dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf)
_SPECIAL |= dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf)
_SPECIAL |= dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_TAB = re.compile(r"^[ ]*\t", re.MULTILINE)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ADVICE = {
    "mapping values are not allowed": "is a ':' missing its quotes, or a line's indentation wrong?",
    "cannot start any token": "text that starts with this character needs quotes",
    "did not find expected": "is a bracket, a comma or an indentation wrong?",
}


@dataclass(slots=True)
class Document:
    """Plain data and where each part of it stands.

    Args:
        file: Name for messages.
        text: The file's text.
        data: What it says: mappings with text keys, lists, scalars.
        keys: Path -> mark of the key.
        values: Path -> mark of the value.
        problems: Found so far.
        lines: The text's lines, split when first needed.
    """

    file: str
    text: str
    data: Any = None
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def mark(self, path: Path, *, key: bool = False) -> Mark | None:
        """Return the mark of a key or value, or of the nearest part around it that has one."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path)

    def problem(
        self, path: Path, text: str, *, key: bool = False, warning: bool = False
    ) -> Problem:
        """Return a problem at a path."""
        mark = self.mark(path, key=key)
        severity = "warning" if warning else "error"
        return Problem(self.file, mark, path, text, self.line(mark), severity)  # type: ignore[arg-type]

    def line(self, mark: Mark | None) -> str:
        """Return the source line of a mark, "" where there is none."""
        if not self.lines:
            self.lines = self.text.splitlines()
        return self.lines[mark.line - 1] if mark and 0 < mark.line <= len(self.lines) else ""


def read_text(path: str, file: str) -> str:
    """Read a small regular UTF-8 file.

    Args:
        path: Where it lies.
        file: Its name for messages.

    Raises:
        ScenarioError: Missing, no regular file, larger than 1 MiB, or not plain UTF-8 text.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise _whole(file, f"cannot read it: {getattr(error, 'strerror', None) or error}") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        os.close(handle)
        found = "larger than 1 MiB" if stat.S_ISREG(status.st_mode) else "not a regular file"
        raise _whole(file, f"{found}; a scenario is a small YAML file")
    with os.fdopen(handle, "rb") as stream:
        raw = stream.read(MAX_BYTES)
    return decode(raw, file)


def decode(raw: bytes, file: str) -> str:
    """Decode bytes as plain UTF-8.

    Raises:
        ScenarioError: A byte-order mark, another encoding, or a control character.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _whole(file, "encoded as UTF-16; save it as UTF-8")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise _whole(file, "starts with a byte-order mark; save it as UTF-8 without BOM")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place(raw[: error.start].decode("utf-8", "replace"), len(raw))
        problem = Problem(file, place, (), f"byte 0x{raw[error.start]:02x} is not UTF-8")
        raise ScenarioError([problem]) from None
    return text


def parse(text: str, file: str) -> Document:
    """Turn text into data with marks; what is wrong but readable is added to `problems`.

    Raises:
        ScenarioError: Not YAML at all, or over a limit.
    """
    document = Document(file, text)
    _refuse_characters(document)
    builder = _Builder(document)
    for event in _events(document):
        builder.take(event)
    return document


def scalar(text: str) -> Any:
    """Return what an unquoted scalar means in YAML 1.2."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    if len(text) <= _LONGEST_NUMBER and _INTEGER.fullmatch(text):
        return int(text)
    if len(text) <= _LONGEST_NUMBER and _FLOAT.fullmatch(text):
        return float(text)
    return text


def _whole(file: str, text: str) -> ScenarioError:
    return ScenarioError([Problem(file, None, (), text)])


def _place(text: str, at: int) -> Mark:
    lines = f"{text[:at]}|".splitlines()
    return Mark(len(lines), len(lines[-1]))


def _refuse_characters(document: Document) -> None:
    text = document.text
    if found := _FORBIDDEN.search(text):
        said = f"character U+{ord(found[0]):04X} is not allowed in a scenario"
        raise _at(document, _place(text, found.start()), said)
    if found := _TAB.search(text):
        said = "a tab in the indentation; YAML wants spaces"
        raise _at(document, _place(text, found.end() - 1), said)


def _at(document: Document, mark: Mark | None, text: str) -> ScenarioError:
    problem = Problem(document.file, mark, (), text, document.line(mark))
    return ScenarioError([*document.problems, problem])


def _events(document: Document) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(document.text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = next(
            (f"{error.problem}; {a}" for p, a in _ADVICE.items() if p in str(error.problem)),
            error.problem,
        )
        raise _at(document, _mark(mark), f"not valid YAML: {said}") from None
    except yaml.YAMLError as error:
        raise _at(document, None, f"not valid YAML: {error!s:.200}") from None


def _mark(mark: Any) -> Mark | None:
    return None if mark is None else Mark(mark.line + 1, mark.column + 1)


@dataclass(slots=True)
class _Frame:
    """One open mapping or list, or the root."""

    container: Any
    path: Path
    anchor: str | None
    first_node: int
    key: str | None = None
    skip: bool = False  # the value of a duplicate key
    seen: dict[str, int] = field(default_factory=dict)


class _Builder:
    """Builds data from events, one at a time, without recursion."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.frames = [_Frame([], (), None, 0)]
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.nodes = self.aliases = self.documents = 0

    def take(self, event: yaml.Event) -> None:
        """Handle one event."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._start_document(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)

    def _start_document(self, event: yaml.Event) -> None:
        self.documents += 1
        if self.documents > 1:
            raise self._error(event, "a second document; a file holds one scenario")

    def _open(self, event: Any) -> None:
        self._check(event)
        container: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        frame = _Frame(container, self._path(event), event.anchor, self.nodes)
        self._place(event, container, frame.path)
        self.frames.append(frame)
        if len(self.frames) > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")

    def _close(self) -> None:
        frame = self.frames.pop()
        if frame.anchor is not None:
            self.anchors[frame.anchor] = (frame.container, self.nodes - frame.first_node + 1)

    def _alias(self, event: Any) -> None:
        self.aliases += 1
        if event.anchor not in self.anchors:
            said = f"alias '*{event.anchor}' names no anchor, or one that contains it"
            raise self._error(event, said)
        value, size = self.anchors[event.anchor]
        self.nodes += size
        if self.aliases > MAX_ALIASES or self.nodes > MAX_NODES:
            raise self._error(event, f"more than {MAX_ALIASES} aliases or {MAX_NODES} values")
        if self._wants_key():
            raise self._error(event, "a key must be plain text")
        self._place(event, deepcopy(value), self._path(event))

    def _scalar(self, event: Any) -> None:
        self._check(event)
        if self._wants_key():
            self._key(event)
            return
        plain = event.style in (None, "")
        value = scalar(event.value) if plain else event.value
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        self._place(event, value, self._path(event))

    def _check(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._error(event, f"more than {MAX_NODES} values")
        if event.tag is not None and not (event.tag == "!" and isinstance(event, yaml.ScalarEvent)):
            raise self._error(event, f"tag {event.tag!r:.64} is not allowed")

    def _wants_key(self) -> bool:
        return isinstance(self.frames[-1].container, dict) and self.frames[-1].key is None

    def _key(self, event: Any) -> None:
        frame, key, mark = self.frames[-1], event.value, _mark(event.start_mark)
        assert mark is not None
        frame.key, frame.skip = key, key in frame.seen
        if frame.skip:
            self._duplicate(event, (*frame.path, key), frame.seen[key])
            return
        frame.seen[key] = mark.line
        self.document.keys[(*frame.path, key)] = mark

    def _duplicate(self, event: Any, path: Path, first_line: int) -> None:
        mark, document = _mark(event.start_mark), self.document
        said = f"duplicate key (first on line {first_line})"
        document.problems.append(Problem(document.file, mark, path, said, document.line(mark)))
        if len(document.problems) > MAX_DUPLICATES:
            raise self._error(event, f"more than {MAX_DUPLICATES} duplicate keys")

    def _path(self, event: Any) -> Path:
        frame = self.frames[-1]
        if len(self.frames) == 1:
            return ()
        if isinstance(frame.container, list):
            return (*frame.path, len(frame.container))
        if frame.key is None:
            raise self._error(event, "a key must be plain text")
        return (*frame.path, frame.key)

    def _place(self, event: Any, value: Any, path: Path) -> None:
        frame, mark = self.frames[-1], _mark(event.start_mark)
        assert mark is not None
        if len(self.frames) == 1:
            self.document.data = value
        elif isinstance(frame.container, list):
            frame.container.append(value)
        elif not frame.skip:
            assert frame.key is not None
            frame.container[frame.key] = value
        frame.key = None
        if not frame.skip or isinstance(frame.container, list):
            self.document.values[path] = mark

    def _error(self, event: yaml.Event, text: str) -> ScenarioError:
        return _at(self.document, _mark(event.start_mark), text)
