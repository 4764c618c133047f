"""Figures of requests: tail of the latency, latency over time, where one request lost its time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.figures import style
from analysis.figures.compare import Axis
from analysis.metrics import BY_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

    from analysis.figures.style import Looks
    from analysis.queries import Tail
    from sim.records import Table

LATENCY = BY_KEY["latency_p99_s"]
# stages of a request's life; muted, so that no stage is taken for a policy
STAGES: Mapping[str, str] = {
    "dispatch": "#C9C3A5", "uplink": "#8FB0CF", "queue": "#E3A6A1", "expert stall": "#F1C98B",
    "compute": "#7D9C86", "rest of service": "#C8D6CC", "downlink": "#B3A7CF",
}  # fmt: skip


def tail(tails: Mapping[str, Tail], looks: Looks, deadlines_s: Sequence[float] = ()) -> go.Figure:
    """Draw which share of the returned requests took longer, both axes logarithmic."""
    if not tails:
        return style.empty("No request returned.")
    axis = Axis.of(LATENCY, (t.latency_s[-1] / 3.0 for t in tails.values() if len(t.latency_s)))
    fig = style.figure(
        f"Share of returned requests slower than a latency ({axis.unit})", "", "", height=480
    )
    ends = [end / axis.size for t in tails.values() for end in t.latency_s[[0, -1]]]
    fig.update_xaxes(**style.log_axis(f"Latency ({axis.unit})", min(ends), max(ends)))
    fig.update_yaxes(**style.log_axis("Share slower") | {"tickformat": "~p"})
    for policy in sorted(tails):
        found, look = tails[policy], looks[policy]
        fig.add_scatter(
            x=style.light(found.latency_s / axis.size), y=style.light(found.share), mode="lines",
            name=style.plain(policy), legendgroup=policy,
            line={"color": look.color, "dash": look.dash, "width": 2.2},
            hovertemplate=f"{style.plain(policy)}: %{{y:.3~p}} slower than %{{x:.4~g}} {axis.unit}"
            f"<extra>n = {found.n}</extra>",
        )  # fmt: skip
    for deadline_s in deadlines_s:
        style.vertical(
            fig, deadline_s / axis.size, f"deadline {LATENCY.text(deadline_s)}", style.BAD
        )
    return fig


def over_time(
    series: Mapping[str, Table],
    quantile: str,
    looks: Looks,
    marks: Sequence[tuple[float, str]] = (),
) -> go.Figure:
    """Draw a latency quantile (`p50`, `p95`, `p99`) by time of emission, pooled over seeds."""
    name = {"p50": "Median"}.get(quantile, quantile)
    axis = Axis.of(LATENCY, (float(np.nanmedian(rows[quantile])) for rows in series.values()))
    title = f"{name} latency by time of emission ({axis.unit})"
    fig = style.figure(title, "Time (s)", f"{name} latency ({axis.unit})", height=380)
    for policy in sorted(series):
        rows, look = series[policy], looks[policy]
        fig.add_scatter(
            x=style.light(rows["t_s"]), y=style.light(rows[quantile] / axis.size), mode="lines",
            name=style.plain(policy), legendgroup=policy,
            line={"color": look.color, "dash": look.dash, "width": 1.8},
            hovertemplate=f"{style.plain(policy)}, %{{x:.4~g}} s: "
            f"%{{y:.4~g}} {axis.unit}<extra></extra>",
        )  # fmt: skip
    top = max((float(np.nanmax(rows[quantile])) for rows in series.values()), default=0.0)
    low = min((float(np.nanmin(rows[quantile])) for rows in series.values()), default=0.0)
    if low > 0.0 and top > 20.0 * low:
        fig.update_yaxes(
            **style.log_axis(f"{name} latency ({axis.unit})", low / axis.size, top / axis.size)
        )
    else:
        fig.update_yaxes(rangemode="tozero")
    style.moments(fig, marks)
    return fig


# --- one request ----------------------------------------------------------------------------------


def segments(row: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Return (stage, start, length) in seconds after emission, for the stages that were reached.

    Within service the tables keep how long experts were waited for and how long was computed, not
    in which order layers alternated; the stall is drawn first.
    """
    emit = float(row["t_emit_s"])
    at = {
        k: float(row[f"t_{k}_s"]) - emit
        for k in ("dispatch", "enqueue", "start", "finish", "return")
    }
    stall, compute = (_zero(row[name]) for name in ("stall_s", "service_s"))
    found = [
        ("dispatch", 0.0, at["dispatch"]),
        ("uplink", at["dispatch"], at["enqueue"] - at["dispatch"]),
        ("queue", at["enqueue"], at["start"] - at["enqueue"]),
        ("expert stall", at["start"], stall),
        ("compute", at["start"] + stall, compute),
        (
            "rest of service",
            at["start"] + stall + compute,
            at["finish"] - at["start"] - stall - compute,
        ),
        ("downlink", at["finish"], at["return"] - at["finish"]),
    ]
    return [(stage, start, length) for stage, start, length in found if length > 1e-9]


def _zero(value: Any) -> float:
    found = float(value) if value is not None else 0.0
    return found if math.isfinite(found) else 0.0


def waterfall(
    title: str, rows: Mapping[str, Mapping[str, Any]], nodes: Mapping[int, str]
) -> go.Figure:
    """Draw one request's stages under every policy, from its emission on.

    Args:
        title: Plotly text.
        rows: Policy -> the request's stamps.
        nodes: Node id -> name.
    """
    policies = sorted(rows)
    parts = {policy: segments(rows[policy]) for policy in policies}
    ends = [start + length for found in parts.values() for _, start, length in found]
    axis = Axis.of(LATENCY, [max(ends, default=0.0)])
    fig = style.figure(
        f"{title}: time since emission ({axis.unit})", f"Time since emission ({axis.unit})", "",
        height=190 + 44 * len(policies), barmode="overlay", margin={"r": 210},
    )  # fmt: skip
    fig.update_yaxes(
        tickvals=list(range(len(policies))), ticktext=[style.plain(p) for p in policies],
        range=[len(policies) - 0.4, -0.85], showgrid=False, ticks="",
    )  # fmt: skip
    for stage in STAGES:
        _stage(fig, stage, policies, parts, axis)
    for place, policy in enumerate(policies):
        _fate(fig, place, rows[policy], nodes)
    deadline_s = _zero(rows[policies[0]]["deadline_s"])
    fig.update_xaxes(range=[0, 1.03 * max([*ends, deadline_s]) / axis.size])
    if deadline_s:
        text = f"deadline {LATENCY.text(deadline_s)}"
        style.vertical(fig, deadline_s / axis.size, text, style.BAD, layer="above")
    return fig


def _stage(
    fig: go.Figure, stage: str, policies: Sequence[str],
    parts: Mapping[str, Sequence[tuple[str, float, float]]], axis: Axis,
) -> None:  # fmt: skip
    found = [
        (place, start, length)
        for place, policy in enumerate(policies)
        for name, start, length in parts[policy]
        if name == stage
    ]
    if not found:
        return
    place, start, length = (np.array(column) for column in zip(*found, strict=True))
    fig.add_bar(
        y=style.light(place), base=style.light(start / axis.size),
        x=style.light(length / axis.size),
        orientation="h", name=stage, width=0.58,
        marker={"color": STAGES[stage], "line": {"width": 0}},
        text=[LATENCY.text(float(s)) for s in length], textposition="none",
        hovertemplate=f"{stage}: %{{text}}<extra></extra>",
    )  # fmt: skip


def _fate(fig: go.Figure, place: int, row: Mapping[str, Any], nodes: Mapping[int, str]) -> None:
    """Write at the right how the request ended, and where."""
    where = nodes.get(int(row["server"]), "no node")
    fig.add_annotation(
        x=1.01, xref="paper", y=place, text=f"{fate(row)}<br>{style.plain(where)}", showarrow=False,
        xanchor="left", align="left", font={"size": 12},
    )  # fmt: skip


def fate(row: Mapping[str, Any]) -> str:
    """Say in Plotly text how a request ended: latency and correctness, a drop, or in flight."""
    if row["drop"] is not None:
        why = str(row["drop"]).replace("_", " ")
        return f'<span style="color:{style.BAD}"><b>dropped: {why}</b></span>'
    latency = float(row["t_return_s"]) - float(row["t_emit_s"])
    if not math.isfinite(latency):
        return f'<span style="color:{style.BAD}"><b>never returned</b></span>'
    word = {1: ", right", 0: ", wrong"}.get(int(row["correct"]), "")
    batch = int(row["batch_size"])
    return f"<b>{LATENCY.text(latency)}</b>{word}" + (f", batch of {batch}" if batch > 1 else "")
