"""The answer to `what would you deploy?`: a ranking with ties, and a sentence that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.figures.compare import change, signed
from analysis.pages.context import present
from analysis.pages.html import Html, card, esc, variants
from analysis.ranking import Place, Ranking, ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.compare import CompareTable
    from analysis.metrics import Metric
    from analysis.pages.context import Case, Context

# what decides between policies that tie, and what else the table shows
_ASIDE = ("latency_p99_s", "memory_peak_bytes", "energy_per_useful_j", "regret_late", "accuracy")
_TIE_BREAKS = ("latency_p99_s", "memory_peak_bytes", "energy_per_useful_j")


def deploy(ctx: Context) -> Html:
    """Return the card, one variant per case."""
    made: dict[tuple[str, ...], str] = {(case.slug,): _case(ctx, case) for case in ctx.cases}
    caption = (
        "A rank is a range: one policy is better than another when the 95 % interval of their "
        "difference, paired by seed, leaves zero out. Policies that share a rank tie: no "
        "difference was shown. Policies that break a target of the scenario come after all that "
        "keep theirs; oracles cannot be deployed and have no rank. Intervals are not corrected "
        "for their number. * fewer than five seeds."
    )
    inner = variants(made, (ctx.case_choice,)).text
    return Html(card("What would you deploy?", inner, caption, id="deploy"))


def _case(ctx: Context, case: Case) -> str:
    table = ctx.table(case)
    if table.ranked_by is None:
        return "<p>No metric of these trials has a better side.</p>"
    oracles = {policy for policy in case.policies() if ctx.is_oracle(policy)}
    found = ranking(table, table.ranked_by, _targets(ctx, case), oracles)
    return f'<p class="answer">{_answer(table, found)}</p>{_table(ctx, table, found)}'


def _targets(ctx: Context, case: Case) -> dict[str, list[bool]]:
    """Return policy -> whether each target was kept in this case."""
    wanted = set() if case.label == "all" else set(case.label.split(", "))
    found: dict[str, list[bool]] = {}
    for item in ctx.run.asserts:
        if wanted <= set(str(item.get("cell", "")).split(", ")):
            found.setdefault(str(item.get("policy", "")), []).append(bool(item.get("kept")))
    return found


# --- words ----------------------------------------------------------------------------------------


def _answer(table: CompareTable, found: Ranking) -> str:
    leader, metric = found.leader, found.metric
    if leader is None:
        return "<b>None of these</b>: every policy breaks a target."
    text = table.row(leader.policy).cells[metric.key].text
    said = f"<b>{esc(leader.policy)}</b>: {esc(text)} {esc(metric.title.lower())}"
    if leader.targets:
        said += f", {_kept(leader)} kept"
    tied = [place.policy for place in found.unbeaten if place is not leader]
    if not tied:
        rest = len([place for place in found.places if not place.oracle])
        return f"{said}, better than any other that could be deployed." if rest > 1 else f"{said}."
    names = ", ".join(f"<b>{esc(policy)}</b>" for policy in tied)
    return f"{said}; it was not shown to be better than {names}. {_breaks(table, found)}"


def _breaks(table: CompareTable, found: Ranking) -> str:
    """Say what the unbeaten policies differ in."""
    unbeaten = [place.policy for place in found.unbeaten]
    said = []
    for metric in present(table, _TIE_BREAKS):
        known = {p: i.mean for p in unbeaten if (i := table.row(p).cells[metric.key].interval)}
        if len(known) > 1 and max(known.values()) > 1.05 * min(known.values()):
            best = min(known, key=lambda policy: (known[policy], policy))
            said.append(
                f"{esc(metric.title.lower())}: <b>{esc(best)}</b> {esc(metric.text(known[best]))}"
            )
    return f"Of these, lowest {'; lowest '.join(said)}." if said else ""


def _kept(place: Place) -> str:
    return f"{place.kept} of {place.targets} target{'s' if place.targets != 1 else ''}"


# --- table ----------------------------------------------------------------------------------------


def _table(ctx: Context, table: CompareTable, found: Ranking) -> str:
    aside = [m for m in present(table, _ASIDE) if m.key != found.metric.key]
    with_targets = any(place.targets for place in found.places)
    heads = [f"{found.metric.title}", "Difference to the first"]
    heads += ["Targets"] if with_targets else []
    heads += [metric.title for metric in aside]
    head = "".join(f"<th>{esc(text)}</th>" for text in heads)
    body = "".join(_row(ctx, table, found, place, aside) for place in found.places)
    return (
        '<div class="scroll"><table><thead><tr><th>Policy</th><th>Rank</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(
    ctx: Context, table: CompareTable, found: Ranking, place: Place, aside: Sequence[Metric]
) -> str:
    row = table.row(place.policy)
    tag = ' <span class="tag">oracle</span>' if place.oracle else ""
    cells = [
        f"<td><b>{esc(place.rank)}</b></td>",
        f"<td>{esc(row.cells[found.metric.key].text)}</td>",
    ]
    cells.append(_difference(found.metric, place))
    if any(other.targets for other in found.places):
        broken = ' class="worse"' if place.kept < place.targets else ""
        cells.append(f"<td{broken}>{place.kept} of {place.targets}</td>")
    cells += [f"<td>{esc(row.cells[metric.key].text)}</td>" for metric in aside]
    name = f"{ctx.swatch(place.policy)}{esc(place.policy)}{tag}"
    return f"<tr><td>{name}</td>{''.join(cells)}</tr>"


def _difference(metric: Metric, place: Place) -> str:
    versus = place.versus
    if versus is None:
        return '<td class="same">first</td>'
    word = {"same": "tie", "unclear": "one seed"}.get(versus.verdict, versus.verdict)
    few = " *" if versus.difference.few and versus.difference.n > 1 else ""
    pair = signed(metric, versus)
    return (
        f'<td><span class="verdict {versus.verdict}">{word}{few}</span> '
        f"{esc(change(metric, versus))}<small>{esc(pair)}</small></td>"
    )
