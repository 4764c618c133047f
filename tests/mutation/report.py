"""The table of a mutation run, and what explains its survivors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutation import rule, suite
from tests.mutation.cover import Cover
from tests.mutation.operators import OPERATORS
from tests.mutation.runner import KILLED, SAME, TIMEOUT, UNCOVERED, Outcome

EXPLAINED = Path(__file__).with_name("explained.json")
GOAL = 0.95
EQUIVALENT, ACCEPTED = "equivalent", "accepted"


def explained() -> dict[str, dict[str, str]]:
    """Return explanations by mutant id: `change`, `verdict`, `reason`."""
    found: dict[str, dict[str, str]] = json.loads(EXPLAINED.read_text(encoding="utf-8"))
    return found


def verdict(outcome: Outcome, known: dict[str, dict[str, str]]) -> str:
    """Return what counts: caught, equivalent, accepted, or unexplained.

    An explanation holds for one change: edit the function and it must be given anew.
    """
    if outcome.status in {KILLED, TIMEOUT}:
        return outcome.status
    if outcome.status == SAME:
        return EQUIVALENT
    entry = known.get(outcome.id)
    return entry["verdict"] if entry and entry["change"] == outcome.change else "unexplained"


def suite_line(cover: Cover) -> str:
    """Say how large the kill suite is and how long it takes."""
    late = "" if cover.suite_s <= suite.BUDGET_S else f"  ABOVE {suite.BUDGET_S:.0f} s"
    lines = [
        f"kill suite: {len(cover.times_s)} tests in {cover.suite_s:.1f} s on one core{late} "
        f"(imports {cover.import_s:.1f} s)"
    ]
    bad = [f"  {name}: {said.splitlines()[0][:120]}" for name, said in cover.failed.items()]
    lines += (
        [f"{len(bad)} tests fail without a mutation and are left out:", *bad[:9]] if bad else []
    )
    return "\n".join(lines)


def line(outcome: Outcome) -> str:
    """Say what became of one mutant."""
    what = f"{outcome.status:9} {outcome.id}"
    if outcome.by:
        return f"{what}  by {outcome.by}: {outcome.said[:80]!r}"
    return f"{what}  {outcome.change!r} ({outcome.ran} tests)"


def _share(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.1f} %" if whole else "-"


def table(outcomes: Sequence[Outcome], census: tuple[int, int]) -> int:
    """Print the table; return 0 when the goal is met and every survivor is explained."""
    known = explained()
    verdicts = {o.id: verdict(o, known) for o in outcomes}
    counts = Counter(verdicts.values())
    caught = counts[KILLED] + counts[TIMEOUT]
    differ = len(outcomes) - counts[EQUIVALENT]
    print(f"\n{census[0]} functions, {census[1]} sites, {len(outcomes)} mutants")
    print(f"\n{'operator':18}{'mutants':>8}{'caught':>8}{'same':>6}{'left':>6}")
    _rows(outcomes, verdicts, {o.id: o.id.split(":")[2] for o in outcomes}, list(OPERATORS))
    print(f"\n{'room':18}{'mutants':>8}{'caught':>8}{'same':>6}{'left':>6}")
    rooms = {o.id: ".".join(o.id.split(":")[0].split(".")[:2]) for o in outcomes}
    _rows(outcomes, verdicts, rooms, sorted(set(rooms.values())))
    by = Counter(suite.kind(o.by) if "/" in o.by else o.by or "timeout"
                 for o in outcomes if verdicts[o.id] in {KILLED, TIMEOUT})  # fmt: skip
    print("\ncaught by: " + ", ".join(f"{kind} {n}" for kind, n in by.most_common()))
    for outcome in outcomes:
        if verdicts[outcome.id] not in {KILLED, TIMEOUT}:
            _left(outcome, verdicts[outcome.id], known)
    print(
        f"\ncaught {caught} ({counts[TIMEOUT]} by time) of {differ} that change behaviour: "
        f"{_share(caught, differ)}; equivalent {counts[EQUIVALENT]}, accepted {counts[ACCEPTED]}, "
        f"unexplained {counts['unexplained']}"
    )
    return int(caught < GOAL * differ or counts["unexplained"] > 0)


def _rows(
    outcomes: Sequence[Outcome], verdicts: dict[str, str], keys: dict[str, str], names: list[str]
) -> None:
    for name in names:
        mine = Counter(verdicts[o.id] for o in outcomes if keys[o.id] == name)
        caught, same = mine[KILLED] + mine[TIMEOUT], mine[EQUIVALENT]
        left = mine.total() - caught - same
        print(f"{name:18}{mine.total():8}{caught:8}{same:6}{left:6}")


def _left(outcome: Outcome, what: str, known: dict[str, dict[str, str]]) -> None:
    reason = "same bytecode" if outcome.status == SAME else known.get(outcome.id, {}).get("reason")
    if what == "unexplained":
        reason = "no test runs it" if outcome.status == UNCOVERED else None
    print(f"  {what:12} {outcome.id}: {outcome.change!r}" + (f": {reason}" if reason else ""))


def semantic(outcomes: Sequence[Outcome]) -> int:
    """Print what became of the hand-made mistakes; return 0 when all were caught."""
    caught = [o for o in outcomes if o.status in {KILLED, TIMEOUT}]
    by = Counter(suite.kind(o.by) if "/" in o.by else "timeout" for o in caught)
    print(f"\ncaught {len(caught)} of {len(outcomes)} hand-made mistakes; by {dict(by)}")
    return int(len(caught) < len(outcomes))


def census(only: str) -> tuple[int, int]:
    """Return how many functions and sites the rooms hold."""
    found = [mine for module in rule.modules(only) for _, mine in rule.mutants(module)]
    return len(found), sum(len(mine) for mine in found)
