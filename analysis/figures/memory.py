"""Figures of memory: what fills a node over time, and how much each policy needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import style
from analysis.figures.compare import Axis, mean_of
from analysis.metrics import BY_KEY
from sim.records import MEMORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

    from analysis.compare import CompareTable
    from analysis.figures.style import Looks
    from sim.arrays import FloatArray

# muted, so that no category is taken for a policy
CATEGORY_COLORS: Mapping[str, str] = {
    "backbone": "#5D6B7E", "experts": "#8FB0CF", "merged": "#A8CDBB", "staging": "#F1C98B",
    "activations": "#C9B6DB", "router": "#E3A6A1", "kv": "#C9C3A5",
}  # fmt: skip
_OFF_SCALE = 2.5  # a capacity above this many peaks is named instead of drawn


def stacked(
    title: str,
    t_s: FloatArray,
    levels: FloatArray,
    capacity_bytes: float,
    marks: Sequence[tuple[float, str]] = (),
) -> go.Figure:
    """Draw resident bytes by category over time, stacked, against the node's capacity.

    Args:
        title: Plotly text that names policy and node.
        t_s: Times, (T,).
        levels: Bytes from each time on, (T, C) in the order of `sim.records.MEMORY`.
        capacity_bytes: Memory of the node.
        marks: Moments to name, such as a crash.
    """
    peak = float(levels.sum(axis=1).max(initial=0.0))
    axis = Axis.of(BY_KEY["memory_peak_bytes"], [peak])
    fig = style.figure(
        f"Memory of {title} ({axis.unit})", "Time (s)", f"Resident ({axis.unit})", height=440
    )
    for code, word in enumerate(MEMORY):
        if levels[:, code].any():
            fig.add_scatter(
                x=style.light(t_s), y=style.light(levels[:, code] / axis.size), mode="lines",
                name=word,
                stackgroup="memory",
                line={"width": 0.6, "shape": "hv", "color": CATEGORY_COLORS[word]},
                fillcolor=CATEGORY_COLORS[word],
                hovertemplate=f"{word}: %{{y:.4~g}} {axis.unit}<extra></extra>",
            )  # fmt: skip
    _capacity(fig, t_s, capacity_bytes, peak, axis)
    fig.update_layout(hovermode="x unified")
    style.moments(fig, marks)
    return fig


def _capacity(
    fig: go.Figure, t_s: FloatArray, capacity_bytes: float, peak: float, axis: Axis
) -> None:
    text = f"capacity {axis.metric.text(capacity_bytes)}"
    if capacity_bytes > _OFF_SCALE * peak:
        fig.add_annotation(
            x=1, y=1, xref="paper", yref="paper", xanchor="right", yanchor="top", showarrow=False,
            text=f"{text}, above this scale", font={"size": 12, "color": style.BAD},
            bgcolor="rgba(255,255,255,0.85)",
        )  # fmt: skip
        fig.update_yaxes(range=[0, 1.15 * peak / axis.size if peak else 1])
        return
    fig.add_scatter(
        x=style.light(t_s[[0, -1]]), y=style.light([capacity_bytes / axis.size] * 2), mode="lines",
        name=text,
        line={"color": style.BAD, "dash": "dash", "width": 1.6}, hoverinfo="skip",
    )  # fmt: skip
    fig.update_yaxes(range=[0, 1.08 * max(capacity_bytes, peak) / axis.size])


def footprint(table: CompareTable, looks: Looks) -> go.Figure:
    """Draw memory per policy: the mean filled, the peak open, a line between, a dot per seed."""
    mean, peak = BY_KEY["memory_mean_bytes"], BY_KEY["memory_peak_bytes"]
    rows = sorted(
        (row for row in table.rows if math.isfinite(mean_of(row, peak))),
        key=lambda row: mean_of(row, peak),
    )
    if not rows:
        return style.empty("No node keeps a memory ledger in this run.")
    axis = Axis.of(peak, (mean_of(row, peak) for row in rows))
    fig = style.figure(
        f"Memory per routed node ({axis.unit}): mean over time, and peak",
        f"Resident ({axis.unit})", "",
        height=140 + 44 * len(rows), showlegend=False, margin={"t": 60},
    )  # fmt: skip
    fig.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[style.plain(row.policy) for row in rows],
        range=[len(rows) - 0.5, -0.5], ticks="",
    )  # fmt: skip
    fig.update_xaxes(rangemode="tozero")
    for place, row in enumerate(rows):
        look = looks[row.policy]
        ends = [mean_of(row, mean) / axis.size, mean_of(row, peak) / axis.size]
        fig.add_scatter(
            x=style.light(ends), y=style.light([place, place]), mode="lines+markers",
            name=style.plain(row.policy), legendgroup=row.policy,
            line={"color": look.fill(0.6), "width": 3},
            marker={
                "symbol": [look.symbol, f"{look.symbol}-open"], "size": 12, "color": look.color,
                "opacity": 1, "line": {"width": 2, "color": look.color},
            },
            text=[f"mean {row.cells[mean.key].text}", f"peak {row.cells[peak.key].text}"],
            hovertemplate=f"{style.plain(row.policy)}: %{{text}}<extra></extra>",
        )  # fmt: skip
        _seeds(fig, place, row.policy, [row.cells[m.key].values for m in (mean, peak)], axis, looks)
    return fig


def _seeds(
    fig: go.Figure,
    place: int,
    policy: str,
    values: Sequence[Mapping[int, float]],
    axis: Axis,
    looks: Looks,
) -> None:
    """Add the seeds as small dots; that they hardly spread is worth seeing."""
    dots = np.array([v for by_seed in values for v in by_seed.values()]) / axis.size
    fig.add_scatter(
        x=style.light(dots), y=style.light(np.full(len(dots), place + 0.26)), mode="markers",
        name=f"{style.plain(policy)}, seeds", legendgroup=policy, hoverinfo="skip",
        marker={"size": 4, "color": looks[policy].fill(0.5), "symbol": looks[policy].symbol},
    )  # fmt: skip
