"""L4: same seed, same bits, whatever executor, shards, jobs, hash seed; with the real model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.build import build_policy
from scenarios.loader import load, scenario_hash
from scenarios.results import DONE
from scenarios.trial import INLINE, Hosting, TrialJob, run_trial

SHORT = ("duration=24 s", "drain=4 s", "slot=4 s", "streams.0.arrivals.rate=8 /s")
SIXTEEN = (*SHORT, "nodes.edge.count=15")
TWO_HUNDRED = (*SHORT, "duration=8 s", "nodes.edge.count=199")


def digest(folder: Path, overrides: tuple[str, ...], hosting: Hosting, policy: str) -> str:
    scenario = load("quickstart", overrides)
    job = TrialJob(
        scenario=scenario,
        scenario_hash=scenario_hash(scenario),
        policy=build_policy(scenario, policy),
        seed=3,
        folder=str(folder),
        hosting=hosting,
    )
    status = run_trial(job).status
    assert status.state == DONE, status.message
    return status.digest


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return digest(tmp_path_factory.mktemp("one"), SIXTEEN, Hosting(block_size=4), "tanbr")


def test_twice_in_a_row(tmp_path: Path, sixteen: str) -> None:
    assert digest(tmp_path, SIXTEEN, Hosting(block_size=4), "tanbr") == sixteen


@pytest.mark.parametrize("shards", [2, 3])
def test_any_number_of_shards(tmp_path: Path, sixteen: str, shards: int) -> None:
    assert digest(tmp_path, SIXTEEN, Hosting(shards=shards, block_size=4), "tanbr") == sixteen


def test_large_blocks_over_two_shards(tmp_path: Path) -> None:
    one = digest(tmp_path / "a", TWO_HUNDRED, INLINE, "tanbr")
    assert digest(tmp_path / "b", TWO_HUNDRED, Hosting(shards=2), "tanbr") == one


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_inline_and_ray(tmp_path: Path, sixteen: str) -> None:
    hosting = Hosting(ray=True, shards=2, block_size=4)
    assert digest(tmp_path, SIXTEEN, hosting, "tanbr") == sixteen


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    scenario = load("quickstart", SHORT)
    job = TrialJob(
        scenario, scenario_hash(scenario), build_policy(scenario, "top2"), 1, str(tmp_path)
    )
    other = TrialJob(scenario, job.scenario_hash, job.policy, 2, str(tmp_path))
    assert run_trial(job).status.digest != run_trial(other).status.digest


def command(*words: str, hash_seed: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "scenarios", *words],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_any_hash_seed(tmp_path: Path) -> None:
    sets = [word for pair in SHORT for word in ("--set", pair)]
    digests = {
        command(
            "run", "quickstart", "--policy", "tanbr", "--inline", "--json", "--out",
            str(tmp_path / seed), *sets, hash_seed=seed,
        )["digest"]
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(digests) == 1


def test_any_number_of_jobs(tmp_path: Path) -> None:
    sets = [word for pair in SHORT for word in ("--set", pair)]
    for jobs in ("1", "2"):
        words = ("compare", "quickstart", "--policies", "tanbr,uniform", "--seeds", "0:2")
        command(
            *words, "--jobs", jobs, "--json", "--out", str(tmp_path / jobs), *sets, hash_seed="0"
        )
    one, two = (
        {
            f.parent.name: json.loads(f.read_text())["digest"]
            for f in sorted(root.rglob("status.json"))
        }
        for root in (tmp_path / "1", tmp_path / "2")
    )
    assert len(one) == 4
    assert one == two
