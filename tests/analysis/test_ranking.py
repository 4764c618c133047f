from __future__ import annotations

from analysis.compare import compare_table
from analysis.metrics import BY_KEY
from analysis.ranking import ranking

USEFUL, P99 = BY_KEY["useful_per_s"], BY_KEY["latency_p99_s"]
WORLD = (0.0, 3.0, -2.0, 5.0)  # what the seeds share
LUCK = (0.1, -0.1, 0.05, -0.05)


def table(**policies: tuple[float, ...]):
    """A table where each policy has its mean plus the world's luck plus its own."""
    rows = [
        {"policy": name, "seed": seed, "stable": True, "useful_per_s": value + WORLD[seed],
         "latency_p99_s": 0.1}
        for name, values in policies.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return compare_table(rows)


def near(mean: float, *luck: float) -> tuple[float, ...]:
    return tuple(mean + more for more in (luck or (0.0,) * 4))


def ranks(found) -> dict[str, str]:
    return {place.policy: place.rank for place in found.places}


def test_clear_differences_make_clear_ranks() -> None:
    found = ranking(table(a=near(10, *LUCK), b=near(30), c=near(20)), USEFUL)
    assert ranks(found) == {"b": "1", "c": "2", "a": "3"}
    assert [place.policy for place in found.unbeaten] == ["b"]
    assert found.places[0].versus is None
    assert found.places[2].versus is not None
    assert found.places[2].versus.difference.mean == -20.0


def test_what_differs_by_luck_only_shares_its_ranks() -> None:
    found = ranking(table(a=near(30, 1, -1, 1, -1), b=near(30.1), c=near(20)), USEFUL)
    assert ranks(found) == {"b": "1\N{EN DASH}2", "a": "1\N{EN DASH}2", "c": "3"}
    assert [place.policy for place in found.unbeaten] == ["b", "a"]


def test_a_tie_need_not_be_transitive() -> None:
    # b is above c for sure; a is so noisy that it ties with both
    found = ranking(table(a=near(29, 9, -9, 9, -9), b=near(30, *LUCK), c=near(28)), USEFUL)
    assert ranks(found) == {"b": "1\N{EN DASH}2", "a": "1\N{EN DASH}3", "c": "2\N{EN DASH}3"}


def test_one_seed_ranks_nobody() -> None:
    found = ranking(table(a=(1.0,), b=(2.0,)), USEFUL)
    assert ranks(found) == {"b": "1\N{EN DASH}2", "a": "1\N{EN DASH}2"}


def test_a_broken_target_comes_after_those_that_keep_all() -> None:
    made = table(a=near(30), b=near(20, *LUCK), c=near(10))
    found = ranking(made, USEFUL, {"a": [True, False], "b": [True, True], "c": [True, True]})
    assert ranks(found) == {"b": "1", "c": "2", "a": "3"}
    assert found.leader is not None
    assert found.leader.policy == "b"
    assert (found.places[2].kept, found.places[2].targets) == (1, 2)


def test_oracles_are_shown_without_a_rank() -> None:
    found = ranking(table(seer=near(40), a=near(30), b=near(20, *LUCK)), USEFUL, oracles={"seer"})
    assert ranks(found) == {"a": "1", "b": "2", "seer": "-"}


def test_nothing_may_be_fit() -> None:
    found = ranking(table(a=near(1)), USEFUL, {"a": [False]})
    assert found.leader is None
    assert found.unbeaten == ()


def test_lower_may_be_better_and_equal_is_a_tie() -> None:
    found = ranking(table(a=near(1), b=near(2)), P99)
    assert ranks(found) == {"a": "1\N{EN DASH}2", "b": "1\N{EN DASH}2"}
