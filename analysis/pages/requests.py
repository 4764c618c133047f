"""The page of requests: how bad is the tail, and why was this one slow?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis.breakdown import by_stream
from analysis.figures import requests as draw
from analysis.figures import style
from analysis.metrics import BY_KEY
from analysis.pages.context import Case, Context, nothing, shown_seed_note
from analysis.pages.html import (
    Choice,
    Html,
    Page,
    Panel,
    card,
    esc,
    notice,
    shown_when,
    variants,
)
from analysis.pages.remarks import samples
from analysis.queries import are_sampled, events, interesting, over_time, stamps, tails

if TYPE_CHECKING:
    import plotly.graph_objects as go

QUESTION = "How bad is the tail, and why was this one slow?"
_WHYS = ("slowest", "p99", "median", "just late", "dropped")
_MOST_MARKS = 4
_STREAM_COLUMNS = {
    "p50": "latency_p50_s",
    "p99": "latency_p99_s",
    "missed": "deadline_miss",
    "dropped": "drop_share",
    "accuracy": "accuracy",
}


def build(ctx: Context) -> Page:
    """Return the page."""
    if not ctx.cases:
        return nothing("requests", "Requests", QUESTION)
    blocks: tuple[Panel | Html, ...] = (
        *samples(ctx),
        *_unstable(ctx),
        _tail(ctx),
        *_streams(ctx),
        _time(ctx),
        _waterfall(ctx),
    )
    return Page("requests", "Requests", QUESTION, blocks, (ctx.case_choice,), ctx.facts())


def _unstable(ctx: Context) -> list[Html]:
    found = []
    for place, case in enumerate(ctx.cases):
        names = sorted(row.policy for row in ctx.table(case).rows if row.unstable)
        if names:
            text = (
                f"Under <b>{esc(', '.join(names))}</b> a queue grows over the whole run: its "
                "latencies tell how long "
                "the run was, not how fast the system is."
            )
            found.append(shown_when(notice(text, "bad"), hidden=place > 0, case=case.slug))
    return found


def _recorded(ctx: Context) -> str:
    """Say that a figure knows only the recorded requests, where that is so."""
    return " Of the recorded requests." if are_sampled(ctx.run.done) else ""


def _tail(ctx: Context) -> Panel:
    figures: dict[tuple[str, ...], go.Figure] = {
        (case.slug,): draw.tail(tails(ctx.run, case.trials), ctx.looks, case.deadlines_s())
        for case in ctx.cases
    }
    caption = (
        "For each latency, the share of returned requests that took longer, all seeds pooled, "
        "down to the slowest ten. "
        "Lower and further left is better. Drops are not in it: they are counted as deadline "
        "misses."
    )
    return Panel("tail", "How bad is the tail?", caption, figures, (ctx.case_choice,))


def _time(ctx: Context) -> Panel:
    choice = Choice("quantile", "Quantile", (("p95", "p95"), ("p50", "median"), ("p99", "p99")))
    figures: dict[tuple[str, ...], go.Figure] = {}
    for case in ctx.cases:
        series, marks = over_time(ctx.run, case.trials), _marks(ctx, case)
        for slug in choice.slugs:
            figures[case.slug, slug] = draw.over_time(series, slug, ctx.looks, marks)
    caption = (
        "By time of emission, all seeds pooled. Dotted lines: faults of the first seed, where few."
        f"{_recorded(ctx)}"
    )
    return Panel(
        "time", "When is it slow?", caption, figures, (ctx.case_choice, choice), ("quantile",)
    )


def _streams(ctx: Context) -> list[Html]:
    """Return the table by stream and priority, where there is more than one of either."""
    made: dict[tuple[str, ...], str] = {}
    for case in ctx.cases:
        rows = by_stream(ctx.run, case.trials)
        if len({(row["stream"], row["priority"]) for row in rows}) > 1:
            made[case.slug,] = _stream_rows(ctx, rows)
    if not made:
        return []
    caption = (
        "All seeds pooled; latencies of the returned. Deadline misses count drops. The higher the "
        "number, the higher the priority."
    )
    text = variants(made, (ctx.case_choice,)).text
    return [Html(card("Which stream suffers?", text, caption, id="streams"))]


def _stream_rows(ctx: Context, rows: list[dict[str, Any]]) -> str:
    scored = any(math.isfinite(row["accuracy"]) for row in rows)
    shown = [(key, BY_KEY[metric]) for key, metric in _STREAM_COLUMNS.items()]
    shown = [(key, metric) for key, metric in shown if scored or key != "accuracy"]
    head = "".join(f"<th>{esc(metric.title)}</th>" for _, metric in shown)
    body = "".join(
        f"<tr><td>{esc(row['stream'])}</td><td>{int(row['priority'])}</td>"
        f'<td class="left">{ctx.swatch(str(row["policy"]))}{esc(row["policy"])}</td>'
        f"<td>{int(row['n']):,}</td>"
        + "".join(f"<td>{esc(metric.text(float(row[key])))}</td>" for key, metric in shown)
        + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll"><table><thead><tr><th>Stream</th><th>Priority</th>'
        f'<th class="left">Policy</th><th>Requests</th>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _marks(ctx: Context, case: Case) -> list[tuple[float, str]]:
    found = events(ctx.run, next(iter(case.shown().values())))
    marks = list(dict.fromkeys((t, kind) for t, kind, _ in found))
    return marks if len(marks) <= _MOST_MARKS else []


def _waterfall(ctx: Context) -> Panel:
    asked = _asked(ctx)
    choice = Choice.of("request", "Request", [f"{why} under {policy}" for policy, why in asked])
    figures: dict[tuple[str, ...], go.Figure] = {}
    for case in ctx.cases:
        shown = case.shown()
        ids = {
            p: dict(interesting(ctx.run, shown[p]))
            for p in {policy for policy, _ in asked}
            if p in shown
        }
        wanted = sorted({request for found in ids.values() for request in found.values()})
        rows = _by_request(ctx, case, wanted)
        for slug, (policy, why) in zip(choice.slugs, asked, strict=True):
            if why in ids.get(policy, {}):
                figures[case.slug, slug] = _one(case, rows[ids[policy][why]], ids[policy][why])
            else:
                figures[case.slug, slug] = style.empty(
                    f"No request was {why} under {style.plain(policy)}."
                )
    caption = (
        "The same request, with the same input and the same arrival, under every policy, from "
        "its emission on. "
        "Waiting for experts and computing alternate by layer; the wait is drawn first. "
        f"{esc(shown_seed_note(ctx.cases[0]))}{_recorded(ctx)}"
    )
    return Panel(
        "waterfall",
        "Why was this one slow?",
        caption,
        figures,
        (ctx.case_choice, choice),
        ("request",),
    )


def _asked(ctx: Context) -> list[tuple[str, str]]:
    """Return (policy, why): all reasons under the baseline and the first two of the ranking."""
    ranked = [row.policy for row in ctx.table(ctx.cases[0]).rows]
    chosen = list(dict.fromkeys([ctx.baseline, *ranked[:2]]))[:3]
    return [(policy, why) for policy in chosen for why in _WHYS]


def _by_request(ctx: Context, case: Case, ids: list[int]) -> dict[int, dict[str, dict[str, Any]]]:
    shown = case.shown()
    policies = {trial.id: policy for policy, trial in shown.items()}
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for row in stamps(ctx.run, list(shown.values()), ids) if ids else ():
        found.setdefault(int(row["id"]), {})[policies[str(row["trial"])]] = row
    return found


def _one(case: Case, rows: dict[str, dict[str, Any]], request: int) -> go.Figure:
    names = {int(node["id"]): str(node["name"]) for node in case.meta["nodes"]}
    row = next(iter(rows.values()))
    source = style.plain(names.get(int(row["source"]), "?"))
    return draw.waterfall(f"Request {request} from {source}", rows, names)
