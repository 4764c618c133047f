"""Tables that map a name in a scenario to a plug-in.

Rows are "module:Class" strings, so that checking a scenario imports no plug-in. Third parties add
rows through the entry-point group `moedge.<kind>`. A miss answers with the nearest name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from sim.errors import UnknownName


class Registry(Mapping[str, str]):
    """A plain sorted table of plug-ins of one kind.

    Args:
        kind: The word used in messages, and the entry-point group's last part.
        rows: Name -> "module:Class".
    """

    def __init__(self, kind: str, rows: Mapping[str, str]) -> None:
        self.kind = kind
        outside = {point.name: point.value for point in entry_points(group=f"moedge.{kind}")}
        self._rows = dict(sorted({**outside, **rows}.items()))

    def __getitem__(self, name: str) -> str:
        if name not in self._rows:
            raise UnknownName(self.kind, name, self._rows)
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, name: str) -> Any:
        """Import a plug-in's class.

        Raises:
            UnknownName: No such row.
        """
        module, _, attribute = self[name].partition(":")
        return getattr(import_module(module), attribute)
