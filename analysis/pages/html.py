"""The frame of a page: escaping, panels with choices, navigation, footer.

Everything that a user may have named goes through `esc` (HTML), `script` (JSON inside a script) or
`figures.style.plain` (Plotly text). A page asks nothing of the outside: scripts and data lie
beside it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html import escape
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

PAGES = (
    ("index", "Overview"),
    ("compare", "Compare"),
    ("regret", "Regret"),
    ("memory", "Memory"),
    ("requests", "Requests"),
    ("nodes", "Nodes"),
)
_LOGO = (
    '<svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true"><g fill="none" '
    'stroke-width="2.4">'
    '<path d="M6 6C14 6 16 16 24 16" stroke="#0072B2"/><path d="M6 16H24" stroke="#009E73"/>'
    '<path d="M6 26C14 26 16 16 24 16" stroke="#D55E00"/></g><circle cx="6" cy="6" r="3.2" '
    'fill="#0072B2"/>'
    '<circle cx="6" cy="16" r="3.2" fill="#009E73"/><circle cx="6" cy="26" r="3.2" fill="#D55E00"/>'
    '<circle cx="25" cy="16" r="5" fill="#1B2430"/></svg>'
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that the reader picks: a policy, a metric, a case. Options are (slug, label)."""

    name: str
    title: str
    options: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, name: str, title: str, labels: Sequence[str]) -> Choice:
        """Make a choice from labels, with slugs that are unique and fit a link."""
        return cls(name, title, tuple(zip(slugs(labels), labels, strict=True)))

    @property
    def slugs(self) -> tuple[str, ...]:
        """Return the options' slugs."""
        return tuple(slug for slug, _ in self.options)


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure under choices; `figures` has an entry per combination, in their order."""

    id: str
    heading: str
    caption: str
    figures: Mapping[tuple[str, ...], go.Figure]
    choices: tuple[Choice, ...] = ()
    own: tuple[str, ...] = ()  # names of choices shown in the panel itself, not in the toolbar


@dataclass(frozen=True, slots=True)
class Html:
    """A piece of ready HTML."""

    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, the first one wider; below 900 px they stand one above the other."""

    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what it answers, what can be chosen, what it shows."""

    slug: str
    title: str
    question: str
    blocks: tuple[Panel | Row | Html, ...]
    choices: tuple[Choice, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Return the figures of the page."""
        rows = [block.panels if isinstance(block, Row) else (block,) for block in self.blocks]
        return tuple(block for row in rows for block in row if isinstance(block, Panel))


# --- escaping -------------------------------------------------------------------------------------


def esc(text: object) -> str:
    """Escape a text for HTML, attributes included."""
    return escape(str(text), quote=True)


def script(value: Any) -> str:
    """Write JSON that may stand inside a script element, whatever texts it holds."""
    return guard(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def guard(text: str) -> str:
    """Escape what could end a script element or a JavaScript line in a JSON text."""
    table = {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    return re.sub("[<>&\u2028\u2029]", lambda found: table[found.group()], text)


def slugs(labels: Sequence[str]) -> list[str]:
    """Return a unique, link-safe word for every label."""
    found: list[str] = []
    for label in labels:
        word = re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-") or "x"
        found.append(word if word not in found else f"{word}-{len(found)}")
    return found


def shown_when(html: str, *, hidden: bool, **state: str) -> Html:
    """Wrap HTML that belongs to some choices only, such as `case="a"`."""
    marks = " ".join(f'data-when-{name}="{esc(slug)}"' for name, slug in state.items())
    return Html(f'<div class="when" {marks}{" hidden" if hidden else ""}>{html}</div>')


def variants(htmls: Mapping[tuple[str, ...], str], choices: Sequence[Choice]) -> Html:
    """Join HTML for every combination of choices; the first is shown until another is picked."""
    parts = []
    for place, key in enumerate(product(*(choice.slugs for choice in choices))):
        state = dict(zip((choice.name for choice in choices), key, strict=True))
        if key in htmls:
            parts.append(shown_when(htmls[key], hidden=place > 0, **state).text)
    return Html("\n".join(parts))


# --- layout ---------------------------------------------------------------------------------------


def card(heading: str, body: str, caption: str = "", tools: str = "", id: str = "") -> str:
    """Return a framed block; `heading` and `caption` are HTML already."""
    anchor = f' id="{esc(id)}"' if id else ""
    said = f'<p class="caption">{caption}</p>' if caption else ""
    return (
        f'<section class="card"{anchor}><header><h2>{heading}</h2><div class="tools">{tools}</div>'
        f"</header>{said}{body}</section>"
    )


def notice(text: str, kind: str = "note") -> str:
    """Return a framed remark; `text` is HTML already."""
    return f'<div class="notice {esc(kind)}">{text}</div>'


def control(choice: Choice) -> str:
    """Return the widget of a choice: buttons for a few short options, a list otherwise."""
    if len(choice.options) < 2:
        return ""
    short = len(choice.options) <= 5 and sum(len(label) for _, label in choice.options) <= 44
    return _buttons(choice) if short else _list(choice)


def _buttons(choice: Choice) -> str:
    inner = "".join(
        f'<button type="button" data-choice="{esc(choice.name)}" value="{esc(slug)}" '
        f'aria-pressed="{"true" if place == 0 else "false"}">{esc(label)}</button>'
        for place, (slug, label) in enumerate(choice.options)
    )
    title = f'<span class="pick-title">{esc(choice.title)}</span>'
    return f'<span class="pick">{title}<span class="segments">{inner}</span></span>'


def _list(choice: Choice) -> str:
    inner = "".join(
        f'<option value="{esc(slug)}">{esc(label)}</option>' for slug, label in choice.options
    )
    return (
        f'<label class="pick"><span class="pick-title">{esc(choice.title)}</span>'
        f'<select data-choice="{esc(choice.name)}">{inner}</select></label>'
    )


def panel_html(page: str, panel: Panel) -> str:
    """Return the frame that the script fills with the panel's figure."""
    first = next(iter(panel.figures.values()), None)
    height = int(first.layout.height or 420) if first is not None else 200
    tools = "".join(control(choice) for choice in panel.choices if choice.name in panel.own)
    said = "Download exactly what the figure shows"
    tools += f'<button type="button" class="quiet" data-csv title="{said}">CSV</button>'
    names = " ".join(choice.name for choice in panel.choices)
    body = (
        f'<div class="figure" id="figure-{esc(panel.id)}" data-panel="{esc(page)}-{esc(panel.id)}" '
        f'data-choices="{esc(names)}" style="min-height:{height}px"></div>'
    )
    return card(panel.heading, body, panel.caption, tools, id=panel.id)


def block_html(page: str, block: Panel | Row | Html) -> str:
    """Return a block of a page."""
    if isinstance(block, Html):
        return block.text
    if isinstance(block, Panel):
        return panel_html(page, block)
    return f'<div class="beside">{"".join(panel_html(page, panel) for panel in block.panels)}</div>'


def document(page: Page, name: str, footer: str, manifest: Mapping[str, Mapping[str, str]]) -> str:
    """Return a whole page.

    Args:
        page: The page.
        name: The experiment's name.
        footer: HTML of the provenance block.
        manifest: Panel -> key -> data file, for the script that loads them on demand.
    """
    blocks = [block_html(page.slug, block) for block in page.blocks]
    defaults = {c.name: c.slugs[0] for b in page.panels for c in b.choices if c.options}
    defaults |= {choice.name: choice.slugs[0] for choice in page.choices if choice.options}
    facts_for_script = {"defaults": defaults, "files": manifest}
    toolbar = "".join(control(choice) for choice in page.choices)
    plotly = '<script src="assets/plotly.min.js"></script>' if page.panels else ""
    facts = "".join(f"<span><b>{esc(v)}</b> {esc(k)}</span>" for k, v in page.facts.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="moedge">
<title>{esc(page.title)} - {esc(name)} - moedge</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="assets/report.css">
</head>
<body>
<nav class="bar" aria-label="Pages">
<a class="brand" href="index.html">{_LOGO}<span>moedge</span></a>
<span class="run">{esc(name)}</span>
<span class="links">{_links(page.slug)}</span>
<button type="button" class="quiet" id="copy-link">Copy link</button>
</nav>
<main>
<div class="head"><h1>{esc(page.title)}</h1><p class="question">{esc(page.question)}</p>
<p class="facts">{facts}</p></div>
{f'<div class="toolbar">{toolbar}</div>' if toolbar else ""}
{"".join(blocks)}
</main>
{footer}
<script id="moedge-page" type="application/json">{script(facts_for_script)}</script>
{plotly}
<script src="assets/template.js"></script>
<script src="assets/report.js"></script>
</body>
</html>
"""


def _links(current: str) -> str:
    return "".join(
        f'<a href="{slug}.html"{" aria-current=page" if slug == current else ""}>{title}</a>'
        for slug, title in PAGES
    )
