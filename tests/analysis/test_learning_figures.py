from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.drift import BEFORE
from analysis.figures import drift, regret, style
from analysis.queries import curves_table
from analysis.regret import curve

LOOKS = style.looks(["tanbr", "top2", "uniform", "best-fixed"])


@pytest.fixture(scope="module")
def curves(run):
    found, longest = {}, max(int(trial.meta["slots"]) for trial in run.done)
    for trial in run.done:
        made = curve(curves_table(run, trial), trial.meta, longest)
        found.setdefault(trial.policy, []).append(made)
    return found


def named(fig, name):
    return next(trace for trace in fig.data if trace.name == name)


def test_the_comparator_is_the_best_fixed_merge_of_the_policy_named(curves) -> None:
    fig = regret.cumulative(curves, LOOKS, fixed=curves["tanbr"])
    line = named(fig, "best fixed merge, in hindsight")
    assert line.y[-1] == pytest.approx(np.mean([c.fixed[-1] for c in curves["tanbr"]]), rel=1e-6)
    assert line.legendgroup is None  # no policy: a click on one leaves it
    assert "best fixed" not in " ".join(t.name for t in regret.cumulative(curves, LOOKS).data)


def test_a_crowd_hides_single_seeds_and_keeps_the_means(curves) -> None:
    many = {f"p{i}": curves["tanbr"] for i in range(7)}
    names = [t.name for t in regret.cumulative(many, style.looks(list(many))).data]
    assert names == sorted(many)
    few = [t.name for t in regret.cumulative({"p0": curves["tanbr"]}, style.looks(["p0"])).data]
    assert few.count("p0, one seed") == 2


def test_the_floor_stands_beside_the_error(curves) -> None:
    fig = regret.context_error(curves, LOOKS)
    floor = named(fig, "sampling floor: a perfect estimate")
    mine = np.mean([c.floor for c in curves["tanbr"]], axis=0)
    np.testing.assert_allclose(floor.y, mine, rtol=1e-5)
    assert np.nanmax(floor.y) < np.nanmax(named(fig, "tanbr").y)


def test_the_cells_of_where_it_is_lost_are_in_points() -> None:
    values = np.array([[0.051, np.nan], [-0.02, -0.0001]])
    fig = regret.where(["tanbr", "top2"], ["even", "odd"], values, "t")
    cells = fig.data[0]
    assert [list(row) for row in cells.text] == [["5.1", ""], ["\N{MINUS SIGN}2.0", "0.0"]]
    assert list(cells.x) == ["even", "odd"]
    assert (cells.zmin, cells.zmax) == (pytest.approx(-5.1), pytest.approx(5.1))


def test_parts_are_drawn_in_the_order_given() -> None:
    lines = {"mood": [np.arange(4.0), np.arange(4.0) + 1], "form": [np.ones(4)]}
    fig = regret.grown_parts(lines, "t")
    assert [t.name for t in fig.data] == ["mood", "form"]
    np.testing.assert_allclose(fig.data[0].y, np.arange(4.0) + 0.5)


def test_many_parts_have_no_bands() -> None:
    lines = {f"n{i}": [np.arange(4.0) + i + s for s in range(5)] for i in range(5)}
    few = dict(list(lines.items())[:4])
    assert [t.name for t in regret.grown_parts(lines, "t").data] == list(lines)
    assert len(regret.grown_parts(few, "t").data) > len(few)


def aligned(level: float, jump: float) -> np.ndarray:
    return np.where(np.arange(BEFORE + 40) < BEFORE, level, level + jump)


def test_the_change_is_not_smoothed_away() -> None:
    fig = drift.around({"tanbr": [aligned(0.1, 0.3)] * 2}, {}, LOOKS)
    line = named(fig, "tanbr")
    assert line.x[BEFORE] == 0.0
    np.testing.assert_allclose(line.y[[BEFORE - 1, BEFORE]], [10.0, 40.0], rtol=1e-6)


def test_seeds_weigh_by_what_they_measured() -> None:
    one, two = aligned(0.1, 0.0), np.full(BEFORE + 40, np.nan)
    two[0] = 0.3
    line = named(drift.around({"tanbr": [one, two]}, {}, LOOKS), "tanbr")
    assert line.y[5] == pytest.approx(10.0)
    assert line.y[0] == pytest.approx((10.0 + 10.0 + 30.0) / 3)  # slots -20 and -19


def test_detections_are_marked_at_their_median_and_summed_below() -> None:
    delays = {"tanbr": np.array([2.0, 4.0, 9.0, np.nan]), "top2": np.array([np.nan] * 4)}
    lines = {policy: [aligned(0.1, 0.3)] for policy in ("tanbr", "top2", "uniform")}
    fig = drift.around(lines, delays, LOOKS)
    assert list(named(fig, "tanbr, noticed").x) == [4.0]
    assert "3 of 4 changes" in named(fig, "tanbr, noticed").text[0]
    share = named(fig, "tanbr, share noticed")
    assert [share.y[i] for i in (1, 2, 4, 30)] == [0.0, 25.0, 50.0, 75.0]
    names = [t.name for t in fig.data]
    assert "top2, noticed" not in names  # it looked, and missed all
    assert named(fig, "top2, share noticed").y[-1] == 0.0
    assert "uniform, share noticed" not in names  # it does not look


def test_empty_figures_say_why(curves) -> None:
    nothing = np.full(BEFORE + 40, np.nan)
    said = drift.around({"tanbr": [nothing]}, {}, LOOKS).layout.annotations[0].text
    assert "No node changed its mix" in said
    blind = [replace(c, context_tv=np.full_like(c.context_tv, np.nan)) for c in curves["tanbr"]]
    text = regret.context_error({"tanbr": blind}, LOOKS).layout.annotations[0].text
    assert "No policy" in text
