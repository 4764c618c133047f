"""Figures of learning: cumulative regret with its band over seeds, and the error of the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import style
from analysis.regret import Curve, band
from analysis.stats import FEW

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from analysis.figures.style import Look, Looks
    from sim.arrays import FloatArray

Curves = Mapping[str, Sequence[Curve]]  # policy -> one per seed
Marks = Sequence[tuple[float, str]]  # slot, word


def cumulative(
    curves: Curves, looks: Looks, kind: str = "realised", log: bool = False, marks: Marks = ()
) -> go.Figure:
    """Draw cumulative regret per node over slots: mean, band (from five seeds on), thin seed lines.

    Args:
        curves: Policy -> curves, one per seed.
        looks: Policy -> its signs.
        kind: `realised` or `expected`.
        log: Logarithmic axes; parts at or below zero cannot be drawn there.
        marks: Moments to name, such as a drift.
    """
    what = {"realised": "Cumulative regret", "expected": "Cumulative expected regret"}[kind]
    title = f"{what} per node (accuracy summed over slots)"
    fig = style.figure(title, "Slot", "Accuracy, summed over slots", height=480)
    for policy in sorted(curves):
        series = [getattr(curve, kind) for curve in curves[policy]]
        if any(np.isfinite(line).any() for line in series):
            _bundle(fig, policy, curves[policy][0].slot, series, looks[policy], log)
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
    kept = style.thin(len(slot))
    found = band(series)
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


def context_error(curves: Curves, looks: Looks, marks: Marks = ()) -> go.Figure:
    """Draw the distance between a router's estimate of the mix and the mix served, over slots."""
    title = "Context error per slot (total variation, 0 to 1)"
    fig = style.figure(title, "Slot", "Total variation", height=360)
    for policy in sorted(curves):
        series = [curve.context_tv for curve in curves[policy]]
        if any(np.isfinite(line).any() for line in series):
            _bundle(fig, policy, curves[policy][0].slot, series, looks[policy], log=False)
    if not fig.data:
        return style.empty("No policy of this run keeps an estimate of the mix.")
    fig.update_yaxes(rangemode="tozero")
    style.moments(fig, marks)
    return fig
