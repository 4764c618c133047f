"""Plans an experiment: the trials of a grid of policies, seeds, axis values; which are left."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.hosting.limits import Limits
from scenarios import loader, overrides
from scenarios.checking import engine_of
from scenarios.results import RunFolder
from scenarios.trial import INLINE, Hosting, TrialJob, read_card
from sim.errors import InputError
from sim.units import BYTES, TIME, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scenarios.schema import Scenario
    from sim.config import PolicySpec
    from sim.units import Dimension

DEFAULT_SEEDS = 5
_MOST_TRIALS = 100_000


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for. Empty `policies` and `seeds` mean: as the scenario says."""

    source: str
    settings: tuple[str, ...] = ()  # "key=value" or, for an axis, "key=value1,value2"
    policies: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    out: Path = Path("runs")
    hosting: Hosting = INLINE


@dataclass(frozen=True, slots=True)
class Grid:
    """A planned experiment: nothing of it has been run or written yet."""

    scenario: Scenario
    jobs: tuple[TrialJob, ...]
    folder: RunFolder
    checkpoint: str | None  # sha256 of the weights

    @property
    def seeds(self) -> list[int]:
        """Return the seeds, ascending."""
        return sorted({job.seed for job in self.jobs})

    @property
    def axes(self) -> tuple[str, ...]:
        """Return the keys of the axes."""
        return tuple(self.jobs[0].axes)

    @property
    def policies(self) -> list[str]:
        """Return the labels of the policies, in the order asked for."""
        return list(dict.fromkeys(job.label for job in self.jobs))


@dataclass(frozen=True, slots=True)
class Division:
    """Which trials of a grid are finished, which stay failed, and which will run."""

    kept: tuple[TrialJob, ...]
    failed: tuple[TrialJob, ...]
    todo: tuple[TrialJob, ...]


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read `3`, `1,5,9` or `0:10` (the end is not included).

    Raises:
        InputError: The text is something else, empty, or negative.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, colon, last = part.strip().partition(":")
        if not first.isdecimal() or (colon and not last.isdecimal()):
            raise InputError(f"--seeds: expected '3', '1,5,9' or '0:10', found {text!r}")
        found = range(int(first), int(last)) if colon else range(int(first), int(first) + 1)
        if len(seeds) + len(found) > _MOST_TRIALS:
            raise InputError(f"--seeds: at most {_MOST_TRIALS} seeds, found {text!r}")
        seeds.extend(found)
    if not seeds:
        raise InputError(f"--seeds: {text!r} contains no seed (the end of a range is not included)")
    return tuple(dict.fromkeys(seeds))


def limits_of(timeout: str | None, memory: str | None) -> Limits:
    """Read what one trial may take, such as `10 min` and `2 GB`; None: no limit.

    Raises:
        InputError: Not a time, or not a size, above 0.
    """
    timeout_s = None if timeout is None else _positive("--timeout", timeout, TIME)
    memory_bytes = None if memory is None else _positive("--memory", memory, BYTES)
    return Limits(timeout_s, memory_bytes)


def _positive(flag: str, text: str, dimension: Dimension) -> float:
    try:
        value = parse(text, dimension)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
    if not 0 < value < math.inf:
        raise InputError(f"{flag}: expected more than 0 and an end, found {text!r}")
    return value


def single(
    source: str,
    settings: Sequence[str],
    policy: str | None,
    seed: int | None,
    out: Path,
    hosting: Hosting,
) -> Order:
    """Return the order of one trial: the named or first policy, one seed, no axes.

    Raises:
        InputError: The scenario or an override is wrong, or an override has several values.
    """
    from scenarios.build import policies

    fixed, axes = overrides.split_axes(settings)
    if axes:
        raise InputError(
            f"--set {next(iter(axes))}: several values make a grid; use `moedge compare`"
        )
    scenario = loader.load(source, fixed)
    first = tuple(spec.label for spec in policies(scenario)[:1])
    seeds = (scenario.seed if seed is None else seed,)
    return Order(source, tuple(settings), (policy,) if policy else first, seeds, out, hosting)


def plan(order: Order) -> Grid:
    """Lay out the grid: policies x seeds x axis values, each trial with its own id.

    Raises:
        InputError: The scenario, an override, a policy or a combination of axis values is wrong.
    """
    fixed, axes = overrides.split_axes(order.settings)
    if "seed" in axes:
        raise InputError("--set seed: several seeds are not an axis; use --seeds 0:10")
    scenario = loader.load(order.source, fixed)
    folder = RunFolder(order.out / scenario.name / loader.scenario_hash(scenario))
    seeds = order.seeds or tuple(range(scenario.seed, scenario.seed + DEFAULT_SEEDS))
    jobs = [
        job
        for values in itertools.product(*axes.values())
        for job in _jobs_of_cell(order, fixed, dict(zip(axes, values, strict=True)), seeds, folder)
    ]
    card = read_card(scenario)
    return Grid(scenario, tuple(_limited(jobs)), folder, card.digest if card else None)


def _limited(jobs: list[TrialJob]) -> list[TrialJob]:
    if len(jobs) > _MOST_TRIALS:
        raise InputError(f"the grid has {len(jobs)} trials, at most {_MOST_TRIALS} are allowed")
    unique = {job.id: job for job in jobs}
    return list(unique.values())


def _jobs_of_cell(
    order: Order,
    fixed: Sequence[str],
    cell: Mapping[str, str],
    seeds: Sequence[int],
    folder: RunFolder,
) -> list[TrialJob]:
    """Return the trials of one combination of axis values."""
    from scenarios.build import build_policy, policies

    scenario = loader.load(
        order.source, [*fixed, *(f"{key}={value}" for key, value in cell.items())]
    )
    named = [build_policy(scenario, name) for name in order.policies]
    chosen: list[PolicySpec | None] = [*(named or policies(scenario))] or [None]
    if scenario.engine == "slots":  # the other words for engines never refuse a world
        for policy in chosen:
            engine_of(scenario, policy)
    digest = loader.scenario_hash(scenario)
    return [
        TrialJob(scenario, digest, policy, seed, str(folder.root), dict(cell), order.hosting)
        for policy in chosen
        for seed in seeds
    ]


def divide(
    grid: Grid, *, retry_failed: bool = False, fresh: bool = False, again: bool = False
) -> Division:
    """Tell finished trials from those still to do.

    Args:
        grid: The planned experiment.
        retry_failed: Run failed trials again.
        fresh: Nothing on disk counts.
        again: Run finished trials again too (the verb `run`).
    """
    kept: list[TrialJob] = []
    failed: list[TrialJob] = []
    todo: list[TrialJob] = []
    for job in grid.jobs:
        status = None if fresh or again else grid.folder.status(job.id)
        if status is None or (not status.done and retry_failed):
            todo.append(job)
        else:
            (kept if status.done else failed).append(job)
    return Division(tuple(kept), tuple(failed), tuple(todo))
