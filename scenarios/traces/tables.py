"""Containers of a trace, told apart by the end of the file's name: CSV, JSONL or Parquet.

Each yields rows of cells for the wanted columns, None where the file has no such column, with the
number that messages name. Text is read line by line, so that a line that is no text is named, too.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from scenarios import results
from scenarios.traces.cells import shown
from sim.errors import InputError, UnknownName, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from scenarios.traces.cells import Cell

Rows: TypeAlias = "Iterator[tuple[int, Sequence[Cell]]]"

_SHOWN = 64
MAX_BYTES = 64 << 20
MAX_ROWS = 2_000_000
MAX_UNPACKED_BYTES = 8 * MAX_BYTES


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns that are read.

    Args:
        names: All of them, in the order of the cells.
        needed: Those that a file must have.
        only: Whether others are refused.
        formats: What other formats need, by name, to say which one a file looks like.
    """

    names: tuple[str, ...]
    needed: tuple[str, ...]
    only: bool
    formats: Mapping[str, tuple[str, ...]]

    def check(self, found: Sequence[str], where: str) -> None:
        """Refuse columns that nobody knows, are missing, or come twice.

        Raises:
            InputError: One is; names the nearest.
        """
        strange = [name for name in found if name not in self.names] if self.only else []
        if strange:
            said = UnknownName("column", strange[0][:_SHOWN], self.names)
            raise InputError(f"{where}: {said}{self._looks_like(found)}")
        missing = [name for name in self.needed if name not in found]
        if missing:
            raise InputError(f"{where}: {self._lacks(missing[0], found)}{self._looks_like(found)}")
        twice = [name for name in self.names if found.count(name) > 1]
        if twice:
            raise InputError(f"{where}: column {twice[0]!r} comes twice")

    def _lacks(self, name: str, found: Sequence[str]) -> str:
        near = nearest(name, found)
        has = ", ".join(map(repr, found))[:200] or "none"
        return (
            f"expected columns {', '.join(self.names)} (needed: {', '.join(self.needed)}), found"
            f" {has}: no {name!r}" + (f", nearest is {near[:_SHOWN]!r}" if near else "")
        )

    def _looks_like(self, found: Sequence[str]) -> str:
        like = [
            form
            for form, needed in self.formats.items()
            if needed != self.needed and set(needed) <= set(found)
        ]
        return f" (its columns are those of format {like[0]!r})" if like else ""


def rows(path: Path, wanted: Wanted) -> tuple[Rows, Callable[[int], str]]:
    """Open a trace; return its rows of wanted cells, and what names a row in messages.

    Raises:
        InputError: No such file, too large, of an unknown ending, or (while rows are drawn)
            malformed.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path.name}: expected a file that ends in {', '.join(_READERS)}, found"
            f" {path.suffix[:64]!r}"
        )
    if not path.is_file():
        raise InputError(f"{path.name}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(
            f"{path.name}: larger than {MAX_BYTES >> 20} MiB: cut it to what is needed"
        )
    separator = ": row " if path.suffix.lower() == ".parquet" else ":"
    return _limited(reader(path, wanted), path), lambda number: f"{path.name}{separator}{number}"


def _limited(found: Rows, path: Path) -> Rows:
    for count, row in enumerate(found):
        if count == MAX_ROWS:
            raise InputError(f"{path.name}: more than {MAX_ROWS:,} rows: cut it to what is needed")
        yield row


def _lines(path: Path) -> Iterator[str]:
    """Yield lines as text, line ends kept.

    Raises:
        InputError: A line is not UTF-8, or holds a NUL byte.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                raise InputError(
                    f"{path.name}:{number}: expected UTF-8 text, found byte 0x{byte:02x}"
                ) from None
            if "\0" in text:
                raise InputError(f"{path.name}:{number}: expected text, found a NUL byte")
            yield text


def _csv(path: Path, wanted: Wanted) -> Rows:
    reader = csv.reader(_lines(path), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        wanted.check(header, f"{path.name}:1")
        at = [header.index(name) if name in header else -1 for name in wanted.names]
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                said = f"expected {len(header)} columns, found {len(row)}"
                raise InputError(f"{path.name}:{reader.line_num}: {said}")
            yield reader.line_num, [row[i] if i >= 0 else None for i in at]
    except csv.Error as error:
        raise InputError(f"{path.name}:{reader.line_num}: not CSV: {error}") from None


def _jsonl(path: Path, wanted: Wanted) -> Rows:
    known: tuple[str, ...] = ()
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            where = f"{path.name}:{number}"
            row = _object(line, where)
            if tuple(row) != known:
                known = tuple(row)
                wanted.check(known, where)
            yield number, [row.get(name) for name in wanted.names]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_constant=_refuse, object_pairs_hook=_once)
    except RecursionError:
        raise InputError(f"{where}: not JSON: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected an object of columns, found {shown(found)}")
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number that JSON has")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _parquet(path: Path, wanted: Wanted) -> Rows:
    shape = results.parquet_shape(path)
    wanted.check(shape.names, path.name)
    if shape.rows > MAX_ROWS or shape.unpacked_bytes > MAX_UNPACKED_BYTES:
        raise InputError(
            f"{path.name}: expected at most {MAX_ROWS:,} rows and {MAX_UNPACKED_BYTES >> 20} MiB"
            f" unpacked, found {shape.rows:,} rows and {shape.unpacked_bytes >> 20} MiB:"
            " cut it to what is needed"
        )
    here = [name for name in wanted.names if name in shape.names]
    at = [here.index(name) if name in here else -1 for name in wanted.names]
    for number, row in enumerate(results.parquet_texts(path, here), 1):
        yield number, [row[i] if i >= 0 else None for i in at]


_READERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
