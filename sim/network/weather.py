"""What the timetable of faults does to one link: its speed, its delay, its losses."""

from __future__ import annotations

from bisect import bisect_right
from functools import reduce
from typing import TYPE_CHECKING

from sim.pace import Pace, held

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.faults import Outage


class Steps:
    """A piecewise-constant value over time: `base`, and what intervals that hold make of it.

    Args:
        base: The value where no interval holds.
        intervals: (from_s, until_s, value); one holds from `from_s` on, no longer at `until_s`.
        combine: What a value becomes by that of one more interval.
    """

    def __init__(
        self,
        base: float,
        intervals: Sequence[tuple[float, float, float]],
        combine: Callable[[float, float], float],
    ) -> None:
        self._cuts_s, self._values = list[float](), [base]
        for cut_s, more in held(intervals):
            self._cuts_s.append(cut_s)
            self._values.append(reduce(combine, more, base))

    def at(self, t_s: float) -> float:
        """Return the value from an instant on."""
        return self._values[bisect_right(self._cuts_s, t_s)]


class Weather:
    """Speed, added delay and probability of loss of one link over time.

    Where faults overlap, factors multiply, delays add, and losses are independent of each other.

    Args:
        loss: The link's own probability of loss.
        outages: Faults of this link; only `link-slow` and `link-lossy` matter here.
    """

    def __init__(self, loss: float, outages: Sequence[Outage]) -> None:
        slow = [o for o in outages if o.kind == "link-slow"]
        lossy = [o for o in outages if o.kind == "link-lossy"]
        self.slow, self.lossy = bool(slow), loss > 0.0 or bool(lossy)
        self.pace = Pace([(o.from_s, o.until_s, o.spec.factor) for o in slow])
        delays = [(o.from_s, o.until_s, o.spec.delay_s) for o in slow]
        self.delay_s = Steps(0.0, delays, lambda a, b: a + b)
        losses = [(o.from_s, o.until_s, o.spec.loss) for o in lossy]
        self.loss = Steps(loss, losses, either)


def either(one: float, other: float) -> float:
    """Return the probability that at least one of two independent events happens."""
    return one + other - one * other
