"""The verbs of moedge as functions, for notebooks and scripts.

    import moedge

    done = moedge.compare("quickstart", policies=["tanbr", "uniform"], seeds=range(3))
    done.table            # means with intervals, paired differences
    moedge.report(done.run_dir)

Every function raises what `sim.errors` declares; nothing is printed unless `progress=True`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from analysis.compare import CompareTable
    from analysis.load import Run
    from scenarios.experiment import Outcome
    from scenarios.planning import Grid, Order
    from sim.proofs.verdict import Result

__all__ = ["Comparison", "TrialRun", "check", "compare", "load", "prove", "report", "run"]


@dataclass(frozen=True, slots=True)
class TrialRun:
    """One finished trial."""

    run_dir: Path
    trial: str
    policy: str
    seed: int
    digest: str
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One finished experiment; `rows` has one row per trial that finished well."""

    run_dir: Path
    baseline: str
    rows: tuple[Mapping[str, Any], ...]
    failures: tuple[Mapping[str, Any], ...]

    @property
    def table(self) -> CompareTable:
        """Return means, intervals over seeds and paired differences (no axes)."""
        from analysis.compare import compare_table

        return compare_table(self.rows, self.baseline)


def run(  # noqa: PLR0913
    scenario: str | Path,
    *,
    policy: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    ray: bool = False,
    shards: int = 1,
    progress: bool = False,
) -> TrialRun:
    """Run one trial: one policy, one seed.

    Args:
        scenario: A file, or a bundled name.
        policy: The scenario's first when left out.
        seed: The scenario's when left out.
        settings: Values to override, such as `{"duration": "2 min"}`.
        out: Where run folders go.
        ray: Host the models in Ray actors instead of this process.
        shards: Hosts that share the fleet's nodes.
        progress: Show what happens, on stderr.

    Raises:
        InputError: The scenario or an override is wrong.
        SimError: The trial failed; the message says in which stage.
    """
    from scenarios.planning import single
    from scenarios.trial import Hosting
    from sim.errors import SimError

    hosting = Hosting(ray=ray, shards=shards)
    order = single(str(scenario), _settings(settings), policy, seed, Path(out), hosting)
    outcome = _execute(order, progress, again=True, in_process=True)
    row = outcome.rows[0]
    if outcome.failures:
        raise SimError(f"trial {row['id']} failed in {row['stage']}: {row['message']}")
    status = {name: row[name] for name in ("policy", "seed", "digest")}
    return TrialRun(outcome.run_dir, row["id"], **status, summary=outcome.facts(row)["summary"])


def compare(  # noqa: PLR0913
    scenario: str | Path,
    *,
    policies: Iterable[str] = (),
    seeds: Iterable[int] = (),
    settings: Mapping[str, Any] | None = None,
    baseline: str | None = None,
    jobs: int | None = None,
    out: str | Path = "runs",
    fresh: bool = False,
    retry_failed: bool = False,
    timeout: str | None = None,
    memory: str | None = None,
    max_failures: int | None = 20,
    progress: bool = True,
) -> Comparison:
    """Run policies x seeds (x axis values) on all cores; what is finished already is not run again.

    Args:
        scenario: A file, or a bundled name.
        policies: Labels or registry names; the scenario's when left out.
        seeds: Seeds; five from the scenario's on when left out.
        settings: Values to override; a list of values makes an axis.
        baseline: Policy that differences are against; the first when left out.
        jobs: Trials at a time; one per core when left out.
        out: Where run folders go.
        fresh: Throw earlier results of this experiment away.
        retry_failed: Run failed trials again.
        timeout: Longest that a trial may take, such as "10 min"; more is a failed trial.
        memory: Most memory of a trial, such as "2 GB"; so many run at once as fit.
        max_failures: Start no more trials after so many failures; None: always all.
        progress: Show what happens, on stderr.

    Raises:
        InputError: The scenario, an override or a policy is wrong, or the folder is in use.
    """
    from scenarios.planning import Order, limits_of

    order = Order(str(scenario), _settings(settings), tuple(policies), tuple(seeds), Path(out))
    outcome = _execute(
        order,
        progress,
        jobs=jobs,
        fresh=fresh,
        retry_failed=retry_failed,
        limits=limits_of(timeout, memory),
        max_failures=max_failures,
    )
    first = baseline or outcome.policies[0]
    return Comparison(outcome.run_dir, first, tuple(outcome.good()), outcome.failures)


def report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run folder and return its first page.

    Raises:
        InputError: Not a run folder.
    """
    from analysis.report import write_report

    return write_report(Path(run_dir), Path(out) if out else None)


def check(scenario: str | Path) -> list[str]:
    """Return what is wrong with a scenario, one text per mistake; none means that it is right."""
    from scenarios.checking import check_one

    return list(check_one(str(scenario))["errors"])


def prove(only: Iterable[str] = (), *, quick: bool = False, jobs: int = 1) -> list[Result]:
    """Hold the physics against theory, twins and a peer; return one row per check.

    Args:
        only: Names of proofs or groups; all when left out.
        quick: Only the set that runs with every change.
        jobs: Proofs at a time.

    Raises:
        InputError: A name is wrong.
    """
    from scenarios.cli_prove import prove_all
    from sim.proofs.table import choose

    return prove_all(choose(tuple(only), quick=quick), jobs)


def load(run_dir: str | Path) -> Run:
    """Open a run folder for questions: trials, summaries, tables, SQL.

    Raises:
        InputError: Not a run folder.
    """
    from analysis.load import open_run

    return open_run(Path(run_dir))


def _execute(order: Order, progress: bool, **options: Any) -> Outcome:
    from scenarios.experiment import execute
    from scenarios.planning import plan
    from scenarios.progress import view_for

    grid: Grid = plan(order)
    return execute(grid, view_for(quiet=not progress), **options)


def _settings(settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Turn a mapping into the words of `--set`; a list or tuple of values makes an axis."""

    def text(value: Any) -> str:
        if isinstance(value, list | tuple):
            return ",".join(map(str, value))
        return str(value).lower() if isinstance(value, bool) else str(value)

    return tuple(f"{key}={text(value)}" for key, value in (settings or {}).items())
