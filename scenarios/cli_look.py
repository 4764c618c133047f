"""Verbs that look, explain and prepare: report, check, init, policies, train, doctor, ..."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli_common import (
    BAD_INPUT,
    TRIAL_FAILED,
    emit,
    emit_text,
    find_run,
    guarded,
    json_only,
)
from scenarios.progress import say
from sim.errors import InputError

Json = Annotated[
    bool,
    typer.Option("--json", help="Write a machine-readable summary to stdout, and nothing else."),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, or an experiment's name under runs/.")
]


def report(
    run: RunName,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the report goes.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="P", help="Policy that differences are against.")
    ] = None,
) -> None:
    """Write the report of a run folder: static pages that open offline."""
    from analysis.report import write_report

    with guarded():
        say(f"report: {write_report(find_run(run), out, baseline)}")


def verify(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="RUN/trials/ID, or an id.")],
    runs: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where ids are looked for.")
    ] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Run a finished trial again and compare digests: same bits or not."""
    from dataclasses import asdict

    from scenarios.verify import verify as again

    with guarded(), json_only(as_json):
        verdict = again(trial, runs)
    say(
        f"{verdict.trial} ({verdict.policy}, seed {verdict.seed}): "
        + ("same digest " if verdict.same else "DIFFERENT digest ")
        + f"{verdict.kept[:16]}... / {verdict.found[:16] or verdict.message}..."
    )
    if as_json:
        emit({**asdict(verdict), "same": verdict.same})
    if not verdict.same:
        raise typer.Exit(TRIAL_FAILED)


def serve(
    run: RunName,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
) -> None:
    """Write the report and serve it to this machine's browser, until Ctrl-C."""
    from analysis.report import write_report
    from scenarios.serve import serve_folder

    with guarded():
        page = write_report(find_run(run))
        serve_folder(
            page.parent,
            port,
            lambda address: say(f"serving {page.parent} at {address} (Ctrl-C stops)"),
        )


def check(
    scenario: Annotated[list[str], typer.Argument(help="Files or bundled names.")],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print what the scenario says in full.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check scenario files: every mistake, each with its place and the nearest right word."""
    from scenarios.checking import check_one

    with guarded(), json_only(as_json):
        found = [check_one(name) for name in scenario]
        for facts in found:
            for line in [*facts["warnings"], *facts["errors"]]:
                say(line)
            say(f"{facts['scenario']}: {'ok' if facts['ok'] else mistakes(len(facts['errors']))}")
            if facts["engine"]:
                say(f"  engine: {facts['engine']['name']} ({facts['engine']['why']})")
    if as_json:
        emit({"ok": all(facts["ok"] for facts in found), "scenarios": found})
    elif resolved:
        for facts in found:
            emit_text(facts["resolved"] or "")
    if not all(facts["ok"] for facts in found):
        raise typer.Exit(BAD_INPUT)


def mistakes(count: int) -> str:
    """Write a number of mistakes."""
    return "1 mistake" if count == 1 else f"{count} mistakes"


def init(folder: Annotated[Path, typer.Argument(metavar="DIR")] = Path()) -> None:
    """Write a scenario to start from, and its schema for the editor."""
    from scenarios import loader
    from scenarios.files import write_text
    from scenarios.schema import schema_text

    with guarded():
        start = loader.TEMPLATE.read_text(encoding="utf-8")
        files = {"scenario.yaml": start, "scenario.schema.json": schema_text()}
        for name in files:
            if (folder / name).exists():
                raise InputError(f"{folder / name} exists; name another folder: moedge init DIR")
        for name, text in files.items():
            write_text(folder / name, text)
            say(f"wrote {folder / name}")
        say(
            f"next: moedge check {folder / 'scenario.yaml'}, "
            f"then moedge run {folder / 'scenario.yaml'}"
        )


def scenarios(as_json: Json = False) -> None:
    """List the bundled scenarios and the question that each one asks."""
    from scenarios import loader

    rows = [(name, loader.question(path)) for name, path in loader.bundled().items()]
    if as_json:
        emit([{"name": name, "question": question} for name, question in rows])
        return
    width = max((len(name) for name, _ in rows), default=0)
    emit_text("\n".join(f"{name:<{width}}  {question}" for name, question in rows))


def policies(as_json: Json = False) -> None:
    """List routers, dispatchers and expert caches that a scenario can name."""
    from scenarios.catalogue import catalogue

    rows = catalogue()
    if as_json:
        emit(rows)
        return
    width = max(len(row["name"]) for row in rows)
    lines: list[str] = []
    kind = ""
    for row in rows:
        if row["kind"] != kind:
            kind = row["kind"]
            lines += ["", f"{kind}:"] if lines else [f"{kind}:"]
        lines.append(
            f"  {row['name']:<{width}}  {row['doc']}{' (oracle)' if row['oracle'] else ''}"
        )
    emit_text("\n".join(lines))


def schema() -> None:
    """Print the JSON Schema of scenario files."""
    from scenarios.schema import schema_text

    emit_text(schema_text())


def train(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe: stream or digits.")] = "stream",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder; the cache when left out.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Train though it is there.")] = False,
    oracle: Annotated[
        int | None,
        typer.Option(min=0, metavar="ROWS", help="Merges in the oracle table; 0: no regret."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a Mixture-of-Experts checkpoint, and refuse one on which merging could not matter."""
    from scenarios.training import train_checkpoint

    with guarded(), json_only(as_json):
        facts = train_checkpoint(recipe, out, again=again, oracle=oracle)
    if as_json:
        emit(facts)


def doctor(as_json: Json = False) -> None:
    """Look for what is missing or broken on this machine, with the line that mends it."""
    from scenarios.doctor import examine

    rows = examine(Path("runs"))
    if as_json:
        emit(
            [
                {"name": row.name, "found": row.found, "well": row.well, "fix": row.fix}
                for row in rows
            ]
        )
    else:
        for row in rows:
            mark = "ok  " if row.well else "FAIL"
            emit_text(
                f"{mark} {row.name:<14} {row.found}" + (f"\n       -> {row.fix}" if row.fix else "")
            )
    if not all(row.well for row in rows):
        raise typer.Exit(TRIAL_FAILED)
