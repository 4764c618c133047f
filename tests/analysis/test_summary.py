from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from analysis.summary import audit_facts, batch_seconds, memory_totals, node_totals, summarise
from sim.records import DROPS
from tests.analysis.folder import Shape, record

SHAPE = Shape(edges=3, slots=20)


@pytest.fixture(scope="module")
def made():
    return record(SHAPE, "tanbr", 1)


def test_summary_equals_a_loop_over_requests(made) -> None:
    """The slow obvious twin: one request after the other."""
    t, found = made.tables["requests"], summarise(made.tables, made.meta)
    latency, misses, useful, right, scored, dropped = [], 0, 0, 0, 0, 0
    for i in range(len(t["id"])):
        back = not math.isnan(t["t_return_s"][i])
        took = t["t_return_s"][i] - t["t_emit_s"][i]
        latency += [took] if back else []
        dropped += t["drop"][i] >= 0
        timely = back and took <= t["deadline_s"][i]
        misses += bool(t["drop"][i] >= 0 or not timely)
        scored += t["correct"][i] >= 0
        right += t["correct"][i] == 1
        useful += bool(timely and t["correct"][i] == 1)
    n = len(t["id"])
    assert (found["requests"], found["returned"], found["dropped"]) == (n, len(latency), dropped)
    assert found["dropped_node_down"] == dropped > 0
    assert found["in_flight"] == n - len(latency) - dropped
    assert found["latency_mean_s"] == pytest.approx(np.mean(latency))
    assert found["latency_p99_s"] == pytest.approx(np.quantile(latency, 0.99))
    assert found["deadline_miss"] == pytest.approx(misses / n)
    assert found["accuracy"] == pytest.approx(right / scored)
    assert found["useful_per_s"] == pytest.approx(useful / made.meta["duration_s"])
    assert found["energy_per_useful_j"] == pytest.approx(found["energy_j"] / useful)


def test_regret_equals_a_loop_over_node_slots(made) -> None:
    s, found = made.tables["slots"], summarise(made.tables, made.meta)
    routed = {n["id"] for n in made.meta["nodes"] if n["routed"]}
    gaps, expected = [], []
    for i in range(len(s["slot"])):
        if s["node"][i] in routed and s["served"][i] > 0:
            gaps.append(s["reward_best"][i] - s["reward"][i])
            if not math.isnan(s["reward_expected"][i]):
                expected.append(s["reward_best"][i] - s["reward_expected"][i])
    assert found["regret_total"] == pytest.approx(sum(gaps))
    assert found["regret_mean"] == pytest.approx(np.mean(gaps))
    assert found["regret_expected_mean"] == pytest.approx(np.mean(expected))


def test_memory_equals_a_replay_of_the_ledger(made) -> None:
    m, found = made.tables["memory"], summarise(made.tables, made.meta)
    routed = [n["id"] for n in made.meta["nodes"] if n["routed"]]
    end, peak, area = made.meta["end_s"], 0.0, 0.0
    for node in routed:
        rows = [
            (m["t_s"][i], m["category"][i], m["bytes"][i])
            for i in range(len(m["node"]))
            if m["node"][i] == node
        ]
        level: dict[int, float] = {}
        for place, (at, category, size) in enumerate(rows):
            level[category] = size
            until = rows[place + 1][0] if place + 1 < len(rows) else end
            if until > at:  # within one instant only the last state counts
                peak = max(peak, sum(level.values()))
                area += sum(level.values()) * (until - at)
    assert found["memory_peak_bytes"] == pytest.approx(peak)
    assert found["memory_mean_bytes"] == pytest.approx(area / end / len(routed))


def test_changes_at_one_instant_make_no_peak() -> None:
    log = {
        "node": np.array([0, 0, 0]), "t_s": np.array([0.0, 5.0, 5.0]),
        "category": np.array([2, 3, 2]), "bytes": np.array([10.0, 10.0, 0.0]),
    }  # fmt: skip
    assert memory_totals(log, [0], 10.0) == {"memory_peak_bytes": 10.0, "memory_mean_bytes": 10.0}


def test_node_totals_keep_nodes_apart() -> None:
    node, t_s, total = node_totals(
        np.array([1, 0, 1]),
        np.array([0.0, 1.0, 2.0]),
        np.array([0, 0, 0]),
        np.array([5.0, 7.0, 3.0]),
    )
    assert (node.tolist(), t_s.tolist(), total.tolist()) == ([0, 1, 1], [1, 0, 2], [7, 5, 3])


def test_own_work_is_what_no_batch_explains(made) -> None:
    # the fixture's busy time is 2 % more than its batches
    assert summarise(made.tables, made.meta)["decision_share"] == pytest.approx(
        0.02 / 1.02, rel=1e-6
    )


def test_own_work_is_what_nodes_say_where_they_say_it(made) -> None:
    routed = [node["id"] for node in made.meta["nodes"] if node["routed"]]
    slots = made.tables["slots"]
    busy_s = slots["busy_s"][np.isin(slots["node"], routed)].sum()
    nodes = [{**node, "own_s": 3.0} for node in made.meta["nodes"]]
    found = summarise(made.tables, {**made.meta, "nodes": nodes})["decision_share"]
    assert found == pytest.approx(3.0 * len(routed) / busy_s)


def test_a_batch_is_counted_once_and_a_crash_ends_it() -> None:
    requests = {
        "t_start_s": np.array([1.0, 1.0, 4.0, np.nan]),
        "t_finish_s": np.array([3.0, 3.0, np.nan, np.nan]),
        "server": np.array([0, 0, 0, 0]), "batch": np.array([7, 7, 8, -1]),
    }  # fmt: skip
    faults = {
        "kind": np.array([0, 1, 0]),
        "target": np.array([0, 0, 0]),
        "t_s": np.array([2.0, 4.5, 5.0]),
    }
    assert batch_seconds(requests, faults, [0], 10.0) == pytest.approx(2.0 + 1.0)
    assert batch_seconds(requests, {}, [0], 10.0) == pytest.approx(2.0 + 6.0)


def test_without_a_model_quality_is_nan_and_not_zero() -> None:
    made = record(Shape(edges=2, slots=12, model=False, fault=False), "none", 1)
    found = summarise(made.tables, made.meta)
    for key in (
        "accuracy",
        "useful_per_s",
        "regret_mean",
        "memory_peak_bytes",
        "energy_per_useful_j",
    ):
        assert math.isnan(found[key]), key
    assert found["goodput_per_s"] > 0.0
    assert found["dropped"] == sum(found[f"dropped_{reason}"] for reason in DROPS) == 0
    assert found["utilisation"] > 0.1


def test_without_a_deadline_only_drops_miss() -> None:
    made = record(Shape(edges=3, slots=20), "top2", 1)
    made.tables["requests"]["deadline_s"][:] = math.inf
    found = summarise(made.tables, made.meta)
    assert found["deadline_miss"] == pytest.approx(found["drop_share"])


def test_nothing_emitted_is_no_division_by_zero() -> None:
    made = record(Shape(edges=2, slots=12, fault=False), "tanbr", 1)
    tables = {name: {k: v[:0] for k, v in table.items()} for name, table in made.tables.items()}
    found = summarise(tables, made.meta)
    assert found["requests"] == 0
    assert math.isnan(found["latency_p99_s"])
    assert found["stable"] is True


def test_summary_loads_no_heavy_library() -> None:
    code = (
        "import sys, analysis.summary, analysis.compare, analysis.metrics; "
        "print([m for m in ('plotly', 'scipy', 'duckdb', 'torch', 'ray') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_audits_are_counted_where_there_are_any() -> None:
    judged = {"audits": {"begun": 8, "heard": 5, "lost": 2, "sent_bytes": 4096.0}}
    assert audit_facts(judged) == {"audit_bytes": 4096.0, "audit_lost": 0.25}
    told = audit_facts({"audits": {"begun": 8, "heard": 8, "lost": 0, "sent_bytes": 0.0}})
    assert math.isnan(told["audit_bytes"])  # users report by themselves: nothing is sent
    assert told["audit_lost"] == 0.0
    none = {"audits": {"begun": 0, "heard": 0, "lost": 0, "sent_bytes": 0.0}}
    assert all(math.isnan(v) for meta in (none, {}) for v in audit_facts(meta).values())


def test_each_stream_is_summed_up_like_a_run_of_its_own() -> None:
    made = record(SHAPE, "top2", 2)
    for stream in made.meta["streams"]:  # streams 0 and 2 are one, at two nodes
        stream["name"] = ("alarm", "bulk", "alarm")[stream["id"]] + f".edge-{stream['id']}"
    t, found = made.tables["requests"], summarise(made.tables, made.meta)
    for label, ids in (("alarm", (0, 2)), ("bulk", (1,))):
        rows = [i for i in range(len(t["id"])) if t["stream"][i] in ids]
        took = [t["t_return_s"][i] - t["t_emit_s"][i] for i in rows]
        back = [s for s in took if not math.isnan(s)]
        late = [s for i, s in zip(rows, took, strict=True) if not s <= t["deadline_s"][i]]
        scored = [t["correct"][i] for i in rows if t["correct"][i] >= 0]
        assert found[f"latency_mean_s[{label}]"] == pytest.approx(np.mean(back))
        assert found[f"latency_p50_s[{label}]"] == pytest.approx(np.quantile(back, 0.5))
        assert found[f"latency_p99_s[{label}]"] == pytest.approx(np.quantile(back, 0.99))
        assert found[f"drop_share[{label}]"] == np.mean([t["drop"][i] >= 0 for i in rows])
        assert found[f"deadline_miss[{label}]"] == pytest.approx(len(late) / len(rows))
        assert found[f"accuracy[{label}]"] == pytest.approx(np.mean(scored))
    assert found["drop_share[alarm]"] == 0.0 < found["drop_share[bulk]"]


def test_a_single_stream_says_nothing_twice() -> None:
    made = record(SHAPE, "top2", 2)
    for stream in made.meta["streams"]:
        stream["name"] = f"all.edge-{stream['id']}"
    assert not any("[" in key for key in summarise(made.tables, made.meta))
