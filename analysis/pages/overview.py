"""The first page: did it work, and who wins?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures.compare import change, is_relative
from analysis.metrics import BY_KEY, Metric
from analysis.pages.context import Case, Context, nothing, present
from analysis.pages.html import Html, Page, card, esc, notice, shown_when
from analysis.pages.remarks import assumed, failures, losses, sample, targets
from analysis.pages.svg import Scale, Strip, is_log, sparkline, strips
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
    "useful_per_s", "accuracy", "latency_p50_s", "latency_p99_s", "deadline_miss", "drop_share",
    "regret_mean", "memory_peak_bytes", "memory_mean_bytes", "energy_j",
)  # fmt: skip
_COLUMNS_WITHOUT_MODEL = (
    "goodput_per_s", "latency_mean_s", "latency_p50_s", "latency_p95_s", "latency_p99_s",
    "deadline_miss",
    "drop_share", "utilisation", "energy_j",
)  # fmt: skip
# where the first may be worse than the baseline: what its lead is paid with
_PRICES = ("latency_mean_s", "deadline_miss", "memory_mean_bytes", "energy_j")
_DEAR = 0.05  # change from which a price is named; of shares, 0.01
_MOST_STRIPS = 12


def build(ctx: Context) -> Page:
    """Return the page."""
    if not ctx.cases:
        page = nothing("index", "Overview", QUESTION)
        return Page(
            page.slug, page.title, QUESTION, (*page.blocks, Html(failures(ctx))), facts=ctx.facts()
        )
    blocks: list[Html] = [Html(failures(ctx))]
    for place, case in enumerate(ctx.cases):
        blocks.append(shown_when(_case(ctx, case), hidden=place > 0, case=case.slug))
    blocks.append(Html(targets(ctx)))
    return Page("index", "Overview", QUESTION, tuple(blocks), (ctx.case_choice,), ctx.facts())


def _case(ctx: Context, case: Case) -> str:
    table = ctx.table(case)
    with_model = any(metric.key == "accuracy" for metric in table.metrics)
    tiles = _telling(table, present(table, _TILES if with_model else _TILES_WITHOUT_MODEL))
    parts = [f'<p class="lead">{_lead(ctx, case)}</p>']
    if case.problem:
        parts.append(notice(f"These trials must not be compared: {esc(case.problem)}", "bad"))
    parts.append(sample(case))
    parts.append(
        f'<div class="tiles">{"".join(_tile(ctx, table, metric) for metric in tiles)}</div>'
    )
    columns = present(table, _COLUMNS if with_model else _COLUMNS_WITHOUT_MODEL)
    parts.append(_ranking(ctx, case, table, columns))
    parts.append(losses(ctx, case))
    parts.append(assumed(ctx, case))
    return "".join(parts)


def _lead(ctx: Context, case: Case) -> str:
    """Say in a sentence who is first, by what, and by how much, and in another what that costs."""
    table = ctx.table(case)
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
    versus, sure = cell.paired, ""
    if versus is not None:
        doubts = {"same": " (no difference shown)", "unclear": " (too few seeds to tell)"}
        sure = f", {change(metric, versus)} against the baseline {esc(table.baseline)}"
        sure += doubts.get(versus.verdict, "")
    return f"{said}{sure}{_next(ctx, case, first, metric)}.{_price(table, first)}"


def _next(ctx: Context, case: Case, first: CompareRow, metric: Metric) -> str:
    """Name the second of those that could be deployed, unless it is the baseline just named."""
    rows = _best_first(ctx.table(case), metric)
    real = [r for r in rows if r.policy != first.policy and not ctx.is_oracle(r.policy)]
    if not real or real[0].cells[metric.key].interval is None:
        return ""
    if real[0].policy == ctx.table(case).baseline:
        return ""
    name, text = f"<b>{esc(real[0].policy)}</b>", esc(real[0].cells[metric.key].text)
    versus = ctx.table(case, first.policy).row(real[0].policy).cells[metric.key].paired
    if versus is not None and versus.verdict == "same":
        return f"; {name} with <b>{text}</b> was not shown to be worse"
    return f"; next comes {name} with <b>{text}</b>"


def _price(table: CompareTable, first: CompareRow) -> str:
    """Say in what the first is clearly worse than the baseline."""
    said = []
    for metric in present(table, _PRICES):
        versus = first.cells[metric.key].paired
        if versus is None or versus.verdict != "worse":
            continue
        relative = is_relative(metric, versus)
        found = versus.ratio.mean if relative else versus.difference.mean
        if abs(found) >= (_DEAR if relative else 0.01):
            said.append(f"{esc(metric.title.lower())} {change(metric, versus)}")
    return f" It pays with {', '.join(said)}." if said else ""


# --- tiles ----------------------------------------------------------------------------------------


def _telling(table: CompareTable, metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics that are not zero under every policy."""
    return [m for m in metrics if any(any(r.cells[m.key].values.values()) for r in table.rows)]


def _tile(ctx: Context, table: CompareTable, metric: Metric) -> str:
    rows = _best_first(table, metric)
    best = _winner(ctx, table, metric)
    cell = best.cells[metric.key]
    shown = [_strip(ctx, row, metric) for row in rows[:_MOST_STRIPS]]
    value, _, half = cell.text.partition(" ± ")
    number = f"{esc(value)} <small>± {esc(half)}</small>" if half else esc(value)
    better = {"lower": "↓ is better", "higher": "↑ is better"}.get(metric.direction, "")
    bent = metric.direction == "lower" and is_log(shown)
    better += ", log scale" if bent else ""
    return (
        '<section class="tile"><h3 '
        f'title="{esc(metric.doc)}">{esc(metric.title)}<small>{better}</small></h3>'
        f'<p class="value">{number}</p><p class="who">{ctx.swatch(best.policy)}{esc(best.policy)}'
        f"{_as_good(rows, best, metric)}{_against(cell, table)}</p>"
        f"{strips(shown, more=len(rows) - len(shown), log=bent)}</section>"
    )


def _as_good(rows: Sequence[CompareRow], best: CompareRow, metric: Metric) -> str:
    """Say how many policies have exactly the value of the one that is named."""
    found = [i.mean for row in rows if (i := row.cells[metric.key].interval)]
    mine = best.cells[metric.key].interval
    many = found.count(mine.mean) - 1 if mine else 0
    return f" and {many} more" if many else ""


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
    scale = _spark_scale(table, series)
    shown = _telling(table, columns)
    head = "".join(
        f'<th data-sort tabindex="0" title="{esc(metric.doc)}">{esc(metric.title)}</th>'
        for metric in shown
    )
    body = "".join(_ranking_row(ctx, table, row, shown, (series, scale)) for row in table.rows)
    left_out = ", ".join(metric.title.lower() for metric in columns if metric not in shown)
    zero = f"Zero under every policy: {esc(left_out)}. " if left_out else ""
    ranked = table.ranked_by.title.lower() if table.ranked_by else "name"
    caption = (
        f"Ranked by {esc(ranked)}. Mean over seeds ± half of the 95 % interval; below it the "
        "difference to "
        f"<b>{esc(table.baseline)}</b>, paired by seed. {esc(' '.join(table.notes))} "
        f"{zero}Click a heading to sort."
    )
    inner = (
        '<div class="scroll"><table id="ranking"><thead><tr><th>Policy</th><th class="left">p95 '
        f"latency over time, {esc(_spark_words(scale))}</th>"
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    return card("Policies, best first", inner, caption)


def _ranking_row(
    ctx: Context,
    table: CompareTable,
    row: CompareRow,
    columns: Sequence[Metric],
    series: tuple[Mapping[str, Table], Scale],
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


def _spark_scale(table: CompareTable, series: Mapping[str, Table]) -> Scale:
    """Return the common scale of the sparklines: up to the slowest stable policy."""
    stable = [row.policy for row in table.rows if not row.unstable]
    shown = stable or [row.policy for row in table.rows]
    return Scale.of([v for p in shown if p in series for v in _known(series[p]["p95"])])


def _spark_words(scale: Scale) -> str:
    write = BY_KEY["latency_p95_s"].text
    span = f"{write(scale.low) if scale.low else '0'} to {write(scale.high)}"
    return f"{span}, log" if scale.low else span


def _known(values: FloatArray) -> list[float]:
    kept: list[float] = values[np.isfinite(values)].tolist()
    return kept


def _spark(ctx: Context, policy: str, series: Mapping[str, Table], scale: Scale) -> str:
    known = _known(series[policy]["p95"]) if policy in series else []
    if not known:
        return ""
    latency = BY_KEY["latency_p95_s"]
    span = f"{latency.text(min(known))} to {latency.text(max(known))}"
    words = f"{policy}: p95 latency by time of emission, {span}"
    return sparkline(series[policy]["p95"], ctx.looks[policy], scale, words)


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
