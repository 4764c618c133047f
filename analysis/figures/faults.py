"""Figures of faults: what broke, where and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import style
from analysis.metrics import BY_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

    from analysis.outages import Span

MOST_ROWS = 60  # places in one timeline
_TIME = BY_KEY["latency_mean_s"]  # writes seconds
# muted, so that no fault is taken for a policy; what is down is darker than what is only worse
COLORS: Mapping[str, str] = {
    "node-crash": "#7A2E2E", "link-down": "#2E4A7A", "link-slow": "#7FA3D1",
    "link-lossy": "#9BC4C9", "storage-slow": "#C9A66B", "expert-lost": "#8C6BB1",
    "expert-corrupt": "#C994C7", "telemetry-loss": "#9AA0A6", "feedback-spoiled": "#6B8E5A",
}  # fmt: skip


def timeline(found: Sequence[Span], end_s: float, drift_s: Sequence[float] = ()) -> go.Figure:
    """Draw every fault as a bar from its beginning to its end, a row per place.

    Args:
        found: The intervals.
        end_s: End of the run.
        drift_s: Moments when mixes changed, marked by dotted lines.
    """
    places = list(dict.fromkeys(span.place for span in found))[:MOST_ROWS]
    if not places:
        return style.empty("Nothing broke.")
    height = int(np.clip(150 + 24 * len(places), 220, 1100))
    fig = style.figure("What broke, and when", "Time (s)", "", height=height, barmode="overlay")
    for kind in dict.fromkeys(span.kind for span in found):
        mine = [span for span in found if span.kind == kind and span.place in places]
        if mine:
            _bars(fig, kind, mine)
    fig.update_xaxes(range=[0, end_s])
    fig.update_yaxes(
        type="category", categoryorder="array", range=[len(places) - 0.5, -0.5], nticks=MOST_ROWS,
        categoryarray=[style.plain(place) for place in places],
    )  # fmt: skip
    style.moments(fig, [(t_s, "drift") for t_s in drift_s])
    return fig


def _bars(fig: go.Figure, kind: str, mine: Sequence[Span]) -> None:
    from_s, until_s = (
        np.array([getattr(span, name) for span in mine]) for name in ("from_s", "until_s")
    )
    fig.add_bar(
        y=[style.plain(span.place) for span in mine], base=style.light(from_s),
        x=style.light(until_s - from_s), orientation="h", name=kind, width=0.7, showlegend=True,
        marker={"color": COLORS[kind], "line": {"width": 0}}, opacity=0.85,
        text=[f"{_TIME.text(s.from_s)} to {_TIME.text(s.until_s)}" for s in mine],
        textposition="none",
        hovertemplate=f"%{{y}}: {kind}, %{{text}}<extra></extra>",
    )  # fmt: skip


def bands(fig: go.Figure, found: Sequence[Span]) -> go.Figure:
    """Mark faults on a heat map of nodes: a line over their rows while they hold, with names."""
    if not (found and fig.data):
        return fig
    for kind in dict.fromkeys(span.kind for span in found):
        mine = [span for span in found if span.kind == kind]
        x = [value for span in mine for value in (span.from_s, span.until_s, np.nan)]
        rows = [style.plain(span.place) for span in mine for _ in range(3)]
        fig.add_scatter(
            x=style.light(np.array(x)), y=rows, mode="lines+markers", name=kind, showlegend=True,
            connectgaps=False, line={"width": 5, "color": COLORS[kind]},
            marker={"symbol": "line-ns", "size": 12, "color": COLORS[kind],
                    "line": {"width": 2.4, "color": COLORS[kind]}},
            hovertemplate=f"%{{y}}, %{{x:.5~g}} s: {kind}<extra></extra>",
        )  # fmt: skip
    return fig
