"""What people see while trials run."""

from __future__ import annotations

import math

import pytest

from scenarios.planning import Division
from scenarios.progress import Tally, division_words, remaining_s, say, span
from scenarios.results import DONE, FAILED, Status
from scenarios.trial import TrialJob
from sim.config import PolicySpec


def job(policy: str, seed: int) -> TrialJob:
    return TrialJob(None, "0" * 8, PolicySpec(policy, policy), seed, "runs")  # type: ignore[arg-type]


def test_eta_comes_from_finished_trials_of_the_same_policy() -> None:
    walls = {"slow": [10.0, 14.0], "fast": [1.0]}
    assert remaining_s(["slow", "slow", "fast"], walls, 1) == 25.0
    assert remaining_s(["slow", "slow", "fast"], walls, 2) == 12.5


def test_eta_of_a_policy_without_a_finished_trial_is_typical() -> None:
    assert remaining_s(["new"], {"slow": [10.0], "fast": [2.0]}, 1) == 6.0
    assert math.isnan(remaining_s(["new"], {}, 1))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (7.26, "7.3 s"),
        (59.4, "59 s"),
        (125.0, "2 min 05 s"),
        (3780.0, "1 h 03 min"),
    ],
)
def test_spans_read_well(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_line_counts_trials_and_failures_do_not_shift_the_eta() -> None:
    jobs = [job("tanbr", 1), job("tanbr", 2), job("tanbr", 3)]
    tally = Tally()
    tally.total, tally.todo = 3, {j.id: j for j in jobs}
    failed = Status(FAILED, stage="simulate", message="boom\nmore", wall_s=99.0)
    tally.ended(jobs[0], failed)
    assert tally.line(jobs[0], failed) == (
        "[1/3] tanbr, seed 1: FAILED in simulate: boom; about ? left"
    )
    done = Status(DONE, wall_s=3.0)
    tally.ended(jobs[1], done)
    assert tally.line(jobs[1], done) == "[2/3] tanbr, seed 2: done in 3.0 s; about 3.0 s left"
    tally.ended(jobs[2], done)
    assert tally.line(jobs[2], done) == "[3/3] tanbr, seed 3: done in 3.0 s"


def test_a_resume_says_what_it_keeps() -> None:
    jobs = tuple(job("tanbr", seed) for seed in range(6))
    assert division_words(Division(jobs[:3], jobs[3:4], jobs[4:])) == (
        "kept 3, failed before 1 (--retry-failed), todo 2"
    )


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31mb\nc")
    assert capsys.readouterr().err == "a\\x1b[31mb\nc\n"
