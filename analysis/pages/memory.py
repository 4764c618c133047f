"""The page of memory: what fills the nodes, and does it fit?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis.figures import memory as draw
from analysis.figures import style
from analysis.load import Trial, natural
from analysis.metrics import BY_KEY
from analysis.outages import OF_MEMORY
from analysis.pages.context import Case, Context, nothing, shown_seed_note
from analysis.pages.html import Choice, Html, Page, Panel, card, esc, notice, variants
from analysis.queries import events, fullest_nodes, memory_stack
from analysis.summary import routed_nodes

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_MARKS = 8  # faults named above a node's memory
QUESTION = "What fills the nodes, and does it fit?"
_MOST_NODES = 4


def build(ctx: Context) -> Page:
    """Return the page."""
    if not ctx.cases:
        return nothing("memory", "Memory", QUESTION)
    if not ctx.run.has("memory", [trial.id for trial in ctx.run.done]):
        text = "With <code>model: none</code> there are no experts to hold, and no memory ledger."
        return Page("memory", "Memory", QUESTION, (Html(notice(text)),), facts=ctx.facts())
    blocks = (_stack(ctx), _footprint(ctx), _table(ctx))
    return Page("memory", "Memory", QUESTION, blocks, (ctx.case_choice,), ctx.facts())


def _chosen(ctx: Context, case: Case) -> list[dict[str, Any]]:
    """Return the nodes to show: the fullest one of any policy first, routed nodes only."""
    trials = list(case.shown().values())
    routed = set(routed_nodes(case.meta))
    ranked = [n for n in fullest_nodes(ctx.run, trials) if n in routed]
    by_id = {int(node["id"]): node for node in case.meta["nodes"]}
    picked = (
        ranked[:1]
        + sorted(ranked[1:], key=lambda n: natural(str(by_id[n]["name"])))[: _MOST_NODES - 1]
    )
    return [by_id[n] for n in picked]


def _stack(ctx: Context) -> Panel:
    policy = Choice.of("policy", "Policy", ctx.ordered)
    names = list(dict.fromkeys(str(n["name"]) for case in ctx.cases for n in _chosen(ctx, case)))
    node_choice = Choice.of("node", "Node", names)
    figures: dict[tuple[str, ...], go.Figure] = {}
    for case in ctx.cases:
        nodes = {str(node["name"]): node for node in _chosen(ctx, case)}
        for slug, name in policy.options:
            trial = case.shown().get(name)
            for node_slug, node_name in node_choice.options:
                if trial is not None and node_name in nodes:
                    figures[case.slug, slug, node_slug] = _one(ctx, trial, nodes[node_name])
    caption = (
        "Resident bytes by category, stacked, against what the node has. Where there are more "
        "changes than the figure is "
        f"wide, each step shows its fullest moment. {esc(shown_seed_note(ctx.cases[0]))}"
    )
    choices = (ctx.case_choice, policy, node_choice)
    return Panel(
        "stack", "What fills a node over time?", caption, figures, choices, ("policy", "node")
    )


def _one(ctx: Context, trial: Trial, node: dict[str, Any]) -> go.Figure:
    t_s, levels = memory_stack(ctx.run, trial, int(node["id"]))
    title = f"{style.plain(node['name'])} under {style.plain(trial.policy)}"
    if len(t_s) == 0:
        return style.empty(f"Nothing was ever resident on {title}.")
    marks = [
        (t, kind)
        for t, kind, target in events(ctx.run, trial)
        if target == node["id"] and kind in OF_MEMORY
    ][:_MOST_MARKS]
    return draw.stacked(title, t_s, levels, float(node["memory_bytes"]), marks)


def _footprint(ctx: Context) -> Panel:
    figures: dict[tuple[str, ...], go.Figure] = {
        (case.slug,): draw.footprint(ctx.table(case), ctx.looks) for case in ctx.cases
    }
    caption = (
        "Filled: mean over time and routed nodes. Open: the fullest moment of the fullest one. "
        "Small dots: seeds."
    )
    return Panel(
        "footprint", "How much does each policy need?", caption, figures, (ctx.case_choice,)
    )


def _table(ctx: Context) -> Html:
    made: dict[tuple[str, ...], str] = {(case.slug,): _rows(ctx, case) for case in ctx.cases}
    return Html(
        card(
            "In numbers",
            variants(made, (ctx.case_choice,)).text,
            "Mean over seeds ± half of the 95 % interval.",
            id="numbers",
        )
    )


def _rows(ctx: Context, case: Case) -> str:
    table = ctx.table(case)
    routed = set(routed_nodes(case.meta))
    smallest = min(float(n["memory_bytes"]) for n in case.meta["nodes"] if int(n["id"]) in routed)
    peak, mean = BY_KEY["memory_peak_bytes"], BY_KEY["memory_mean_bytes"]
    body = ""
    for row in table.rows:
        if peak.key not in row.cells or row.cells[peak.key].interval is None:
            continue
        interval = row.cells[peak.key].interval
        share = interval.mean / smallest if interval else math.nan
        body += (
            f"<tr><td>{ctx.swatch(row.policy)}{esc(row.policy)}</td><td>{esc(row.cells[mean.key].text)}</td>"
            f"<td>{esc(row.cells[peak.key].text)}</td><td>{100.0 * share:.1f} %</td></tr>"
        )
    return (
        '<div class="scroll"><table><thead><tr><th>Policy</th><th>Mean</th><th>Peak</th>'
        "<th>Peak, share of the smallest node's "
        f"{esc(peak.text(smallest))}</th></tr></thead><tbody>{body}</tbody></table></div>"
    )
