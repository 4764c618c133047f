"""The page of learning: is it learning, and how fast?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.figures import regret as draw
from analysis.metrics import BY_KEY
from analysis.pages.context import Case, Context, nothing
from analysis.pages.html import Choice, Html, Page, Panel, card, esc, notice, variants
from analysis.queries import curves_table, drifts
from analysis.regret import MIN_STEPS, Curve, curve, tail_slope

if TYPE_CHECKING:
    import plotly.graph_objects as go

QUESTION = "Is it learning, and how fast?"
_CurvesOf = dict[str, dict[str, list[Curve]]]


def build(ctx: Context) -> Page:
    """Return the page."""
    if not ctx.cases:
        return nothing("regret", "Regret", QUESTION)
    if not any(trial.meta.get("model") for trial in ctx.run.done):
        text = (
            "These trials ran with <code>model: none</code>: nothing answers, so there is no "
            "reward and no regret. "
            "A scenario with <code>model: {checkpoint: builtin:stream}</code> has both; try "
            "<code>moedge demo</code>."
        )
        return Page("regret", "Regret", QUESTION, (Html(notice(text)),), facts=ctx.facts())
    curves = {case.slug: _curves(ctx, case) for case in ctx.cases}
    marks = {case.slug: _marks(ctx, case) for case in ctx.cases}
    blocks = (
        _says(),
        _cumulative(ctx, curves, marks),
        _slopes(ctx, curves),
        _context(ctx, curves, marks),
    )
    return Page("regret", "Regret", QUESTION, blocks, (ctx.case_choice,), ctx.facts())


def _curves(ctx: Context, case: Case) -> dict[str, list[Curve]]:
    longest = max(int(trial.meta["slots"]) for trial in case.trials)
    return {
        policy: [
            curve(curves_table(ctx.run, trial), trial.meta, longest) for trial in case.of(policy)
        ]
        for policy in case.policies()
    }


def _marks(ctx: Context, case: Case) -> list[tuple[float, str]]:
    trial = next(iter(case.shown().values()))
    return [
        (slot + 1.0, "drift" if place == 0 else "")
        for place, slot in enumerate(drifts(ctx.run, trial))
    ]


def _says() -> Html:
    return Html(notice(
        "Regret of a node-slot is the accuracy of the best <b>merge</b> for the mix that was "
        "served, minus the reward. "
        "It is about quality only, whatever the latency; every node-slot with service weighs the "
        "same. "
        "<b>Gated plans (top-k) are not merges: they may be better than every merge, and their "
        "regret negative.</b>"
    ))  # fmt: skip


def _cumulative(
    ctx: Context, curves: _CurvesOf, marks: dict[str, list[tuple[float, str]]]
) -> Panel:
    kind = Choice("regret", "Reward", (("realised", "realised"), ("expected", "expected, sampled")))
    scale = Choice("scale", "Axes", (("linear", "linear"), ("log", "log-log")))
    figures: dict[tuple[str, ...], go.Figure] = {
        (case.slug, k, s): draw.cumulative(
            curves[case.slug], ctx.looks, k, s == "log", marks[case.slug]
        )
        for case in ctx.cases
        for k in kind.slugs
        for s in scale.slugs
    }
    caption = (
        "Mean over seeds, with a 95 % band from five seeds on; thin lines are seeds. Flat: "
        "nothing is lost any more. "
        "On log-log axes a straight line of slope 1 has stopped learning; parts at or below zero "
        "cannot be drawn there."
    )
    choices = (ctx.case_choice, kind, scale)
    return Panel(
        "cumulative", "What has it cost so far?", caption, figures, choices, ("regret", "scale")
    )


def _slopes(ctx: Context, curves: _CurvesOf) -> Html:
    made: dict[tuple[str, ...], str] = {
        (case.slug,): _slope_table(ctx, curves[case.slug]) for case in ctx.cases
    }
    caption = (
        "Exponent b of regret ~ slots<sup>b</sup> over the second half, fitted per seed, from "
        f"{MIN_STEPS} served slots "
        "per node on. 1: it loses as much per slot as before; 0.5: the order that theory allows "
        "a good learner."
    )
    return Html(
        card(
            "How fast does it still grow?",
            variants(made, (ctx.case_choice,)).text,
            caption,
            id="slopes",
        )
    )


def _slope_table(ctx: Context, curves: dict[str, list[Curve]]) -> str:
    metric, rows = BY_KEY["regret_mean"], []
    for policy in sorted(curves):
        found = tail_slope(curves[policy])
        last = [c.realised[-1] / c.steps for c in curves[policy] if c.steps]
        mean = metric.text(sum(last) / len(last)) if last else "-"
        if found.interval is None:
            said = f'<td class="left same" colspan="2">{esc(found.reason)}</td>'
        else:
            i = found.interval
            few = " *" if i.few else ""
            said = f"<td>{i.mean:.2f}</td><td>[{i.low:.2f}, {i.high:.2f}]{few}</td>"
        rows.append(
            f"<tr><td>{ctx.swatch(policy)}{esc(policy)}</td><td>{esc(mean)}</td>{said}</tr>"
        )
    return (
        '<div class="scroll"><table><thead><tr><th>Policy</th><th>Mean regret per '
        "slot</th><th>Tail slope b</th>"
        "<th>95 % interval over "
        f"seeds</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _context(ctx: Context, curves: _CurvesOf, marks: dict[str, list[tuple[float, str]]]) -> Panel:
    figures: dict[tuple[str, ...], go.Figure] = {
        (case.slug,): draw.context_error(curves[case.slug], ctx.looks, marks[case.slug])
        for case in ctx.cases
    }
    caption = (
        "How far the router's estimate of the mix is from the mix served, mean over nodes: "
        "0 is exact, 1 is disjoint. Policies that keep no estimate have no line."
    )
    return Panel("context", "Does it know what it serves?", caption, figures, (ctx.case_choice,))
