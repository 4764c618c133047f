"""What broke: intervals from the log, the figures of them, and where pages tell of it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analysis.breakdown import by_link, by_stream
from analysis.figures import faults, nodes
from analysis.load import Run
from analysis.outages import Span, is_link, spans, told
from analysis.report import write_report
from sim.records import FAULTS
from tests.analysis.folder import Shape, record, write

META = {
    "end_s": 100.0,
    "nodes": [{"id": 0, "name": "edge-0"}, {"id": 1, "name": "hub"}],
    "links": [{"id": 0, "src": 0, "dst": 1}, {"id": 1, "src": 1, "dst": 0}],
}
BETWEEN = "edge-0 \N{EN DASH} hub"


def test_a_fault_holds_from_its_beginning_to_its_end_or_that_of_the_run() -> None:
    log = [(1.0, "node-crash", 0), (2.0, "telemetry-loss", 1), (5.0, "node-restart", 0)]
    assert spans(log, META) == [
        Span("node-crash", "edge-0", 1.0, 5.0),
        Span("telemetry-loss", "hub", 2.0, 100.0),
    ]


def test_both_ways_of_a_link_are_one_place() -> None:
    log = [(1.0, "link-down", 0), (1.0, "link-down", 1), (2.0, "link-up", 0), (2.0, "link-up", 1)]
    assert spans(log, META) == [Span("link-down", BETWEEN, 1.0, 2.0)]
    apart = [(1.0, "link-down", 0), (2.0, "link-up", 0), (3.0, "link-down", 1)]
    assert [s.from_s for s in spans(apart, META)] == [1.0, 3.0]


def test_overlapping_faults_of_one_kind_are_one_and_kinds_are_apart() -> None:
    log = [
        (1.0, "storage-slow", 0), (2.0, "storage-slow", 0), (3.0, "storage-slow-end", 0),
        (3.0, "node-crash", 0), (4.0, "storage-slow-end", 0), (6.0, "storage-slow", 0),
    ]  # fmt: skip
    assert spans(log, META) == [
        Span("storage-slow", "edge-0", 1.0, 4.0),
        Span("node-crash", "edge-0", 3.0, 100.0),
        Span("storage-slow", "edge-0", 6.0, 100.0),
    ]


def test_every_kind_of_the_schema_begins_or_ends_one_with_a_colour() -> None:
    begun = [kind for kind in FAULTS if spans([(1.0, kind, 0)], META)]
    assert set(begun) == set(faults.COLORS)
    for kind in FAULTS:
        assert kind in begun or spans([(0.0, begun[0], 0), (1.0, kind, 0)], META)
    assert {kind for kind in begun if is_link(kind)} == {"link-down", "link-slow", "link-lossy"}


def test_what_broke_in_words() -> None:
    found = [Span("link-down", f"l{i}", 0.0, 1.0) for i in range(6)]
    found += [Span("node-crash", "edge-0", float(i), i + 0.5) for i in range(3)]
    assert told(found) == [
        "link-down: l0, l1, l2, l3 and 2 more",
        "node-crash: edge-0, 3 times in all",
    ]


def test_the_timeline_has_a_bar_per_interval() -> None:
    found = [Span("node-crash", "<b>", 1.0, 5.0), Span("link-lossy", BETWEEN, 2.0, 100.0)]
    fig = faults.timeline(found, 100.0)
    assert [(t.name, t.base[0], t.x[0]) for t in fig.data] == [
        ("node-crash", 1.0, 4.0),
        ("link-lossy", 2.0, 98.0),
    ]
    assert "<b>" not in str(fig.data[0].y)
    assert fig.layout.xaxis.range == (0, 100.0)
    assert not faults.timeline([], 100.0).data


def test_bands_lie_over_the_rows_of_their_nodes() -> None:
    values = np.ones((2, 3))
    quantity = nodes.QUANTITIES[0]
    fig = nodes.heat("t", np.arange(3.0), ["edge-0", "hub"], values, quantity, (0.0, 1.0))
    faults.bands(fig, [Span("node-crash", "hub", 1.0, 2.0), Span("node-crash", "edge-0", 0.0, 3.0)])
    line = fig.data[1]
    assert line.name == "node-crash"
    assert line.y == ("hub", "hub", "hub", "edge-0", "edge-0", "edge-0")
    np.testing.assert_allclose(line.x, [1, 2, np.nan, 0, 3, np.nan])


# --- tables and pages ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    shape = Shape(policies=("tanbr", "top2"), seeds=(1, 2), edges=3, slots=20)
    return write(tmp_path_factory.mktemp("outages") / "run", shape)


def test_streams_equal_a_loop_over_requests(folder) -> None:
    run = Run(folder)
    rows = by_stream(run, run.done)
    assert [(r["stream"], r["policy"]) for r in rows] == [
        (s, p) for s in ("s0", "s1", "s2") for p in ("tanbr", "top2")
    ]
    shape = Shape(policies=("tanbr", "top2"), seeds=(1, 2), edges=3, slots=20)
    tables = [record(shape, "top2", seed).tables["requests"] for seed in (1, 2)]
    t = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    mine = t["stream"] == 1
    took = (t["t_return_s"] - t["t_emit_s"])[mine]
    found = next(r for r in rows if (r["stream"], r["policy"]) == ("s1", "top2"))
    assert found["n"] == mine.sum()
    assert found["priority"] == 0
    assert found["dropped"] == pytest.approx((t["drop"][mine] >= 0).mean())
    assert found["dropped"] > 0
    assert found["missed"] == pytest.approx((~(took <= t["deadline_s"][mine])).mean())
    assert found["p99"] == pytest.approx(np.nanquantile(took, 0.99))
    scored = t["correct"][mine & (t["correct"] >= 0)]
    assert found["accuracy"] == pytest.approx(scored.mean())


def test_links_that_lost_most_come_first(folder) -> None:
    run = Run(folder)
    rows = by_link(run, run.done[0], most=2)
    assert [(r["link"], r["lost"], r["sent"], r["busy"]) for r in rows] == [
        (5, 10, 2.0**21, 1.0),
        (4, 8, 2.0**21, 1.0),
    ]


def test_pages_tell_of_faults_drops_streams_and_links(folder) -> None:
    pages = write_report(folder).parent
    plain = {
        name: re.sub(r"<[^>]*>", "|", (pages / f"{name}.html").read_text())
        for name in ("index", "requests", "nodes")
    }
    assert "What went wrong" in plain["index"]
    assert "node-crash: edge-1" in plain["index"]
    assert "node down" in plain["index"]
    assert "Which stream suffers?" in plain["requests"]
    assert "What broke, and when?" in plain["nodes"]
    assert re.search(r"cloud → edge-2\|+2.00 MiB\|+[\d.]+ %\|+10\|", plain["nodes"])


def test_pages_of_a_run_where_all_went_well_say_nothing_of_it(tmp_path) -> None:
    shape = Shape(policies=("none",), seeds=(1,), edges=1, slots=12, model=False, fault=False)
    pages = write_report(write(tmp_path / "run", shape)).parent
    assert "What went wrong" not in (pages / "index.html").read_text()
    assert "What broke" not in (pages / "nodes.html").read_text()
    assert "Which stream suffers?" not in (pages / "requests.html").read_text()
