"""What the timetable of faults does to one link: its speed, its delay, its losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.pace import Pace, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.faults import Outage


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
