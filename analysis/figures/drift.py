"""Figures of drift: what a change of the world costs, and when it is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.drift import BEFORE, WINDOW
from analysis.figures import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

    from analysis.figures.style import Look, Looks
    from sim.arrays import FloatArray

_SMOOTH = 3  # slots
_LOWER = 0.24  # share of the height that shows the detections


def around(
    regret: Mapping[str, Sequence[FloatArray]], delays: Mapping[str, FloatArray], looks: Looks
) -> go.Figure:
    """Draw mean regret by slots since a change, and the share of changes noticed by then.

    Args:
        regret: Policy -> one line per seed, see `analysis.drift.aligned`.
        delays: Policy -> slots to the first detection of every change of every seed, NaN where
            missed; policies that do not look are left out.
        looks: Policy -> its signs.
    """
    title = "Regret around a change (points, mean over nodes, changes and seeds)"
    fig = style.figure(title, "Slots since the change", "Regret (points)", height=560)
    for policy in sorted(regret):
        mean = _mean(regret[policy])
        if np.isfinite(mean).any():
            _line(fig, policy, mean, looks[policy])
            _noticed_at(fig, policy, mean, delays.get(policy), looks[policy])
    if not fig.data:
        return style.empty("No node changed its mix while it was served.")
    fig.update_yaxes(zeroline=True)
    style.vertical(fig, 0.0, "change", dash="dot")
    _shares(fig, delays, looks)
    return fig


def _mean(lines: Sequence[FloatArray]) -> FloatArray:
    """Return the mean over seeds, over three slots each, never across the change."""
    stacked = 100.0 * np.stack(list(lines))
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    count = known.sum(axis=0).astype(np.float64)
    out = np.full(len(total), np.nan)
    for place in range(len(total)):
        low, high = (0, BEFORE) if place < BEFORE else (BEFORE, len(total))
        near = slice(max(low, place - _SMOOTH // 2), min(high, place + _SMOOTH // 2 + 1))
        if count[place] > 0.0:
            out[place] = total[near].sum() / count[near].sum()
    return out


def _line(fig: go.Figure, policy: str, mean: FloatArray, look: Look) -> None:
    at = np.arange(len(mean)) - BEFORE
    fig.add_scatter(
        x=style.light(at), y=style.light(mean), mode="lines", name=style.plain(policy),
        legendgroup=policy, line={"color": look.color, "dash": look.dash, "width": 2.2},
        hovertemplate=f"{style.plain(policy)}, %{{x:+d}}: %{{y:.3~g}} points<extra></extra>",
    )  # fmt: skip


def _noticed_at(
    fig: go.Figure, policy: str, mean: FloatArray, delay: FloatArray | None, look: Look
) -> None:
    """Mark the median slot of the first detection on the policy's line."""
    seen = delay[np.isfinite(delay)] if delay is not None else np.empty(0)
    at = int(np.median(seen)) if len(seen) else 0
    if delay is None or not len(seen) or BEFORE + at >= len(mean):
        return
    said = f"noticed after {at} slots (median of {len(seen)} of {len(delay)} changes)"
    fig.add_scatter(
        x=style.light([at]), y=style.light([mean[BEFORE + at]]), mode="markers",
        name=f"{style.plain(policy)}, noticed", legendgroup=policy, showlegend=False,
        marker={"symbol": look.symbol, "size": 13, "color": look.color,
                "line": {"color": style.PAPER, "width": 1.5}},
        text=[f"{style.plain(policy)}: {said}"], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _shares(fig: go.Figure, delays: Mapping[str, FloatArray], looks: Looks) -> None:
    """Draw below, on the same axis, the share of changes that were noticed by then."""
    looking = [policy for policy in sorted(delays) if len(delays[policy])]
    if not looking:
        return
    at = np.arange(WINDOW + 1)
    for policy in looking:
        delay, look = delays[policy], looks[policy]
        share = [100.0 * float((delay <= slot).mean()) for slot in at]
        fig.add_scatter(
            x=style.light(at), y=style.light(share), mode="lines", yaxis="y2",
            name=f"{style.plain(policy)}, share noticed", legendgroup=policy, showlegend=False,
            line={"color": look.color, "dash": look.dash, "width": 2.0, "shape": "hv"},
            hovertemplate=f"{style.plain(policy)}: %{{y:.3~g}} % noticed within %{{x}} slots"
            "<extra></extra>",
        )  # fmt: skip
    fig.update_layout(
        yaxis={"domain": [_LOWER + 0.08, 1.0]},
        yaxis2={
            "domain": [0.0, _LOWER], "range": [-4.0, 104.0], "anchor": "x",
            "title": {"text": "Noticed (%)"}, "tickvals": [0, 50, 100],
        },
        xaxis={"anchor": "y2"},
    )  # fmt: skip
