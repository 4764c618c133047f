"""What a grid costs beside its trials: 100 trials on 2 cores against each of them alone.

    python tests/bench/bench_grid.py [--trials 100] [--jobs 2] [--scenario queues|learning] [--json]

*alone*: one process runs the trials one after the other, imports and a first trial behind it; what
counts is the CPU time of each, files included. *grid*: `moedge compare` from start to exit, summary
table included. Efficiency is the sum of the trials' CPU times over cores x wall time. On a machine
that others use, too, wall time is theirs as well. So two more numbers are printed: the same sum
over the CPU time of the whole grid (what the grid itself adds), and over the cores' wall time less
the time that our processes, ready to run, had to wait for a core (`/proc/<pid>/schedstat`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.campaign.kills import SCENARIOS
from tests.campaign.processes import Family

ROOT = Path(__file__).resolve().parents[2]
_QUEUES = SCENARIOS["queues.yaml"].replace("duration: 150 s", "duration: 1000 s")
_LEARNING = SCENARIOS["grid.yaml"].replace(
    "policies: [tanbr, top2, uniform]", "policies: [tanbr, top2]"
)
JOBS = {"queues": _QUEUES, "learning": _LEARNING}
POLICIES = 2

_ALONE = """
import json, sys, time
from pathlib import Path
from scenarios.planning import Order, plan
from scenarios.trial import run_trial
source, seeds, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
jobs = plan(Order(source, seeds=tuple(range(seeds)), out=out)).jobs
run_trial(jobs[0])
taken = []
for job in jobs:
    start = time.process_time()
    assert run_trial(job).status.done
    taken.append(time.process_time() - start)
print(json.dumps(taken))
"""


@dataclass(frozen=True)
class Found:
    """What was measured; times in seconds."""

    trials: int
    jobs: int
    alone_cpu_s: float  # sum over trials
    grid_wall_s: float
    grid_cpu_s: float  # of the command and its workers
    waited_s: float  # time that they were ready to run, and others had the cores

    @property
    def efficiency(self) -> float:
        """Share of the cores' wall time that goes into trials."""
        return self.alone_cpu_s / (self.jobs * self.grid_wall_s)

    @property
    def efficiency_of_cpu(self) -> float:
        """Share of the grid's own CPU time that goes into trials."""
        return self.alone_cpu_s / self.grid_cpu_s

    @property
    def efficiency_of_ours(self) -> float:
        """Share of the cores' wall time that others left to us."""
        return self.alone_cpu_s / (self.jobs * self.grid_wall_s - self.waited_s)


def environment() -> dict[str, str]:
    """Return an environment in which our rooms come from this checkout."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def alone(folder: Path, seeds: int) -> float:
    """Return the summed CPU time of all trials, each run alone."""
    words = [sys.executable, "-c", _ALONE, "job.yaml", str(seeds), "alone"]
    done = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return float(sum(json.loads(done.stdout)))


def waited_s(pid: int) -> float:
    """Return how long the main thread of a process has waited for a core, 0 where nobody says."""
    try:
        return float(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


def grid(folder: Path, seeds: int, jobs: int) -> tuple[float, float, float]:
    """Return wall, CPU and waiting time of the same trials as one grid."""
    words = ["compare", "job.yaml", "--seeds", f"0:{seeds}", "--jobs", str(jobs), "--out", "grid"]
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    log = (folder / "log.txt").open("w", encoding="utf-8")
    done = subprocess.Popen(
        [sys.executable, "-m", "scenarios", *words],
        cwd=folder, env=environment(), stdout=log, stderr=log,
    )  # fmt: skip
    family, waited = Family(done.pid, ""), dict[int, float]()
    while done.poll() is None:
        for each in family.look():
            waited[each.pid] = max(waited.get(each.pid, 0.0), waited_s(each.pid))
        time.sleep(0.25)
    wall_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, (folder / "log.txt").read_text(encoding="utf-8")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, sum(waited.values())


def measure(text: str, trials: int, jobs: int) -> Found:
    """Measure both ways."""
    seeds = -(-trials // POLICIES)
    with tempfile.TemporaryDirectory(prefix="moedge-grid-") as name:
        folder = Path(name)
        (folder / "job.yaml").write_text(text, encoding="utf-8")
        alone_s = alone(folder, seeds)
        return Found(seeds * POLICIES, jobs, alone_s, *grid(folder, seeds, jobs))


def main() -> None:
    """Print a line per scenario."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scenario", choices=sorted(JOBS), action="append")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    for name in asked.scenario or sorted(JOBS):
        found = measure(JOBS[name], asked.trials, asked.jobs)
        if asked.json:
            print(json.dumps({"scenario": name, **asdict(found), "efficiency": found.efficiency}))
            continue
        print(
            f"{name}: {found.trials} trials, {found.alone_cpu_s:.1f} s of CPU alone; grid on "
            f"{found.jobs} cores: {found.grid_wall_s:.1f} s of wall, {found.grid_cpu_s:.1f} s of "
            f"CPU; efficiency {found.efficiency:.0%} of wall, {found.efficiency_of_ours:.0%} of "
            f"the wall that others left (waited {found.waited_s:.1f} s for cores), "
            f"{found.efficiency_of_cpu:.0%} of CPU",
            flush=True,
        )


if __name__ == "__main__":
    main()
