"""One look for all figures: a colour, a marker and a dash per policy, and one layout template.

Figures are read in colour, in grey and by colour-blind readers, hence three signs per policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sim.arrays import AnyArray, FloatArray

# Source: Okabe and Ito 2008, Color Universal Design; then Tol 2021, muted scheme. Deviation: yellow
# is darkened, since the original is too faint on white; Tol's sand and cyan give way to brown and
# slate for the same reason. Beyond eight lines no palette is safe for every eye: marker and dash
# tell policies apart that their colour does not.
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#3B3B3B", "#A39A00",
    "#332288", "#882255", "#44AA99", "#CC6677", "#8C510A", "#117733", "#AA4499", "#7A8CA3",
)  # fmt: skip
SYMBOLS = (
    "circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon",
    "triangle-down", "pentagon", "diamond-tall", "triangle-left", "bowtie", "hourglass",
    "triangle-right", "diamond-wide",
)  # fmt: skip
# neighbours in hue (green and teal, pink and purple, orange and brown) differ in dash
_DASH_OF = (0, 1, 2, 3, 4, 5, 0, 1, 3, 2, 1, 0, 5, 0, 4, 4)
DASHES = ("solid", "9px,4px", "2px,3px", "9px,3px,2px,3px", "16px,4px", "5px,2px")
INK, MUTED, GRID, PAPER = "#1B2430", "#5B6675", "#E4E8EE", "#FFFFFF"
_LEGEND_BELOW = 42.0  # px from the top of a figure, under its title
GOOD, BAD = "#00724F", "#B33A00"
FONT = "Inter, 'Segoe UI', system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
LONGEST_NAME = 36
MOST_POINTS = 400  # of one line
LOG_FROM = 12.0  # ratio above which a linear axis hides the small values


@dataclass(frozen=True, slots=True)
class Look:
    """How one policy is drawn, everywhere."""

    color: str
    symbol: str
    dash: str

    def fill(self, alpha: float) -> str:
        """Return the colour with some transparency, for bands and areas."""
        return rgba(self.color, alpha)


Looks = Mapping[str, Look]


# The shipped policies look alike in every report, whoever else takes part. Those past the colours
# share one with a policy that no shipped scenario runs beside them. New ones go at the end.
HOMES = (
    "tanbr", "top2", "uniform", "top1", "single", "mix-oracle", "meo", "task-inferred",
    "nucb", "neural-ts", "lin-ucb", "rff-ucb", "hct", "best-fixed", "reinforce", "smear",
    "random", "best-oracle", "task-oracle", "hoo", "top1-capacity", "top-k", "tanbr-paper",
)  # fmt: skip


def looks(policies: Sequence[str]) -> dict[str, Look]:
    """Give every policy its signs, so that all pages agree.

    Shipped policies have homes; the others take what is free, in sorted order. No colour is given
    twice while one is free: where two homes share one, the later policy is a guest elsewhere.
    """
    names = set(policies)
    place: dict[str, int] = {}
    for name in [home for home in HOMES if home in names]:
        home = HOMES.index(name)
        if home % len(COLORS) not in place.values():
            place[name] = home
    guests = sorted(names - set(place))
    free = [i for i in range(len(COLORS)) if i not in {p % len(COLORS) for p in place.values()}]
    taken = {*place.values(), *free}
    more = [i for i in range(len(COLORS) + len(names) + len(HOMES)) if i not in taken]
    place |= dict(zip(guests, free + more, strict=False))
    return {name: place_look(place[name]) for name in sorted(names)}


def place_look(place: int) -> Look:
    """Return the signs of a place: no two of the first 48 share two of colour, symbol and dash."""
    turn, at = divmod(place, len(COLORS))
    symbol, dash = (at + 5 * turn) % len(SYMBOLS), (_DASH_OF[at] + turn) % len(DASHES)
    return Look(COLORS[at], SYMBOLS[symbol], DASHES[dash])


def rgba(color: str, alpha: float) -> str:
    """Return a hexadecimal colour with transparency."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def plain(name: object) -> str:
    """Make a user's text safe as Plotly text, which reads a part of HTML and `%{...}` fields.

    Very long names are cut, so that one of them cannot push a figure off its page.
    """
    text = str(name)
    safe = (
        (text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…")
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
    )
    return safe.replace("%{", "% {")


def light(values: AnyArray | Sequence[float]) -> AnyArray:
    """Return values as float32, half the bytes on the page and more digits than a screen."""
    return np.asarray(values, dtype=np.float32)


def thin(length: int, most: int = MOST_POINTS) -> AnyArray:
    """Return indices that keep a line's shape on linear and on logarithmic axes, ends included."""
    if length <= most:
        return np.arange(length)
    linear = np.linspace(0, length - 1, most * 2 // 3)
    logs = np.geomspace(1, length, most // 3) - 1
    return np.unique(np.concatenate((linear, logs)).round().astype(np.int64))


def thin_peaks(values: FloatArray, most: int = MOST_POINTS) -> AnyArray:
    """Return indices as `thin` does, and the highest value of every gap: no peak may be lost."""
    kept = thin(len(values), most)
    gaps = [(low + 1, high) for low, high in pairwise(kept.tolist()) if high - low > 1]
    filled = np.where(np.isfinite(values), values, -np.inf)
    return np.union1d(kept, [low + int(np.argmax(filled[low:high])) for low, high in gaps]).astype(
        np.int64
    )


def figure(title: str, x: str, y: str, height: int = 420, **layout: Any) -> go.Figure:
    """Return an empty figure with a title (quantity and unit) and named axes.

    `title`, `x` and `y` are Plotly text: pass users' names through `plain`.
    """
    import plotly.graph_objects as go

    legend = {"y": 1.0 - _LEGEND_BELOW / height}
    shared = {"template": template(), "title": {"text": title}, "height": height, "legend": legend}
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    return go.Figure(layout=shared | axes | layout)


@cache
def template() -> go.layout.Template:
    """Return the layout that all figures share; the report writes it once per page."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": GRID, "linecolor": "#B8C0CB", "zerolinecolor": "#B8C0CB", "ticks": "outside",
        "tickcolor": "#B8C0CB", "ticklen": 4, "automargin": True,
        "title": {"standoff": 10, "font": {"size": 13, "color": MUTED}},
        "showline": True, "zeroline": False,
    }  # fmt: skip
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": INK},
            "title": {
                "x": 0,
                "xref": "container", "xanchor": "left", "y": 1, "yref": "container",
                "yanchor": "top", "pad": {"t": 14}, "font": {"size": 15},
            },
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "margin": {"l": 60, "r": 24, "t": 84, "b": 56},
            "colorway": list(COLORS),
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": PAPER, "bordercolor": "#B8C0CB", "font": {"size": 12}, "namelength": -1
            },
            "legend": {
                "orientation": "h", "x": 0,
                "xref": "container",
                "xanchor": "left",
                "yref": "container",
                "y": 0.9,
                "yanchor": "top",
                "itemsizing": "constant", "itemwidth": 44, "itemclick": "toggleothers",
                "itemdoubleclick": False,
                "font": {"size": 12}, "groupclick": "togglegroup",
            },
        }
    )  # fmt: skip


def wide(values: Iterable[float]) -> bool:
    """Tell whether positive values are so far apart that they need a logarithmic axis."""
    known = [v for v in values if math.isfinite(v)]
    return bool(known) and min(known) > 0.0 and max(known) > LOG_FROM * min(known)


def log_axis(title: str, low: float = 0.0, high: float = 0.0) -> dict[str, Any]:
    """Return a logarithmic axis: a label per decade, or at 1, 2, 5 where the range is short."""
    axis: dict[str, Any] = {
        "type": "log", "dtick": 1, "title_text": title, "exponentformat": "none",
        "tickformat": "~r",
        "minor": {"ticks": "outside", "ticklen": 2, "dtick": "D1"},
    }  # fmt: skip
    if 0.0 < low < high < 100.0 * low:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = [digit * 10.0**k for k in decades for digit in (1, 2, 5)]
        axis |= {"tickvals": [s for s in steps if 0.9 * low <= s <= 1.1 * high], "dtick": None}
    return axis


def moments(fig: go.Figure, marks: Sequence[tuple[float, str]]) -> None:
    """Mark moments by dotted lines; their words stand at two heights, so that they do not meet."""
    for place, (x, text) in enumerate(marks):
        vertical(fig, x, text, dash="dot")
        fig.layout.annotations[-1].yshift = -16 * (place % 2)


def vertical(
    fig: go.Figure,
    x: float,
    text: str,
    color: str = MUTED,
    dash: str = "dash",
    layer: str = "below",
) -> None:
    """Mark a value of x with a line over the whole height and a word at its top."""
    at = np.log10(x) if fig.layout.xaxis.type == "log" else x
    fig.add_shape(
        type="line", x0=x, x1=x, y0=0, y1=1, yref="paper", layer=layer,
        line={"color": color, "width": 1.2, "dash": dash},
    )  # fmt: skip
    fig.add_annotation(
        x=at, y=1, yref="paper", text=text, showarrow=False, xanchor="left", yanchor="top",
        xshift=4, font={"size": 11, "color": color}, bgcolor="rgba(255,255,255,0.8)",
    )  # fmt: skip


def empty(text: str) -> go.Figure:
    """Return a figure that says why there is nothing to see; `text` is Plotly text."""
    made = figure("", "", "", height=220)
    made.update_xaxes(visible=False)
    made.update_yaxes(visible=False)
    made.add_annotation(
        text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"color": MUTED}
    )
    return made
