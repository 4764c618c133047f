"""Messages between routers: over simulated links, heard at the next boundary after they arrive."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from sim.config import FaultSpec, LinkSpec, TransportSpec
from sim.errors import HostError
from sim.ports import Message
from tests.agents.hosting.tiny import routers_of
from tests.sim.minds import Seen, node, run, script, timed, world

# 0 - 1 - 2, each hop 0.1 s away, 1 MB/s, both ways
LINKS = tuple(
    LinkSpec(number, src, dst, 0.1, 1e6)
    for number, (src, dst) in enumerate([(0, 1), (1, 0), (1, 2), (2, 1)])
)


def heard(seen: Seen) -> list[tuple[int, int, Any]]:
    """Return (slot, node that heard, payload)."""
    routers = [router for host in seen.hosts for router in routers_of(host)]
    found = [
        (context.slot, message.dst, message.payload)
        for router in routers
        for context in router.seen
        for message in context.inbox
    ]
    return sorted(found)


def talk(*mail: tuple[int, Message], shards: int = 1, **fields: Any) -> Seen:
    by_slot: dict[int, list[Message]] = {}
    for slot, message in mail:
        by_slot.setdefault(slot, []).append(message)
    settings = {"links": LINKS, **fields}
    chain = world([node(i) for i in range(3)], [timed([4.9])], **settings)
    return run(chain, script(mail=by_slot), shards=shards, block_size=1)


def test_a_message_takes_what_its_bytes_take() -> None:
    # two hops of 0.1 s + 0.3 MB / (1 MB/s): 0.8 s after the boundary; with 0.5 MB: 1.2 s
    assert heard(talk((1, Message(0, 2, 3e5, "a")))) == [(2, 2, "a")]
    assert heard(talk((1, Message(0, 2, 5e5, "b")))) == [(3, 2, "b")]


def test_messages_queue_on_a_link_in_order() -> None:
    # 0.6 MB each over one hop: there at 0.7 and 1.3 s after the boundary
    seen = talk((1, Message(0, 1, 6e5, "first")), (1, Message(0, 1, 6e5, "second")))
    assert heard(seen) == [(2, 1, "first"), (3, 1, "second")]


def test_a_message_to_itself_is_heard_at_the_next_boundary() -> None:
    assert heard(talk((1, Message(2, 2, 9e9, "me")))) == [(2, 2, "me")]


def test_bytes_are_in_the_tables() -> None:
    seen = talk((1, Message(0, 2, 3e5, "a")))
    links, decisions = seen["links"], seen["decisions"]
    assert links["sent_bytes"][links["sent_bytes"] == 3e5].size == 2
    mine = (decisions["slot"] == 1) & (decisions["node"] == 0)
    assert decisions["moved_bytes"][mine].tolist() == [3e5]


@pytest.mark.parametrize("shards", [2, 3])
def test_any_number_of_shards_hears_the_same(shards: int) -> None:
    mail = [(s, Message(s % 3, (s + 1) % 3, 1e5, s)) for s in range(4)]
    one, many = talk(*mail), talk(*mail, shards=shards)
    assert heard(one) == heard(many)
    assert one.record.digest == many.record.digest
    assert len(heard(one)) == 4


def test_a_message_waits_for_the_decision_delay() -> None:
    seen = talk((1, Message(0, 1, 1e5, "late")), decision_delay_slots=1)
    assert heard(seen) == [(3, 1, "late")]


def test_a_broken_link_or_a_dead_node_loses_it() -> None:
    cut = FaultSpec("link-down", 0, at_s=1.05, for_s=0.1)
    assert heard(talk((1, Message(0, 1, 1e5, "lost")), faults=(cut,))) == []
    crash = FaultSpec("node-crash", 1, at_s=1.05, for_s=inf)
    assert heard(talk((1, Message(0, 1, 1e5, "lost")), faults=(crash,))) == []


def test_messages_share_fair_links_in_one_run() -> None:
    # 0.6 MB each, both over 1 -> 2, one of them from 0: half of 1 MB/s each until 1.2 s, and the
    # delays of two links; one after the other, the second would be there at 1.8 s
    fair = tuple(replace(link, sharing="fair") for link in LINKS)
    mail = ((1, Message(0, 2, 6e5, "far")), (1, Message(1, 2, 6e5, "near")))
    assert heard(talk(*mail, links=fair)) == [(3, 2, "far"), (3, 2, "near")]
    # alone, the far one is there after 0.6 + 0.2 s: its run is one flow, not two hops
    assert heard(talk(mail[0], links=fair)) == [(2, 2, "far")]
    assert heard(talk(mail[0])) == [(3, 2, "far")]


def test_lossy_links_lose_messages_for_good() -> None:
    lossy = tuple(replace(link, loss=0.5) for link in LINKS)
    mail = [(1, Message(0, 1, 1.0, i)) for i in range(200)]
    seen = talk(*mail, links=lossy, transport=TransportSpec(9, 0.001))
    arrived = len(heard(seen))
    assert arrived == pytest.approx(100, abs=29)  # 4 sigma
    assert seen["links"]["lost"].sum() == 200 - arrived  # never tried again
    assert seen["links"]["sent_bytes"].sum() == 200.0


@pytest.mark.parametrize(
    ("message", "words"),
    [(Message(0, 9, 1.0, None), "message from 0 to 9"), (Message(0, 1, -1.0, None), "-1.0 bytes")],
)
def test_impossible_messages_are_refused(message: Message, words: str) -> None:
    with pytest.raises(HostError, match=words):
        talk((1, message))
