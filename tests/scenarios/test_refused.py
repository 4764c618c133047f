"""Rewards that are none, from the scenario to the log, the facts of the run and the report."""

from __future__ import annotations

import json
from pathlib import Path

from scenarios.experiment import execute
from scenarios.planning import Order, plan
from scenarios.progress import Silent
from scenarios.results import read_table

TEXT = """\
name: spoiled
seed: 1
duration: 20 s
drain: 5 s
slot: 5 s
model: {checkpoint: builtin:stream, cost_as: switch-base-8}
topology: {kind: star, hub: cloud, link: {delay: 8 ms, bandwidth: 100 Mbit/s}}
nodes:
  - {group: edge, count: 2, hardware: jetson-orin-nano, servers: 1, capacity: 64}
  - {group: cloud, count: 1, hardware: a100-40gb, servers: 4, plan: {kind: top-k, k: 2}}
streams:
  - {at: edge, arrivals: {kind: poisson, rate: 5 /s}, mix: {kind: uniform}}
feedback: {delay: 1 s, fraction: 0.5}
policies: [tanbr]
faults:
  - {kind: feedback-spoiled, node: edge-1, value: nan, at: 5 s, for: 10 s}
"""


def test_refused_rewards_are_in_the_log_and_in_the_notes(tmp_path: Path) -> None:
    path = tmp_path / "spoiled.yaml"
    path.write_text(TEXT, encoding="utf-8")
    outcome = execute(plan(Order(str(path), seeds=(1,), out=tmp_path / "runs")), Silent(), jobs=1)
    (trial,) = [row["id"] for row in outcome.rows]
    root = outcome.run_dir
    lines = [json.loads(line) for line in (root / "log.jsonl").open(encoding="utf-8")]
    (told,) = [line for line in lines if line["event"] == "rewards-refused"]
    found = [told[name] for name in ("trial", "router", "node", "reward")]
    assert found == [trial, "tanbr", 1, "nan"]
    assert 5.0 < told["first_s"] <= told["last_s"] <= 20.0
    assert told["count"] > 5
    meta = json.loads((root / "trials" / trial / "meta.json").read_text(encoding="utf-8"))
    note = (
        f"router tanbr: reward nan at t={told['last_s']:g} from node edge-1, "
        f"ignored ({told['count']} so far)"
    )
    assert note in meta["notes"]
    drift = read_table(root / "drift" / f"trial={trial}" / "part.parquet")
    assert "refused" in set(map(str, drift["kind"]))
