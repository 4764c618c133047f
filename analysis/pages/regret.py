"""The page of learning: is it learning, and how fast?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import drift as draw_drift
from analysis.figures import regret as draw
from analysis.figures import style
from analysis.metrics import BY_KEY
from analysis.pages.context import Case, Context, nothing
from analysis.pages.html import Choice, Html, Page, Panel, card, esc, notice, shown_when, variants
from analysis.pages.learning import BY, MOST_LINES, Lessons, learn
from analysis.queries import are_sampled
from analysis.regret import MIN_STEPS, Kind, Slope, tail_slope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

QUESTION = "Is it learning, and how fast?"
_Figures = dict[tuple[str, ...], "go.Figure"]
_MEANS = ("regret_mean", "regret_early", "regret_late")
_DRIFT = (
    "drift_delay_slots", "drift_missed", "drift_false_per_1000", "drift_recovered",
    "drift_recovery_slots",
)  # fmt: skip


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
    made = [learn(ctx, case) for case in ctx.cases]
    blocks: list[Panel | Html] = [_says(), _cumulative(ctx, made), _slopes(ctx, made)]
    blocks += [_where(ctx, made), _grown(ctx, made)]
    if any(lessons.drifted for lessons in made):
        blocks += [_around(ctx, made), *_answers(ctx, made)]
    blocks.append(_context(ctx, made))
    return Page("regret", "Regret", QUESTION, tuple(blocks), (ctx.case_choice,), ctx.facts())


def _says() -> Html:
    return Html(notice(
        "Regret of a node-slot is the accuracy of the best <b>merge</b> for the mix that was "
        "served, minus the reward. "
        "It is about quality only, whatever the latency; every node-slot with service weighs the "
        "same. "
        "<b>Gated plans (top-k) are not merges: they may be better than every merge, and their "
        "regret negative.</b>"
    ))  # fmt: skip


# --- how much, how fast ---------------------------------------------------------------------------


def _comparator(ctx: Context, lessons: Lessons) -> str:
    """Return the policy whose rows say what the best fixed merge loses."""
    return ctx.baseline if ctx.baseline in lessons.of else next(iter(sorted(lessons.of)))


def _cumulative(ctx: Context, made: Sequence[Lessons]) -> Panel:
    kind = Choice("regret", "Reward", (("realised", "realised"), ("expected", "expected, sampled")))
    scale = Choice("scale", "Axes", (("linear", "linear"), ("log", "log-log")))
    figures: _Figures = {}
    for one in made:
        fixed = one.curves[_comparator(ctx, one)]
        for k in kind.slugs:
            for s in scale.slugs:
                figures[one.case.slug, k, s] = draw.cumulative(
                    one.curves, ctx.looks, k, s == "log", one.marks, fixed
                )
    caption = (
        "Mean over seeds, with a pointwise 95 % band from five seeds on; thin lines are seeds (up "
        "to six policies). Flat: nothing is lost any more. On log-log axes a straight line of "
        "slope 1 has stopped learning; parts at or below zero cannot be drawn there. The best "
        "fixed merge is chosen for each node in hindsight, after the whole run, and never changes: "
        "a learner below it has gained from adapting. It is computed from the node-slots that "
        f"<b>{esc(_comparator(ctx, made[0]))}</b> served; other policies meet the same requests "
        "and differ in a few slots at most."
    )
    choices = (ctx.case_choice, kind, scale)
    return Panel(
        "cumulative", "What has it cost so far?", caption, figures, choices, ("regret", "scale")
    )


def _slopes(ctx: Context, made: Sequence[Lessons]) -> Html:
    tables: dict[tuple[str, ...], str] = {(one.case.slug,): _slope_table(ctx, one) for one in made}
    caption = (
        "Mean per node-slot with service ± half of the 95 % interval over seeds. Early: each "
        "node's first 50 such slots; late: its last quarter. Tail slope: exponent b of regret ~ "
        "served slots<sup>b</sup> over the second half, fitted per seed, from "
        f"{MIN_STEPS} served slots per node on. 1: it loses as much per slot as before; 0.5: the "
        "order that theory allows a good learner. Expected regret leaves out the luck of the "
        "answers; it is measured on a seeded sample. * fewer than five seeds."
    )
    return Html(
        card(
            "How fast does it still grow?",
            variants(tables, (ctx.case_choice,)).text,
            caption,
            id="slopes",
        )
    )


def _slope_table(ctx: Context, one: Lessons) -> str:
    table = ctx.table(one.case)
    curves = one.curves
    kinds: tuple[Kind, ...] = ("realised", "expected")
    reasons: dict[str, list[str]] = {}  # why -> whose
    rows = []
    for policy in sorted(curves):
        cells = table.row(policy).cells
        said = [cells[key].text if key in cells else "-" for key in _MEANS]
        for kind in kinds:
            found = tail_slope(curves[policy], kind)
            said.append(_slope_text(found))
            if found.interval is None and policy not in reasons.setdefault(found.reason, []):
                reasons[found.reason].append(policy)
        inner = "".join(f"<td>{esc(text)}</td>" for text in said)
        rows.append(f"<tr><td>{ctx.swatch(policy)}{esc(policy)}</td>{inner}</tr>")
    fixed = table.row(_comparator(ctx, one)).cells.get("regret_fixed_mean")
    if fixed is not None:
        rows.append(
            f'<tr class="baseline"><td>best fixed merge, in hindsight</td><td>{esc(fixed.text)}'
            "</td><td>-</td><td>-</td><td>-</td><td>-</td></tr>"
        )
    heads = ("Mean regret", "Early", "Late", "Tail slope b", "Slope of the expected")
    head = "".join(f"<th>{text}</th>" for text in heads)
    why = f'<p class="caption">No slope: {esc(_whose(reasons))}.</p>' if reasons else ""
    return (
        f'<div class="scroll"><table><thead><tr><th>Policy</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{why}"
    )


def _whose(reasons: Mapping[str, Sequence[str]]) -> str:
    """Say who has no slope, and why."""
    if len(reasons) == 1:
        return next(iter(reasons))
    return "; ".join(f"{', '.join(who)}: {why}" for why, who in reasons.items())


def _slope_text(found: Slope) -> str:
    if found.interval is None:
        return "-"
    i = found.interval
    return f"{i.mean:.2f} [{i.low:.2f}, {i.high:.2f}]{' *' if i.few else ''}"


# --- where it is lost -----------------------------------------------------------------------------


def _by(made: Sequence[Lessons], ctx: Context) -> Choice:
    known = {by for one in made for of in one.of.values() for lesson in of for by in lesson.means}
    return Choice("by", "By", tuple((by, word) for by, word in BY if by in known))


def _where(ctx: Context, made: Sequence[Lessons]) -> Panel:
    by = _by(made, ctx)
    figures: _Figures = {(one.case.slug, b): _matrix(ctx, one, b) for one in made for b in by.slugs}
    caption = (
        "Mean regret of the node-slots with service of all seeds, in points. The context of a "
        "node-slot is the task that it served most; below its name, the share of all node-slots "
        f"that it has under <b>{esc(_comparator(ctx, made[0]))}</b>: a rare one says little. "
        f"Of more than {draw.MOST_PARTS} nodes, those that lose most are shown."
    )
    return Panel("where", "Where is it lost?", caption, figures, (ctx.case_choice, by), ("by",))


def _matrix(ctx: Context, one: Lessons, by: str) -> go.Figure:
    means = {row.policy: one.mean(by, row.policy) for row in ctx.table(one.case).rows}
    found = sorted({part for mean in means.values() for part in mean})
    grid = np.array([[mean.get(part, math.nan) for part in found] for mean in means.values()])
    if len(found) > draw.MOST_PARTS:
        known = np.where(np.isnan(grid), 0.0, grid).mean(axis=0)
        kept = np.sort(np.argsort(-known, kind="stable")[: draw.MOST_PARTS])
        grid, found = grid[:, kept], [found[i] for i in kept]
    names = [_part_name(ctx, one, by, part) for part in found]
    word = dict[str, str](BY)[by]
    return draw.where(list(means), names, grid, f"Mean regret by {word} (points)")


def _part_name(ctx: Context, one: Lessons, by: str, part: int) -> str:
    """Return the heading of a part; below a context's name the share of node-slots it has."""
    name = style.plain(one.names[by].get(part, str(part)))
    counts = one.counts(by, _comparator(ctx, one))
    if by != "task" or part not in counts:
        return name
    return f"{name}<br>{BY_KEY['accuracy'].text(counts[part] / sum(counts.values()))}"


def _grown(ctx: Context, made: Sequence[Lessons]) -> Panel:
    by = _by(made, ctx)
    part = Choice("part", "By", by.options)
    policy = Choice.of("policy", "Policy", ctx.ordered)
    figures: _Figures = {
        (one.case.slug, b, slug): draw.grown_parts(
            one.lines(b, name), _grown_title(b, name), one.marks
        )
        for one in made
        for b in by.slugs
        for slug, name in policy.options
        if name in one.of
    }
    caption = (
        "Contexts add up to the fleet's curve; the fleet's curve is the mean of the nodes'. Mean "
        f"over seeds; with up to {draw.MOST_BANDS} parts a pointwise 95 % band, from five seeds "
        "on, wide where seeds meet a context more or less often. The legend begins with the part "
        f"that has cost most. Of more than {MOST_LINES} parts: the {MOST_LINES - 1} that lose "
        "most, and the one that loses least."
    )
    choices = (ctx.case_choice, part, policy)
    return Panel("parts", "How does it grow there?", caption, figures, choices, ("part", "policy"))


def _grown_title(by: str, policy: str) -> str:
    per = " per node" if by == "task" else ""
    word = dict[str, str](BY)[by]
    return f"Cumulative regret{per} by {word} (accuracy summed), {style.plain(policy)}"


# --- drift ----------------------------------------------------------------------------------------


def _around(ctx: Context, made: Sequence[Lessons]) -> Panel:
    figures: _Figures = {}
    for one in made:
        regret = {policy: [lesson.aligned for lesson in of] for policy, of in one.of.items()}
        delays = {
            policy: np.concatenate([lesson.delays for lesson in of])
            for policy, of in one.of.items()
            if any(lesson.looks for lesson in of)
        }
        figures[(one.case.slug,)] = draw_drift.around(regret, delays, ctx.looks)
    caption = (
        "All changes laid over each other at slot 0; what belongs to the change before or after is "
        "left out. Lines are means over three slots, never across the change; markers: the median "
        "slot of the first detection. Below: the share of all changes noticed by then; lines "
        "of policies that share a detector cover each other. A gradual change is drawn from the "
        "start of its ramp."
    )
    return Panel("around", "What does a change cost?", caption, figures, (ctx.case_choice,))


def _answers(ctx: Context, made: Sequence[Lessons]) -> list[Html]:
    caption = (
        "A detection (a new mix seen, or an alarm of the rewards) within 30 slots answers a "
        "change; delay is a mean over the changes detected, and one slot passes at least before a "
        "router can see anything. False: no change in the 30 slots before, per 1000 node-slots "
        "with service. Recovered: from that slot on ten served slots lose on average no more than "
        "the twenty before the change, plus 2 points; time is the median, and a change that did "
        "not recover counts as all the slots that it was watched for, a lower bound. Each "
        "policy is measured by its own past: a plan that never changes recovers where the new "
        "mix happens to suit it. A dash under noticing: the policy does not look; one that keeps "
        "an estimate of the mix and reports no change has missed them all. Means over seeds ± "
        "half of the 95 % interval."
    )
    return [
        shown_when(
            card("Was it noticed, and did it heal?", _answer_table(ctx, one), caption, id="drift"),
            hidden=place > 0,
            case=one.case.slug,
        )
        for place, one in enumerate(made)
    ]


def _answer_table(ctx: Context, one: Lessons) -> str:
    table = ctx.table(one.case)
    metrics = [BY_KEY[key] for key in _DRIFT]
    heads = "".join(f'<th title="{esc(m.doc)}">{esc(m.title)}</th>' for m in metrics)
    body = []
    for row in table.rows:
        texts = [row.cells[m.key].text if m.key in row.cells else "-" for m in metrics]
        cells = "".join(f"<td>{esc(text)}</td>" for text in texts)
        count = sum(len(lesson.delays) for lesson in one.of[row.policy])
        name = f"{ctx.swatch(row.policy)}{esc(row.policy)}"
        body.append(f"<tr><td>{name}</td><td>{count}</td>{cells}</tr>")
    return (
        '<div class="scroll"><table><thead><tr><th>Policy</th><th>Changes, all seeds</th>'
        f"{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


# --- context --------------------------------------------------------------------------------------


def _context(ctx: Context, made: Sequence[Lessons]) -> Panel:
    figures: _Figures = {
        (one.case.slug,): draw.context_error(one.curves, ctx.looks, one.marks) for one in made
    }
    caption = (
        "How far the router's estimate of the mix is from the mix served, mean over nodes: "
        "0 is exact, 1 is disjoint. Policies that keep no estimate have no line. The grey area "
        "cannot be avoided: a slot serves a sample, and even the true mix is that far from it. "
        f"{_excess(ctx, made[0].case)}{_floorless(ctx)}"
    )
    return Panel("context", "Does it know what it serves?", caption, figures, (ctx.case_choice,))


def _floorless(ctx: Context) -> str:
    if not are_sampled(ctx.run.done):
        return ""
    return "It is not drawn here: it needs the rows of all requests, and only some are recorded."


def _excess(ctx: Context, case: Case) -> str:
    """Say how much of the error is avoidable, per policy."""
    found: dict[str, list[str]] = {}  # what -> whose
    for row in ctx.table(case).rows:
        error, floor = (row.cells.get(key) for key in ("context_tv_mean", "context_floor_mean"))
        if error and error.interval and floor and floor.interval:
            write = error.metric.text
            least = f"where a perfect estimate would have {write(floor.interval.mean)}"
            what = f"{write(error.interval.mean)}, {least}"
            found.setdefault(what, []).append(esc(row.policy))
    said = [f"{', '.join(who)} {what}" for what, who in found.items()]
    return f"Mean over the run: {'; '.join(said)}." if said else ""
