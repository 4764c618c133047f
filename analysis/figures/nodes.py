"""Figures of the fleet: a quantity by node and time, and the map of nodes and links."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.figures import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

    from sim.arrays import FloatArray

MOST_ROWS = 400  # nodes in one heat map
MOST_PLACES = 1000  # nodes on the map; above, the fleet is a mosaic without links
_FORCED = 400  # nodes up to which the map is relaxed; above, nodes stand on a circle


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a heat map shows: name, unit, factor, colours; `signed` has its middle at zero."""

    key: str
    title: str
    unit: str
    factor: float
    colors: str
    signed: bool = False


QUANTITIES = (
    Quantity("utilisation", "Utilisation", "% of server time", 100.0, "Blues"),
    Quantity("queue", "Most requests in system", "requests", 1.0, "Oranges"),
    Quantity("reward", "Reward", "% right", 100.0, "Viridis"),
    Quantity("regret", "Regret", "accuracy points", 100.0, "RdBu_r", signed=True),
    Quantity("dropped", "Dropped", "requests", 1.0, "Reds"),
)


def limits(values: Sequence[FloatArray], quantity: Quantity) -> tuple[float, float]:
    """Return the range of the colours that all policies of a case share."""
    known = np.concatenate([v[np.isfinite(v)].ravel() for v in values]) * quantity.factor
    if len(known) == 0:
        return (0.0, 1.0)
    if quantity.signed:
        most = float(np.quantile(np.abs(known), 0.99)) or 1.0
        return (-most, most)
    if quantity.key == "utilisation":
        return (0.0, 100.0)
    low = float(known.min()) if quantity.key == "reward" else 0.0
    return (low, max(float(np.quantile(known, 0.999)), low + 1.0))


def heat(
    title: str, t_s: FloatArray, names: Sequence[str], values: FloatArray, quantity: Quantity,
    span: tuple[float, float],
) -> go.Figure:  # fmt: skip
    """Draw a quantity by node (rows, as given from the top) and time.

    Args:
        title: Plotly text that names the policy.
        t_s: Start of each column, (T,).
        names: Node names, (N,).
        values: (N, T), NaN where nothing was served.
        quantity: What it is.
        span: Range of the colours.
    """
    shown = values * quantity.factor
    if not np.isfinite(shown).any():
        return style.empty(f"{quantity.title}: no value in this trial.")
    height = int(np.clip(170 + 24 * len(names), 320, 1100))
    fig = style.figure(
        f"{quantity.title} ({quantity.unit}), {title}", "Time (s)", "", height=height
    )
    fig.add_heatmap(
        x=style.light(t_s), y=[style.plain(name) for name in names], z=style.light(shown),
        name=quantity.title, zmin=span[0], zmax=span[1], colorscale=quantity.colors,
        hoverongaps=False, ygap=1 if len(names) <= 60 else 0,
        colorbar={
            "title": {"text": quantity.unit, "side": "right", "font": {"size": 12}},
            "thickness": 14, "len": 1, "ypad": 0, "outlinewidth": 0,
        },
        hovertemplate=f"%{{y}}, %{{x:.5~g}} s: %{{z:.4~g}} {quantity.unit}<extra></extra>",
    )  # fmt: skip
    fig.update_yaxes(type="category", range=[len(names) - 0.5, -0.5], showgrid=False, nticks=50)
    fig.update_xaxes(showgrid=False)
    return fig


# --- map ------------------------------------------------------------------------------------------


def positions(nodes: int, links: Sequence[tuple[int, int]]) -> FloatArray:
    """Return a place for every node, (N, 2), by springs; the same links give the same map.

    Source: Fruchterman and Reingold 1991. Deviation: linear cooling, 120 rounds, no grid.
    """
    angle = 2.0 * np.pi * np.arange(nodes) / max(nodes, 1)
    place = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    if nodes > _FORCED or nodes < 3 or not links:
        return place
    adjacent = np.zeros((nodes, nodes))
    for a, b in links:
        adjacent[a, b] = adjacent[b, a] = 1.0
    ideal = 1.6 / math.sqrt(nodes)
    for heat_left in np.linspace(0.15, 0.002, 120):
        away = place[:, None, :] - place[None, :, :]
        distance = np.maximum(np.linalg.norm(away, axis=2), 1e-3)
        force = ideal**2 / distance**2 - adjacent * distance / ideal
        np.fill_diagonal(force, 0.0)
        push = (away * force[:, :, None]).sum(axis=1)
        length = np.maximum(np.linalg.norm(push, axis=1, keepdims=True), 1e-9)
        place = place + push / length * np.minimum(length, heat_left)
    centred: FloatArray = place - place.mean(axis=0)
    return centred


def fleet_map(
    title: str, meta: Mapping[str, Any], place: FloatArray, level: FloatArray, quantity: Quantity,
    span: tuple[float, float],
) -> go.Figure:  # fmt: skip
    """Draw nodes and links; colour is a node's mean of a quantity, grey where it has none."""
    fig = style.figure(f"{quantity.title}, mean over time, {title}", "", "", height=420)
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False, scaleanchor="x", scaleratio=1)
    fig.update_layout(margin={"l": 20, "r": 20, "b": 30, "t": 56}, showlegend=False)
    rank = {int(node["id"]): i for i, node in enumerate(meta["nodes"])}
    ends = sorted(
        {tuple(sorted((rank[int(k["src"])], rank[int(k["dst"])]))) for k in meta["links"]}
    )
    gap = np.array([[np.nan, np.nan]])
    lines = [np.concatenate((place[list(pair)], gap)) for pair in ends]
    drawn = np.concatenate(lines) if lines else gap
    fig.add_scatter(
        x=style.light(drawn[:, 0]), y=style.light(drawn[:, 1]), mode="lines", name="links",
        hoverinfo="skip",
        line={"color": "#C3CAD4", "width": 1.2},
    )  # fmt: skip
    _nodes(fig, meta["nodes"], place, level * quantity.factor, quantity, span)
    return fig


def mosaic(
    title: str, nodes: Sequence[Mapping[str, Any]], level: FloatArray, quantity: Quantity,
    span: tuple[float, float],
) -> go.Figure:  # fmt: skip
    """Draw a square per node, row by row in the order given; colour as in `fleet_map`.

    Args:
        title: Plotly text that names the policy.
        nodes: Facts of the nodes, (N,).
        level: Each node's mean of the quantity, (N,), NaN where it has none.
        quantity: What it is.
        span: Range of the colours.
    """
    fig = style.figure(f"{quantity.title}, mean over time, {title}", "", "", height=420)
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False, scaleanchor="x", scaleratio=1, autorange="reversed")
    fig.update_layout(margin={"l": 20, "r": 20, "b": 30, "t": 56})
    side = math.ceil(math.sqrt(len(nodes)))
    cells = np.full(side * side, np.nan)
    cells[: len(nodes)] = level * quantity.factor
    names = [style.plain(node["name"]) for node in nodes] + [""] * (side * side - len(nodes))
    rows = [names[first : first + side] for first in range(0, side * side, side)]
    fig.add_heatmap(
        z=style.light(cells.reshape(side, side)), hovertext=rows, name=quantity.title,
        zmin=span[0], zmax=span[1], colorscale=quantity.colors, hoverongaps=False, showscale=False,
        hovertemplate=f"%{{hovertext}}: %{{z:.4~g}} {quantity.unit}<extra></extra>",
    )  # fmt: skip
    return fig


def _nodes(
    fig: go.Figure, nodes: Sequence[Mapping[str, Any]], place: FloatArray, level: FloatArray,
    quantity: Quantity, span: tuple[float, float],
) -> None:  # fmt: skip
    known = np.isfinite(level)
    size = 26 if len(nodes) <= 16 else 16 if len(nodes) <= 60 else 9
    names = [style.plain(node["name"]) for node in nodes]
    marker = {
        "size": size, "symbol": ["circle" if node["routed"] else "square" for node in nodes],
        "line": {"color": style.INK, "width": 1},
    }  # fmt: skip
    words = [
        f"<b>{name}</b> ({style.plain(node['group'])})<br>{style.plain(node['hardware'])}, "
        f"{node['servers']} server(s)<br>{quantity.title}: "
        + (f"{value:.3g} {quantity.unit}" if math.isfinite(value) else "no value")
        for name, node, value in zip(names, nodes, level, strict=True)
    ]
    at = {"x": style.light(place[:, 0]), "y": style.light(place[:, 1])}
    mode = "markers+text" if len(nodes) <= 40 else "markers"
    fig.add_scatter(
        name="nodes", marker={**marker, "color": "#EEF1F5"}, text=names, hoverinfo="skip",
        mode=mode,
        textposition="bottom center", textfont={"size": 11}, cliponaxis=False, **at,
    )  # fmt: skip
    shade = {"color": style.light(np.where(known, level, np.nan)), "colorscale": quantity.colors}
    shade |= {"cmin": span[0], "cmax": span[1], "opacity": [1.0 if k else 0.0 for k in known]}
    fig.add_scatter(
        mode="markers", name=quantity.title, text=words, hovertemplate="%{text}<extra></extra>",
        marker={**marker, **shade}, **at,
    )  # fmt: skip
