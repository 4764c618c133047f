"""Generators for many streams are those that numpy makes one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.rng import Family, Streams


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1) | st.sampled_from((0, 1, 2**32 - 1, 2**32, 2**40)),
    ids=st.lists(st.integers(0, 2**31), min_size=1, max_size=5, unique=True),
    purpose=st.sampled_from(("arrivals", "audit", "")),
)
def test_a_family_makes_the_generators_of_its_streams(
    seed: int, ids: list[int], purpose: str
) -> None:
    family = Family(seed, ids)
    for number in ids:
        mine, own = family.stream(purpose, number), Streams(seed).stream(purpose, number)
        assert mine.bit_generator.state == own.bit_generator.state
        children = [[g.bit_generator.state for g in rng.spawn(2)] for rng in (mine, own)]
        assert children[0] == children[1]


def test_a_stream_outside_the_family_is_refused() -> None:
    with pytest.raises(KeyError):
        Family(1, [3]).stream("audit", 4)
