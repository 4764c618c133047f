"""Plain-list replays of expert caches, the fewest misses by search, and Che's approximation."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.ports import ExpertKey


@dataclass
class Replayed:
    """What a memory of so many experts did with a sequence of accesses."""

    misses: list[int] = field(default_factory=list)  # positions of accesses that found nothing
    evictions: list[tuple[int, ExpertKey]] = field(default_factory=list)  # (position, who left)


@dataclass
class Memory:
    """Who is here, and the whole sequence of accesses, of which the first `now` are past."""

    accesses: Sequence[ExpertKey]
    now: int = 0
    here: list[ExpertKey] = field(default_factory=list)
    came: dict[ExpertKey, int] = field(default_factory=dict)  # position of the access that brought

    def last_use(self, key: ExpertKey) -> int:
        """Look back for an expert's last use."""
        position = self.now - 1
        while self.accesses[position] != key:
            position -= 1
        return position

    def uses(self, key: ExpertKey) -> int:
        """Count an expert's uses since it came."""
        return sum(used == key for used in self.accesses[self.came[key] : self.now])

    def next_use(self, key: ExpertKey) -> float:
        """Look ahead for an expert's next use."""
        for position in range(self.now, len(self.accesses)):
            if self.accesses[position] == key:
                return position
        return inf


def least_recently_used(memory: Memory) -> ExpertKey:
    """Choose whoever was used longest ago. Source: the definition. Deviation: none."""
    return min(memory.here, key=memory.last_use)


def least_frequently_used(memory: Memory) -> ExpertKey:
    """Choose whoever was used least since it came, longest ago of equals.

    Source: the definition of in-cache LFU. Deviation: none.
    """
    return min(memory.here, key=lambda key: (memory.uses(key), memory.last_use(key)))


def farthest_next_use(memory: Memory) -> ExpertKey:
    """Choose whoever is used again last, longest ago of those never used again.

    Source: the definition (Belady 1966). Deviation: none.
    """
    return min(memory.here, key=lambda key: (-memory.next_use(key), memory.last_use(key)))


CHOICES: dict[str, Callable[[Memory], ExpertKey]] = {
    "lru": least_recently_used,
    "lfu": least_frequently_used,
    "belady": farthest_next_use,
}


def replay_slowly(name: str, accesses: Sequence[ExpertKey], capacity: int) -> Replayed:
    """Go through the accesses one by one, with a row of CHOICES to say who leaves a full memory."""
    memory, found = Memory(accesses), Replayed()
    for position, key in enumerate(accesses):
        memory.now = position
        if key not in memory.here:
            found.misses.append(position)
            if len(memory.here) == capacity:
                gone = CHOICES[name](memory)
                memory.here.remove(gone)
                found.evictions.append((position, gone))
            memory.here.append(key)
            memory.came[key] = position
    return found


def fewest_misses(accesses: Sequence[ExpertKey], capacity: int) -> int:
    """Try every choice of whom to evict, and return the fewest misses of loading on demand.

    Exponential: for sequences of a few accesses only.

    Source: exhaustive search over the sets that may be in memory. Deviation: none.
    """
    costs: dict[frozenset[ExpertKey], int] = {frozenset(): 0}
    for key in accesses:
        after: dict[frozenset[ExpertKey], int] = {}
        for here, misses in costs.items():
            if key in here:
                choices, cost = [here], misses
            elif len(here) < capacity:
                choices, cost = [here | {key}], misses + 1
            else:
                choices, cost = [here - {gone} | {key} for gone in sorted(here)], misses + 1
            for held in choices:
                after[held] = min(cost, after.get(held, cost))
        costs = after
    return min(costs.values())


def che_hit_ratio(popularity: Sequence[float], capacity: float) -> float:
    """Approximate the share of accesses that an LRU memory answers.

    Item i is here if it was used within the characteristic time T, which solves
    sum_i (1 - exp(-p_i T)) = capacity; the hit ratio is sum_i p_i (1 - exp(-p_i T)).

    Args:
        popularity: Probability of each item, (n,); accesses are independent.
        capacity: Items that fit, fewer than n.

    Source: Che, Tung and Wang 2002 (doi 10.1109/JSAC.2002.801752); why and how well it works,
        Fricker, Robert and Roberts 2012 (arXiv 1202.3974). Deviation: T by bisection.
    """

    def held(time: float) -> float:
        return sum(1.0 - exp(-p * time) for p in popularity)

    low, high = 0.0, 1.0
    while held(high) < capacity:
        high *= 2.0
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if held(middle) < capacity else (low, middle)
    return sum(p * (1.0 - exp(-p * high)) for p in popularity)
