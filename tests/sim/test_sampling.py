"""A sample of requests: even, of the right size, the same for everybody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.config import DispatchSpec
from sim.sampling import Retired, Sample, row_bytes, sample_of
from tests.sim.worlds import fleet, queue, run


@pytest.mark.parametrize("every", [1, 2, 3, 10, 97, 1000])
def test_a_sample_is_even(every: int) -> None:
    ids = np.arange(200_000)
    kept = np.flatnonzero(Sample(every).keeps(ids))
    assert abs(len(kept) - len(ids) / every) < 5
    gaps = np.unique(np.diff(kept))
    assert len(gaps) <= 3
    assert gaps[-1] < 3 * every
    for rhythm in (2, 7, 64):  # streams in turn have equal shares of it
        shares = np.bincount(kept % rhythm, minlength=rhythm)
        assert np.ptp(shares) < 12


def test_a_budget_holds_the_rows() -> None:
    w = queue(100.0, 0.001, 50.0)
    assert row_bytes() == 135
    for rows in (5000.0, 4999.0, 2500.0, 100.0):
        every = sample_of(replace(w, rows_bytes=rows * row_bytes())).every
        assert 5000.0 / every <= rows < 5000.0 / (every - 1) if every > 1 else rows == 5000.0
    assert sample_of(w).every == 1


def test_every_policy_keeps_the_same_requests() -> None:
    w = replace(fleet(3, duration_s=10.0), rows_bytes=100.0 * row_bytes())
    first = run(w).tables["requests"]
    second = run(replace(w, dispatch=DispatchSpec("local"))).tables["requests"]
    for name in ("id", "stream", "t_emit_s", "up_bytes"):
        assert first[name].tolist() == second[name].tolist()
    assert 80 < len(first["id"]) <= 110


def test_rows_are_kept_as_they_are_whatever_their_order() -> None:
    w = fleet(3, duration_s=10.0)
    whole = run(w).tables["requests"]
    few = replace(w, rows_bytes=60.0 * row_bytes())
    cut = run(few)
    kept = Sample(cut.meta["rows"]["every"]).keeps(whole["id"])
    for name, values in cut.tables["requests"].items():
        assert values.dtype == whole[name].dtype
        assert values.tobytes() == whole[name][kept].tobytes(), name
    retired = Retired(few)
    for part in np.array_split(np.random.default_rng(1).permutation(len(whole["id"])), 300):
        retired.retire({name: values[part] for name, values in whole.items()})
    table, facts = retired.finish()
    assert {name: v.tobytes() for name, v in table.items()} == {
        name: v.tobytes() for name, v in cut.tables["requests"].items()
    }
    assert facts["rows"] == cut.meta["rows"]
    assert facts["totals"] == cut.meta["totals"]
    assert facts["rows"]["of"] == len(whole["id"])


def test_nothing_to_keep() -> None:
    retired = Retired(replace(queue(1.0, 0.1, 1.0), rows_bytes=1.0))
    table, facts = retired.finish()
    assert len(table["id"]) == facts["rows"]["of"] == 0
    assert facts["totals"]["groups"] == []
