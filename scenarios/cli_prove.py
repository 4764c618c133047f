"""The verb that holds the physics against theory, twins and peers: prove."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenarios.cli_common import TRIAL_FAILED, emit, emit_text, guarded, json_only, words
from scenarios.progress import say, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.hosting.attempt import TrialFailure
    from sim.proofs.proof import Proof
    from sim.proofs.verdict import Result

_HEAD = ("check", "expected", "measured", "interval", "power", "verdict")
_LEFT = (0, 5)  # columns that are words
_WIDTH = 100  # of what is said about a proof


def prove(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the set that runs with every change.")
    ] = False,
    only: Annotated[
        str,
        typer.Option(metavar="A,B", help="Names of proofs, or of groups; all when left out."),
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Proofs at a time.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the rows to stdout as JSON, not as a table.")
    ] = False,
) -> None:
    """Hold the physics against queueing theory, slow twins, exact replays and a peer."""
    from sim.proofs.table import choose

    with guarded(), json_only(as_json):
        rows = prove_all(choose(_names(only), quick=quick), jobs)
    if as_json:
        emit({"rows": [facts(row) for row in rows], **totals(rows)})
    else:
        emit_text(table(rows))
    if any(row.bad for row in rows):
        raise typer.Exit(TRIAL_FAILED)


def _names(only: str) -> tuple[str, ...]:
    from sim.errors import InputError

    if only and not words(only):
        raise InputError(f"--only: expected names of proofs or groups, found '{only}'")
    return words(only)


def prove_all(chosen: Sequence[Proof], jobs: int) -> list[Result]:
    """Carry out proofs, telling each as it ends on stderr; return all rows in the table's order."""
    from agents.hosting.launcher import run_all

    done: dict[int, list[Result]] = {}

    def ended(index: int, result: list[Result] | TrialFailure) -> None:
        done[index] = rows = _rows(chosen[index], result)
        verdicts = ", ".join(dict.fromkeys(row.verdict for row in rows))
        spent = span(math.fsum(row.seconds for row in rows))
        say(f"{len(done)}/{len(chosen)} {chosen[index].name}: {verdicts}, {spent}")

    run_all(prove_one, [proof.name for proof in chosen], jobs=jobs, on_done=ended)
    return [row for index in sorted(done) for row in done[index]]


def prove_one(name: str) -> list[Result]:
    """Carry out one proof with the shipped dispatchers and caches."""
    from agents.caches import CACHES
    from agents.dispatchers import DISPATCHERS
    from sim.parts import Parts
    from sim.proofs.proof import Lab, carry_out
    from sim.proofs.table import PROOFS

    return carry_out(PROOFS[name], Lab(Parts(DISPATCHERS.load, CACHES.load)))


def _rows(proof: Proof, result: list[Result] | TrialFailure) -> list[Result]:
    """Return a proof's rows; one that crashed has a single failed row."""
    from sim.proofs.verdict import failed, stamp

    if isinstance(result, list):
        return result
    return [stamp(failed(proof.about, result.message), proof.name, proof.group, 0.0)]


def facts(row: Result) -> dict[str, Any]:
    """Return one row as plain values."""
    from dataclasses import asdict

    return asdict(row)


def totals(rows: Sequence[Result]) -> dict[str, Any]:
    """Return counts by verdict, and the processor time of all."""
    counts = {word: sum(row.verdict == word for row in rows) for word in _VERDICTS}
    return {"checks": len(rows), **counts, "seconds": math.fsum(row.seconds for row in rows)}


_VERDICTS = ("pass", "FAIL", "no power", "skipped")


def table(rows: Sequence[Result]) -> str:
    """Write one block per group, and what it all comes to."""
    groups = dict.fromkeys(row.group for row in rows)
    blocks = [_block(group, [row for row in rows if row.group == group]) for group in groups]
    return "\n\n".join([*blocks, _sum(rows), _LEGEND])


_LEGEND = (
    "interval: holds the true value with 99.99 %; of exact checks, the difference that rounding may"
    " make\npower: chance that a bias of 2 % would be rejected; a check also passes only if its"
    " numbers reject\na theory that is 2 % too high or too low. Seconds are those of one processor."
)


def _sum(rows: Sequence[Result]) -> str:
    found = totals(rows)
    counts = ", ".join(f"{found[word]} {word}" for word in _VERDICTS if found[word])
    proofs = len({row.proof for row in rows})
    return f"{proofs} proofs, {found['checks']} checks: {counts}; {found['seconds']:.0f} s"


def _block(group: str, rows: Sequence[Result]) -> str:
    """Write the checks of a group in columns, each proof's under a line about it."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
    texts = [
        "  ".join(
            cell.ljust(width) if i in _LEFT else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    found = [f"{group}\n    {texts[0]}"]
    for name in dict.fromkeys(row.proof for row in rows):
        own = [(row, text) for row, text in zip(rows, texts[1:], strict=True) if row.proof == name]
        found += [_about(name, [row for row, _ in own]), *(f"    {text}" for _, text in own)]
    return "\n".join(found)


def _about(name: str, rows: Sequence[Result]) -> str:
    """Say how much a proof looked at, and how long it took."""
    seconds = math.fsum(row.seconds for row in rows)
    notes = [*dict.fromkeys(row.note for row in rows if row.note), f"{seconds:.1f} s"]
    return textwrap.fill(f"  {name}: {'; '.join(notes)}", _WIDTH, subsequent_indent="    ")


def _cells(row: Result) -> tuple[str, ...]:
    if row.verdict == "skipped":
        return (row.check, "-", "-", "-", "-", row.verdict)
    return (
        row.check,
        f"{row.expected:.5g}",
        f"{row.measured:.5g}",
        f"\u00b1 {row.high:.0e}" if -row.low == row.high else f"{row.low:.4g} .. {row.high:.4g}",
        "-" if math.isnan(row.power) else f"{row.power:.4f}",
        row.verdict,
    )
