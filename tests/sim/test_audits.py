"""Audits over links: who is judged, when the verdict is heard, and what it costs the network."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from sim.config import FaultSpec, FeedbackSpec, LinkSpec, PolicySpec
from sim.plans import TopK
from tests.agents.hosting.tiny import routers_of
from tests.sim.minds import ONE_S, Seen, chip, node, poisson, run, script, timed, world

# 0 - 1 - 2, each hop 0.1 s away, 1 MB/s, both ways
LINKS = tuple(
    LinkSpec(number, src, dst, 0.1, 1e6)
    for number, (src, dst) in enumerate([(0, 1), (1, 0), (1, 2), (2, 1)])
)
# up takes 0.1 s + 0.1 s per hop, down 0.1 s + 0.02 s
JUDGED = FeedbackSpec(0.3, 1.0, via=1, up_bytes=1e5, down_bytes=2e4)
HEARD_S = ONE_S + 0.2 + 0.3 + 0.12


def judge(
    times: list[float], feedback: FeedbackSpec = JUDGED, policy: PolicySpec | None = None,
    **fields: Any,
) -> Seen:  # fmt: skip
    """Run node 0 with a router; node 1 judges; node 2 has a fixed plan and users of its own."""
    nodes = [node(0), node(1, plan=TopK(1)), node(2, plan=TopK(1))]
    streams = [timed(times), timed([0.1], at=2)]
    there = world(nodes, streams, links=LINKS, feedback=feedback, **fields)
    return run(there, policy or script(), block_size=1)


def heard(seen: Seen) -> list[tuple[int, float]]:
    """Return (slot heard, requests) of all feedback of node 0."""
    return [(b.slot, float(b.count.sum())) for b in routers_of(seen.hosts[0])[0].learned]


def sent(seen: Seen) -> dict[int, float]:
    table = seen["links"]
    links = set(table["link"].tolist())
    return {k: float(table["sent_bytes"][table["link"] == k].sum()) for k in links}


def held(seen: Seen) -> int:
    """Count the outcomes that hosts still keep for later."""
    shards = [host._host for host in seen.hosts]  # type: ignore[attr-defined]
    return sum(len(block._pending._held) for shard in shards for block in shard._blocks)


def test_a_verdict_is_heard_when_it_has_travelled() -> None:
    early, late = 2.0 - HEARD_S - 1e-6, 2.0 - HEARD_S + 1e-6
    assert heard(judge([early])) == [(2, 1.0)]
    assert heard(judge([late])) == [(3, 1.0)]


def test_verdicts_queue_on_the_links() -> None:
    # both end together; the second request's bytes leave 0.1 s after the first one's
    batch = judge([2.0 - HEARD_S - 0.05, 2.0 - HEARD_S - 0.05])
    assert heard(batch) == [(2, 1.0), (3, 1.0)]


def test_the_bytes_are_on_the_links_and_in_the_facts() -> None:
    seen = judge([0.5, 0.7])
    assert sent(seen) == {0: 2e5, 1: 4e4}
    assert seen.record.meta["audits"] == {"begun": 2, "heard": 2, "lost": 0, "sent_bytes": 2.4e5}
    assert (seen["decisions"]["moved_bytes"] == 0.0).all()


def test_a_judge_two_hops_away_takes_both() -> None:
    seen = judge([0.5], replace(JUDGED, via=2))
    assert sent(seen) == {0: 1e5, 1: 2e4, 2: 1e5, 3: 2e4}
    assert seen.record.meta["audits"]["sent_bytes"] == 1.2e5
    assert heard(seen) == [(2, 1.0)]  # 0.508 + 0.4 + 0.3 + 0.24 s


def test_a_node_that_judges_itself_sends_nothing() -> None:
    seen = judge([0.5], replace(JUDGED, via=0))
    assert sent(seen) == {}
    assert heard(seen) == [(1, 1.0)]


def test_who_does_not_learn_audits_nobody() -> None:
    for feedback in (JUDGED, FeedbackSpec(0.0, 1.0)):
        seen = judge([0.5, 0.7], feedback, PolicySpec("deaf", "deaf"))
        assert sent(seen) == {}
        assert heard(seen) == []
        assert seen.record.meta["audits"] == {"begun": 0, "heard": 0, "lost": 0, "sent_bytes": 0.0}
        assert held(seen) == 0


def test_without_a_judge_users_report_at_no_cost() -> None:
    seen = judge([0.5, 0.7], FeedbackSpec(0.4, 1.0))
    assert sent(seen) == {}
    assert seen.record.meta["audits"] == {"begun": 2, "heard": 2, "lost": 0, "sent_bytes": 0.0}


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ("the way up breaks", FaultSpec("link-down", 0, at_s=0.6, for_s=0.1)),
        ("no way up", FaultSpec("link-down", 0, at_s=0.4, for_s=0.2)),
        ("the judge is down", FaultSpec("node-crash", 1, at_s=0.6, for_s=0.2)),
        ("the judge forgets it", FaultSpec("node-crash", 1, at_s=0.8, for_s=0.1)),
        ("the way down breaks", FaultSpec("link-down", 1, at_s=1.05, for_s=0.1)),
        ("the node is down", FaultSpec("node-crash", 0, at_s=1.0, for_s=inf)),
        ("the node is another", FaultSpec("node-crash", 0, at_s=0.8, for_s=0.1)),
    ],
)
def test_what_is_lost_is_never_heard_and_nobody_waits_for_it(what: str, fault: FaultSpec) -> None:
    seen = judge([0.5], faults=(fault,))
    assert heard(seen) == []
    counts = seen.record.meta["audits"]
    assert (counts["begun"], counts["heard"], counts["lost"]) == (1, 0, 1)
    assert held(seen) == 0


def test_a_run_may_end_with_audits_under_way() -> None:
    """The laws of conservation know messages on links: neither requests nor lost bytes."""
    seen = judge([0.5, 4.9], drain_s=0.0)
    counts = seen.record.meta["audits"]
    assert (counts["begun"], counts["heard"], counts["lost"]) == (2, 1, 0)
    assert seen.record.meta["laws"]["in_flight"] == 0


@pytest.mark.parametrize("shards", [2, 3])
def test_any_number_of_shards_hears_the_same(shards: int) -> None:
    faults = (
        FaultSpec("node-crash", 2, 1.7, 0.6),
        FaultSpec("link-down", 1, 2.0, 0.3),
    )
    quick = chip(flop_per_s=1e12, bytes_per_s=1e12)
    nodes = [node(i, hardware=quick) for i in range(3)]
    streams = [poisson(15.0, at=i) for i in range(3)]
    feedback = FeedbackSpec(0.3, 0.5, via=1, up_bytes=2e3, down_bytes=1e2)
    fleet = world(nodes, streams, links=LINKS, feedback=feedback, faults=faults)
    listener = PolicySpec("listener", "listener")
    one, many = (run(fleet, listener, shards=n, block_size=1) for n in (1, shards))
    assert one.record.digest == many.record.digest
    assert one.record.meta["audits"] == many.record.meta["audits"]
    assert one.record.meta["audits"]["heard"] > 50
    assert one.record.meta["audits"]["lost"] > 2
