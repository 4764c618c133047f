"""The page of nodes: which ones misbehave, and when, and what broke?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.breakdown import by_link
from analysis.figures import faults, style
from analysis.figures import nodes as draw
from analysis.load import Trial, natural
from analysis.metrics import BY_KEY
from analysis.outages import Span, is_link, spans
from analysis.pages.context import Case, Context, nothing, shown_seed_note
from analysis.pages.html import Choice, Html, Page, Panel, Row, card, esc, variants
from analysis.queries import Heat, drifts, events, heat

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sim.arrays import FloatArray

QUESTION = "Which nodes misbehave, and when?"


@dataclass(frozen=True, slots=True)
class _View:
    """What one policy of one case is drawn from."""

    case: Case
    trial: Trial
    heat: Heat
    order: list[int]  # row of meta nodes, as drawn from the top
    faults: list[Span]
    place: FloatArray


def build(ctx: Context) -> Page:
    """Return the page."""
    if not ctx.cases:
        return nothing("nodes", "Nodes", QUESTION)
    policy = Choice.of("policy", "Policy", ctx.ordered)
    views = {
        (case.slug, slug): view for case in ctx.cases for slug, view in _views(ctx, case, policy)
    }
    metric = Choice(
        "metric", "Show", tuple((q.key, q.title) for q in _present(list(views.values())))
    )
    choices = (ctx.case_choice, policy, metric)
    blocks: list[Panel | Row | Html] = [_panels(ctx, views, choices)]
    if any(view.faults for view in views.values()):
        blocks.append(_timeline(ctx))
    blocks += _links(ctx, views, (ctx.case_choice, policy))
    return Page("nodes", "Nodes", QUESTION, tuple(blocks), choices, ctx.facts())


def _views(ctx: Context, case: Case, policy: Choice) -> list[tuple[str, _View]]:
    nodes = case.meta["nodes"]
    rank = {int(node["id"]): i for i, node in enumerate(nodes)}
    links = [(rank[int(k["src"])], rank[int(k["dst"])]) for k in case.meta["links"]]
    place = draw.positions(len(nodes), links)
    shown = case.shown()
    heats = {slug: heat(ctx.run, shown[name]) for slug, name in policy.options if name in shown}
    order = _picked(_order(case), list(heats.values()))
    found = []
    for slug, name in policy.options:
        if slug in heats:
            broke = spans(events(ctx.run, shown[name]), shown[name].meta)
            view = _View(case, shown[name], heats[slug], order, broke, place)
            found.append((slug, view))
    return found


def _order(case: Case) -> list[int]:
    """Return the serving nodes by group and name, routed ones first."""
    nodes = case.meta["nodes"]
    serving = [i for i, node in enumerate(nodes) if int(node["servers"]) > 0]
    serving.sort(
        key=lambda i: (
            not nodes[i]["routed"],
            str(nodes[i]["group"]),
            natural(str(nodes[i]["name"])),
        )
    )
    return serving


def _picked(serving: list[int], heats: list[Heat]) -> list[int]:
    """Pick the rows to draw of a large fleet, the same under every policy.

    Half of them are the nodes in the deepest trouble: the most drops, then the longest queue, under
    any policy. The others are even over all nodes by name.
    """
    if len(serving) <= draw.MOST_ROWS:
        return serving
    drops, queue = (
        np.max([np.nan_to_num(h.values[key][serving]).max(axis=1) for h in heats], axis=0)
        for key in ("dropped", "queue")
    )
    worst = np.lexsort((-queue, -drops))[: draw.MOST_ROWS // 2]
    rest = np.setdiff1d(np.arange(len(serving)), worst)
    even = rest[np.linspace(0, len(rest) - 1, draw.MOST_ROWS - len(worst)).round().astype(int)]
    return [serving[i] for i in np.union1d(worst, even).tolist()]


def _present(views: list[_View]) -> list[draw.Quantity]:
    return [
        q
        for q in draw.QUANTITIES
        if any(np.isfinite(view.heat.values[q.key]).any() for view in views)
    ]


def _panels(ctx: Context, views: dict[tuple[str, str], _View], choices: tuple[Choice, ...]) -> Row:
    heats: dict[tuple[str, ...], go.Figure] = {}
    maps: dict[tuple[str, ...], go.Figure] = {}
    for case in ctx.cases:
        mine = {slug: view for (at, slug), view in views.items() if at == case.slug}
        for q in _present(list(mine.values())):
            span = draw.limits([view.heat.values[q.key] for view in mine.values()], q)
            for slug, view in mine.items():
                heats[case.slug, slug, q.key] = _heat(view, q, span)
                maps[case.slug, slug, q.key] = _map(view, q, span)
    most = max(len(_order(case)) for case in ctx.cases)
    note = (
        f" {draw.MOST_ROWS} of {most:,} nodes: the {draw.MOST_ROWS // 2} that dropped the most in a"
        " step of time, or had the longest queue, under any policy; the others evenly by name."
        if most > draw.MOST_ROWS
        else ""
    )
    caption = (
        "A row per node, routed ones first; the colours mean the same under every policy. "
        "Lines over a row: faults of the node, from beginning to end. "
        f"Empty: nothing was served. {esc(shown_seed_note(ctx.cases[0]))}{note}"
    )
    where = "Same colours. Circles: routed nodes; squares: nodes with a plan of their own."
    if max(len(case.meta["nodes"]) for case in ctx.cases) > draw.MOST_PLACES:
        where = (
            "Same colours. A square per node, row by row by group and name, routed ones first;"
            f" above {draw.MOST_PLACES} nodes no links are drawn."
        )
    first = Panel("heat", "Which nodes, and when?", caption, heats, choices)
    return Row((first, Panel("map", "Where are they?", where, maps, choices)))


def _heat(view: _View, quantity: draw.Quantity, span: tuple[float, float]) -> go.Figure:
    names = [str(view.case.meta["nodes"][i]["name"]) for i in view.order]
    title = f"under {style.plain(view.trial.policy)}"
    values = view.heat.values[quantity.key][view.order]
    drawn = {names[i] for i in range(len(names))}
    made = draw.heat(title, view.heat.t_s, names, values, quantity, span)
    shown = [s for s in view.faults if s.place in drawn and not is_link(s.kind)]
    return faults.bands(made, shown)


def _map(view: _View, quantity: draw.Quantity, span: tuple[float, float]) -> go.Figure:
    values = view.heat.values[quantity.key]
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    level = np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
    title = f"under {style.plain(view.trial.policy)}"
    nodes = view.case.meta["nodes"]
    if len(nodes) > draw.MOST_PLACES:
        order = _order(view.case)
        return draw.mosaic(title, [nodes[i] for i in order], level[order], quantity, span)
    return draw.fleet_map(title, view.case.meta, view.place, level, quantity, span)


# --- what broke ----------------------------------------------------------------------------------


def _timeline(ctx: Context) -> Panel:
    """Return the faults of a case: they are the same under every policy of a seed."""
    figures: dict[tuple[str, ...], go.Figure] = {}
    for case in ctx.cases:
        trial = next(iter(case.shown().values()))
        found = spans(events(ctx.run, trial), trial.meta)
        changed = [slot * float(case.meta["slot_s"]) for slot in drifts(ctx.run, trial)]
        figures[case.slug,] = faults.timeline(found, float(trial.meta["end_s"]), changed)
    caption = (
        "A row per node or link (both ways) that a fault hits; the same under every policy. "
        f"At most {faults.MOST_ROWS} rows. {esc(shown_seed_note(ctx.cases[0]))}"
    )
    return Panel("faults", "What broke, and when?", caption, figures, (ctx.case_choice,))


def _links(
    ctx: Context, views: dict[tuple[str, str], _View], choices: tuple[Choice, ...]
) -> list[Html]:
    made: dict[tuple[str, ...], str] = {
        key: text for key, view in views.items() if (text := _link_rows(ctx, view))
    }
    if not made:
        return []
    caption = (
        "Of the whole run, drain included; those that lost tries first, then the busiest. "
        "Lost: tries of transfers that a fault or the link itself broke; their bytes count as sent."
    )
    return [Html(card("Links", variants(made, choices).text, caption, id="links"))]


def _link_rows(ctx: Context, view: _View) -> str:
    meta = view.trial.meta
    names = {int(node["id"]): str(node["name"]) for node in meta["nodes"]}
    ends = {int(k["id"]): f"{names[k['src']]} → {names[k['dst']]}" for k in meta["links"]}
    sent, busy = BY_KEY["audit_bytes"], BY_KEY["utilisation"]
    body = "".join(
        f"<tr><td>{esc(ends.get(int(row['link']), '?'))}</td>"
        f"<td>{esc(sent.text(float(row['sent'])))}</td>"
        f"<td>{esc(busy.text(float(row['busy']) / float(meta['end_s'])))}</td>"
        f"<td>{int(row['lost']):,}</td></tr>"
        for row in by_link(ctx.run, view.trial)
    )
    if not body:
        return ""
    head = "<th>Link</th><th>Sent</th><th>Busy, share of time</th><th>Lost tries</th>"
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )
