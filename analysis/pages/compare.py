"""The page that tells whether a difference is real."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.figures import compare as draw
from analysis.metrics import BY_KEY, Metric
from analysis.pages.context import Case, Context, nothing, present
from analysis.pages.deploy import deploy
from analysis.pages.html import Choice, Html, Page, Panel, card, esc, notice, shown_when, variants

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects as go

    from analysis.compare import CompareRow, CompareTable

QUESTION = "What is traded for what, and is the difference real?"
_WIDE = 8  # policies that stand beside each other
_LATENCIES = ("latency_p99_s", "latency_p95_s", "latency_p50_s", "latency_mean_s")
_FORESTS = (
    "useful_per_s", "accuracy", "latency_p99_s", "latency_p50_s", "deadline_miss", "regret_mean",
    "regret_late", "memory_peak_bytes", "memory_mean_bytes", "energy_j", "drop_share",
    "goodput_per_s",
)  # fmt: skip


def build(ctx: Context) -> Page:
    """Return the page."""
    if not ctx.cases:
        return nothing("compare", "Compare", QUESTION)
    blocks: list[Panel | Html] = [*_unstable(ctx)]
    blocks += [deploy(ctx)] if len(ctx.policies) > 1 else []
    blocks.append(_pareto(ctx))
    if len(ctx.policies) > 1:
        blocks += [_forest(ctx), _verdicts(ctx)]
    else:
        text = "One policy: nothing to compare it with. Name more by <code>--policies a,b</code>."
        blocks.append(Html(notice(text)))
    if len(ctx.cases) > 1:
        blocks.append(_sweep(ctx))
    choices = (ctx.case_choice, ctx.baseline_choice())
    return Page("compare", "Compare", QUESTION, tuple(blocks), choices, ctx.facts())


def _unstable(ctx: Context) -> Iterator[Html]:
    for place, case in enumerate(ctx.cases):
        names = sorted(row.policy for row in ctx.table(case).rows if row.unstable)
        if names:
            named = f"<b>{esc(', '.join(names))}</b>"
            text = f"A queue grows over the whole run under {named}: no latency is shown for it."
            yield shown_when(notice(text, "bad"), hidden=place > 0, case=case.slug)


def _quality(table: CompareTable) -> Metric:
    return next(iter(present(table, ("accuracy", "deadline_miss"))), BY_KEY["goodput_per_s"])


def _pareto(ctx: Context) -> Panel:
    metrics = [BY_KEY[key] for key in _LATENCIES]
    choice = Choice.of(
        "latency", "Latency", [metric.title.replace(" latency", "") for metric in metrics]
    )
    figures: dict[tuple[str, ...], go.Figure] = {}
    for case in ctx.cases:
        table = ctx.table(case)
        for slug, metric in zip(choice.slugs, metrics, strict=True):
            figures[case.slug, slug] = draw.pareto(
                table, ctx.looks, metric, _quality(table), case.deadlines_s()
            )
    caption = (
        "Large: mean over seeds, area by peak memory; small: single seeds; crosses: 95 % "
        "intervals, from five seeds on. "
        "Click a policy in the legend to see it alone, again to see all."
    )
    return Panel(
        "pareto", "Fast, or right?", caption, figures, (ctx.case_choice, choice), ("latency",)
    )


def _forest(ctx: Context) -> Panel:
    metrics = present(ctx.table(ctx.cases[0]), _FORESTS)
    choice = Choice.of("metric", "Metric", [metric.title for metric in metrics])
    base = ctx.baseline_choice()
    figures: dict[tuple[str, ...], go.Figure] = {}
    for case in ctx.cases:
        for base_slug, name in base.options:
            table = ctx.table(case, name)
            known = {metric.key for metric in table.metrics}
            for slug, metric in zip(choice.slugs, metrics, strict=True):
                if metric.key in known:
                    figures[case.slug, base_slug, slug] = draw.forest(table, metric, ctx.looks)
    caption = (
        "Both policies meet the same requests under one seed, so differences are taken seed by "
        "seed. "
        "Right: change of the mean in per cent of the baseline, with its 95 % interval."
    )
    return Panel(
        "forest",
        "Is the difference real?",
        caption,
        figures,
        (ctx.case_choice, base, choice),
        ("metric",),
    )


def _verdicts(ctx: Context) -> Html:
    base = ctx.baseline_choice()
    made: dict[tuple[str, ...], str] = {
        (case.slug, slug): _verdict_table(ctx, ctx.table(case, name))
        for case in ctx.cases
        for slug, name in base.options
    }
    caption = (
        "Better or worse: the 95 % interval of the paired difference leaves zero out. Same: no "
        "difference was shown, "
        "which is not proof of equality. Not corrected for the number of comparisons. Regret is "
        "against the best merge: gated plans are no merges and may be better than all of them. "
        "Recovery measures each policy by its own past."
    ) + (" The table scrolls sideways." if len(ctx.policies) > _WIDE else "")
    return Html(
        card(
            "Better, same, worse",
            variants(made, (ctx.case_choice, base)).text,
            caption,
            id="verdicts",
        )
    )


def _verdict_table(ctx: Context, table: CompareTable) -> str:
    others = [row for row in table.rows if row.policy != table.baseline]
    head = "".join(f"<th>{ctx.swatch(row.policy)}{esc(row.policy)}</th>" for row in others)
    body = "".join(
        f'<tr><td title="{esc(metric.doc)}">{esc(metric.title)}</td>'
        f"<td>{esc(table.row(table.baseline).cells[metric.key].text)}</td>"
        f"{''.join(_verdict_cell(row, metric) for row in others)}</tr>"
        for metric in table.metrics
        if metric.direction != "none"
    )
    swatch = ctx.swatch(table.baseline)
    return (
        f'<div class="scroll"><table><thead><tr><th>Metric</th><th>{swatch}{esc(table.baseline)} '
        f"(baseline)</th>{head}"
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _verdict_cell(row: CompareRow, metric: Metric) -> str:
    cell = row.cells[metric.key]
    if cell.paired is None:
        return f"<td>{esc(cell.text)}</td>"
    versus = cell.paired
    under = f"<small>{esc(draw.change(metric, versus))}</small>"
    if any(versus.differences) and draw.is_relative(metric, versus):
        pair = draw.signed(metric, versus)
        under += f"<small>{esc(pair)}</small>"
    few = " *" if versus.difference.few and versus.difference.n > 1 else ""
    return f'<td><span class="verdict {versus.verdict}">{versus.verdict}{few}</span>{under}</td>'


def _sweep(ctx: Context) -> Panel:
    tables = [ctx.table(case) for case in ctx.cases]
    keys = dict.fromkeys(metric.key for table in tables for metric in table.metrics)
    metrics = [BY_KEY[key] for key in _FORESTS if key in keys]
    choice = Choice.of("measure", "Metric", [metric.title for metric in metrics])
    labels, title = axis_labels(ctx.cases)
    figures: dict[tuple[str, ...], go.Figure] = {
        (slug,): draw.sweep(labels, tables, metric, ctx.looks, title)
        for slug, metric in zip(choice.slugs, metrics, strict=True)
    }
    caption = "A point per policy and case; bars are 95 % intervals, from five seeds on."
    return Panel(
        "sweep", "How does it depend on the axis?", caption, figures, (choice,), ("measure",)
    )


def axis_labels(cases: tuple[Case, ...]) -> tuple[list[str], str]:
    """Return what to write at each case, and the axis' name; short where only one axis varies."""
    split = [case.label.split(" = ") for case in cases]
    names = {parts[0] for parts in split}
    if len(names) == 1 and all(len(parts) == 2 for parts in split):
        return [parts[1] for parts in split], split[0][0]
    return [case.label for case in cases], "case"
