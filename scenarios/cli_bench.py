"""The verb that plays routers on reward landscapes, without a simulator: bench-routers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenarios.cli_common import TRIAL_FAILED, emit, emit_text, guarded, json_only, words
from scenarios.progress import say, span
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agents.hosting.attempt import TrialFailure
    from agents.routers.bench import Contender, Job, Rules, Score

_LANDSCAPES = "quad-4,quad-8,bump-4,bump-8,ripple-8,mlp-8"
HORIZON = 1000  # two to three minutes on one core with the default routers, landscapes and seeds
_HEAD = ("router", "regret", "± sd", "late/slot", "slope", "95 % interval", "time", "")


def bench_routers(  # noqa: PLR0913, PLR0917
    routers: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Routers, with parameters in braces: 'tanbr,tanbr{mode: paper}'. "
            "All that learn, and references, when left out.",
        ),
    ] = "",
    landscapes: Annotated[
        str,
        typer.Option(
            metavar="KIND-K,...",
            help="quad, bump, ripple or mlp, and the experts; when left out "
            + _LANDSCAPES.replace(",", ", "),
            show_default=False,
        ),
    ] = _LANDSCAPES,
    horizon: Annotated[int, typer.Option(min=8, metavar="T", help="Slots.")] = HORIZON,
    seeds: Annotated[str, typer.Option(metavar="0:3", help="Seeds: 3, or 1,5,9, or 0:3.")] = "0:3",
    delay: Annotated[int, typer.Option(min=0, metavar="D", help="Slots before feedback.")] = 0,
    warm: Annotated[
        bool, typer.Option("--warm", help="Hand over a calibration; else all start cold.")
    ] = False,
    lagged: Annotated[
        bool, typer.Option("--lagged", help="The mix is known from the slot before only.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Router-landscape pairs at a time.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the numbers to stdout as JSON, not as a table.")
    ] = False,
) -> None:
    """Play learning routers on synthetic reward landscapes: regret, its bend, and their time."""
    from agents.routers.bench import Rules
    from scenarios.planning import parse_seeds

    with guarded(), json_only(as_json):
        rules = Rules(horizon, parse_seeds(seeds), delay, warm, lagged)
        todo = _jobs(parse_routers(routers), words(landscapes), rules)
        scores, failed = _play_all(todo, jobs)
    if as_json:
        emit({"rules": _rules(rules), "scores": [facts(score) for score in scores]})
    elif scores:
        emit_text(table(scores))
    if failed:
        raise typer.Exit(TRIAL_FAILED)


def parse_routers(text: str) -> list[Contender]:
    """Read `tanbr,tanbr{mode: paper}`: names from the registry, parameters as a YAML mapping.

    Args:
        text: Empty: every learning router, the floors and the references.

    Raises:
        InputError: A name, or a parameter, is wrong; the message names the nearest.
    """
    from agents.routers.bench import check, everybody
    from scenarios.overrides import split_commas

    if not text.strip():
        return everybody()
    found = [_contender(word) for word in split_commas(text) if word]
    labels = [contender.label for contender in found]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"--routers: {label!r} is given twice")
    for contender in found:
        check(contender)
    if not found:
        raise InputError(f"--routers: expected names with commas between them, found {text!r}")
    return found


def _contender(word: str) -> Contender:
    from agents.routers.bench import Contender
    from scenarios.yaml_marks import parse

    name, brace, rest = word.partition("{")
    if not brace:
        return Contender(word, word)
    params = parse(brace + rest, f"--routers {name.strip()}").data
    if not isinstance(params, dict):
        raise InputError(f"--routers: expected NAME{{key: value}}, found {word!r}")
    for key in params:
        if ":" in str(key):
            raise InputError(f"--routers: expected a blank after the colon of {key!r} in {word!r}")
    return Contender(word, name.strip(), params)


def _jobs(contenders: Sequence[Contender], names: Sequence[str], rules: Rules) -> list[Job]:
    from agents.routers.bench import Job, parse_landscape

    if not names:
        raise InputError("--landscapes: expected at least one, such as bump-8")
    for name in names:
        parse_landscape(name)
    return [
        Job(contender, name, rules) for name in dict.fromkeys(names) for contender in contenders
    ]


def _play_all(todo: Sequence[Job], jobs: int) -> tuple[list[Score], bool]:
    """Play everything, telling each result as it comes; return them in order."""
    from agents.hosting.attempt import TrialFailure
    from agents.hosting.launcher import run_all
    from agents.routers.bench import play_job

    done: dict[int, Any] = {}

    def ended(index: int, result: Any) -> None:
        done[index] = result
        say(f"{len(done)}/{len(todo)} {todo[index].landscape} {_ending(todo[index], result)}")

    run_all(play_job, todo, jobs=jobs, on_done=ended)
    scores = [done[i] for i in sorted(done) if not isinstance(done[i], TrialFailure)]
    return scores, len(scores) < len(todo)


def _ending(job: Job, result: Score | TrialFailure) -> str:
    from agents.hosting.attempt import TrialFailure

    if isinstance(result, TrialFailure):
        return f"{job.contender.label}: FAILED: {result.message}"
    mean = math.fsum(result.regret) / len(result.regret)
    slots = job.rules.slots * len(job.rules.seeds)
    own_s = result.decision_s * slots
    return f"{result.label}: regret {mean:.1f}" + (f", {span(own_s)} of its own" if own_s else "")


def _rules(rules: Rules) -> Mapping[str, Any]:
    from dataclasses import asdict

    return asdict(rules)


def facts(score: Score) -> dict[str, Any]:
    """Return one row of the table as plain numbers, those of each seed beside the means."""
    from analysis.stats import t_interval

    slope = t_interval(score.slope)
    return {
        "landscape": score.landscape,
        "router": score.label,
        "note": score.note,
        "regret_mean": _mean(score.regret),
        "regret_sd": _deviation(score.regret),
        "late_per_slot": _mean(score.late),
        "slope_mean": slope.mean,
        "slope_low": slope.low,
        "slope_high": slope.high,
        "decision_s": score.decision_s,
        "decision_ratio": score.decision_ratio,
        "regret": score.regret,
        "late": score.late,
        "slope": score.slope,
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation, NaN for a single value."""
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def table(scores: Sequence[Score]) -> str:
    """Write one table per landscape, the least regret first."""
    from agents.routers.bench import CLUSTERS

    rows = [facts(score) for score in scores]
    blocks = []
    for name in dict.fromkeys(row["landscape"] for row in rows):
        mine = sorted(
            (row for row in rows if row["landscape"] == name), key=lambda row: row["regret_mean"]
        )
        blocks.append(_block(f"{name} ({CLUSTERS} clusters)", [_cells(row) for row in mine]))
    legend = (
        "regret: cumulative, mean over seeds; late: last quarter; slope: log regret over log slot "
        "on the last three quarters;\ntime: processor time to decide and learn per node and slot, "
        "in products of two 256 x 256 matrices (measured in the same run)"
    )
    return "\n\n".join([*blocks, legend])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    free = not row["decision_s"]
    return (
        row["router"],
        f"{row['regret_mean']:.1f}",
        _number(row["regret_sd"], ".1f"),
        f"{row['late_per_slot']:.4f}",
        f"{row['slope_mean']:.2f}",
        _interval(row["slope_low"], row["slope_high"]),
        "-" if free else f"{row['decision_ratio']:.2f}",
        row["note"],
    )


def _interval(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}" if math.isfinite(low) else "one seed"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "-"


def _block(title: str, cells: Sequence[tuple[str, ...]]) -> str:
    lines = [_HEAD, *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
    texts = [
        "  ".join(
            cell.ljust(width) if i in (0, len(_HEAD) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([title, *texts])
