"""The fault campaign in small, that it notices what is broken, and liveness on its own."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest

from sim.compute.station import Station
from sim.config import ArrivalSpec, Batching, FaultSpec, ServiceSpec, TransportSpec, Work, World
from sim.faults import timetable
from sim.records import DROPS
from tests.campaign import campaign, shrink
from tests.campaign.draws import draw
from tests.sim import worlds


def violations(verdicts: list[campaign.Verdict]) -> list[str]:
    return [f"--replay {v.seed}: {v.error[-400:]}" for v in verdicts if v.error]


def test_a_few_runs_of_the_campaign() -> None:
    assert violations(campaign.campaign(range(7000, 7025))) == []


@pytest.mark.slow
def test_the_campaign(capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign.main(["--runs", "500", "--seed", "0", "--no-shrink"]) == 0
    assert "0 violations" in capsys.readouterr().out


def test_one_integer_is_one_run() -> None:
    assert repr(draw(11)) == repr(draw(11)) != repr(draw(12))
    assert (draw(11).policy is None, draw(12).policy is None) == (False, True)


# --- it notices


def test_a_broken_station_is_found_shrunk_and_replayed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crash = Station.crash

    def forgetful(self: Station, now_s: float, work: Work = "drop") -> list[int]:
        moved = crash(self, now_s, work)
        self.up = True  # takes requests while it is down
        return moved

    monkeypatch.setattr(Station, "crash", forgetful)
    broken = next(
        seed for seed in range(200)
        if any(f.kind == "node-crash" for f in draw(seed).world.faults)
        and campaign.judge(seed).error
    )  # fmt: skip
    assert campaign.main(["--replay", str(broken)]) == 1
    told = capsys.readouterr().out
    assert f"replay: python tests/campaign/campaign.py --replay {broken}" in told
    assert "Traceback" in told
    small = int(told.split("shrunk to ")[1].split(" faults")[0])
    assert 1 <= small <= len(draw(broken).world.faults)
    monkeypatch.undo()
    assert campaign.judge(broken).error == ""


def test_shrinking_keeps_what_the_failure_needs() -> None:
    def fails(world: World, policy: Any) -> str:
        crashes = [f for f in world.faults if f.kind == "node-crash"]
        lossy = [s for s in world.streams if s.patience is not None]
        return "AssertionError" if crashes and lossy and len(world.nodes) > 1 else ""

    runs = (draw(seed) for seed in range(400))
    run = next(r for r in runs if len(r.world.nodes) > 3 and fails(r.world, r.policy))
    small = shrink.smaller(run.world, run.policy, fails)
    assert (len(small.faults), len(small.streams), len(small.nodes)) == (1, 1, 2)
    assert small.faults[0].kind == "node-crash"
    assert small.streams[0].patience is not None
    assert {link.id for link in small.links} == set(range(len(small.links)))


def test_coverage_that_lacks_is_named() -> None:
    verdicts = campaign.campaign(range(7000, 7002))
    lacking = campaign.missing(campaign.Counter(w for v in verdicts for w in v.features))
    assert "drop memory" in lacking


# --- liveness: after the last fault all queues drain


def stormy(*, work: Work, **fields: Any) -> World:
    """Return a ring in which everything fails for two seconds, all nodes at once in the end."""
    ring = worlds.fleet(4, duration_s=3.0, drain_s=60.0, transport=TransportSpec(4, 0.1))
    faults = (
        FaultSpec("node-crash", 0, 0.2, 0.3, every_s=0.5, until_s=1.7, work=work, also=(2,)),
        FaultSpec("node-crash", 1, 0.3, 0.01, every_s=0.02, until_s=1.9, work=work),
        FaultSpec("node-crash", 0, 2.0, 0.5, work=work, also=(1, 2, 3)),
        FaultSpec("link-down", 0, 0.1, 0.01, every_s=0.02, until_s=2.0, also=(1, 5)),
        FaultSpec("link-slow", 2, 0.5, 2.0, factor=50.0, delay_s=0.2),
        FaultSpec("link-lossy", 3, 0.5, 2.0, loss=0.9),
        FaultSpec("telemetry-loss", 3, 1.0, 1.5),
    )
    return replace(ring, faults=faults, service=ServiceSpec("exponential", 0.02), **fields)


@pytest.mark.parametrize("work", ["drop", "keep", "resume", "migrate"])
@pytest.mark.parametrize("shape", [{}, {"batching": Batching()}, {"capacity": inf}])
def test_after_the_last_fault_all_queues_drain(work: Work, shape: dict[str, Any]) -> None:
    world = stormy(work=work)
    world = replace(world, nodes=tuple(replace(n, **shape) for n in world.nodes))
    assert max(o.until_s for o in timetable(world)) <= world.duration_s
    record = campaign.trial(world, None, twice=work == "keep")
    laws, table = record.meta["laws"], record.tables["requests"]
    assert laws["in_flight"] == 0
    # nothing is lost in silence: every request has come back, or says why it has not
    assert (~np.isnan(table["t_return_s"]) ^ (table["drop"] >= 0)).all()
    assert sum(laws[reason] for reason in DROPS) + laws["returned"] == laws["emitted"] > 200
    assert laws["returned"] > 100


@pytest.mark.parametrize("work", ["keep", "resume"])
def test_work_that_is_kept_through_a_crash_is_not_lost(work: Work) -> None:
    calm = worlds.queue(20.0, 0.02, 4.0, capacity=inf)
    crash = FaultSpec("node-crash", 0, 1.0, 0.5, every_s=1.0, until_s=3.5, work=work)
    laws = campaign.trial(replace(calm, faults=(crash,)), None).meta["laws"]
    assert laws["returned"] == laws["emitted"] > 50


def test_a_crash_takes_what_would_end_or_arrive_at_its_instant() -> None:
    """One order: the fault first, then what ends, then what arrives; never both."""
    times = ArrivalSpec("trace", times_s=(0.0, 1.0, 2.0))
    base = worlds.queue(1.0, 1.0, 5.0, kind="deterministic")
    world = replace(base, streams=(worlds.stream(0, 0, times),))
    expected = {
        "drop": ["node_down", "node_down", ""],  # ends at 1 s; arrives at 1 s; comes after
        "migrate": ["node_down", "node_down", ""],  # there is no other node
        "keep": ["", "", ""],
        "resume": ["", "", ""],
    }
    for work, reasons in expected.items():
        fault = FaultSpec("node-crash", 0, 1.0, 0.5, work=work)  # type: ignore[arg-type]
        table = campaign.trial(replace(world, faults=(fault,)), None).tables["requests"]
        assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == reasons, work
        done = ~np.isnan(table["t_finish_s"])
        assert not (done & (table["drop"] >= 0)).any()
