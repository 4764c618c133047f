"""Work on a channel whose speed changes at known times: links and storage that faults slow down."""

from __future__ import annotations

from bisect import bisect_right, insort
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
        steps = list(held(known))
        self.cuts_s: Sequence[float] = [cut_s for cut_s, _ in steps]
        self._speeds = [1.0, *(1.0 / prod(factors) for _, factors in steps)]

    def speed(self, t_s: float) -> float:
        """Return the speed from an instant on."""
        return self._speeds[bisect_right(self.cuts_s, t_s)]

    def finish(self, start_s: float, work_s: float) -> float:
        """Return when work that takes `work_s` at full speed ends if it starts at `start_s`."""
        if not self.cuts_s:
            return start_s + work_s
        index = bisect_right(self.cuts_s, start_s)
        while index < len(self.cuts_s):
            cut_s = self.cuts_s[index]
            done_s = (cut_s - start_s) * self._speeds[index]
            if done_s >= work_s:
                break
            work_s -= done_s
            start_s = cut_s
            index += 1
        return start_s + work_s / self._speeds[index]


def held(intervals: Sequence[Slowdown]) -> Iterator[tuple[float, list[float]]]:
    """Yield every instant at which an interval begins or ends, with the values that hold from then.

    Args:
        intervals: (from_s, until_s, value); one holds from `from_s` on, no longer at `until_s`.

    Yields:
        Instants, rising, each once; values in the order of the intervals, so that what is made of
        them rounds alike whatever began first.
    """
    order = sorted(range(len(intervals)), key=lambda i: intervals[i][0], reverse=True)
    now: list[tuple[int, float]] = []  # (index, until_s) of intervals that hold
    for cut_s in sorted({t for interval in intervals for t in interval[:2]}):
        while order and intervals[order[-1]][0] <= cut_s:
            index = order.pop()
            insort(now, (index, intervals[index][1]))
        now = [each for each in now if each[1] > cut_s]
        yield cut_s, [intervals[index][2] for index, _ in now]
