"""Figures of learning: cumulative regret with its band over seeds, its parts, and context error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import style
from analysis.metrics import MINUS
from analysis.regret import Curve, band
from analysis.stats import FEW

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from analysis.figures.style import Look, Looks
    from sim.arrays import FloatArray

Curves = Mapping[str, Sequence[Curve]]  # policy -> one per seed
Marks = Sequence[tuple[float, str]]  # slot, word
MOST_PARTS = 24  # columns of the table of parts
MOST_BANDS = 4  # parts above which their bands would hide the lines
_CROWD = 6  # policies above which single seeds are not drawn
_ASIDE = "#7C8796"  # what is no policy


def cumulative(
    curves: Curves,
    looks: Looks,
    kind: str = "realised",
    log: bool = False,
    marks: Marks = (),
    fixed: Sequence[Curve] = (),
) -> go.Figure:
    """Draw cumulative regret per node over slots: mean, band (from five seeds on), thin seed lines.

    Args:
        curves: Policy -> curves, one per seed.
        looks: Policy -> its signs.
        kind: `realised` or `expected`.
        log: Logarithmic axes; parts at or below zero cannot be drawn there.
        marks: Moments to name, such as a drift.
        fixed: Curves of one policy, whose `fixed` is drawn as the comparator.
    """
    what = {"realised": "Cumulative regret", "expected": "Cumulative expected regret"}[kind]
    title = f"{what} per node (accuracy summed over slots)"
    fig = style.figure(title, "Slot", "Accuracy, summed over slots", height=480)
    for policy in sorted(curves):
        series = [getattr(curve, kind) for curve in curves[policy]]
        if any(np.isfinite(line).any() for line in series):
            _bundle(fig, policy, curves[policy][0].slot, series, looks[policy], log)
            _thin_out(fig, policy, len(curves))
    _comparator(fig, fixed, log)
    if not fig.data:
        return style.empty(f"{what}: no node-slot was measured in these trials.")
    if log:
        fig.update_xaxes(**style.log_axis("Slot"))
        fig.update_yaxes(**style.log_axis("Accuracy, summed over slots"))
        _guides(fig, curves, kind)
    else:
        fig.update_yaxes(zeroline=True)
    style.moments(fig, [(max(slot, 1.0), word) for slot, word in marks])
    return fig


def _bundle(
    fig: go.Figure,
    policy: str,
    slot: FloatArray,
    series: Sequence[FloatArray],
    look: Look,
    log: bool,
) -> None:
    """Add band, seed lines and mean of one policy."""
    found = band(series)
    kept = style.thin_peaks(found.mean)
    lines: list[tuple[str, FloatArray, dict[str, object]]] = []
    if found.n >= FEW:
        lines += [(", 95 % low", found.low, {"line_width": 0})]
        filled = {"line_width": 0, "fill": "tonexty", "fillcolor": look.fill(0.16)}
        lines += [(", 95 % high", found.high, filled)]
    faint: dict[str, object] = {"line": {"color": look.fill(0.3), "width": 0.8}}
    lines += [(", one seed", line, faint) for line in (series if found.n > 1 else ())]
    for word, values, how in lines:
        fig.add_scatter(
            x=style.light(slot[kept]), y=style.light(_above(values[kept], log)), mode="lines",
            name=style.plain(policy) + word, legendgroup=policy, showlegend=False,
            hoverinfo="skip", **how,
        )  # fmt: skip
    fig.add_scatter(
        x=style.light(slot[kept]), y=style.light(_above(found.mean[kept], log)), mode="lines",
        name=style.plain(policy), legendgroup=policy, showlegend=True,
        line={"color": look.color, "dash": look.dash, "width": 2.4},
        hovertemplate=f"{style.plain(policy)}, slot %{{x}}: %{{y:.4~g}}"
        f"<extra>mean of {found.n}</extra>",
    )  # fmt: skip


def _thin_out(fig: go.Figure, policy: str, policies: int) -> None:
    """Hide single seeds in a crowd of policies: they would hide the means."""
    if policies > _CROWD:
        seeds = f"{style.plain(policy)}, one seed"
        fig.data = [trace for trace in fig.data if trace.name != seeds]


def _comparator(fig: go.Figure, fixed: Sequence[Curve], log: bool) -> None:
    """Draw the regret of the best fixed merge in hindsight."""
    known = [c.fixed for c in fixed if np.isfinite(c.fixed).any()]
    if not known:
        return
    kept = style.thin(len(fixed[0].slot))
    mean = band(known).mean[kept]
    fig.add_scatter(
        x=style.light(fixed[0].slot[kept]), y=style.light(_above(mean, log)), mode="lines",
        name="best fixed merge, in hindsight", line={"color": _ASIDE, "width": 3, "dash": "dot"},
        hovertemplate="best fixed merge, slot %{x}: %{y:.4~g}"
        f"<extra>mean of {len(known)}</extra>",
    )  # fmt: skip


def _above(values: FloatArray, log: bool) -> FloatArray:
    return np.where(values > 0.0, values, np.nan) if log else values


def _guides(fig: go.Figure, curves: Curves, kind: str) -> None:
    """Draw slopes 1 (nothing learnt any more) and 0.5 through the middle of the figure."""
    ends = [getattr(c, kind)[-1] for lines in curves.values() for c in lines]
    ends = [end for end in ends if np.isfinite(end) and end > 0.0]
    if not ends:
        return
    last = float(next(iter(curves.values()))[0].slot[-1])
    x = np.array([max(1.0, last / 10.0), last])
    for slope, dash in ((1.0, "9px,4px"), (0.5, "dot")):
        fig.add_scatter(
            x=style.light(x), y=style.light(1.6 * max(ends) * (x / last) ** slope), mode="lines",
            name=f"slope {slope:g}", line={"color": "#98A2B0", "width": 1.2, "dash": dash},
            hoverinfo="skip",
        )  # fmt: skip


def grown_parts(
    series: Mapping[str, Sequence[FloatArray]], title: str, marks: Marks = ()
) -> go.Figure:
    """Draw cumulative regret of parts (contexts or nodes) of one policy: mean and band over seeds.

    Args:
        series: Part -> one (K,) line per seed that has the part, in the order of the legend.
        title: Plotly text.
        marks: Moments to name.
    """
    fig = style.figure(title, "Slot", "Accuracy, summed over slots", height=440)
    for place, (part, lines) in enumerate(series.items()):
        look = style.place_look(place)
        _bundle(fig, part, np.arange(1.0, len(lines[0]) + 1.0), lines, look, log=False)
        _thin_out(fig, part, _CROWD + 1)  # bands overlap enough
    if len(series) > MOST_BANDS:
        fig.data = [trace for trace in fig.data if trace.showlegend]
    if not fig.data:
        return style.empty("No node-slot was served.")
    fig.update_yaxes(zeroline=True)
    style.moments(fig, marks)
    return fig


def where(
    policies: Sequence[str], names: Sequence[str], values: FloatArray, title: str
) -> go.Figure:
    """Draw mean regret as a table of coloured cells, a row per policy and a column per part.

    Args:
        policies: Rows, from the top.
        names: Columns, Plotly text.
        values: Mean regret, (policies, parts), NaN where nothing was served.
        title: Plotly text.
    """
    shown = 100.0 * values
    most = float(np.nanmax(np.abs(shown), initial=1.0))
    fig = style.figure(title, "", "", height=130 + 30 * len(policies), margin={"t": 56, "l": 130})
    fig.add_heatmap(
        z=style.light(shown), x=list(names),
        y=[style.plain(p) for p in policies],
        zmin=-most, zmax=most, xgap=2, ygap=2, showscale=False,
        colorscale=[[0.0, "#3C8DC4"], [0.5, "#FFFFFF"], [1.0, "#E0702F"]],
        text=[[_points(v) for v in row] for row in shown],
        texttemplate="%{text}", textfont={"size": 11 if len(names) > 12 else 12},
        hovertemplate="%{y}, %{x}: %{z:.3~g} points<extra></extra>",
    )  # fmt: skip
    fig.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    fig.update_xaxes(showgrid=False, ticks="", side="bottom", type="category")
    return fig


def _points(value: float) -> str:
    """Write a regret in points with one decimal, nothing where there is none."""
    return "" if np.isnan(value) else f"{round(value, 1) + 0.0:.1f}".replace("-", MINUS)


def context_error(curves: Curves, looks: Looks, marks: Marks = ()) -> go.Figure:
    """Draw the distance between a router's estimate of the mix and the mix served, over slots."""
    title = "Context error per slot (total variation, 0 to 1)"
    fig = style.figure(title, "Slot", "Total variation", height=360)
    for policy in sorted(curves):
        series = [curve.context_tv for curve in curves[policy]]
        if any(np.isfinite(line).any() for line in series):
            _bundle(fig, policy, curves[policy][0].slot, series, looks[policy], log=False)
            _thin_out(fig, policy, len(curves))
    if not fig.data:
        return style.empty("No policy of this run keeps an estimate of the mix.")
    _floor(fig, curves)
    fig.update_yaxes(rangemode="tozero")
    style.moments(fig, marks)
    return fig


def _floor(fig: go.Figure, curves: Curves) -> None:
    """Draw what even a perfect estimate would be off by: it hardly depends on the policy."""
    lines = [c.floor for many in curves.values() for c in many if np.isfinite(c.floor).any()]
    if not lines:
        return
    known = np.isfinite(np.stack(lines)).any(axis=0)
    mean = np.full(len(lines[0]), np.nan)
    mean[known] = np.nanmean(np.stack(lines)[:, known], axis=0)
    kept = style.thin(len(mean))
    fig.add_scatter(
        x=style.light(np.arange(1.0, len(mean) + 1.0)[kept]), y=style.light(mean[kept]),
        mode="lines", name="sampling floor: a perfect estimate", fill="tozeroy",
        fillcolor="rgba(124,135,150,0.14)", line={"color": _ASIDE, "width": 1.6, "dash": "dot"},
        hovertemplate="sampling floor, slot %{x}: %{y:.3~g}<extra></extra>",
    )  # fmt: skip
