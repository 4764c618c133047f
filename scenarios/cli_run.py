"""Verbs that run trials: demo, run, compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenarios.cli_common import BREACHED, TRIAL_FAILED, emit, guarded, json_only, words
from scenarios.progress import division_words, say, view_for

if TYPE_CHECKING:
    from scenarios.experiment import Outcome
    from scenarios.planning import Grid

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value of the scenario, such as duration='2 min'.",
    ),
]
Axes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=V1,V2",
        help="Override a value; several values make an axis of the grid.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where run folders go.")]
Json = Annotated[
    bool,
    typer.Option("--json", help="Write a machine-readable summary to stdout, and nothing else."),
]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", metavar="A", help="An existing Ray cluster.")
]

Fresh = Annotated[
    bool, typer.Option("--fresh", help="Throw earlier results of this experiment away.")
]

# first contact: long enough to tell the policies apart, short enough to wait for
DEMO_POLICIES, DEMO_BASELINE = ("tanbr", "top2", "uniform"), "top2"
DEMO_SEEDS: tuple[int, ...] = (1, 2, 3)
DEMO_SETTINGS: tuple[str, ...] = ()


def run(  # noqa: PLR0913, PLR0917
    scenario: Annotated[
        str, typer.Argument(help="A file, or a bundled name (see `moedge scenarios`).")
    ],
    policy: Annotated[
        str | None, typer.Option(help="A policy; the scenario's first when left out.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The seed; the scenario's when left out.")
    ] = None,
    settings: Settings = None,
    out: Out = Path("runs"),
    inline: Annotated[
        bool, typer.Option("--inline", help="Host models in this process, without Ray.")
    ] = False,
    shards: Annotated[int, typer.Option(min=1, help="Hosts that share the fleet's nodes.")] = 1,
    ray_address: RayAddress = None,
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Run one trial: one policy, one seed."""
    from scenarios.planning import plan, single
    from scenarios.trial import Hosting

    with guarded(resumes=True), json_only(as_json):
        hosting = Hosting(ray=not inline, ray_address=ray_address or "local", shards=shards)
        grid = plan(single(scenario, settings or (), policy, seed, out, hosting))
        _begin(grid, None)
        outcome = _only_trial(grid, fresh)
        breached = _finish(grid, outcome, None)
    if as_json:
        emit(trial_facts(outcome, breached))
    _leave(outcome, breached)


def _only_trial(grid: Grid, fresh: bool) -> Outcome:
    """Run a grid of one trial here, again if need be, and say when it does not repeat itself."""
    from scenarios.experiment import execute

    before = grid.folder.status(grid.jobs[0].id)
    outcome = execute(grid, view_for(), again=True, fresh=fresh, in_process=True)
    found = outcome.rows[0]["digest"]
    if before is not None and before.done and found and before.digest != found:
        say(
            f"warning: an earlier run of this trial had digest {before.digest}, "
            f"this one has {found}"
        )
    return outcome


def compare(  # noqa: PLR0913, PLR0917
    scenario: Annotated[list[str], typer.Argument(help="Files or bundled names.")],
    policies: Annotated[
        str, typer.Option(metavar="A,B", help="Policies; the scenario's when left out.")
    ] = "",
    seeds: Annotated[str, typer.Option(metavar="0:10", help="Seeds: 3, or 1,5,9, or 0:10.")] = "",
    settings: Axes = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="P", help="Policy that differences are against.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; one per core when left out.")
    ] = None,
    ray_address: RayAddress = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="T", help="Longest that a trial may take, such as '10 min'."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Most memory of a trial, such as '2 GB'; so many run at once as fit. When left "
            "out, the largest is stopped before the machine runs short.",
        ),
    ] = None,
    max_failures: Annotated[
        int, typer.Option(min=0, help="Start no more trials after so many failures; 0: go on.")
    ] = 20,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the grid and run nothing.")
    ] = False,
    fresh: Fresh = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed trials again.")
    ] = False,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Run policies x seeds x axis values on all cores and compare; repeating it resumes."""
    from scenarios.experiment import execute
    from scenarios.planning import Order, limits_of, parse_seeds, plan

    with guarded(resumes=True), json_only(as_json):
        limits = limits_of(timeout, memory)
        wanted = parse_seeds(seeds) if seeds else ()
        orders = [
            Order(name, tuple(settings or ()), words(policies), wanted, out) for name in scenario
        ]
        grids = [
            plan(order) for order in orders
        ]  # every scenario is checked before the first trial starts
        for grid in grids:
            _begin(grid, baseline)
        if dry_run:
            facts = [show_plan(grid, fresh=fresh, retry_failed=retry_failed) for grid in grids]
        else:
            done = []
            for grid in grids:
                outcome = execute(
                    grid,
                    view_for(),
                    jobs=jobs,
                    ray_address=ray_address,
                    fresh=fresh,
                    retry_failed=retry_failed,
                    limits=limits,
                    max_failures=max_failures or None,
                    apart=True,
                )
                done.append((outcome, _finish(grid, outcome, baseline)))
            facts = [experiment_facts(outcome, breached, baseline) for outcome, breached in done]
    if as_json:
        emit({"experiments": facts})
    if not dry_run:
        for outcome, breached in done:
            _leave(outcome, breached)


def _begin(grid: Grid, baseline: str | None) -> None:
    """Tell what is odd about the scenario, and refuse a baseline that is not there."""
    for problem in grid.scenario.origin.warnings:
        say(str(problem))
    check_baseline(grid, baseline)


def check_baseline(grid: Grid, baseline: str | None) -> None:
    """Refuse a baseline that the grid does not run.

    Raises:
        UnknownName: It names the nearest policy.
    """
    from sim.errors import UnknownName

    if baseline is not None and baseline not in grid.policies:
        raise UnknownName("baseline", baseline, grid.policies)


def show_plan(grid: Grid, *, fresh: bool, retry_failed: bool) -> dict[str, Any]:
    """Say what a compare would do, and return it."""
    from scenarios.planning import divide

    division = divide(grid, fresh=fresh, retry_failed=retry_failed)
    axes = {key: sorted({job.axes[key] for job in grid.jobs}) for key in grid.jobs[0].axes}
    say(
        f"{grid.scenario.name}: {len(grid.jobs)} trials in {grid.folder.root}: "
        f"{division_words(division)}"
    )
    say(f"  policies: {', '.join(grid.policies)}")
    say(f"  seeds: {', '.join(map(str, grid.seeds))}")
    for key, values in axes.items():
        say(f"  {key}: {', '.join(values)}")
    return {
        "run_dir": str(grid.folder.root),
        "policies": grid.policies,
        "seeds": grid.seeds,
        "axes": axes,
        "trials": len(grid.jobs),
        "todo": len(division.todo),
        "kept": len(division.kept),
        "failed": len(division.failed),
    }


def demo(out: Out = Path("runs")) -> None:
    """Run a small comparison of three policies, print it, and write the report (under a minute)."""
    from analysis.report import write_report
    from scenarios.experiment import execute
    from scenarios.planning import Order, plan

    with guarded():
        grid = plan(Order("quickstart", DEMO_SETTINGS, DEMO_POLICIES, DEMO_SEEDS, out))
        # fresh: a demonstration runs, whatever version of the code left a folder of its name
        outcome = execute(grid, view_for(), fresh=True)
        breached = _finish(grid, outcome, DEMO_BASELINE)
        if outcome.good():
            page = write_report(outcome.run_dir, baseline=DEMO_BASELINE)
            say(f"report: {page}")
            if sys.stderr.isatty():
                import webbrowser

                webbrowser.open(page.resolve().as_uri())
    _leave(outcome, breached)


# --- what every run ends with -------------------------------------------------------------------


def _finish(grid: Grid, outcome: Outcome, baseline: str | None) -> list[str]:
    """Show the table, the failures and the asserted targets; return the missed ones."""
    from scenarios.files import write_json
    from scenarios.table import show_comparison, show_failures
    from scenarios.targets import measure

    show_failures(outcome.failures)
    if outcome.todo:
        say(
            f"stopped after {len(outcome.failures)} failures: {outcome.todo} trials were not "
            "started (--max-failures). When the cause is removed, the same command with "
            "--retry-failed goes on"
        )
    if outcome.good():
        show_comparison(
            outcome.good(), baseline or grid.policies[0], outcome.axes, oracles_of(grid)
        )
    for line in engines(outcome):
        say(line)
    _say_sample(outcome)
    say(f"results: {outcome.run_dir} (look at them: moedge report {outcome.run_dir})")
    found = measure(grid.scenario.assertions, outcome.good(), outcome.axes)
    write_json(
        outcome.run_dir / "asserts.json", {"asserts": [finding.facts() for finding in found]}
    )
    for finding in found:
        say(str(finding))
    return [str(finding) for finding in found if not finding.kept]


def engines(outcome: Outcome) -> list[str]:
    """Say which engine computed how many trials, and why."""
    from collections import Counter

    from scenarios.results import RunFolder

    folder = RunFolder(outcome.run_dir)
    found = [folder.meta(str(row["id"])).get("engine") for row in outcome.good()]
    known = Counter((facts["name"], facts["why"]) for facts in found if facts)
    return [
        f"engine: {name} ({why}{f'; {count} trials' if len(known) > 1 else ''})"
        for (name, why), count in sorted(known.items())
    ]


def _say_sample(outcome: Outcome) -> None:
    """Say how many requests have rows, where not all have."""
    from scenarios.results import RunFolder

    folder = RunFolder(outcome.run_dir)
    for row in outcome.good()[:1]:
        rows = folder.meta(str(row["id"])).get("rows")
        if rows:
            say(
                f"rows: 1 in {rows['every']} requests is recorded; counts and the summary are from"
                " all (`record: {requests: unlimited}` keeps all)"
            )


def oracles_of(grid: Grid) -> list[str]:
    """Return the labels of policies that see what no real router can."""
    from scenarios.catalogue import is_oracle

    return sorted({job.label for job in grid.jobs if job.policy and is_oracle(job.policy.kind)})


def trial_facts(outcome: Outcome, breached: list[str]) -> dict[str, Any]:
    """Return what `run --json` prints: digest, run_dir, summary, and how it ended."""
    return {"run_dir": str(outcome.run_dir), **outcome.facts(outcome.rows[0]), "breached": breached}


def experiment_facts(outcome: Outcome, breached: list[str], baseline: str | None) -> dict[str, Any]:
    """Return what `compare --json` prints for one scenario."""
    return {
        "run_dir": str(outcome.run_dir),
        "policies": list(outcome.policies),
        "baseline": baseline or outcome.policies[0],
        "ran": outcome.ran,
        "failed": len(outcome.failures),
        "todo": outcome.todo,
        "breached": breached,
        "trials": [outcome.facts(row) for row in outcome.rows],
    }


def _leave(outcome: Outcome, breached: list[str]) -> None:
    """Leave with the exit code that fits; a failed trial weighs more than a missed target."""
    if outcome.failures or outcome.todo:
        raise typer.Exit(TRIAL_FAILED)
    if breached:
        raise typer.Exit(BREACHED)
