"""The bundled scenarios: their names, texts, and the question that each one asks."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from sim.errors import UnknownName

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_EDITOR_HINTS = ("yaml-language-server", "$schema")


def _files() -> dict[str, Traversable]:
    folder = files("scenarios") / "library"
    found = {path.name: path for path in folder.iterdir() if path.name.endswith(".yaml")}
    return {name.removesuffix(".yaml"): found[name] for name in sorted(found)}


def bundled_text(name: str) -> str:
    """Return the text of a bundled scenario.

    Raises:
        UnknownName: There is none of that name.
    """
    found = _files()
    if name not in found:
        raise UnknownName("bundled scenario", name, found)
    return found[name].read_text(encoding="utf-8")


def questions() -> list[tuple[str, str]]:
    """Return (name, question) of every bundled scenario, by name."""
    return [(name, question(path.read_text(encoding="utf-8"))) for name, path in _files().items()]


def question(text: str) -> str:
    """Return a scenario's question: its first comment, editor hints left out, up to a `?`."""
    words: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment = line.lstrip("#").strip()
        if not comment.startswith(_EDITOR_HINTS):
            words.append(comment)
    asked, mark, _ = " ".join(words).strip().partition("?")
    return asked + mark
