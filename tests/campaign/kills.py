"""Kills processes at random moments and looks at what is left: files, digests, other processes.

    python tests/campaign/kills.py [--kills 50] [--seed 1] [--only host] [--json FILE]

Kinds of kill, all with SIGKILL:

- host: a Ray actor that holds the model and the routers of a `run`. The run must go on by itself.
- worker: a process of `compare` that has a trial. Its trial is a failed row; `--retry-failed` is
  run afterwards.
- run, compare: the command itself. The same command is run again.

Afterwards every trial must have the digest that it has in an undisturbed run, the summary must have
the same bytes, and every file must be whole. *left* counts our processes that live 20 s after the
kill of a command; *ray* is how long Ray's own processes lived. The command is
repeated at once, while they may still be there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scenarios.results import RunFolder, read_table
from tests.campaign.processes import MARK, Family, Process

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 300.0  # wall time of one command
OURS_S, RAYS_S = 20.0, 90.0
_FLEET = """\
name: {name}
seed: 1
duration: {slots} s
drain: 5 s
slot: 1 s
model: {{checkpoint: "builtin:stream", cost_as: switch-base-8}}
topology: {{kind: star, hub: cloud, link: {{delay: 8 ms, bandwidth: 100 Mbit/s}}}}
nodes:
  - {{group: edge, count: {nodes}, hardware: jetson-orin-nano, batch: {{max_size: 8}}}}
  - {{group: cloud, hardware: a100-40gb, servers: 4, capacity: 512, plan: {{kind: top-k, k: 2}}}}
streams:
  - at: edge
    arrivals: {{kind: poisson, rate: {rate} /s}}
    mix: {{kind: dirichlet, alpha: 0.3, tasks: 3}}
    deadline: 200 ms
feedback: {{delay: 2 s, fraction: 0.5}}
policies: [{policies}]
"""
_QUEUES = """\
name: queues
seed: 1
duration: 150 s
drain: 10 s
slot: 5 s
model: none
service: {kind: exponential, mean: 20 ms}
topology: {kind: ring, link: {delay: 1 ms}}
nodes: [{group: edge, count: 3, servers: 1}]
streams:
  - {at: edge-0, arrivals: {kind: poisson, rate: 30 /s}, deadline: 200 ms}
policies:
  - {kind: none, label: local, dispatch: local}
  - {kind: none, label: random, dispatch: random}
"""
SCENARIOS = {
    "learning.yaml": _FLEET.format(name="learning", slots=130, nodes=3, rate=8, policies="tanbr"),
    "sharded.yaml": _FLEET.format(
        name="sharded", slots=110, nodes=66, rate=1, policies="reinforce"
    ),
    "grid.yaml": _FLEET.format(
        name="grid", slots=40, nodes=3, rate=8, policies="tanbr, top2, uniform"
    ),
    "queues.yaml": _QUEUES,
}
RUNS = (("run", "learning.yaml"), ("run", "sharded.yaml", "--shards", "2"))
GRIDS = (
    ("compare", "grid.yaml", "--seeds", "0:2", "--jobs", "2"),
    ("compare", "queues.yaml", "--seeds", "0:8", "--jobs", "2"),
)
KINDS = {"host": RUNS, "worker": GRIDS, "run": RUNS, "compare": GRIDS}
SHARES = {"host": 16, "worker": 10, "run": 12, "compare": 12}  # of 50


@dataclass
class Reference:
    """An undisturbed run of a command."""

    wall_s: float
    there_s: dict[str, float]  # when the first victim of a kind was there
    digests: dict[str, str]
    summary: bytes


@dataclass
class Kill:
    """One kill and what became of it."""

    number: int
    kind: str
    command: str
    at_s: float  # wall time after the victim was there
    outcome: str = ""
    equal: bool = False
    corrupt: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # our processes after 20 s
    ours_s: float = 0.0  # how long our processes lived
    rays_s: float = 0.0  # how long Ray's did

    @property
    def good(self) -> bool:
        """Tell whether nothing is lost."""
        return self.equal and not self.corrupt and not self.left


_COMMANDS: list[Command] = []


class Command:
    """A command of ours in a scratch folder, with its family of processes."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        mark = uuid.uuid4().hex
        env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", MARK: mark}
        self.log = folder / f"log-{mark[:6]}.txt"
        self.started_s = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scenarios", *words],
                cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.family = Family(self.process.pid, mark)
        _COMMANDS.append(self)

    def end(self) -> None:
        """End it if it runs (the campaign was interrupted)."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def wait(self) -> int:
        """Wait for its end, and follow its family on the way."""
        while self.process.poll() is None:
            self.family.look()
            if time.perf_counter() - self.started_s > LIMIT_S:
                raise TimeoutError(self.log.read_text())
            time.sleep(0.1)
        return self.process.returncode

    def victims(self, kind: str) -> list[Process]:
        """Return the processes that a kill of this kind may hit, once they are at work."""
        living = self.family.look()
        titles = {each: self.family.titles[each] for each in living}
        if kind == "host":
            return [each for each in living if titles[each].startswith("ray::HostActor")]
        if kind == "worker":
            return [each for each in living if "spawn_main" in titles[each]]
        return [each for each in living if each.pid == self.process.pid]


def ours(title: str) -> bool:
    """Tell our processes from Ray's own by what they run."""
    return title.startswith("ray::HostActor") or "scenarios" in title or "spawn_main" in title


def root_of(folder: Path, words: Sequence[str]) -> Path:
    """Return the run folder of a command."""
    (root,) = (folder / "runs" / Path(words[1]).stem).iterdir()
    return root


def digests(root: Path) -> dict[str, str]:
    """Return the digest of every finished trial."""
    folder = RunFolder(root)
    found = {trial: folder.status(trial) for trial in folder.finished()}
    return {trial: status.digest for trial, status in found.items() if status is not None}


def broken_files(root: Path) -> list[str]:
    """Return the files under final names that are not whole."""
    broken = []
    for path in sorted(root.rglob("*")):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".parquet":
                read_table(path)
            elif path.suffix == ".jsonl":
                [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except Exception as error:
            broken.append(f"{path.relative_to(root)}: {error}")
    return broken


def scratch(base: Path, name: str) -> Path:
    """Return a new folder with all scenarios in it."""
    folder = base / name
    folder.mkdir()
    for file, text in SCENARIOS.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def undisturbed(base: Path, words: Sequence[str], number: int) -> Reference:
    """Run a command in peace."""
    folder = scratch(base, f"reference-{number}")
    command, there_s = Command(folder, words), dict[str, float]()
    while command.process.poll() is None:
        for kind, commands in KINDS.items():
            if words in commands and kind not in there_s and command.victims(kind):
                there_s[kind] = time.perf_counter() - command.started_s
        time.sleep(0.1)
    assert command.process.returncode == 0, command.log.read_text()
    wall_s, root = time.perf_counter() - command.started_s, root_of(folder, words)
    return Reference(wall_s, there_s, digests(root), (root / "summary.csv").read_bytes())


def strike(
    folder: Path, kill: Kill, words: Sequence[str], reference: Reference, rng: np.random.Generator
) -> bool:
    """Start the command, kill at the moment, repair as a user would, and compare."""
    command = Command(folder, words)
    while not (victims := command.victims(kill.kind)):
        if command.process.poll() is not None:
            break
        time.sleep(0.05)
    time.sleep(kill.at_s)
    victims = command.victims(kill.kind)  # a worker or a host may have been replaced since
    hit = bool(victims) and victims[int(rng.integers(len(victims)))].kill()
    code = command.wait()
    aftermath = threading.Thread(target=_follow, args=(kill, command.family))
    if kill.kind in {"run", "compare"} and hit:
        aftermath.start()  # and the same command again at once, beside what is left
    kill.outcome = _outcome(kill, command, code)
    runs = list(folder.glob("runs/*/*"))
    kill.corrupt = [broken for root in runs for broken in broken_files(root)]
    if code != 0:
        again = ("--retry-failed",) if kill.kind == "worker" else ()
        repeat = Command(folder, [*words, *again])
        repeated = repeat.wait()
        kill.outcome += f", again: exit {repeated}"
    root = root_of(folder, words)
    kill.corrupt += broken_files(root) + [f"{path} is left" for path in root.rglob("*.tmp")]
    same = (root / "summary.csv").read_bytes() == reference.summary
    kill.equal = same and digests(root) == reference.digests
    if aftermath.is_alive():
        aftermath.join()
    return hit


def _follow(kill: Kill, family: Family) -> None:
    """See how long the family of a killed command lives."""
    kill.ours_s = family.last_s(ours, OURS_S)
    kill.left = [family.titles[each] for each in family.look() if ours(family.titles[each])]
    kill.rays_s = kill.ours_s + family.last_s(lambda _: True, RAYS_S)


def _outcome(kill: Kill, command: Command, code: int) -> str:
    said = command.log.read_text()
    recovered = said.count("a new one was restored")
    if recovered:
        return f"recovered, exit {code}"
    failed = said.count("FAILED in worker")
    return f"failed row, exit {code}" if kill.kind == "worker" and failed else f"exit {code}"


def plan(kills: int, seed: int, only: str | None) -> list[tuple[str, Sequence[str], float]]:
    """Draw kinds, commands and moments (as shares of the undisturbed wall time)."""
    rng = np.random.default_rng([seed, 1])
    whole = sum(SHARES.values())
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * kills / whole))]
    kinds = [only] * kills if only else (kinds + ["compare"] * kills)[:kills]
    count: Counter[str] = Counter()
    drawn = []
    for kind in kinds:
        commands = KINDS[kind]
        drawn.append((kind, commands[count[kind] % len(commands)], float(rng.random())))
        count[kind] += 1
    return drawn


def line(kill: Kill) -> str:
    """Return one row of the table."""
    equal = "equal" if kill.equal else "DIFFERENT"
    rays = f"{kill.rays_s:5.1f}" if kill.kind == "run" else "    -"
    return (
        f"{kill.number:3d} {kill.kind:8s} {kill.command:14s} {kill.at_s:6.2f} {kill.outcome:34s} "
        f"{equal:10s} {len(kill.corrupt):7d} {len(kill.left):4d} {kill.ours_s:6.1f} {rays}"
    )


HEAD = (
    f"{'no':>3s} {'kind':8s} {'command':14s} {'at s':>6s} {'outcome':34s} {'digests':10s} "
    f"{'corrupt':>7s} {'left':>4s} {'ours s':>6s} {'ray s':>5s}"
)


def main() -> int:
    """Run the campaign; end what runs when it is interrupted."""
    try:
        return campaign()
    finally:
        for command in _COMMANDS:
            command.end()


def campaign() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(KINDS))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    drawn = plan(asked.kills, asked.seed, asked.only)
    rng = np.random.default_rng([asked.seed, 2])
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory(prefix="moedge-kills-") as name:
        base = Path(name)
        commands = list(dict.fromkeys(words for _, words, _ in drawn))
        references = {w: undisturbed(base, w, i) for i, w in enumerate(commands)}
        for words, reference in references.items():
            print(f"undisturbed: {' '.join(words)}: {reference.wall_s:.1f} s", flush=True)
        print(HEAD, flush=True)
        for number, (kind, words, share) in enumerate(drawn):
            known = references[words]
            at_s = share * (known.wall_s - known.there_s[kind])
            while True:
                kill = Kill(number, kind, Path(words[1]).stem, at_s)
                hit = strike(scratch(base, uuid.uuid4().hex), kill, words, known, rng)
                if hit:
                    break
                at_s *= 0.7  # it came to its end before: this time it is faster
            kills.append(kill)
            print(line(kill), *kill.corrupt, *kill.left, sep="\n    ", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(kill) for kill in kills], indent=1))
    bad = [kill.number for kill in kills if not kill.good]
    worst = max((kill.ours_s for kill in kills), default=0.0)
    rays = max((kill.rays_s for kill in kills), default=0.0)
    print(
        f"{len(kills)} kills: {sum(not k.equal for k in kills)} with different digests, "
        f"{sum(bool(k.corrupt) for k in kills)} with corrupt files, "
        f"{sum(bool(k.left) for k in kills)} with processes of ours after {OURS_S:.0f} s "
        f"(longest {worst:.1f} s; Ray's own {rays:.1f} s)"
    )
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
