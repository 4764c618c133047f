"""Shared servers against their slow, obvious twin."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.config import Work
from sim.proofs.twins.stations import Coming, Down, Rules, share
from tests.oracles.stations import agree, engine

WORKS: list[Work] = ["drop", "keep", "resume", "migrate"]


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """Draw a node at which every speed is a power of two, so that ties are exact."""
    servers, job_share, capacity = draw(
        st.sampled_from([(1, 1.0, 2), (1, 0.5, 2), (2, 1.0, 2), (2, 0.25, 8), (4, 0.5, 8)])
    )
    return Rules(servers, capacity, job_share=job_share)


@st.composite
def scripts(draw: st.DrawFn, unit_s: float) -> tuple[list[Coming], list[Down]]:
    """Draw times in whole units."""
    moments = draw(st.lists(st.integers(0, 24), min_size=1, max_size=20).map(sorted))
    coming = [
        Coming(
            t * unit_s,
            service_s=draw(st.sampled_from([1, 2, 4, 7])) * unit_s,
            patience_s=draw(st.sampled_from([np.inf, 0, 1, 3])) * unit_s,
            expires_s=(t + draw(st.sampled_from([np.inf, 0, 2, 6]))) * unit_s,
        )
        for t in moments
    ]
    outages = []
    for _ in range(draw(st.integers(0, 3))):
        from_s, for_s = draw(st.integers(0, 28)), draw(st.sampled_from([1, 4, 8, 160]))
        work = draw(st.sampled_from(WORKS))
        outages.append(Down(from_s * unit_s, (from_s + for_s) * unit_s, work))
    return coming, sorted(outages, key=lambda o: (o.from_s, o.until_s))


@settings(max_examples=200, deadline=None)
@given(script=scripts(0.25), rules=rules())
def test_random_mixtures_with_ties_match_bit_by_bit(
    script: tuple[list[Coming], list[Down]], rules: Rules
) -> None:
    coming, outages = script
    agree(engine(coming, rules, outages, sharing=True), share(coming, rules, outages))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    servers=st.integers(1, 3),
    job_share=st.sampled_from([1.0, 0.7, 0.3]),
    capacity=st.sampled_from([3, 7, np.inf]),
    load=st.sampled_from([0.5, 0.9, 2.0]),
)
def test_random_times_match_to_a_rounding(
    seed: int, servers: int, job_share: float, capacity: float, load: float
) -> None:
    rng = np.random.default_rng(seed)
    at_s = np.cumsum(rng.exponential(1.0 / (load * servers), 40)).tolist()
    coming = [
        Coming(t, s, patience_s=p)
        for t, s, p in zip(at_s, rng.exponential(1.0, 40), rng.exponential(2.0, 40), strict=True)
    ]
    begins = np.sort(rng.uniform(0.0, at_s[-1], 2))
    outages = [Down(t, t + rng.exponential(1.0), WORKS[rng.integers(4)]) for t in begins.tolist()]
    rules = Rules(servers, capacity, job_share=job_share)
    agree(engine(coming, rules, outages, sharing=True), share(coming, rules, outages), atol=1e-9)
