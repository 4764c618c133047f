"""Expert caches: replay against a slow twin, and the rules that every row must keep."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.caches import CACHES
from agents.caches.belady import FarthestNextUse
from agents.caches.lru import LeastRecentlyUsed
from sim.errors import LawViolation
from sim.ports import Clairvoyant, ExpertCache, ExpertKey

keys = st.tuples(st.integers(0, 1), st.integers(0, 3))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("touch"), keys),
        st.tuples(st.just("drop"), keys),
        st.tuples(st.just("victim"), st.dictionaries(keys, st.integers(0, 2))),
    ),
    max_size=60,
)


class SlowLeastRecentlyUsed:
    """Obvious twin: remember when each expert was last used, and search."""

    def __init__(self) -> None:
        self.clock, self.used = 0, dict[ExpertKey, int]()

    def touch(self, key: ExpertKey) -> None:
        self.clock += 1
        self.used[key] = self.clock

    def victim(self, pinned: dict[ExpertKey, int]) -> ExpertKey | None:
        free = [key for key in self.used if pinned.get(key, 0) == 0]
        return min(free, key=lambda key: self.used[key]) if free else None


@settings(max_examples=200)
@given(script=steps)
def test_lru_equals_the_search(script: list[tuple[str, object]]) -> None:
    fast, slow = LeastRecentlyUsed(2, 4), SlowLeastRecentlyUsed()
    for verb, value in script:
        if verb == "touch":
            fast.touch(value)  # type: ignore[arg-type]
            slow.touch(value)  # type: ignore[arg-type]
        elif verb == "drop":
            if value in slow.used:
                fast.drop(value)
                del slow.used[value]
        else:
            assert fast.victim(value) == slow.victim(value)  # type: ignore[arg-type]


def misses(cache: ExpertCache, trace: list[ExpertKey], capacity: int) -> int:
    """Run a trace through a memory of `capacity` experts."""
    resident: dict[ExpertKey, bool] = {}
    count = 0
    for key in trace:
        if key not in resident:
            count += 1
            while len(resident) >= capacity:
                gone = cache.victim({})
                assert gone is not None
                cache.drop(gone)
                del resident[gone]
            resident[key] = True
        cache.touch(key)
    return count


@settings(max_examples=60)
@given(trace=st.lists(keys, max_size=80), capacity=st.integers(1, 7))
def test_lru_never_misses_more_in_a_larger_memory(trace: list[ExpertKey], capacity: int) -> None:
    """The inclusion property of stack algorithms (Mattson et al. 1970)."""
    small = misses(LeastRecentlyUsed(2, 4), trace, capacity)
    assert misses(LeastRecentlyUsed(2, 4), trace, capacity + 1) <= small


def test_lru_thrashes_on_a_loop_that_is_one_too_long() -> None:
    loop = [(0, e) for e in range(4)] * 5
    assert misses(LeastRecentlyUsed(1, 4), loop, capacity=3) == 20
    assert misses(LeastRecentlyUsed(1, 4), loop, capacity=4) == 4


def test_lru_refuses_to_drop_what_it_has_not() -> None:
    with pytest.raises(KeyError):
        LeastRecentlyUsed(1, 4).drop((0, 1))


@pytest.mark.parametrize("name", list(CACHES))
@given(script=steps)
def test_no_cache_gives_up_a_pinned_or_absent_expert(
    name: str, script: list[tuple[str, object]]
) -> None:
    cache: ExpertCache = CACHES.load(name)(2, 4)
    if isinstance(cache, Clairvoyant):
        cache.foresee(lambda key: key[1])
    resident: dict[ExpertKey, bool] = {}
    for verb, value in script:
        if verb == "touch":
            cache.touch(value)  # type: ignore[arg-type]
            resident[value] = True  # type: ignore[index]
        elif verb == "drop" and value in resident:
            cache.drop(value)
            del resident[value]
        elif verb == "victim":
            gone = cache.victim(value)  # type: ignore[arg-type]
            assert gone is None or (gone in resident and not value.get(gone, 0))  # type: ignore[attr-defined]


def test_keep_all_preloads_and_never_evicts() -> None:
    cache = CACHES.load("all")(2, 4)
    cache.touch((0, 0))
    assert cache.preload
    assert cache.victim({}) is None
    assert not LeastRecentlyUsed.preload


def test_belady_must_be_told_the_future() -> None:
    cache = FarthestNextUse(1, 4)
    cache.touch((0, 1))
    with pytest.raises(LawViolation, match="was not told it"):
        cache.victim({})
    cache.foresee({(0, 1): 3.0, (0, 2): 7.0}.__getitem__)
    cache.touch((0, 2))
    assert cache.victim({}) == (0, 2)
    assert cache.victim({(0, 2): 1}) == (0, 1)
    assert cache.victim({(0, 1): 1, (0, 2): 1}) is None


def test_lfu_forgets_the_count_of_whoever_left() -> None:
    cache = CACHES.load("lfu")(1, 4)
    for expert in (1, 1, 1, 2, 2):
        cache.touch((0, expert))
    assert cache.victim({}) == (0, 2)
    cache.drop((0, 1))
    cache.touch((0, 1))
    assert cache.victim({}) == (0, 1)
    cache.touch((0, 1))  # as often as the other, but later
    assert cache.victim({}) == (0, 2)
