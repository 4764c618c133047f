"""Work on a channel whose speed changes at known times: links and storage that faults slow down."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Slowdown = tuple[float, float, float]  # from_s, until_s, factor that divides the speed


class Steps:
    """A piecewise-constant value over time: `base`, and what intervals that hold make of it.

    Args:
        base: The value where no interval holds.
        intervals: (from_s, until_s, value); one holds from `from_s` on, no longer at `until_s`.
        combine: What a value becomes by that of one more interval, in the order given.
    """

    def __init__(
        self,
        base: float,
        intervals: Sequence[tuple[float, float, float]],
        combine: Callable[[float, float], float],
    ) -> None:
        known = [i for i in intervals if i[1] > i[0]]
        begins: dict[float, list[int]] = {}
        ends: dict[float, list[int]] = {}
        for index, (from_s, until_s, _) in enumerate(known):
            begins.setdefault(from_s, []).append(index)
            ends.setdefault(until_s, []).append(index)
        self.cuts_s: Sequence[float] = sorted(begins.keys() | ends.keys())
        self.values = [base]
        holding: list[int] = []  # ascending
        for cut_s in self.cuts_s:
            for index in ends.get(cut_s, ()):
                holding.remove(index)
            for index in begins.get(cut_s, ()):
                insort(holding, index)
            value = base
            for index in holding:
                value = combine(value, known[index][2])
            self.values.append(value)

    def at(self, t_s: float) -> float:
        """Return the value from an instant on."""
        return self.values[bisect_right(self.cuts_s, t_s)]


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
        steps = Steps(1.0, [s for s in slowdowns if s[2] != 1.0], lambda a, b: a * b)
        self.cuts_s, self.speeds = steps.cuts_s, [1.0 / factor for factor in steps.values]

    def speed(self, t_s: float) -> float:
        """Return the speed from an instant on."""
        return self.speeds[bisect_right(self.cuts_s, t_s)]

    def finish(self, start_s: float, work_s: float) -> float:
        """Return when work that takes `work_s` at full speed ends if it starts at `start_s`."""
        cuts_s = self.cuts_s
        if not cuts_s:
            return start_s + work_s
        for index in range(bisect_right(cuts_s, start_s), len(cuts_s)):
            done_s = (cuts_s[index] - start_s) * self.speeds[index]
            if done_s >= work_s:
                return start_s + work_s / self.speeds[index]
            work_s -= done_s
            start_s = cuts_s[index]
        return start_s + work_s / self.speeds[-1]
