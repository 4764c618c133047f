"""Work on a channel whose speed changes at known times: links and storage that faults slow down."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Slowdown = tuple[float, float, float]  # from_s, until_s, factor that divides the speed


class Pace:
    """A piecewise-constant speed over time, 1 where nothing slows the channel down.

    The timetable of faults is drawn before the run, so the end of a booked transfer is known when
    it is booked, whatever happens to the channel's speed while it waits or moves.

    Args:
        slowdowns: Intervals with the factors that divide the speed; where they overlap, factors
            multiply.

    Source: a work-conserving server of varying capacity, C(t) = integral of the speed. Deviation:
    none.
    """

    def __init__(self, slowdowns: Iterable[Slowdown] = ()) -> None:
        known = [s for s in slowdowns if s[2] != 1.0 and s[1] > s[0]]
        self.cuts_s: Sequence[float] = sorted({t for s in known for t in s[:2]})
        self._speeds = [1.0, *(_speed(known, t) for t in self.cuts_s)]

    def speed(self, t_s: float) -> float:
        """Return the speed from an instant on."""
        return self._speeds[bisect_right(self.cuts_s, t_s)]

    def finish(self, start_s: float, work_s: float) -> float:
        """Return when work that takes `work_s` at full speed ends if it starts at `start_s`."""
        if not self.cuts_s:
            return start_s + work_s
        index = bisect_right(self.cuts_s, start_s)
        for cut_s in self.cuts_s[index:]:
            done_s = (cut_s - start_s) * self._speeds[index]
            if done_s >= work_s:
                break
            work_s -= done_s
            start_s = cut_s
            index += 1
        return start_s + work_s / self._speeds[index]


def _speed(slowdowns: Sequence[Slowdown], t_s: float) -> float:
    factor = 1.0
    for from_s, until_s, divides in slowdowns:
        if from_s <= t_s < until_s:
            factor *= divides
    return 1.0 / factor
