"""Cold servers: when a set-up begins, whom it serves, how long a server stays warm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.config import Batching, FaultSpec, Setup
from sim.errors import InputError
from sim.proofs.twins.stations import Coming, Down, Rules
from sim.records import DROPS
from tests.oracles.stations import engine, live, workload, world
from tests.sim import minds
from tests.sim.worlds import run, scripted


def starts(times_s: list[float], *outages: Down, **rules: Any) -> list[float]:
    """Return when requests of 1 s start; a set-up takes 0.5 s."""
    coming = [Coming(t, 1.0) for t in times_s]
    settings = {"setup_s": 0.5, **rules}
    return engine(coming, Rules(**settings), outages)["t_start_s"].tolist()


def test_a_cold_server_is_set_up_first() -> None:
    assert starts([0]) == [0.5]


def test_without_a_time_to_stay_warm_an_idle_server_is_cold_at_once() -> None:
    assert starts([0, 2]) == [0.5, 2.5]


def test_but_it_goes_on_with_those_who_wait_and_those_who_come_at_that_instant() -> None:
    assert starts([0, 1, 2.5]) == [0.5, 1.5, 2.5]


def test_an_idle_server_stays_warm_up_to_its_last_instant() -> None:
    assert starts([0, 3.5], keep_s=2.0) == [0.5, 3.5]  # idle since 1.5 s
    assert starts([0, 3.75], keep_s=2.0) == [0.5, 4.25]
    assert starts([0, 99], keep_s=np.inf) == [0.5, 99]


def test_each_one_that_waits_lets_a_server_begin() -> None:
    assert starts([0, 0, 0.25], servers=3) == [0.5, 0.5, 0.75]


def test_no_more_servers_are_set_up_than_wait() -> None:
    fleet = live(world(Rules(servers=9, setup_s=0.5)), workload([Coming(0, 1), Coming(0.25, 1)]))
    assert fleet.stations[0].meters.most_running == 2


def test_a_set_up_is_completed_though_another_server_took_the_work() -> None:
    coming = [Coming(0, 1), Coming(2.5, 1), Coming(4.75, 1), Coming(4.75, 1)]
    table = engine(coming, Rules(servers=2, setup_s=2.0, keep_s=9.0))
    # set-ups from 0 to 2 s and from 2.5 to 4.5 s; the second is served by the first server
    assert table["t_start_s"].tolist() == [2, 3, 4.75, 4.75]


def test_the_last_to_have_become_idle_is_taken_first() -> None:
    # idle since 1.5 and 2.5 s; the second is taken at 3.0 s, the first is cold after 3.5 s
    coming = [Coming(0, 1), Coming(0, 2), Coming(3, 1), Coming(3.75, 1)]
    table = engine(coming, Rules(servers=2, setup_s=0.5, keep_s=2.0))
    assert table["t_start_s"].tolist() == [0.5, 0.5, 3, 4]


def test_who_comes_during_a_set_up_joins_its_batch() -> None:
    assert starts([0, 0.25, 0.5], size=3) == [0.5, 0.5, 0.5]


def test_set_ups_are_counted_in_batches() -> None:
    rules = Rules(servers=9, size=2, setup_s=0.5)
    most = [
        live(world(rules), workload([Coming(0, 1)] * n)).stations[0].meters.most_running
        for n in (1, 2, 3, 4, 5)
    ]
    assert most == [1, 1, 2, 2, 3]


def test_a_batch_that_is_not_due_sets_nothing_up() -> None:
    assert starts([0, 0.25], size=3, wait_s=1.0) == [1.5, 1.5]


def test_patience_does_not_end_during_service_but_does_during_a_set_up() -> None:
    hasty = Coming(0, 1, patience_s=0.25)
    table = engine([hasty, Coming(0.375, 1)], Rules(setup_s=0.5))
    assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == ["patience", ""]
    assert table["t_start_s"][1] == 0.5  # the set-up went on


@pytest.mark.parametrize(("work", "expected"), [("keep", [2.5, 3.5]), ("resume", [0.5, 2.75])])
def test_after_a_crash_servers_are_cold_but_those_that_resume(
    work: Any, expected: list[float]
) -> None:
    assert starts([0, 0.25], Down(0.75, 2, work)) == expected


def test_a_crash_ends_a_set_up() -> None:
    assert starts([0], Down(0.25, 1, "keep")) == [1.5]


def test_a_set_up_takes_server_time_and_is_no_service() -> None:
    fleet = live(world(Rules(setup_s=0.5)), workload([Coming(0, 1)]))
    assert fleet.stations[0].meters.busy_area == 1.5
    table = fleet.recorder.requests(fleet.requests)
    assert (table["service_s"].tolist(), table["stall_s"].tolist()) == ([1.0], [0.0])


def test_a_model_is_set_up_too() -> None:
    node = minds.node(setup=Setup(0.1, 0.2), batching=Batching(4))
    seen = minds.run(minds.world([node], [minds.timed([0.5, 0.55, 0.7, 1.5])]), minds.script())
    np.testing.assert_allclose(seen["requests"]["t_start_s"], [0.6, 0.6, 0.7, 1.6])


def test_own_work_waits_for_a_warm_server() -> None:
    # decisions of 0.1 s at 0, 1 and 2 s come before requests
    node = minds.node(setup=Setup(0.5))
    seen = minds.run(
        minds.world([node], [minds.timed([0.25, 1.75])], duration_s=2.5), minds.script(flop=1e8)
    )
    # set-up from 0 to 0.5, decision to 0.6, request; the last set-up lasts from 1.75 to 2.25 s
    np.testing.assert_allclose(seen["requests"]["t_start_s"], [0.6, 2.35])
    np.testing.assert_allclose(seen["requests"]["t_finish_s"][0], 0.608)


def test_a_crash_with_a_model_and_set_up_is_lawful() -> None:
    crash = FaultSpec("node-crash", 0, 0.504, 0.5, work="keep")
    node = minds.node(setup=Setup(0.1, 9.0))
    plan = minds.world([node], [minds.timed([0.3, 0.5])], faults=(crash,))
    table = minds.run(plan, minds.script())["requests"]
    # back at 1.004 s, loaded at 1.044 s; it is set up when it could serve
    np.testing.assert_allclose(table["t_start_s"], [0.4, 1.144])


def test_a_set_up_cannot_take_less_than_nothing() -> None:
    with pytest.raises(InputError, match=r"nodes\.0\.setup: expected times >= 0, found"):
        run(scripted([0.0], 5.0, setup=Setup(-1.0)))
