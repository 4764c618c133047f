"""Figures that compare policies: what is traded for what, and whether a difference is real."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import style
from analysis.metrics import BY_KEY, MINUS, Metric
from analysis.stats import FEW, Paired

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import plotly.graph_objects as go

    from analysis.compare import Cell, CompareRow, CompareTable
    from analysis.figures.style import Looks

_SMALLEST, _LARGEST = 12.0, 42.0  # marker diameters, px
_CROWD = 6  # policies above which large markers would cover each other


@dataclass(frozen=True, slots=True)
class Axis:
    """A metric in the unit that suits all values of one figure."""

    metric: Metric
    size: float
    unit: str

    @classmethod
    def of(cls, metric: Metric, values: Iterable[float]) -> Axis:
        """Choose the unit by the largest of some values."""
        largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
        return cls(metric, *metric.scale(largest))

    @property
    def title(self) -> str:
        """Return the axis title, unit in brackets."""
        return f"{self.metric.title} ({self.unit})" if self.unit else self.metric.title


def mean_of(row: CompareRow, metric: Metric) -> float:
    """Return a policy's mean of a metric, NaN where it has none."""
    cell = row.cells.get(metric.key)
    return cell.interval.mean if cell and cell.interval else math.nan


# --- Pareto
# ----------------------------------------------------------------------------------------


def pareto(
    table: CompareTable,
    looks: Looks,
    latency: Metric,
    quality: Metric,
    deadlines_s: Sequence[float] = (),
) -> go.Figure:
    """Draw latency against quality: a dot per seed, a cross of 95 % intervals, area by peak memory.

    Unstable policies have no latency and are left out; the page says which.
    """
    rows = [r for r in table.rows if math.isfinite(mean_of(r, latency) + mean_of(r, quality))]
    if not rows:
        return style.empty(f"No stable policy has both {latency.title} and {quality.title}.")
    x = Axis.of(latency, (mean_of(row, latency) for row in rows))
    y = Axis.of(quality, (mean_of(row, quality) for row in rows))
    fig = style.figure(f"{y.title} against {x.title}", x.title, y.title, height=520)
    _front(fig, rows, x, y)
    memory = Axis.of(
        BY_KEY["memory_peak_bytes"], (mean_of(r, BY_KEY["memory_peak_bytes"]) for r in rows)
    )
    heaviest = max((mean_of(row, memory.metric) for row in rows), default=math.nan)
    largest = _LARGEST if len(rows) <= _CROWD else 0.7 * _LARGEST
    for row in sorted(rows, key=lambda row: row.policy):
        _pareto_seeds(fig, row, looks, x, y)
        _pareto_mean(fig, row, looks, (x, y), (memory.metric, heaviest / largest**2))
    fig.update_xaxes(rangemode="tozero")
    if all(mean_of(row, quality) == 0.0 for row in rows):
        fig.update_yaxes(range=[-0.04, 1.0])  # else half of the axis is below nothing
    means = [mean_of(row, latency) for row in rows]
    if style.wide(means):
        fig.update_xaxes(**style.log_axis(x.title, min(means) / x.size, max(means) / x.size))
    for deadline_s in deadlines_s:
        style.vertical(fig, deadline_s / x.size, f"deadline {latency.text(deadline_s)}", style.BAD)
    return fig


def _front(fig: go.Figure, rows: Sequence[CompareRow], x: Axis, y: Axis) -> None:
    """Join the policies that no other beats on both counts."""
    sign = -1.0 if y.metric.direction == "higher" else 1.0
    points = sorted((mean_of(row, x.metric), sign * mean_of(row, y.metric)) for row in rows)
    front, best = [], math.inf
    for across, up in points:
        if up < best:
            best = up
            front.append((across / x.size, sign * up / y.size))
    if len(front) < 2:
        return
    at, height = zip(*front, strict=True)
    fig.add_scatter(
        x=style.light(at), y=style.light(height), mode="lines", name="not beaten on both",
        line={"color": "#AAB3BF", "width": 1.5, "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip


def _pareto_seeds(fig: go.Figure, row: CompareRow, looks: Looks, x: Axis, y: Axis) -> None:
    across, up = row.cells[x.metric.key].values, row.cells[y.metric.key].values
    seeds = [seed for seed in across if seed in up]
    look = looks[row.policy]
    fig.add_scatter(
        x=style.light([across[s] / x.size for s in seeds]),
        y=style.light([up[s] / y.size for s in seeds]),
        mode="markers", name=f"{style.plain(row.policy)}, seeds", legendgroup=row.policy,
        showlegend=False,
        marker={"symbol": look.symbol, "size": 5, "color": look.fill(0.55)},
        text=[f"{style.plain(row.policy)}, seed {seed}" for seed in seeds],
        hovertemplate=f"%{{text}}<br>%{{x:.4~g}} {x.unit}, %{{y:.4~g}} {y.unit}<extra></extra>",
    )  # fmt: skip


def _pareto_mean(
    fig: go.Figure,
    row: CompareRow,
    looks: Looks,
    axes: tuple[Axis, Axis],
    area: tuple[Metric, float],
) -> None:
    """Draw a policy's mean; `area` is the metric that it stands for, and its amount per px^2."""
    (x, y), (memory, per_area) = axes, area
    look, weight = looks[row.policy], mean_of(row, memory)
    known = math.isfinite(weight) and per_area > 0.0
    diameter = max(_SMALLEST, math.sqrt(weight / per_area)) if known else 16.0
    name = style.plain(row.policy) + (f" ({memory.text(weight)})" if known else "")
    cells = [row.cells[axis.metric.key] for axis in axes]
    fig.add_scatter(
        x=style.light([mean_of(row, x.metric) / x.size]),
        y=style.light([mean_of(row, y.metric) / y.size]),
        mode="markers", name=name, legendgroup=row.policy,
        error_x=_cross(cells[0], x, look.color), error_y=_cross(cells[1], y, look.color),
        marker={
            "symbol": look.symbol, "size": diameter, "color": look.fill(0.28),
            "line": {"color": look.color, "width": 2},
        },
        text=[_words(row, (*axes, Axis.of(memory, [weight])))],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _cross(cell: Cell, axis: Axis, color: str) -> dict[str, object]:
    """Return an interval as an error bar, invisible below five seeds."""
    interval = cell.interval
    if interval is None or interval.n < FEW:
        return {"visible": False}
    half = float(np.float32(interval.half_width / axis.size))
    return {"type": "data", "array": [half], "color": color, "thickness": 1.6, "width": 5}


def _words(row: CompareRow, axes: Sequence[Axis]) -> str:
    lines = [f"<b>{style.plain(row.policy)}</b>, {len(row.seeds)} seeds"]
    lines += [
        f"{axis.metric.title}: {cell.text}"
        for axis in axes
        if (cell := row.cells.get(axis.metric.key)) and cell.interval
    ]
    return "<br>".join(lines)


# --- forest ---------------------------------------------------------------------------------------


def forest(table: CompareTable, metric: Metric, looks: Looks) -> go.Figure:
    """Draw differences to the baseline, paired by seed: a dot per seed, mean and 95 % interval."""
    rows = [row for row in table.rows if row.cells[metric.key].paired is not None]
    base = style.plain(table.baseline)
    if not rows:
        return style.empty(f"{metric.title}: no policy shares a seed and a value with {base}.")
    found = {row.policy: p for row in rows if (p := row.cells[metric.key].paired)}
    axis = Axis.of(metric, (d for p in found.values() for d in p.differences))
    unit = f" ({axis.unit})" if axis.unit else ""
    fig = style.figure(
        f"{metric.title}: difference to {base}{unit}", f"policy minus {base}{unit}", "",
        height=150 + 46 * len(rows), margin={"r": 190, "t": 76}, showlegend=False,
    )  # fmt: skip
    fig.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[style.plain(row.policy) for row in rows],
        range=[len(rows) - 0.5, -0.5], showgrid=False, ticks="",
    )  # fmt: skip
    fig.add_vline(x=0, line={"color": style.MUTED, "width": 1.2})
    _side(fig, metric)
    for place, row in enumerate(rows):
        _forest_row(fig, place, row.policy, found[row.policy], axis, looks)
    return fig


def _side(fig: go.Figure, metric: Metric) -> None:
    """Say on which side of zero the better policies are."""
    if metric.direction == "none":
        return
    left = metric.direction == "lower"
    fig.add_annotation(
        x=0, y=1, yref="paper", yanchor="bottom", showarrow=False,
        xanchor="right" if left else "left",
        xshift=-6 if left else 6, text="◀ better" if left else "better ▶",
        font={"size": 12, "color": style.GOOD},
    )  # fmt: skip


def _forest_row(
    fig: go.Figure, place: int, policy: str, versus: Paired, axis: Axis, looks: Looks
) -> None:
    look, mean = looks[policy], versus.difference
    dots = np.array(versus.differences) / axis.size
    fig.add_scatter(
        x=style.light(dots), y=style.light(np.full(len(dots), place + 0.2)), mode="markers",
        name=f"{style.plain(policy)}, seeds", legendgroup=policy,
        marker={"size": 5, "color": look.fill(0.5), "symbol": look.symbol},
        hovertemplate=f"%{{x:.4~g}} {axis.unit}<extra>one seed</extra>",
    )  # fmt: skip
    shown = mean.n >= FEW
    said = axis.metric.pair(mean.mean, mean.half_width)
    half = mean.half_width / axis.size if shown else 0.0
    fig.add_scatter(
        x=style.light([mean.mean / axis.size]), y=style.light([place]), mode="markers",
        name=style.plain(policy), legendgroup=policy,
        marker={"size": 11, "color": look.color, "symbol": look.symbol},
        error_x={
            "array": [float(np.float32(half))], "visible": shown, "color": look.color,
            "thickness": 2.2, "width": 6,
        },
        text=[f"{style.plain(policy)}: {said}, n = {mean.n}"],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    fig.add_annotation(
        x=1.02, xref="paper", y=place, text=change_words(axis.metric, versus), showarrow=False,
        xanchor="left",
        align="left", font={"size": 12},
    )  # fmt: skip


def change_words(metric: Metric, versus: Paired) -> str:
    """Write verdict and change, with its interval, as Plotly text."""
    color = {"better": style.GOOD, "worse": style.BAD}.get(versus.verdict, style.MUTED)
    word = f'<span style="color:{color}"><b>{versus.verdict}</b></span>'
    found = versus.ratio if is_relative(metric, versus) else versus.difference
    text = change(metric, versus)
    if math.isfinite(found.low) and found.low < found.high:
        low, high = (_change(metric, versus, value) for value in (found.low, found.high))
        text += f" [{low}, {high}]".replace(" points, ", ", ")
    return f"{word}<br>{text}"


def is_relative(metric: Metric, versus: Paired) -> bool:
    """Tell whether a change is said in per cent of the baseline.

    Shares differ in points; small counts, such as slots, in themselves: of 1 slot, 8000 % more
    says nothing.
    """
    absolute = {"share", "points", "slots", "count"}
    return metric.unit not in absolute and math.isfinite(versus.ratio.mean)


def change(metric: Metric, versus: Paired) -> str:
    """Write a policy's change against the baseline: `-45 %`, or `+5.9 points` for shares."""
    if not any(versus.differences):
        return "identical"
    found = versus.ratio if is_relative(metric, versus) else versus.difference
    return _change(metric, versus, found.mean)


def _change(metric: Metric, versus: Paired, value: float) -> str:
    if is_relative(metric, versus):
        return percent(value)
    if metric.unit in {"share", "points"}:
        places = 1 if abs(value) >= 0.01 else 2
        text = f"{100.0 * value:+.{places}f} points"
        return text.replace("-", MINUS) if float(text[:-7]) else _nearly(value, "points")
    return ("+" if value > 0.0 else "") + metric.text(value)


def signed(metric: Metric, versus: Paired) -> str:
    """Write a difference in the metric's own unit, with its sign, such as `+7.2 ± 1.6 /s`."""
    text = metric.pair(versus.difference.mean, versus.difference.half_width)
    return f"+{text}" if versus.difference.mean > 0.0 else text


def percent(share: float) -> str:
    """Write a relative change with its sign, such as `-45 %`."""
    places = 0 if abs(share) >= 0.1 else 1 if abs(share) >= 0.001 else 2
    text = f"{100.0 * share:+.{places}f} %"
    return text.replace("-", MINUS) if float(text[:-2]) else _nearly(share, "%")


def _nearly(value: float, unit: str) -> str:
    """Write what rounds to zero: a difference that was shown must not be denied."""
    return f"≈ 0 {unit}" if value else f"0 {unit}"


# --- axis of an experiment ------------------------------------------------------------------------


def sweep(
    cases: Sequence[str],
    tables: Sequence[CompareTable],
    metric: Metric,
    looks: Looks,
    axis_title: str,
) -> go.Figure:
    """Draw a metric over the values of the experiment's axis, a line per policy with 95 % bars."""
    by_policy: dict[str, list[tuple[int, Cell]]] = {}
    for place, table in enumerate(tables):
        for row in table.rows:
            cell = row.cells.get(metric.key)
            if cell and cell.interval:
                by_policy.setdefault(row.policy, []).append((place, cell))
    if not by_policy:
        return style.empty(f"{metric.title}: no value in any case.")
    values = [c.interval.mean for cells in by_policy.values() for _, c in cells if c.interval]
    axis = Axis.of(metric, values)
    fig = style.figure(f"{axis.title} over {axis_title}", axis_title, axis.title)
    fig.update_xaxes(
        tickvals=list(range(len(cases))), ticktext=[style.plain(case) for case in cases]
    )
    for policy in sorted(by_policy):
        _sweep_line(fig, policy, by_policy[policy], axis, looks)
    return fig


def _sweep_line(
    fig: go.Figure, policy: str, cells: Sequence[tuple[int, Cell]], axis: Axis, looks: Looks
) -> None:
    look = looks[policy]
    found: Mapping[int, Cell] = dict(cells)
    intervals = [cell.interval for cell in found.values() if cell.interval]
    halves = [i.half_width / axis.size if i.n >= FEW else math.nan for i in intervals]
    fig.add_scatter(
        x=style.light(list(found)), y=style.light([i.mean / axis.size for i in intervals]),
        mode="lines+markers", name=style.plain(policy), legendgroup=policy,
        line={"color": look.color, "dash": look.dash, "width": 2},
        marker={"symbol": look.symbol, "size": 9, "color": look.color},
        error_y={
            "array": style.light(halves), "visible": any(map(math.isfinite, halves)),
            "thickness": 1.4,
        },
        text=[cell.text for cell in found.values()],
        hovertemplate=f"{style.plain(policy)}: %{{text}}<extra></extra>",
    )  # fmt: skip
