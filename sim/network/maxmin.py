"""Max-min fair rates of flows over links that they share."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def max_min(bytes_per_s: Sequence[float], routes: Sequence[Sequence[int]]) -> list[float]:
    """Return the max-min fair rates of flows: none can rise but at the cost of one no higher.

    The link that gives its flows least fixes their rates; what they leave is shared likewise.

    Args:
        bytes_per_s: Capacity by link; infinite links bind nobody.
        routes: By flow, the links that it occupies, each once.

    Returns:
        Rates in bytes/s, (flows,); infinite where only infinite links are crossed.

    Source: Bertsekas and Gallager 1992, Data Networks, section 6.5.2. Deviation: none.
    """
    rates = [inf] * len(routes)
    users: dict[int, list[int]] = {}
    for flow, route in enumerate(routes):
        for link in route:
            if bytes_per_s[link] < inf:
                users.setdefault(link, []).append(flow)
    left = {link: bytes_per_s[link] for link in users}
    waiting = {link: len(flows) for link, flows in users.items()}
    while waiting:
        level, tightest = min((left[link] / n, link) for link, n in waiting.items())
        for flow in users[tightest]:
            if rates[flow] < inf:
                continue
            rates[flow] = level
            for link in routes[flow]:
                if link in waiting:
                    left[link] -= level
                    waiting[link] -= 1
                    if not waiting[link]:
                        del waiting[link]
    return rates
