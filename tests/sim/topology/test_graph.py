"""Routes equal an enumeration of all simple paths, before and after topology events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.config import LinkSpec
from sim.errors import InputError
from sim.topology.graph import Network, Route

TICK_S = 1 / 1024  # sums of binary fractions are exact, so ties are ties


def link(i: int, src: int, dst: int, delay_s: float = TICK_S) -> LinkSpec:
    return LinkSpec(i, src, dst, delay_s, 1e6)


def slow_route(links: list[LinkSpec], src: int, dst: int) -> Route | None:
    """Obvious twin: walk every simple path, keep the lowest (delay, hops, nodes, links)."""
    found = []

    def walk(nodes: tuple[int, ...], used: Route, delay_s: float) -> None:
        if nodes[-1] == dst:
            found.append((delay_s, len(used), nodes, used))
            return
        for option in links:
            if option.src == nodes[-1] and option.dst not in nodes:
                walk((*nodes, option.dst), (*used, option.id), delay_s + option.delay_s)

    walk((src,), (), 0.0)
    return min(found)[3] if found else None


graphs = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=12
).map(
    lambda rows: [link(i, a, b, ticks * TICK_S) for i, (a, b, ticks) in enumerate(rows) if a != b]
)


@settings(max_examples=150)
@given(links=graphs, down=st.lists(st.integers(0, 11), max_size=4), salt=st.randoms())
def test_routes_equal_the_enumeration(links: list[LinkSpec], down: list[int], salt: object) -> None:
    shuffled = list(links)
    salt.shuffle(shuffled)  # type: ignore[attr-defined]
    network = Network(shuffled)
    _compare(network, links)
    for i in down:
        if i in network.links:
            network.set_link(i, up=False)
    _compare(network, [each for each in links if each.id not in down])
    for i in down:
        if i in network.links:
            network.set_link(i, up=True)
    _compare(network, links)


def _compare(network: Network, links: list[LinkSpec]) -> None:
    for src in range(5):
        for dst in range(5):
            assert network.route(src, dst) == slow_route(links, src, dst)


def test_delay_counts_before_hops() -> None:
    links = [link(0, 0, 2, 10 * TICK_S), link(1, 0, 1), link(2, 1, 2)]
    assert Network(links).route(0, 2) == (1, 2)


def test_equal_paths_go_by_their_nodes_from_the_source_on() -> None:
    ends = [(0, 2), (2, 3), (3, 5), (0, 1), (1, 4), (4, 5)]
    links = [link(i, *pair) for i, pair in enumerate(ends)]
    assert Network(links).route(0, 5) == (3, 4, 5)  # 0 1 4 5 comes before 0 2 3 5


def test_links_are_directed_and_a_node_reaches_itself() -> None:
    network = Network([link(0, 0, 1)])
    assert network.route(1, 0) is None
    assert network.route(1, 1) == ()
    assert network.route(7, 1) is None


def test_only_a_change_opens_an_epoch() -> None:
    network = Network([link(0, 0, 1), link(1, 0, 1, 5 * TICK_S)])
    assert network.route(0, 1) == (0,)
    network.set_link(0, up=True)
    assert network.epoch == 0
    network.set_link(0, up=False)
    network.set_link(0, up=False)
    assert (network.epoch, network.up(0), network.route(0, 1)) == (1, False, (1,))
    network.set_link(0, up=True)
    assert (network.epoch, network.route(0, 1)) == (2, (0,))


def test_bad_links_are_refused() -> None:
    with pytest.raises(InputError, match="ids must be distinct"):
        Network([link(0, 0, 1), link(0, 1, 0)])
    with pytest.raises(InputError, match=r"links\.3\.delay_s: expected >= 0, found -1"):
        Network([link(3, 0, 1, -1.0)])
    with pytest.raises(KeyError):
        Network([]).set_link(4, up=False)
