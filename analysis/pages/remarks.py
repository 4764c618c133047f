"""What a reader must know beside the numbers: failures, targets, losses, what is assumed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis.metrics import BY_KEY
from analysis.outages import spans, told
from analysis.pages.html import Html, card, esc, notice, shown_when
from analysis.queries import events
from sim.records import DROPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.pages.context import Case, Context


def failures(ctx: Context) -> str:
    """Return the trials that failed or have not run, nothing where all finished."""
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


def sample(case: Case) -> str:
    """Return a banner where only some requests of a case have rows, nothing where all have."""
    rows = [trial.meta["rows"] for trial in case.trials if trial.meta.get("rows")]
    if not rows:
        return ""
    every = sorted({int(row["every"]) for row in rows})
    kept, of = (sum(int(row[key]) for row in rows) for key in ("kept", "of"))
    return notice(
        f"<b>1 in {' or '.join(map(str, every))} requests is recorded</b>, the same ones under "
        f"every policy: {kept:,} of {of:,}. Counts, the summary, the tail of the latency and the "
        "table of streams are from all requests; latency over time and single requests are from "
        "those recorded. <code>record: {requests: unlimited}</code> keeps all."
    )


def samples(ctx: Context) -> list[Html]:
    """Return `sample` of every case, the first one shown."""
    return [
        shown_when(text, hidden=place > 0, case=case.slug)
        for place, case in enumerate(ctx.cases)
        if (text := sample(case))
    ]


def _axes(axes: Mapping[str, Any]) -> str:
    return "".join(f", {esc(name)} = {esc(value)}" for name, value in axes.items())


def targets(ctx: Context) -> str:
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


def losses(ctx: Context, case: Case) -> str:
    """Return what broke, and why requests were dropped; nothing where all went well."""
    trial = next(iter(case.shown().values()))
    broke = told(spans(events(ctx.run, trial), trial.meta))
    dropped = _dropped(ctx, case)
    if not broke and not dropped:
        return ""
    items = "".join(f"<li>{esc(text)}</li>" for text in broke)
    seed = f"Faults of seed {case.first_seed()}:"
    said = f'<p>{seed}</p><ul class="assumed">{items}</ul>' if broke else ""
    return card("What went wrong", said + dropped, id="losses")


def _dropped(ctx: Context, case: Case) -> str:
    """Return a table of drops: a row per policy, a column per reason that occurred."""
    reasons = [r for r in DROPS if any(_count(row, f"dropped_{r}") for row in case.rows)]
    if not reasons:
        return ""
    share = BY_KEY["drop_share"]
    head = "".join(f"<th>{esc(reason.replace('_', ' '))}</th>" for reason in reasons)
    body = ""
    for row in ctx.table(case).rows:
        mine = [r for r in case.rows if str(r["policy"]) == row.policy]
        emitted = sum(_count(r, "requests") for r in mine)
        counts = [sum(_count(r, f"dropped_{reason}") for r in mine) for reason in reasons]
        cells = "".join(
            f"<td>{n:,} <small>{esc(share.text(n / emitted if emitted else math.nan))}</small></td>"
            for n in counts
        )
        body += f"<tr><td>{_who(ctx, row.policy, '')}</td>{cells}</tr>"
    return (
        "<p>Requests dropped, all seeds, by reason:</p>"
        f'<div class="scroll"><table><thead><tr><th>Policy</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _count(row: Mapping[str, Any], key: str) -> int:
    return int(float(row.get(key) or 0))


def assumed(ctx: Context, case: Case) -> str:
    """Return what the numbers of a case rest on."""
    meta = case.meta
    notes = []
    engine = meta.get("engine")
    if engine:
        notes.append(
            f"Computed by the engine <code>{esc(engine['name'])}</code>: {esc(engine['why'])}. "
            "Both engines give the same results."
        )
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
            f"{esc(', '.join(oracles))}: sees what no deployed policy can, such as the true mix. "
            "It shows what knowing that is worth; a learner may still find a better merge."
        )
    if meta.get("model"):
        notes.append(
            "Regret is about quality only, against the best merge; gated plans are no merges and "
            "may be negative."
        )
    notes += _told(case)
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


def _told(case: Case) -> list[str]:
    """Return the notes of the trials; those that not all policies share say whose they are."""
    whose: dict[str, dict[str, None]] = {}
    for trial in case.trials:
        for note in trial.meta.get("notes", ()):
            whose.setdefault(str(note), {})[trial.policy] = None
    everyone = len(case.policies())
    return [
        esc(note if len(policies) == everyone else f"{', '.join(sorted(policies))}: {note}")
        for note, policies in whose.items()
    ]
