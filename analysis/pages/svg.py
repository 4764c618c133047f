"""Small drawings inside text: markers, sparklines, strips of dots. Plain SVG, no library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures.style import GRID, INK, MUTED, Look, wide
from analysis.pages.html import esc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.arrays import FloatArray

_SHAPES = {
    "circle": '<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>',
    "square": '<path d="M{a:.1f} {b:.1f}h{d:.1f}v{d:.1f}h-{d:.1f}z"/>',
    "diamond": '<path d="M{x:.1f} {t:.1f}L{e:.1f} {y:.1f}L{x:.1f} {u:.1f}L{w:.1f} {y:.1f}z"/>',
    "triangle-up": '<path d="M{x:.1f} {b:.1f}l{r:.1f} {d:.1f}h-{dd:.1f}z"/>',
    "cross": '<path d="M{w:.1f} {y:.1f}H{e:.1f}M{x:.1f} {t:.1f}V{u:.1f}" stroke-width="3.2"/>',
    "x": '<path d="M{a:.1f} {b:.1f}l{d:.1f} {d:.1f}m0 -{d:.1f}l-{d:.1f} {d:.1f}" '
    'stroke-width="2.8"/>',
    "hexagon": '<path d="M{w:.1f} {y:.1f}L{a2:.1f} {b:.1f}H{c2:.1f}'
    'L{e:.1f} {y:.1f}L{c2:.1f} {f:.1f}H{a2:.1f}z"/>',
}

# corners in units of the radius
_CORNERS = {
    "star": tuple(
        ((1.3 if i % 2 == 0 else 0.55) * math.sin(i * math.pi / 5.0),
         -(1.3 if i % 2 == 0 else 0.55) * math.cos(i * math.pi / 5.0)) for i in range(10)
    ),
    "pentagon": tuple(
        (1.1 * math.sin(i * math.pi / 2.5), -1.1 * math.cos(i * math.pi / 2.5)) for i in range(5)
    ),
    "triangle-down": ((-1.0, -0.84), (1.0, -0.84), (0.0, 0.84)),
    "triangle-left": ((0.84, -1.0), (0.84, 1.0), (-0.84, 0.0)),
    "triangle-right": ((-0.84, -1.0), (-0.84, 1.0), (0.84, 0.0)),
    "diamond-tall": ((0.0, -1.35), (0.7, 0.0), (0.0, 1.35), (-0.7, 0.0)),
    "diamond-wide": ((0.0, -0.7), (1.35, 0.0), (0.0, 0.7), (-1.35, 0.0)),
    "bowtie": ((-1.1, -0.84), (1.1, 0.84), (1.1, -0.84), (-1.1, 0.84)),
    "hourglass": ((-0.84, -1.1), (0.84, -1.1), (-0.84, 1.1), (0.84, 1.1)),
}  # fmt: skip


def mark(look: Look, x: float, y: float, r: float = 5.0) -> str:
    """Return a policy's marker around a point, as an SVG group."""
    h = 0.84 * r
    places = {
        "x": x, "y": y, "r": r, "a": x - h, "b": y - h, "d": 2 * h, "dd": 2 * r, "f": y + h,
        "t": y - 1.2 * r,
        "u": y + 1.2 * r, "e": x + 1.2 * r, "w": x - 1.2 * r, "a2": x - 0.6 * r, "c2": x + 0.6 * r,
    }  # fmt: skip
    if look.symbol in _CORNERS:
        corners = " ".join(f"{x + r * a:.1f},{y + r * b:.1f}" for a, b in _CORNERS[look.symbol])
        shape = f'<polygon points="{corners}"/>'
    else:
        shape = _SHAPES[look.symbol].format(**places)
    return f'<g fill="{look.color}" stroke="{look.color}">{shape}</g>'


def swatch(look: Look) -> str:
    """Return a policy's marker for use within a line of text."""
    size = 'width="14" height="14" viewBox="0 0 14 14"'
    return f'<svg class="swatch" {size} aria-hidden="true">{mark(look, 7, 7, 4.6)}</svg>'


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale of small drawings, linear from zero or logarithmic from `low`."""

    low: float  # 0 on a linear scale
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        """Choose a scale that lets the smallest of some values be seen beside the largest."""
        if wide(values):
            return cls(0.7 * min(values), max(values))
        return cls(0.0, max(values, default=0.0))

    def share(self, values: FloatArray) -> FloatArray:
        """Return where values stand between bottom (0) and top (1); NaN stands at the bottom."""
        filled = np.nan_to_num(values, nan=self.low)
        if self.low > 0.0:
            part = np.log(np.maximum(filled, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = filled / self.high
        return np.asarray(np.clip(part, 0.0, 1.0))


def sparkline(
    values: FloatArray, look: Look, scale: Scale, words: str, width: int = 104, height: int = 34
) -> str:
    """Return a line over a scale, gaps where values are missing; `words` is its tooltip."""
    known = np.isfinite(values)
    if not known.any() or not scale.high > 0.0:
        return ""
    x = np.linspace(2, width - 2, len(values))
    y = height - 3 - (height - 6) * scale.share(values)
    path, pen = [], "M"
    for at, up, ok in zip(x, y, known, strict=True):
        if ok:
            path.append(f"{pen}{at:.1f} {up:.1f}")
        pen = "L" if ok else "M"
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img"><title>{esc(words)}</title>'
        f'<path d="M2 {height - 3}H{width - 2}" stroke="{GRID}"/>'
        f'<path d="{"".join(path)}" fill="none" stroke="{look.color}" stroke-width="1.6" '
        'stroke-linejoin="round"/></svg>'
    )


@dataclass(frozen=True, slots=True)
class Strip:
    """One row of a strip of dots; `low` and `high` are NaN where no interval is shown."""

    label: str
    look: Look
    mean: float
    low: float
    high: float
    text: str
    seeds: tuple[float, ...]


def strips(rows: Sequence[Strip], width: int = 280, more: int = 0, log: bool = False) -> str:
    """Return means with intervals (or dots per seed) of several policies on one scale.

    `log` needs positive values, see `is_log`.
    """
    bend = math.log if log else float
    ends = [bend(v) for r in rows for v in _ends(r)]
    if not ends:
        return ""
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
    low, high = low - pad, high + pad
    left, right, line = 92.0, width - 78.0, 19.0

    def at(value: float) -> float:
        return left + (right - left) * (bend(value) - low) / (high - low)

    height = line * len(rows) + (14 if more else 0)
    parts = [f'<svg viewBox="0 0 {width} {height:.0f}" role="img" font-size="11.5">']
    for place, row in enumerate(rows):
        parts.append(_strip(row, line * (place + 0.5), (left, right, width), at))
    if more:
        parts.append(f'<text x="0" y="{height - 2:.0f}" fill="{MUTED}">and {more} more</text>')
    return "".join(parts) + "</svg>"


def is_log(rows: Sequence[Strip]) -> bool:
    """Tell whether these rows can have a logarithmic scale and need one."""
    ends = [v for r in rows for v in _ends(r)]
    return min(ends, default=0.0) > 0.0 and wide(r.mean for r in rows)


def _ends(row: Strip) -> list[float]:
    return [v for v in (row.mean, row.low, row.high, *row.seeds) if math.isfinite(v)]


def _strip(
    row: Strip, y: float, sides: tuple[float, float, int], place: Callable[[float], float]
) -> str:
    left, right, width = sides
    short = row.label if len(row.label) <= 13 else row.label[:12] + "…"
    parts = [
        f"<g><title>{esc(row.label)}: {esc(row.text)}</title>",
        f'<text x="0" y="{y + 4:.1f}" fill="{INK}">{esc(short)}</text>',
        f'<path d="M{left:.0f} {y:.1f}H{right:.0f}" stroke="{GRID}"/>',
    ]
    if math.isfinite(row.low):
        parts.append(
            f'<path d="M{place(row.low):.1f} {y:.1f}H{place(row.high):.1f}" '
            f'stroke="{row.look.color}" stroke-width="2"/>'
        )
    else:
        parts += [
            f'<circle cx="{place(v):.1f}" cy="{y:.1f}" r="2" fill="{row.look.color}" '
            'fill-opacity=".55"/>'
            for v in row.seeds
        ]
    if math.isfinite(row.mean):
        parts.append(mark(row.look, place(row.mean), y, 4.2))
    parts.append(
        f'<text x="{width}" y="{y + 4:.1f}" text-anchor="end" '
        f'fill="{MUTED}">{esc(row.text)}</text></g>'
    )
    return "".join(parts)
