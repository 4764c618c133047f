from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.queries import heat, interesting, memory_stack, over_time, stamps, tails
from sim.records import MEMORY


@pytest.fixture
def trial(run):
    return run.done[0]


def test_the_tail_is_the_quantile_function(run) -> None:
    mine = [t for t in run.done if t.policy == "tanbr"]
    pooled = [run.table("requests", t.id) for t in mine]
    latency = np.concatenate([t["t_return_s"] - t["t_emit_s"] for t in pooled])
    latency = latency[np.isfinite(latency)]
    found = tails(run, run.done)["tanbr"]
    assert found.n == len(latency)
    np.testing.assert_allclose(found.latency_s, np.quantile(latency, 1.0 - found.share), rtol=1e-4)
    assert found.share[-1] * found.n >= 10.0


def test_latency_over_time_by_hand(run, trial) -> None:
    t = run.table("requests", trial.id)
    found = over_time(run, [trial], bins=8)["tanbr"]
    edges = np.linspace(0.0, trial.meta["duration_s"], 9)
    for k in range(8):
        mine = (t["t_emit_s"] >= edges[k]) & (t["t_emit_s"] < edges[k + 1])
        latency = (t["t_return_s"] - t["t_emit_s"])[mine]
        assert found["p95"][k] == pytest.approx(np.nanquantile(latency, 0.95))
        assert found["n"][k] == mine.sum()
        right = t["correct"][mine & (t["correct"] >= 0)]
        assert found["accuracy"][k] == pytest.approx(right.mean())


def test_interesting_requests_are_what_they_are_called(run, trial) -> None:
    t = run.table("requests", trial.id)
    latency = t["t_return_s"] - t["t_emit_s"]
    found = dict(interesting(run, trial))
    assert found["slowest"] == t["id"][np.nanargmax(latency)]
    assert latency[found["median"]] == pytest.approx(np.nanmedian(latency), rel=0.01)
    assert t["drop"][found["dropped"]] >= 0
    late = latency[found["just late"]]
    assert late > 0.2
    assert not ((latency > 0.2) & (latency < late)).any()


def test_stamps_have_one_row_per_trial(run) -> None:
    rows = stamps(run, run.done[:3], [5])
    assert [row["trial"] for row in rows] == [t.id for t in run.done[:3]]
    assert rows[0]["drop"] is None
    assert math.isfinite(rows[0]["t_emit_s"])


@pytest.mark.parametrize("bins", [5, 40, 100_000])
def test_memory_steps_keep_the_peak_and_add_up(run, trial, bins: int) -> None:
    m = run.table("memory", trial.id)
    level, peak, last = np.zeros(len(MEMORY)), 0.0, -1.0
    for i in np.flatnonzero(m["node"] == 1):
        if m["t_s"][i] > last:
            peak = max(peak, level.sum())
        level[m["category"][i]], last = m["bytes"][i], m["t_s"][i]
    t_s, levels = memory_stack(run, trial, 1, bins)
    assert levels.sum(axis=1).max() == pytest.approx(max(peak, level.sum()))
    np.testing.assert_allclose(levels[-1], level)
    assert (np.diff(t_s) > 0).all()
    assert len(t_s) <= bins + 1


def test_heat_equals_the_table(run, trial) -> None:
    s, found = run.table("slots", trial.id), heat(run, trial)
    for i in range(len(s["slot"])):
        n, k = s["node"][i], s["slot"][i]
        servers = trial.meta["nodes"][n]["servers"]
        busy = min(s["busy_s"][i] / (servers * trial.meta["slot_s"]), 1.0)
        assert found.values["utilisation"][n, k] == pytest.approx(busy)
        gap = s["reward_best"][i] - s["reward"][i]
        assert found.values["regret"][n, k] == pytest.approx(gap, nan_ok=True)
        assert found.values["dropped"][n, k] == s["dropped"][i]


def test_coarse_heat_adds_drops_and_keeps_queues(run, trial) -> None:
    fine, coarse = heat(run, trial), heat(run, trial, bins=4)
    assert coarse.values["dropped"].sum() == fine.values["dropped"].sum()
    assert np.nanmax(coarse.values["queue"]) == np.nanmax(fine.values["queue"])
    assert coarse.values["queue"].shape[1] <= 4
