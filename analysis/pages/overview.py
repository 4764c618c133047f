"""The first page: did it work, and who wins?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.figures.compare import change
from analysis.metrics import BY_KEY, Metric
from analysis.pages.context import Case, Context, nothing, present
from analysis.pages.html import Html, Page, card, esc, notice, shown_when
from analysis.pages.svg import Strip, sparkline, strips
from analysis.queries import over_time
from analysis.stats import FEW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.compare import Cell, CompareRow, CompareTable
    from sim.arrays import FloatArray
    from sim.records import Table

QUESTION = "Did it work, and who wins?"
_TILES = (
    "useful_per_s", "accuracy", "latency_p99_s", "deadline_miss", "regret_mean",
    "memory_peak_bytes",
    "energy_per_useful_j", "drop_share",
)  # fmt: skip
_TILES_WITHOUT_MODEL = (
    "goodput_per_s", "latency_mean_s", "latency_p50_s", "latency_p99_s", "deadline_miss",
    "drop_share",
    "utilisation", "energy_j",
)  # fmt: skip
_COLUMNS = (
    "useful_per_s", "accuracy", "latency_p50_s", "latency_p95_s", "latency_p99_s", "deadline_miss",
    "drop_share", "regret_mean", "memory_peak_bytes", "memory_mean_bytes", "energy_j",
)  # fmt: skip
_COLUMNS_WITHOUT_MODEL = (
    "goodput_per_s", "latency_mean_s", "latency_p50_s", "latency_p95_s", "latency_p99_s",
    "deadline_miss",
    "drop_share", "utilisation", "energy_j",
)  # fmt: skip
_MOST_STRIPS = 8


def build(ctx: Context) -> Page:
    """Return the page."""
    if not ctx.cases:
        page = nothing("index", "Overview", QUESTION)
        return Page(
            page.slug, page.title, QUESTION, (*page.blocks, Html(_failures(ctx))), facts=ctx.facts()
        )
    blocks: list[Html] = [Html(_failures(ctx))]
    for place, case in enumerate(ctx.cases):
        blocks.append(shown_when(_case(ctx, case), hidden=place > 0, case=case.slug))
    blocks.append(Html(_targets(ctx)))
    return Page("index", "Overview", QUESTION, tuple(blocks), (ctx.case_choice,), ctx.facts())


def _case(ctx: Context, case: Case) -> str:
    table = ctx.table(case)
    with_model = any(metric.key == "accuracy" for metric in table.metrics)
    tiles = present(table, _TILES if with_model else _TILES_WITHOUT_MODEL)
    parts = [f'<p class="lead">{_lead(ctx, table)}</p>']
    if case.problem:
        parts.append(notice(f"These trials must not be compared: {esc(case.problem)}", "bad"))
    parts.append(
        f'<div class="tiles">{"".join(_tile(ctx, table, metric) for metric in tiles)}</div>'
    )
    columns = present(table, _COLUMNS if with_model else _COLUMNS_WITHOUT_MODEL)
    parts.append(_ranking(ctx, case, table, columns))
    parts.append(_assumed(ctx, case))
    return "".join(parts)


def _lead(ctx: Context, table: CompareTable) -> str:
    """Say in one sentence who is first, by what, and by how much."""
    metric = table.ranked_by
    if metric is None:
        return "No metric of these trials has a better side."
    first = _winner(ctx, table, metric)
    cell = first.cells[metric.key]
    if len(table.rows) == 1:
        return f"<b>{esc(first.policy)}</b>: {metric.title.lower()} <b>{esc(cell.text)}</b>."
    said = (
        f"<b>{esc(first.policy)}</b> gives the most {metric.title.lower()}: <b>{esc(cell.text)}</b>"
    )
    return f"{said}{_lead_tail(ctx, table, first, metric)}."


def _lead_tail(ctx: Context, table: CompareTable, first: CompareRow, metric: Metric) -> str:
    versus = first.cells[metric.key].paired
    if versus is not None:
        sure = {"same": " (no difference shown)", "unclear": " (too few seeds to tell)"}
        said = f", {change(metric, versus)} against the baseline {esc(table.baseline)}"
        return said + sure.get(versus.verdict, "")
    real = [r for r in _best_first(table, metric) if r is not first and not ctx.is_oracle(r.policy)]
    if not real:
        return ""
    text = esc(real[0].cells[metric.key].text)
    return f"; next comes <b>{esc(real[0].policy)}</b> with <b>{text}</b>"


# --- tiles ----------------------------------------------------------------------------------------


def _tile(ctx: Context, table: CompareTable, metric: Metric) -> str:
    rows = _best_first(table, metric)
    best = _winner(ctx, table, metric)
    cell = best.cells[metric.key]
    shown = [_strip(ctx, row, metric) for row in rows[:_MOST_STRIPS]]
    value, _, half = cell.text.partition(" ± ")
    number = f"{esc(value)} <small>± {esc(half)}</small>" if half else esc(value)
    better = {"lower": "↓ is better", "higher": "↑ is better"}.get(metric.direction, "")
    return (
        '<section class="tile"><h3 '
        f'title="{esc(metric.doc)}">{esc(metric.title)}<small>{better}</small></h3>'
        f'<p class="value">{number}</p><p class="who">{ctx.swatch(best.policy)}{esc(best.policy)}'
        f"{_against(cell, table)}</p>{strips(shown, more=len(rows) - len(shown))}</section>"
    )


def _best_first(table: CompareTable, metric: Metric) -> list[CompareRow]:
    sign = -1.0 if metric.direction == "higher" else 1.0

    def key(row: CompareRow) -> tuple[float, bool]:
        interval = row.cells[metric.key].interval
        return (
            math.inf if interval is None else sign * interval.mean,
            row.policy != table.baseline,
        )

    return sorted(table.rows, key=key)


def _winner(ctx: Context, table: CompareTable, metric: Metric) -> CompareRow:
    """Return the best policy that could be deployed: oracles are shown, but never crowned."""
    rows = _best_first(table, metric)
    return next((row for row in rows if not ctx.is_oracle(row.policy)), rows[0])


def _against(cell: Cell, table: CompareTable) -> str:
    versus = cell.paired
    if versus is None or versus.verdict == "unclear":
        return ""
    arrow = "▲" if versus.difference.mean > 0 else "▼"
    if versus.verdict == "same":
        return f' <span class="same" title="no difference shown">≈ {esc(table.baseline)}</span>'
    text = f"{arrow} {change(cell.metric, versus)}"
    return f' <span class="{versus.verdict}">{text}</span> against {esc(table.baseline)}'


def _strip(ctx: Context, row: CompareRow, metric: Metric) -> Strip:
    cell = row.cells[metric.key]
    look = ctx.looks[row.policy]
    if cell.interval is None:
        return Strip(row.policy, look, math.nan, math.nan, math.nan, cell.text, ())
    interval = cell.interval
    low, high = (interval.low, interval.high) if interval.n >= FEW else (math.nan, math.nan)
    text = metric.text(interval.mean)
    return Strip(row.policy, look, interval.mean, low, high, text, tuple(cell.values.values()))


# --- table ----------------------------------------------------------------------------------------


def _ranking(ctx: Context, case: Case, table: CompareTable, columns: Sequence[Metric]) -> str:
    series = over_time(ctx.run, case.trials)
    top = _spark_top(table, series)
    scale = BY_KEY["latency_p95_s"].text(top)
    head = "".join(
        f'<th data-sort tabindex="0" title="{esc(metric.doc)}">{esc(metric.title)}</th>'
        for metric in columns
    )
    body = "".join(_ranking_row(ctx, table, row, columns, (series, top)) for row in table.rows)
    ranked = table.ranked_by.title.lower() if table.ranked_by else "name"
    caption = (
        f"Ranked by {esc(ranked)}. Mean over seeds ± half of the 95 % interval; below it the "
        "difference to "
        f"<b>{esc(table.baseline)}</b>, paired by seed. {esc(' '.join(table.notes))} Click a "
        "heading to sort."
    )
    inner = (
        '<div class="scroll"><table id="ranking"><thead><tr><th>Policy</th><th class="left">p95 '
        f"latency over time, 0 to {esc(scale)}</th>"
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    return card("Policies, best first", inner, caption)


def _ranking_row(
    ctx: Context,
    table: CompareTable,
    row: CompareRow,
    columns: Sequence[Metric],
    series: tuple[Mapping[str, Table], float],
) -> str:
    tags = _tags(ctx, table, row)
    cells = "".join(_cell(ctx, table, row, metric) for metric in columns)
    kind = ' class="baseline"' if row.policy == table.baseline else ""
    return (
        f"<tr{kind}><td>{ctx.swatch(row.policy)}<b>{esc(row.policy)}</b>"
        f"<small>{tags}{len(row.seeds)} seed"
        f"{'s' if len(row.seeds) != 1 else ''}</small></td><td "
        f'class="left">{_spark(ctx, row.policy, *series)}</td>'
        f"{cells}</tr>"
    )


def _tags(ctx: Context, table: CompareTable, row: CompareRow) -> str:
    tags = ['<span class="tag">baseline</span>'] if row.policy == table.baseline else []
    if ctx.is_oracle(row.policy):
        tags.append('<span class="tag" title="It sees what no real policy can see">oracle</span>')
    if row.unstable:
        tags.append(
            f'<span class="tag unstable">unstable in {row.unstable} of {len(row.seeds)}</span>'
        )
    return "".join(tags)


def _spark_top(table: CompareTable, series: Mapping[str, Table]) -> float:
    """Return the common scale of the sparklines: the slowest stable policy."""
    stable = [row.policy for row in table.rows if not row.unstable]
    shown = stable or [row.policy for row in table.rows]
    return max((v for p in shown if p in series for v in _known(series[p]["p95"])), default=0.0)


def _known(values: FloatArray) -> list[float]:
    kept: list[float] = values[np.isfinite(values)].tolist()
    return kept


def _spark(ctx: Context, policy: str, series: Mapping[str, Table], top: float) -> str:
    known = _known(series[policy]["p95"]) if policy in series else []
    if not known:
        return ""
    latency = BY_KEY["latency_p95_s"]
    span = f"{latency.text(min(known))} to {latency.text(max(known))}"
    words = f"{policy}: p95 latency by time of emission, {span}"
    return sparkline(series[policy]["p95"], ctx.looks[policy], top, words)


def _cell(ctx: Context, table: CompareTable, row: CompareRow, metric: Metric) -> str:
    cell = row.cells[metric.key]
    value = "" if cell.interval is None else repr(cell.interval.mean)
    known = metric.direction != "none" and cell.interval is not None
    best = known and _winner(ctx, table, metric) is row
    few = (
        ' <span title="fewer than five seeds">*</span>'
        if cell.few and cell.interval and cell.interval.n > 1
        else ""
    )
    under = ""
    if cell.paired is not None:
        word = cell.paired.verdict
        under = f'<small class="{word}" title="{word}">{esc(change(metric, cell.paired))}</small>'
    kind = ' class="best"' if best and len(table.rows) > 1 else ""
    shown, _, half = cell.text.partition(" ± ")
    width, _, unit = half.partition(" ")
    text = f"{esc(shown)} {esc(unit)}<small>± {esc(width)}{few}</small>" if half else esc(shown)
    return f'<td{kind} data-value="{value}">{text}{under}</td>'


# --- what went wrong, what was asserted, what is assumed ------------------------------------------


def _failures(ctx: Context) -> str:
    failed = [t for t in ctx.run.trials if t.status and not t.done]
    missing = [t for t in ctx.run.trials if not t.status]
    parts = []
    if failed:
        items = "".join(
            f"<li><b>{esc(t.policy)}</b>, seed {t.seed}{_axes(t.axes)}: "
            f"{esc(t.status.get('stage') or 'failed')}: "
            f"{esc(t.status.get('message') or 'no message')}</li>"
            for t in failed[:20]
        )
        more = f"<p>and {len(failed) - 20} more</p>" if len(failed) > 20 else ""
        parts.append(
            notice(f"<b>{len(failed)} of {len(ctx.run.trials)} trials failed</b>"
                   f"<ul>{items}</ul>{more}"
                   "Repeat them with <code>moedge compare … --retry-failed</code>.", "bad")
        )  # fmt: skip
    if missing:
        parts.append(
            notice(f"{len(missing)} trials have not run yet; repeat the command to finish them.")
        )
    return "".join(parts)


def _axes(axes: Mapping[str, Any]) -> str:
    return "".join(f", {esc(name)} = {esc(value)}" for name, value in axes.items())


def _targets(ctx: Context) -> str:
    """Return the scenario's `assert:` limits: a row per policy, a column per limit."""
    found = ctx.run.asserts
    if not found:
        return ""
    limits = list(dict.fromkeys(str(item.get("text", "")) for item in found))
    rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for item in found:
        who = str(item.get("policy", "")), str(item.get("cell", ""))
        rows.setdefault(who, {})[str(item.get("text", ""))] = item
    head = "".join(f"<th><code>{esc(text)}</code></th>" for text in limits)
    body = "".join(
        f"<tr><td>{_who(ctx, *who)}</td>{''.join(_held(mine.get(text)) for text in limits)}</tr>"
        for who, mine in rows.items()
    )
    kept = sum(bool(item.get("kept")) for item in found)
    inner = (
        f'<div class="scroll"><table><thead><tr><th>Policy</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    return card(f"Targets: {kept} of {len(found)} kept", inner)


def _held(item: Mapping[str, Any] | None) -> str:
    if item is None:
        return "<td>-</td>"
    mark, word = ("✓", "better") if item.get("kept") else ("✗", "worse")
    return f'<td><span class="{word}">{mark}</span> {esc(item.get("found", "-"))}</td>'


def _who(ctx: Context, policy: str, cell: str) -> str:
    mark = ctx.swatch(policy) if policy in ctx.looks else ""
    return f"{mark}{esc(policy)}{f' ({esc(cell)})' if cell else ''}"


def _assumed(ctx: Context, case: Case) -> str:
    meta = case.meta
    notes = []
    if meta.get("model"):
        notes.append(
            f"Model <code>{esc(meta['model'])}</code>: answers come from the trained network "
            "itself."
        )
    if meta.get("model") and meta.get("cost_as"):
        notes.append(
            f"Time, energy and memory are those of <code>{esc(meta['cost_as'])}</code>, by "
            "roofline, not measured."
        )
    if meta.get("model") and meta.get("usage_assumed"):
        notes.append(
            "Which experts a token uses in it is mapped from the small model: an assumption, not "
            "a measurement."
        )
    oracles = [policy for policy in case.policies() if ctx.is_oracle(policy)]
    if oracles:
        notes.append(
            f"{esc(', '.join(oracles))}: an oracle. It sees the true mix and bounds what can be "
            "reached."
        )
    if meta.get("model"):
        notes.append(
            "Regret is about quality only, against the best merge; gated plans are no merges and "
            "may be negative."
        )
    seen = dict.fromkeys(note for trial in case.trials for note in trial.meta.get("notes", ()))
    notes += [esc(note) for note in seen]
    share = [
        float(r["decision_share"]) for r in case.rows if r.get("decision_share") not in {None, ""}
    ]
    known = [value for value in share if math.isfinite(value)]
    if known and meta.get("model"):
        notes.append(
            "The policies' own work takes up to "
            f"{esc(BY_KEY['decision_share'].text(max(known)))} of busy time."
        )
    items = "".join(f"<li>{note}</li>" for note in notes) or "<li>Nothing beyond the scenario.</li>"
    return card("What is assumed", f'<ul class="assumed">{items}</ul>')
