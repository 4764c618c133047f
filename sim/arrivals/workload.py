"""The workload: everything about all requests that is fixed at emission, as sorted columns."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sim.arrivals.drawn import NONE, Drawn, Fingerprint
from sim.arrivals.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.config import World

_WINDOW = 2**20  # requests drawn and sorted at once


@dataclass(frozen=True, slots=True, eq=False)
class Workload(Drawn):
    """All requests of a run; a request's id is its row.

    Args:
        known: The digest, where it is known already.
    """

    first: ClassVar[int] = 0  # as a window has it
    digest: str = field(init=False)
    known: InitVar[str] = ""

    def __post_init__(self, known: str) -> None:
        object.__setattr__(self, "digest", known or _digest(self))


def _digest(drawn: Drawn) -> str:
    found = Fingerprint()
    found.feed(drawn.columns())
    return found.hexdigest()


def draw_workload(world: World, pool_sizes: Sequence[int] | None) -> Workload:
    """Draw the requests of a world, all at once; see `Windows`.

    Args:
        world: Streams, duration, seed and, without a model, the service law.
        pool_sizes: Service inputs per task, (M,); None: no model.

    Raises:
        InputError: A stream makes no sense, stream ids repeat, or there is neither model nor
            service law.
    """
    windows = Windows(world, pool_sizes, _WINDOW)
    parts = list(windows)
    columns = {
        name: np.concatenate([none, *(getattr(part, name) for part in parts)])
        for name, none in NONE.items()
    }
    return Workload(**columns, known=windows.digest)
