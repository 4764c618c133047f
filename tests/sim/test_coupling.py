"""What routers hear, and when: feedback by hand, slot by slot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.hosting.shard import Shard
from sim.config import FaultSpec, FeedbackSpec
from sim.errors import HostError
from sim.plans import TopK
from sim.ports import FeedbackBlock
from tests.agents.hosting.tiny import TinyModel, routers_of
from tests.sim import minds
from tests.sim.minds import ONE_S, SKEW, Seen, node, run, script, timed, world

TIMES = [0.5, 0.7, 1.3, 1.9, 2.5]


def heard(seen: Seen) -> list[tuple[int, int, float]]:
    """Return (slot heard, slot of the decision, requests) of all feedback."""
    blocks: list[FeedbackBlock] = seen.router.learned
    return [
        (b.slot, int(b.decided[i]), float(b.count[i].sum()))
        for b in blocks
        for i in range(len(b.row))
    ]


@pytest.mark.parametrize(
    ("delay_s", "expected"),
    [
        (0.0, [(1, -1, 2.0), (2, -1, 2.0), (3, -1, 1.0)]),
        (0.4, [(1, -1, 1.0), (2, -1, 2.0), (3, -1, 2.0)]),
        # due at 1.2, 1.4, 2.0 (the boundary itself), 2.6 and 3.2 s
        (1.0 - ONE_S - 0.3, [(2, -1, 3.0), (3, -1, 1.0), (4, -1, 1.0)]),
        (1.2, [(2, -1, 2.0), (3, -1, 1.0), (4, -1, 2.0)]),
    ],
)
def test_feedback_comes_at_the_first_boundary_after_its_delay(
    delay_s: float, expected: list[tuple[int, int, float]]
) -> None:
    # requests end 8 ms after their emission, under the start plan (decision -1)
    feedback = FeedbackSpec(delay_s, 1.0)
    seen = run(world([node()], [timed(TIMES)], feedback=feedback), script())
    assert heard(seen) == expected


def test_feedback_names_the_decision_that_it_answers() -> None:
    # SKEW of boundary 1 is in force from 1.104 s on; all that ended since 0.9 s is due at 3.0 s
    feedback = FeedbackSpec(1.2, 1.0)
    times = [0.95, 1.05, 1.3, 1.5]
    seen = run(world([node()], [timed(times)], feedback=feedback), script({1: SKEW}))
    assert heard(seen) == [(3, -1, 2.0), (3, 1, 2.0)]
    assert [type(p).__name__ for p in seen.router.learned[0].plans] == ["Merged", "Merged"]
    assert seen.router.learned[0].plans[1] == SKEW


def test_rewards_are_means_of_correctness_by_estimated_cluster() -> None:
    model = TinyModel()
    feedback = FeedbackSpec(0.0, 1.0)
    seen = run(
        world([node()], [minds.poisson(40.0)], feedback=feedback, duration_s=3.0), script(), model
    )
    table = seen["requests"]
    for block in seen.router.learned:
        slot = np.floor(table["t_finish_s"]) == block.slot - 1
        clusters = model.cluster_of[table["input"]]
        for cluster in range(block.count.shape[1]):
            mine = slot & (clusters == cluster)
            assert block.count[0, cluster] == mine.sum()
            if mine.any():
                mean = (table["correct"][mine] == 1).mean()
                assert block.reward[0, cluster] == pytest.approx(mean)
    assert sum(b.count.sum() for b in seen.router.learned) == len(table["id"])


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_a_fraction_is_audited_and_all_are_scored(fraction: float) -> None:
    feedback = FeedbackSpec(0.1, fraction)
    seen = run(world([node()], [minds.poisson(100.0)], feedback=feedback), script())
    count = len(seen["requests"]["id"])
    told = sum(n for _, _, n in heard(seen))
    assert told == pytest.approx(fraction * count, abs=4 * np.sqrt(count * 0.25))
    assert (told == 0) == (fraction == 0.0)
    assert (seen["requests"]["correct"] >= 0).all()


def test_who_is_audited_does_not_depend_on_the_policy() -> None:
    feedback = FeedbackSpec(0.0, 0.4)
    lots = world([node()], [minds.poisson(50.0)], feedback=feedback)
    one, two = run(lots, script()), run(lots, script({0: TopK(1)}))
    totals = [sum(n for _, _, n in heard(seen)) for seen in (one, two)]
    assert totals[0] == totals[1] > 20


def test_counts_are_those_of_requests_whose_service_ended_in_the_last_slot() -> None:
    seen = run(world([node()], [timed(TIMES)]), script())
    assert [int(c.counts.sum()) for c in seen.router.seen] == [0, 2, 2, 1, 0, 0]
    assert [c.slot for c in seen.router.seen] == [0, 1, 2, 3, 4, 5]
    assert [c.t_s for c in seen.router.seen] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_crash_is_told_and_resets_the_router() -> None:
    crash = FaultSpec("node-crash", 0, 0.9, 1.5)
    seen = run(world([node()], [timed([0.5, 2.6])], faults=(crash,)), script())
    contexts = seen.router.seen
    # the last exchange, at the end of the run, decides nothing
    assert [bool(c.active[0]) for c in contexts] == [True, False, False, True, True, False]
    assert [bool(c.reset[0]) for c in contexts] == [False, False, False, True, False, False]
    # the plan of slots without the node is none; then its start plan again
    assert seen["slots"]["plan"].tolist() == [-1, -1, 0, 0, 0]


def test_nodes_with_a_fixed_plan_are_scored_and_never_steered() -> None:
    fixed = node(1, plan=TopK(1))
    seen = run(world([node(0), fixed], [timed(TIMES, at=0), timed(TIMES, at=1)]), script({1: SKEW}))
    decisions = seen["decisions"]
    assert (decisions["slot"][decisions["node"] == 1] == -1).all()
    assert (seen["requests"]["correct"] >= 0).all()
    assert len(seen.router.setup.nodes) == 1


def test_a_delay_of_decisions_counts_in_slots() -> None:
    forced = {}
    for delay in (0, 1, 3):
        seen = run(world([node()], [timed(TIMES)], decision_delay_slots=delay), script({1: SKEW}))
        forced[delay] = float(seen["decisions"]["t_force_s"][seen["decisions"]["slot"] == 1][0])
    assert forced == pytest.approx({0: 1.104, 1: 2.104, 3: 4.104})


def test_shards_hear_of_their_own_nodes_only() -> None:
    nodes = [node(i) for i in range(5)]
    seen = run(world(nodes, [minds.poisson(20.0, at=i) for i in range(5)]), script(), shards=2)
    assert [len(routers_of(h)[0].setup.nodes) for h in seen.hosts] == [4, 1]
    per_node = np.bincount(seen["requests"]["server"])
    for host, mine in zip(seen.hosts, (per_node[:4], per_node[4:]), strict=True):
        total = sum(c.counts for c in routers_of(host)[0].seen)
        np.testing.assert_array_equal(total.sum(axis=1), mine)


def test_a_host_that_scores_too_few_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Shard.step
    monkeypatch.setattr(
        Shard, "step", lambda self, step: replace(r := honest(self, step), correct=r.correct[:-1])
    )
    with pytest.raises(HostError, match="a host scored 1 of 2 requests"):
        run(world([node()], [timed(TIMES)]), script())


def test_outcomes_that_nobody_will_hear_of_are_not_kept() -> None:
    nodes = [node(0), node(1, plan=TopK(1))]
    seen = run(world(nodes, [timed(TIMES, at=0), timed(TIMES, at=1)]), script())
    held = [len(block._pending._held) for block in seen.hosts[0]._host._blocks]  # type: ignore[attr-defined]
    assert held == [0]
    assert sum(n for _, _, n in heard(seen)) == len(TIMES)
