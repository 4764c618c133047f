"""Expert caches against plain replays, an exhaustive search and Che's approximation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.caches import CACHES
from agents.caches.lru import LeastRecentlyUsed
from agents.dispatchers import DISPATCHERS
from sim.parts import Parts
from sim.ports import ExpertKey
from sim.proofs.caches import replay, zipf
from sim.proofs.caching import lru_hits
from sim.proofs.proof import Lab, carry_out
from sim.proofs.table import PROOFS
from sim.proofs.twins.caches import CHOICES, che_hit_ratio, fewest_misses, replay_slowly

keys = st.tuples(st.integers(0, 1), st.integers(0, 3))
NAMES = sorted(CHOICES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100)
@given(accesses=st.lists(keys, max_size=60), capacity=st.integers(1, 8))
def test_a_cache_does_what_its_replay_does(
    name: str, accesses: list[ExpertKey], capacity: int
) -> None:
    slow = replay_slowly(name, accesses, capacity)
    assert replay(CACHES.load(name)(2, 4), accesses, capacity) == slow


@pytest.mark.parametrize("name", NAMES)
def test_long_skewed_sequences_are_trace_exact(name: str) -> None:
    rng = np.random.default_rng(5)
    drawn = [(0, int(e)) for e in rng.choice(24, 500, p=zipf(24, 1.0))]
    fast = replay(CACHES.load(name)(1, 24), drawn, 7)
    assert fast == replay_slowly(name, drawn, 7)
    assert len(fast.evictions) == len(fast.misses) - 7 > 100


@settings(max_examples=60)
@given(
    accesses=st.lists(st.tuples(st.just(0), st.integers(0, 4)), max_size=12),
    capacity=st.integers(1, 4),
)
def test_belady_has_the_fewest_misses_of_all_choices(
    accesses: list[ExpertKey], capacity: int
) -> None:
    fewest = fewest_misses(accesses, capacity)
    assert len(replay(CACHES.load("belady")(1, 5), accesses, capacity).misses) == fewest


@pytest.mark.parametrize("name", ["lru", "lfu"])
@settings(max_examples=60)
@given(accesses=st.lists(keys, max_size=100), capacity=st.integers(1, 7))
def test_nobody_beats_belady(name: str, accesses: list[ExpertKey], capacity: int) -> None:
    bound = len(replay_slowly("belady", accesses, capacity).misses)
    assert len(replay(CACHES.load(name)(2, 4), accesses, capacity).misses) >= bound


def test_the_caches_differ_where_they_should() -> None:
    """One favourite and a passing crowd: LFU keeps it; a loop: only Belady keeps part of it."""
    a, b, c, d = ((0, e) for e in range(4))
    crowd = [a, a, a, b, c, a, b, c, d, b, a]
    missed = {name: len(replay_slowly(name, crowd, 2).misses) for name in NAMES}
    assert missed["belady"] < missed["lfu"] <= missed["lru"]
    loop = [a, b, c] * 6
    missed = {name: len(replay_slowly(name, loop, 2).misses) for name in NAMES}
    assert (missed["lru"], missed["belady"]) == (18, 10)


class Youngest(LeastRecentlyUsed):
    """A wrong LRU: gives up the most recently used."""

    def victim(self, pinned):
        return next((key for key in reversed(self._order) if not pinned.get(key, 0)), None)


@pytest.mark.parametrize("wrong", [Youngest, CACHES.load("lfu")])
def test_another_cache_than_lru_fails_where_lru_is_due(wrong: type) -> None:
    lab = Lab(Parts(DISPATCHERS.load, lambda name: wrong))
    assert lru_hits(lab, 200, 50, keep=500).verdict == "FAIL"
    rows = {row.check: row.verdict for row in carry_out(PROOFS["cache-twin"], lab)}
    assert rows["lru: misses, evictions"] == rows["belady: misses over the fewest"] == "FAIL"


def test_che_is_exact_for_equal_items() -> None:
    assert che_hit_ratio([1 / 50] * 50, 10) == pytest.approx(0.2, abs=1e-12)
