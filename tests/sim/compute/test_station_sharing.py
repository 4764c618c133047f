"""Requests that share the servers of a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.compute.sharing import SharingStation
from sim.config import Batching, NodeSpec, Setup, Work
from sim.errors import InputError, LawViolation
from sim.proofs.twins.stations import Coming, Down, Rules
from sim.records import DROPS, Table
from tests.oracles.stations import engine, live, workload, world
from tests.sim import minds
from tests.sim.worlds import node, run, scripted


def shared(rows: Sequence[tuple[float, float]], *outages: Down, **rules: Any) -> Table:
    """Run requests given as (time, work)."""
    return engine([Coming(*row) for row in rows], Rules(**rules), outages, sharing=True)


def ends(rows: Sequence[tuple[float, float]], *outages: Down, **rules: Any) -> list[float]:
    return shared(rows, *outages, **rules)["t_finish_s"].tolist()


def test_one_has_a_server_for_itself() -> None:
    assert ends([(0, 1), (2, 1)]) == [1, 3]


def test_two_have_half_of_it_each() -> None:
    # from 1.0 s on both run at half speed: the second is done at 3.0 s, the first alone at 3.5 s
    assert ends([(0, 2.5), (1, 1)]) == [3.5, 3]


def test_two_servers_hold_two_at_full_speed_and_no_one_at_more() -> None:
    assert ends([(0, 1), (0, 1)], servers=2) == [1, 1]
    assert ends([(0, 1)], servers=2) == [1]
    assert ends([(0, 1)] * 4, servers=2) == [2, 2, 2, 2]


def test_a_job_gets_no_more_than_its_cap() -> None:
    assert ends([(0, 1)], job_share=0.25) == [4]
    assert ends([(0, 1)] * 3, servers=1, job_share=0.25) == [4, 4, 4]
    np.testing.assert_allclose(ends([(0, 1)] * 5, job_share=0.25), 5.0)


def test_everybody_starts_at_once_in_a_batch_of_its_own() -> None:
    table = shared([(0, 1), (0.5, 1), (0.5, 1)])
    np.testing.assert_array_equal(table["t_start_s"], table["t_enqueue_s"])
    assert table["batch_size"].tolist() == [1, 1, 1]
    assert len(np.unique(table["batch"])) == 3


def test_the_stay_is_the_work_and_a_stall() -> None:
    table = shared([(0, 1), (0, 3)])
    assert table["service_s"].tolist() == [1, 3]
    assert table["stall_s"].tolist() == [1, 1]


def test_who_ends_makes_room_for_who_comes_at_that_instant() -> None:
    table = shared([(0, 1), (1, 1)], capacity=1)
    assert (table["drop"] < 0).all()
    refused = shared([(0, 1), (0.5, 1)], capacity=1)
    assert DROPS[refused["drop"][1]] == "queue_full"


def test_nobody_loses_patience_where_nobody_waits() -> None:
    hasty = Coming(0.0, 2.0, patience_s=0.5, expires_s=1.0)
    table = engine([hasty, Coming(0.5, 1.0, expires_s=0.5)], Rules(), sharing=True)
    assert table["t_finish_s"][0] == 2.0
    assert DROPS[table["drop"][1]] == "deadline"  # but who comes too late does not join


def test_kept_work_starts_from_nothing_when_the_node_is_back() -> None:
    table = shared([(0, 2), (1.5, 1)], Down(1, 2, "keep"))
    assert table["t_start_s"].tolist() == [2, 2]
    assert table["t_finish_s"].tolist() == [5, 4]


def test_resumed_work_has_what_it_had() -> None:
    table = shared([(0, 2), (1.5, 1)], Down(1, 2, "resume"))
    assert table["t_start_s"].tolist() == [0, 2]
    assert table["t_finish_s"].tolist() == [4, 4]
    assert table["stall_s"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("work", "finish"), [("drop", np.nan), ("keep", 3.0), ("resume", 2.0), ("migrate", np.nan)]
)
def test_a_service_that_would_end_at_the_instant_of_the_crash_does_not(
    work: Work, finish: float
) -> None:
    np.testing.assert_array_equal(ends([(0, 1)], Down(1, 2, work)), finish)


def test_dropped_work_leaves_nothing_behind() -> None:
    table = shared([(0, 2), (1.5, 1), (3, 1)], Down(1, 2, "drop"))
    assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == ["node_down", "node_down", ""]
    assert table["t_finish_s"][2] == 4


def test_nobody_starts_at_an_instant_at_which_the_node_goes_down_again() -> None:
    table = shared([(1, 1)], Down(0, 2, "keep"), Down(2, 3, "drop"))
    assert np.isnan(table["t_start_s"][0])


def test_who_waits_for_the_node_may_lose_patience() -> None:
    coming = [Coming(0, 2, patience_s=1.5), Coming(1.25, 1, patience_s=9)]
    table = engine(coming, Rules(), [Down(1, 2, "keep")], sharing=True)
    assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == ["patience", ""]
    assert table["t_finish_s"][1] == 3


def test_busy_time_is_the_speed_in_use() -> None:
    rules = Rules(servers=2, job_share=0.5)
    drawn = workload([Coming(0, 1), Coming(0, 1), Coming(5, 1)])
    meters = live(world(rules, sharing=True), drawn).stations[0].meters
    assert (meters.busy_area, meters.most_running) == (3.0, 1.0)
    many = live(world(rules, sharing=True), workload([Coming(0, 1)] * 9)).stations[0].meters
    assert (many.busy_area, many.most_running) == (pytest.approx(9.0), pytest.approx(2.0))


def test_more_speed_than_there_is_breaks_a_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharingStation, "_rate", lambda self: 0.6 if self._ends else 0.0)
    with pytest.raises(LawViolation, match=r"L3: node 0 ran 1\.2 of 1"):
        live(world(Rules(), sharing=True), workload([Coming(0, 1), Coming(0, 1)]))


def test_looking_more_often_changes_no_bit() -> None:
    rng = np.random.default_rng(1)
    rows = zip(np.cumsum(rng.exponential(0.4, 200)), rng.exponential(1.0, 200), strict=True)
    drawn = workload([Coming(t, s) for t, s in rows])
    base = world(Rules(servers=3, job_share=0.7), sharing=True)
    fleets = [live(replace(base, slot_s=slot_s), drawn) for slot_s in (0.3, 500.0)]
    often, seldom = (np.array(fleet.requests.t_finish_s) for fleet in fleets)
    np.testing.assert_array_equal(often, seldom)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batching": Batching(2)}, "found batches"),
        ({"setup": Setup(1.0)}, "found set-up"),
        ({"job_share": 0.0}, r"job_share: expected above 0, at most 1, found 0\.0"),
        ({"job_share": 1.5}, r"job_share: expected above 0, at most 1, found 1\.5"),
        ({"discipline": "fifo", "job_share": 0.5}, "job_share: expected `discipline: sharing`"),
    ],
)
def test_what_does_not_go_with_sharing_is_refused(fields: dict[str, Any], words: str) -> None:
    spec: NodeSpec = replace(node(0, discipline="sharing"), **fields)
    with pytest.raises(InputError, match=rf"nodes\.0.*{words}"):
        run(replace(scripted([0.0], 5.0), nodes=(spec,)))


def test_models_cannot_share() -> None:
    plan = minds.world([minds.node(discipline="sharing")], [minds.timed([0.5])])
    with pytest.raises(InputError, match=r"nodes\.0\.discipline: .*found a model"):
        minds.run(plan, minds.script())
