from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.compare import compare_table
from analysis.figures import compare, memory, nodes, regret, requests, style
from analysis.metrics import BY_KEY
from analysis.queries import Tail, heat, tails
from analysis.regret import curve

P99, ACCURACY = BY_KEY["latency_p99_s"], BY_KEY["accuracy"]
LOOKS = style.looks(["tanbr", "top2", "uniform"])


@pytest.fixture(scope="module")
def table(run):
    return compare_table(run.summaries(), "tanbr")


@pytest.fixture(scope="module")
def curves(run):
    found, longest = {}, max(int(trial.meta["slots"]) for trial in run.done)
    for trial in run.done:
        table = run.table("slots", trial.id)
        found.setdefault(trial.policy, []).append(curve(table, trial.meta, longest))
    return found


def named(fig, name):
    return next(trace for trace in fig.data if trace.name == name)


def test_looks_depend_on_sorted_names_only() -> None:
    assert style.looks(["b", "a"]) == style.looks(["a", "b", "a"])
    many = style.looks([f"p{i:02d}" for i in range(8)])
    assert len({look.color for look in many.values()}) == 8
    assert len({look.symbol for look in many.values()}) == 8


def test_shipped_policies_differ_in_two_of_three_signs() -> None:
    assert len(set(style.HOMES)) == len(style.HOMES) <= 48
    others = [f"p{i:02d}" for i in range(48 - len(style.HOMES))]
    found = list(style.looks([*style.HOMES, *others]).values())
    for place, one in enumerate(found):
        for other in found[:place]:
            same = [one.color == other.color, one.symbol == other.symbol, one.dash == other.dash]
            assert sum(same) <= 1, (one, other)


def test_no_colour_is_given_twice_while_one_is_free() -> None:
    names = ["tanbr", "random", "uniform", "task-oracle", "mine", "yours"]  # two share a home
    found = style.looks(names)
    assert len({look.color for look in found.values()}) == len(names)
    assert found["tanbr"] == style.looks(["tanbr"])["tanbr"]
    everyone = style.looks([*names, *style.HOMES])
    assert {look.color for look in everyone.values()} == set(style.COLORS)


def test_one_colour_per_policy_in_every_figure(table, curves, run) -> None:
    figures = [
        compare.pareto(table, LOOKS, P99, ACCURACY), compare.forest(table, P99, LOOKS),
        regret.cumulative(curves, LOOKS), memory.footprint(table, LOOKS),
        requests.tail(tails(run, run.done), LOOKS),
    ]  # fmt: skip
    for fig in figures:
        drawn = [t for t in fig.data if t.legendgroup]
        assert drawn
        for trace in drawn:
            color = trace.line.color or trace.marker.color
            allowed = {LOOKS[trace.legendgroup].color}
            allowed |= {LOOKS[trace.legendgroup].fill(a) for a in (0.28, 0.3, 0.5, 0.55, 0.6)}
            assert color in allowed, (trace.name, color)


def test_every_figure_names_quantity_and_unit(table, curves, run) -> None:
    figures = [
        compare.pareto(table, LOOKS, P99, ACCURACY), compare.forest(table, P99, LOOKS),
        memory.footprint(table, LOOKS), requests.tail(tails(run, run.done), LOOKS),
    ]  # fmt: skip
    for fig in figures:
        assert "(" in fig.layout.title.text
        assert "(" in fig.layout.xaxis.title.text


def test_pareto_draws_what_the_table_says(table) -> None:
    fig = compare.pareto(table, LOOKS, P99, ACCURACY, [0.2])
    row = table.row("tanbr")
    size, _ = P99.scale(max(r.cells[P99.key].interval.mean for r in table.rows))
    trace = next(t for t in fig.data if t.name.startswith("tanbr ("))
    assert trace.x[0] * size == pytest.approx(row.cells[P99.key].interval.mean, rel=1e-5)
    assert trace.y[0] == pytest.approx(100 * row.cells["accuracy"].interval.mean, rel=1e-5)
    assert not trace.error_x.visible  # two seeds: dots, no interval
    assert fig.layout.shapes[0].x0 * size == pytest.approx(0.2)


def test_five_seeds_earn_an_interval() -> None:
    rows = [
        {
            "policy": p,
            "seed": s,
            "latency_p99_s": 0.1 * f + 0.001 * s * s,
            "accuracy": 0.5 + 0.01 * s,
        }
        for p, f in (("tanbr", 1), ("top2", 2))
        for s in range(5)
    ]
    table = compare_table(rows, "tanbr")
    fig = compare.pareto(table, LOOKS, P99, ACCURACY)
    trace = named(fig, "tanbr")
    assert trace.error_x.visible is not False
    half = table.row("tanbr").cells[P99.key].interval.half_width
    assert trace.error_x.array[0] == pytest.approx(1e3 * half, rel=1e-5)


@pytest.mark.parametrize(("missed", "framed"), [(0.0, True), (0.25, False)])
def test_shares_that_are_all_zero_leave_no_room_below_zero(missed: float, framed: bool) -> None:
    rows = [
        {"policy": "tanbr", "seed": s, "latency_p99_s": 0.1, "deadline_miss": missed}
        for s in (0, 1)
    ]
    fig = compare.pareto(compare_table(rows), LOOKS, P99, BY_KEY["deadline_miss"])
    assert (fig.layout.yaxis.range is not None) == framed
    if framed:
        assert fig.layout.yaxis.range[0] > -0.1


def test_unstable_policies_are_not_on_the_latency_axis() -> None:
    rows = [
        {"policy": p, "seed": s, "latency_p99_s": 0.1, "accuracy": 0.5, "stable": p != "top2"}
        for p in ("tanbr", "top2")
        for s in range(2)
    ]
    fig = compare.pareto(compare_table(rows), LOOKS, P99, ACCURACY)
    assert not any(t.legendgroup == "top2" for t in fig.data)
    none = compare.pareto(
        compare_table([r for r in rows if r["policy"] == "top2"]), LOOKS, P99, ACCURACY
    )
    assert not none.data
    assert "No stable policy" in none.layout.annotations[0].text


def test_shares_change_in_points_and_times_in_per_cent(table) -> None:
    row = table.row("top2")
    assert compare.change(ACCURACY, row.cells["accuracy"].paired).endswith(" points")
    assert compare.change(P99, row.cells[P99.key].paired).endswith(" %")
    assert compare.percent(-0.45) == "\N{MINUS SIGN}45 %"
    assert compare.percent(0.0) == "0 %"
    assert compare.percent(1e-7) == "≈ 0 %"
    assert compare.percent(0.0004) == "+0.04 %"  # "0 %" would deny a difference that was shown


def test_small_counts_change_in_themselves() -> None:
    rows = [
        {"policy": policy, "seed": seed, "drift_recovery_slots": slots + seed}
        for policy, slots in (("tanbr", 1.0), ("top1", 120.0))
        for seed in range(5)
    ]
    cell = compare_table(rows, "tanbr").row("top1").cells["drift_recovery_slots"]
    assert compare.change(cell.metric, cell.paired) == "+119 slots"
    assert compare.signed(cell.metric, cell.paired) == "+119 slots"


def test_cumulative_regret_means_and_seed_lines(curves) -> None:
    fig = regret.cumulative(curves, LOOKS)
    trace = named(fig, "tanbr")
    want = np.mean([c.realised for c in curves["tanbr"]], axis=0)
    np.testing.assert_allclose(trace.y, want, rtol=1e-5)
    assert trace.y.dtype == np.float32
    assert sum(t.name == "tanbr, one seed" for t in fig.data) == 2
    assert not any("95 %" in t.name for t in fig.data)


def test_logarithmic_regret_leaves_out_what_it_cannot_draw(curves) -> None:
    fig = regret.cumulative(curves, LOOKS, log=True)
    assert fig.layout.yaxis.type == "log"
    assert all(not (np.asarray(t.y, dtype=float) <= 0.0).any() for t in fig.data)
    assert {"slope 1", "slope 0.5"} <= {t.name for t in fig.data}


def test_context_error_only_for_those_that_estimate(curves) -> None:
    assert {t.legendgroup for t in regret.context_error(curves, LOOKS).data} == {"tanbr"}


def test_long_lines_are_thinned_and_keep_their_ends() -> None:
    kept = style.thin(20_000)
    assert len(kept) <= style.MOST_POINTS
    assert (kept[0], kept[-1]) == (0, 19_999)
    assert (np.diff(kept) > 0).all()


def test_thinning_loses_no_peak() -> None:
    values = np.zeros(2000)
    values[[7, 1234, 1235, 1998]] = (1.0, 0.4, 0.7, 0.3)
    values[500:520] = np.nan
    kept = style.thin_peaks(values)
    assert {7, 1235, 1998} <= set(kept.tolist())
    assert len(kept) <= 2 * style.MOST_POINTS
    np.testing.assert_array_equal(style.thin_peaks(values[:50]), np.arange(50))


def test_a_far_capacity_is_named_and_a_near_one_drawn() -> None:
    t_s, levels = np.array([0.0, 1.0, 2.0]), np.full((3, 7), 10.0 * 2**20)
    far = memory.stacked("n", t_s, levels, 8 * 2.0**30)
    near = memory.stacked("n", t_s, levels, 100 * 2.0**20)
    assert "above this scale" in far.layout.annotations[0].text
    assert any("capacity 100 MiB" in t.name for t in near.data)
    assert sum(t.stackgroup is not None for t in near.data) == 7


def stamps(**changes):
    row = {
        "t_emit_s": 10.0, "t_dispatch_s": 10.0, "t_enqueue_s": 10.1, "t_start_s": 10.4,
        "t_finish_s": 11.0,
        "t_return_s": 11.2, "stall_s": 0.2, "service_s": 0.3, "deadline_s": 0.5, "drop": None,
        "correct": 1, "batch_size": 3, "server": 0,
    }  # fmt: skip
    return {**row, **changes}


def test_the_segments_of_a_request_add_up_to_its_latency() -> None:
    found = requests.segments(stamps())
    assert [stage for stage, _, _ in found] == [
        "uplink", "queue", "expert stall", "compute", "rest of service", "downlink"
    ]  # fmt: skip
    assert sum(length for _, _, length in found) == pytest.approx(1.2)
    ends = [start + length for _, start, length in found]
    assert [start for _, start, _ in found][1:] == pytest.approx(ends[:-1])


def test_a_dropped_request_has_the_stages_it_reached() -> None:
    nan = math.nan
    row = stamps(
        t_start_s=nan, t_finish_s=nan, t_return_s=nan, stall_s=nan, service_s=nan, drop="node_down"
    )
    assert [stage for stage, _, _ in requests.segments(row)] == ["uplink"]
    assert "dropped: node down" in requests.fate(row)
    assert "never returned" in requests.fate({**row, "drop": None})
    assert "right, batch of 3" in requests.fate(stamps())


def test_the_waterfall_has_a_bar_per_stage_and_policy() -> None:
    fig = requests.waterfall("r", {"tanbr": stamps(), "top2": stamps(stall_s=0.0)}, {0: "edge-0"})
    assert list(named(fig, "queue").y) == [0, 1]
    assert list(named(fig, "expert stall").y) == [0]


def test_a_log_axis_has_labels_even_within_a_decade() -> None:
    assert style.log_axis("x", 18.0, 205.0)["tickvals"] == [20.0, 50.0, 100.0, 200.0]
    assert style.log_axis("x", 1.0, 5000.0)["dtick"] == 1


def test_tails_are_drawn_in_one_unit() -> None:
    found = {"tanbr": Tail(np.array([0.01, 0.2]), np.array([0.5, 0.01]), 100)}
    fig = requests.tail(found, LOOKS, [0.1])
    np.testing.assert_allclose(named(fig, "tanbr").x, [10.0, 200.0], rtol=1e-6)


def test_heat_colours_are_shared_and_signed_ones_centred(run) -> None:
    found = heat(run, run.done[0])
    signed = next(q for q in nodes.QUANTITIES if q.signed)
    low, high = nodes.limits([found.values["regret"]], signed)
    assert low == -high
    fig = nodes.heat(
        "t", found.t_s, ["a", "b", "c", "d"], found.values["regret"], signed, (low, high)
    )
    assert (fig.data[0].zmin, fig.data[0].zmax) == (low, high)
    assert fig.data[0].z.dtype == np.float32


def test_positions_are_repeatable_and_apart() -> None:
    links = [(i, 8) for i in range(8)]
    first = nodes.positions(9, links)
    np.testing.assert_array_equal(first, nodes.positions(9, links))
    gaps = np.linalg.norm(first[:, None] - first[None], axis=2) + np.eye(9)
    assert gaps.min() > 0.1
    # a star's hub ends in the middle
    assert np.linalg.norm(first[8]) < 0.5 * np.linalg.norm(first[:8], axis=1).min()


def test_names_cannot_speak_plotly() -> None:
    assert style.plain("<b>%{x}&") == "&lt;b&gt;% {x}&amp;"
    assert len(style.plain("x" * 100)) == style.LONGEST_NAME


def test_shipped_policies_look_alike_in_every_report() -> None:
    few, many = style.looks(["tanbr", "mine"]), style.looks(["a", "mine", "tanbr", "top1", "z"])
    assert few["tanbr"] == many["tanbr"] == style.looks(["tanbr"])["tanbr"]
    assert len({look.color for look in many.values()}) == 5
