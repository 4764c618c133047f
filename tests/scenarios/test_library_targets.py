"""The scenarios that state what must hold: it does, and not where their mechanism is mis-set."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import loader
from scenarios.build import policies
from scenarios.results import RunFolder
from scenarios.targets import measure
from scenarios.trial import TrialJob, run_trial

ALL = ("flapping", "lossy-radio", "partition", "priority-slo", "storage-slow")
QUICK = {
    "flapping": ("duration=40 s", "drain=10 s"),
    "lossy-radio": ("duration=40 s", "drain=10 s"),
    "priority-slo": ("duration=30 s", "drain=10 s"),
}
# what the scenario is about, switched off or mis-set -> a limit that is missed then
CONTRASTS = {
    ("flapping", "transport.tries=1"): "drops",
    ("flapping", "faults.1.work=drop"): "drops",
    ("flapping", "faults=[]"): "p99_latency",
    ("lossy-radio", "transport.tries=1"): "drops",
    ("lossy-radio", "transport.tries=2"): "drops",
    ("partition", "transport.tries=1"): "drops",
    ("partition", "faults=[]"): "p99_latency[west]",
    ("partition", "dispatch=local"): "p99_latency[west]",
    ("priority-slo", "nodes.edge.discipline=fifo"): "p99_latency[alarm]",
    ("storage-slow", "faults=[]"): "p99_latency[slow]",
    ("storage-slow", "nodes.edge.memory=1.3 GiB"): "p99_latency[slow]",
}


def missed(folder: Path, name: str, *settings: str) -> list[str]:
    """Run the scenario's first seed under its policies; return what is missed under each of all."""
    scenario = loader.load(name, settings)
    rows = []
    for policy in policies(scenario) or [None]:
        job = TrialJob(scenario, "x", policy, scenario.seed, str(folder))
        status = run_trial(job).status
        assert status.done, status.message
        rows.append({"policy": job.label, **(RunFolder(folder).status(job.id).summary or {})})
    found = [f for f in measure(scenario.assertions, rows) if not f.kept]
    return sorted({f.assertion.subject for f in found})


@pytest.mark.parametrize("name", QUICK)
def test_limits_hold_in_a_short_run(name, tmp_path):
    assert missed(tmp_path, name, *QUICK[name]) == []


@pytest.mark.parametrize(("name", "setting"), [key for key in CONTRASTS if key[0] in QUICK])
def test_a_short_run_shows_what_is_mis_set(name, setting, tmp_path):
    found = missed(tmp_path, name, *QUICK[name], setting)
    assert CONTRASTS[name, setting] in found


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_limits_hold(name, tmp_path):
    assert missed(tmp_path, name) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting"), CONTRASTS)
def test_what_is_mis_set_is_shown(name, setting, tmp_path):
    assert CONTRASTS[name, setting] in missed(tmp_path, name, setting)
