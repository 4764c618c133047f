"""Tries, waits and ends of transfers; whole runs over lossy, slow and fair links."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.clock import Clock
from sim.config import ArrivalSpec, DispatchSpec, FaultSpec, LinkSpec, TransportSpec, World
from sim.faults import Outage
from sim.network.carrier import Carrier
from sim.network.links import LINK_DOWN, LOSS, Links
from sim.network.luck import uniform
from sim.network.transfer import NO_ROUTE, Journey, Transfers, _distinct
from sim.proofs.hops import Ends, hop_engine, requests_of
from sim.proofs.twins.links import Script, Trip
from sim.records import DROPS, Record
from sim.rng import Streams
from sim.topology.graph import Network
from tests.sim.worlds import both_ways, fleet, node, run, stream

# one lossy link there, one sure link back
THERE = LinkSpec(0, 0, 1, 0.5, 100.0, "fifo", 0.3)
BACK = LinkSpec(1, 1, 0, 0.0, inf, "none")


def trips(count: int, every_s: float = 0.0) -> tuple[Trip, ...]:
    return tuple(Trip(i * every_s, 0, 1, 100.0, 0.0) for i in range(count))


def cut(from_s: float, until_s: float, link: int = 0) -> Outage:
    fault = FaultSpec("link-down", link, from_s, until_s - from_s)
    return Outage("link-down", link, from_s, until_s, fault)


def script(links: tuple[LinkSpec, ...], *outages: Outage, tries: int, **fields: Any) -> Script:
    settings = {"trips": trips(1), "backoff_s": 1.0, "seed": 1, **fields}
    transport = TransportSpec(tries, settings.pop("backoff_s"))
    return Script(links, outages, transport=transport, **settings)


@pytest.mark.parametrize(
    ("sharing", "loss", "tries"), [("none", 0.3, 3), ("fifo", 0.5, 6), ("fair", 0.1, 2)]
)
def test_tries_are_as_many_as_a_truncated_geometric_law_says(
    sharing: str, loss: float, tries: int
) -> None:
    n = 20_000
    link = replace(THERE, bytes_per_s=inf, sharing=sharing, loss=loss)
    found = hop_engine(script((link, BACK), tries=tries, trips=trips(n), backoff_s=0.0))
    made = found.sent_bytes[0] / 100.0
    law = np.array([loss**k * (1.0 - loss) for k in range(tries - 1)] + [loss ** (tries - 1)])
    count = np.arange(1, tries + 1)
    mean = float(law @ count)
    assert mean == pytest.approx((1.0 - loss**tries) / (1.0 - loss))
    deviation = sqrt(float(law @ count**2) - mean**2)
    assert abs(made / n - mean) <= 3.89 * deviation / sqrt(n)  # alpha 1e-4
    given_up = found.drop.count(LOSS)
    spread = sqrt(n * loss**tries * (1.0 - loss**tries))
    assert abs(given_up - n * loss**tries) <= 3.89 * spread
    assert found.lost[0] == made - (n - given_up)  # every try that did not arrive


HOPS = (
    LinkSpec(0, 0, 1, 0.25, inf), LinkSpec(1, 1, 2, 0.25, inf), LinkSpec(2, 2, 0, 0.0, inf),
)  # fmt: skip
ACROSS = (Trip(0.0, 0, 2, 1.0, 0.0),)


def test_waits_double_and_start_anew_after_a_hop() -> None:
    # no way until 4 s; then the second hop is cut twice while something is on it
    cuts = (cut(0.0, 4.0), cut(7.3, 7.4, link=1), cut(8.6, 8.7, link=1))
    # tries at 0, 1, 3 and 7 s; on the second hop at 7.25 s, 7.5 + 1 s and 8.75 + 2 s
    for tries in (4, 5):
        found = hop_engine(script(HOPS, *cuts, tries=tries, trips=ACROSS))
        assert found.reached_s == [11.0]
        assert found.lost == [0, 2, 0]
    gave_up = hop_engine(script(HOPS, *cuts, tries=3, trips=ACROSS))
    assert (gave_up.drop, gave_up.ended_s) == ([NO_ROUTE], [3.0])


def test_a_hop_that_is_done_counts_no_failure() -> None:
    cuts = (cut(0.1, 0.2), cut(1.6, 1.7, link=1))
    found = hop_engine(script(HOPS, *cuts, tries=2, trips=ACROSS))
    assert found.lost == [1, 1, 0]  # one failure on each hop
    assert found.reached_s == [1.75 + 1.25]


@pytest.mark.parametrize(
    ("outages", "tries", "reason", "ended_s"),
    [
        ((cut(0.0, inf),), 1, NO_ROUTE, 0.0),
        ((cut(0.0, inf),), 3, NO_ROUTE, 3.0),
        ((cut(0.5, 0.6),), 1, LINK_DOWN, 1.5),  # known when it should have arrived
        ((cut(0.5, inf),), 3, LINK_DOWN, 1.5 + 3.0),  # was sent once: no way since then
        ((cut(0.0, 0.5), cut(1.2, 1.3)), 2, LINK_DOWN, 2.5),
    ],
)
def test_the_last_failure_gives_the_reason(
    outages: tuple[Outage, ...], tries: int, reason: int, ended_s: float
) -> None:
    sure = replace(THERE, loss=0.0)
    found = hop_engine(script((sure, BACK), *outages, tries=tries))
    assert (found.drop, found.ended_s) == ([reason], [ended_s])


def test_a_try_that_is_lost_holds_the_link_and_is_missed_when_it_should_be_there() -> None:
    def unlucky_once(seed: int) -> bool:
        luck = Streams(seed).integer("loss", 0)
        return uniform(luck, 0, 1) < 0.3 <= min(uniform(luck, 0, 2), uniform(luck, 2, 1))

    seed = next(filter(unlucky_once, range(99)))
    found = hop_engine(script((THERE, BACK), tries=2, trips=trips(2), seed=seed))
    # the first is lost at 1.5 s and tried again at 2.5 s; the second waits for its transmission
    assert found.reached_s == [2.5 + 1.5, 2.5]
    assert found.sent_bytes[0] == 300.0
    assert found.lost == [1, 0]


def test_another_way_is_taken_when_the_first_is_down() -> None:
    ways = (replace(THERE, loss=0.0), BACK, LinkSpec(2, 0, 2, 0.25, inf), LinkSpec(3, 2, 1, 2, inf))
    found = hop_engine(script(ways, cut(1.0, inf), tries=2))
    assert found.reached_s == [1.5 + 1.0 + 2.25]


def test_fair_flows_that_a_cut_ends_are_missed_after_the_delay() -> None:
    fair = replace(THERE, sharing="fair", loss=0.0)
    found = hop_engine(script((fair, BACK), cut(0.75, 0.8), tries=2))
    # cut at 0.75 s, missed at 1.25 s, tried again at 2.25 s
    assert found.reached_s == [2.25 + 1.5]
    assert found.sent_bytes[0] == 200.0


def test_a_cut_frees_the_other_links_of_a_run() -> None:
    # 0 -> 1 -> 2 in one run, 1 -> 2 shared with another flow
    run_ = (
        LinkSpec(0, 0, 1, 0.0, 100.0, "fair"), LinkSpec(1, 1, 2, 0.0, 100.0, "fair"),
        LinkSpec(2, 2, 0, 0.0, inf), LinkSpec(3, 2, 1, 0.0, inf),
    )  # fmt: skip
    both = (Trip(0.0, 0, 2, 200.0, 0.0), Trip(0.0, 1, 2, 200.0, 0.0))
    assert hop_engine(script(run_, tries=1, trips=both)).reached_s == [4.0, 4.0]
    found = hop_engine(script(run_, cut(1.0, 2.0), tries=1, trips=both))
    assert found.ended_s == [1.0, 1.0 + 1.5]
    assert found.lost == [1, 0, 0, 0]


# --- whole fleets


def rough(sharing: str = "fifo", loss: float = 0.2, seed: int = 1, **fields: Any) -> World:
    """Return a ring of four whose links lose, slow down and break now and then."""
    links: list[LinkSpec] = []
    for i in range(4):
        far = {"delay_s": 0.1, "sharing": sharing, "loss": loss}
        links += both_ways(i, (i + 1) % 4, len(links), **far)
    faults = (
        FaultSpec("link-slow", 0, 2.0, 3.0, factor=10.0, delay_s=0.1),
        FaultSpec("link-slow", 0, 3.0, 1.0, factor=2.0),
        FaultSpec("link-lossy", 2, 3.0, 2.0, loss=0.5),
        FaultSpec("link-down", 4, mtbf_s=2.0, mttr_s=0.5),
    )
    world = fleet(4, seed=seed, duration_s=8.0, faults=faults)
    settings = {"transport": TransportSpec(4, 0.05), **fields}
    return replace(world, links=tuple(links), **settings)


def settled(record: Record) -> dict[str, int]:
    return {k: v for k, v in record.meta["laws"].items() if v}


@pytest.mark.parametrize("sharing", ["fifo", "fair", "none"])
def test_rough_networks_drain(sharing: str) -> None:
    """Every request comes to its end, whatever happens on its way; laws hold all the while."""
    counts = settled(run(rough(sharing)))
    assert counts["emitted"] > 500
    assert "in_flight" not in counts
    assert counts["loss"] > 0
    assert counts["returned"] > 0.9 * counts["emitted"]


@pytest.mark.parametrize("sharing", ["fifo", "fair"])
def test_what_waits_for_another_try_is_in_flight_at_the_end(sharing: str) -> None:
    patient = TransportSpec(3, 1e3)  # the second try comes after the end
    record = run(rough(sharing, transport=patient))
    table = record.tables["requests"]
    left = np.isnan(table["t_return_s"]) & (table["drop"] < 0)
    assert record.meta["laws"]["in_flight"] == left.sum() > 50
    assert record.meta["end_s"] == 18.0


def test_one_try_is_what_there_was_before() -> None:
    world = rough(loss=0.0, transport=TransportSpec())
    table = run(world).tables["requests"]
    lost = table["drop"] == DROPS.index("link_down")
    assert lost.sum() > 0
    again = run(replace(world, transport=TransportSpec(3, 0.05)))
    assert again.meta["laws"]["returned"] > run(world).meta["laws"]["returned"]


def test_tries_that_are_lost_are_in_the_table() -> None:
    record = run(rough(loss=0.2))
    dropped = record.meta["laws"]["loss"] + record.meta["laws"]["link_down"]
    assert record.tables["links"]["lost"].sum() > 4 * dropped > 0


def test_luck_depends_neither_on_the_policy_nor_on_the_order_of_events() -> None:
    star = tuple(
        link
        for leaf in (1, 2)
        for link in both_ways(0, leaf, 2 * (leaf - 1), loss=0.3, bytes_per_s=1e7)
    )
    calm = stream(0, 1, ArrivalSpec("deterministic", 10.0), up_bytes=1e3, down_bytes=1e3)
    world = replace(
        fleet(3, duration_s=20.0), links=star, nodes=tuple(node(i) for i in range(3)),
        streams=(calm,), dispatch=DispatchSpec("random", to="edge-0"),
    )  # fmt: skip

    def lost_up(other: World) -> np.ndarray:
        table = run(other).tables["requests"]
        assert set(table["server"]) <= {0, 1, 2}
        lost = (table["drop"] == DROPS.index("loss")) & np.isnan(table["t_enqueue_s"])
        return lost[table["server"] != 1] if other is mixed else lost

    mixed = replace(world, dispatch=DispatchSpec("round-robin"))
    here = run(mixed).tables["requests"]["server"] != 1
    to_hub = lost_up(world)
    assert to_hub.mean() == pytest.approx(0.3, abs=0.13)  # 4 sigma of 200
    # much slower links: answers and requests meet in another order
    slow = replace(world, links=tuple(replace(link, bytes_per_s=1.5e4) for link in star))
    assert (lost_up(slow) == to_hub).all()
    # another policy: what is lost on the first hop is lost for either goal, and for some later
    first_hop = to_hub[here]
    assert (lost_up(mixed) >= first_hop).all()
    assert lost_up(mixed).sum() > first_hop.sum() > 20
    assert (lost_up(replace(world, seed=2)) != to_hub).any()


def test_a_request_that_moves_on_has_new_luck() -> None:
    made = script((THERE, BACK), tries=1, trips=trips(3))
    clock, links = Clock(), Links(made.links, seed=1)
    ends = Ends(made, clock)
    carrier = Carrier(clock, links, Network(made.links))
    transfers = Transfers(carrier, requests_of(made), ends, made.transport, steady=True)
    home = [Journey(transfers, rid, 0, 1, up=up) for rid in range(3) for up in (True, False)]
    assert [journey.luck for journey in home] == [0, 1, 2, 3, 4, 5]
    transfers.send_on(1, 0, 1, 0.0)  # from where it has been sent before
    moved = [transfers.moves[1], Journey(transfers, 1, 0, 1, up=True).luck]
    transfers.send_on(1, 1, 0, 0.0)
    moved += [transfers.moves[1], Journey(transfers, 1, 1, 0, up=True).luck]
    assert moved == [1, 8, 2, 14]  # whatever else is sent
    assert Journey(transfers, 1, 1, 0, up=False).luck == 3


def test_same_seed_same_bits() -> None:
    for sharing in ("fifo", "fair"):
        world = replace(rough(sharing), duration_s=4.0)
        assert run(world).digest == run(world).digest != run(replace(world, seed=2)).digest


def test_a_network_that_never_fails_is_as_before_whatever_the_transport() -> None:
    world = fleet(4, duration_s=5.0)
    often = replace(world, transport=TransportSpec(9, 1.0))
    assert run(world).digest == run(often).digest


def test_a_lonely_flow_takes_what_a_fifo_transfer_takes() -> None:
    def times(sharing: str) -> Any:
        links = both_ways(0, 1, 0, sharing=sharing, bytes_per_s=1e5)
        calm = stream(0, 0, ArrivalSpec("deterministic", 2.0), up_bytes=2e4, down_bytes=1e4)
        slow = FaultSpec("link-slow", 0, 3.1, 2.0, factor=2.0, delay_s=0.05)
        world = replace(
            fleet(3, duration_s=10.0), nodes=(node(0), node(1)), links=links, streams=(calm,),
            faults=(slow,), dispatch=DispatchSpec("random", to="edge-1"),
        )  # fmt: skip
        return run(world).tables["requests"]["t_return_s"]

    np.testing.assert_allclose(times("fair"), times("fifo"), rtol=1e-12)


def test_the_luck_of_messages_is_never_that_of_a_request() -> None:
    carrier = Carrier(Clock(), Links(()), Network(()))
    luck = [carrier.number() for _ in range(3)]
    assert luck == [-1, -2, -3]  # those of requests are 0 or more


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), max_size=40))
def test_distinct_values_are_found_alike_with_and_without_sorting(values: list[int]) -> None:
    column = np.array(values, np.int64)
    marked, sorted_ = _distinct(column, 9), _distinct(column, 10_000)
    for found in (marked, sorted_):
        assert found[0].tolist() == sorted(set(values))
        assert found[0][found[1]].tolist() == values
