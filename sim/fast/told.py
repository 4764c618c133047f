"""What every fleet of the engine `slots` tells at the end of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from sim.sampling import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.recorder import Recorder
    from sim.records import Table, Tables


class Told(ABC):
    """The tables and meta facts of a run whose requests were taken down as they ended."""

    recorder: Recorder
    _described: Mapping[str, Any] = {}

    @abstractmethod
    def _requests(self) -> tuple[Table, Mapping[str, Any]]:
        """Return the table `requests`, and what meta says of it; to be asked once."""

    def tables(self) -> Tables:
        """Return all tables."""
        requests, self._described = self._requests()
        return self.recorder.tables_with(requests)

    def describe(self, tables: Tables, meta: dict[str, Any]) -> None:
        """Say in the meta facts of the run which requests have rows: they are chosen already."""
        if self._described:
            describe(meta, self._described)

    def own_s(self, node: int) -> float:
        """Return a node's own work: none without a model."""
        return 0.0
