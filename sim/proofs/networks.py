"""Links against theory: a tandem with a random split, and tries over links that lose."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from sim.arrivals.workload import draw_workload
from sim.config import (
    ArrivalSpec,
    DispatchSpec,
    LinkSpec,
    MixSpec,
    StreamSpec,
    TransportSpec,
    World,
)
from sim.proofs.farms import EXPONENTIAL, box
from sim.proofs.forms_general import mean_tries, ps_stay, tandem_stay
from sim.proofs.hops import worst_hop_gap
from sim.proofs.maxmin import worst_fluid_gap
from sim.proofs.proof import Proof
from sim.proofs.verdict import Result, count, exact, judge
from sim.records import DROPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import FloatArray
    from sim.proofs.proof import Lab

_BYTES_PER_S = 1e6
_LEAVES, _RATE, _TRANSMIT_S, _HOP_S = 3, 1.5, 0.3, 0.25
_RUNS, _SKIP, _KEEP = 48, 400, 12_000


def dealt(requests: int, seed: int, hop_s: float = _HOP_S) -> World:
    """Return a gateway whose one FIFO link feeds a hub that deals to three nodes at random.

    Sizes are exponential, so the link is M/M/1 with a mean of 0.3 s; nodes serve 1 s on average.

    Args:
        requests: Emissions, about.
        seed: Of the run.
        hop_s: Delay of every link.
    """
    hub, leaves = 1, range(2, 2 + _LEAVES)
    ends = [(0, hub, "fifo", _BYTES_PER_S), (hub, 0, "none", inf)]
    for leaf in leaves:
        ends += [(hub, leaf, "none", inf), (leaf, hub, "none", inf)]
    links = tuple(
        LinkSpec(number, src, dst, hop_s, bytes_per_s, sharing)  # type: ignore[arg-type]
        for number, (src, dst, sharing, bytes_per_s) in enumerate(ends)
    )
    stream = StreamSpec(
        0, "all", 0, ArrivalSpec("poisson", _RATE), MixSpec("uniform"),
        up_bytes=_TRANSMIT_S * _BYTES_PER_S, size_law="exponential",
    )  # fmt: skip
    duration_s = requests / _RATE
    return World(
        name="tandem", seed=seed, duration_s=duration_s, drain_s=duration_s, slot_s=duration_s,
        nodes=(box(0, servers=0), box(hub, servers=0), *(box(leaf) for leaf in leaves)),
        links=links, streams=(stream,), dispatch=DispatchSpec("random"), service=EXPONENTIAL,
    )  # fmt: skip


def _one_tandem(lab: Lab, seed: int) -> tuple[float, ...]:
    """Return mean times on the link, at the node and in all, and four realised input moments."""
    needed = _SKIP + _KEEP
    world = dealt(needed + int(8 * needed**0.5), seed)
    table, drawn = lab.run(world).tables["requests"], draw_workload(world, None)
    kept = slice(_SKIP, _SKIP + _KEEP)
    link_s = (table["t_enqueue_s"] - table["t_emit_s"])[kept]
    node_s = (table["t_finish_s"] - table["t_enqueue_s"])[kept]
    sizes_s, gaps_s = drawn.up_bytes[kept] / _BYTES_PER_S, np.diff(drawn.t_emit_s)[kept]
    return (
        link_s.mean() - 2 * _HOP_S,
        node_s.mean(),
        link_s.mean() + node_s.mean(),
        sizes_s.mean() - _TRANSMIT_S,
        (sizes_s**2).mean() - 2 * _TRANSMIT_S**2,
        drawn.service_s[kept].mean() - 1.0,
        (drawn.service_s[kept] ** 2).mean() - 2.0,
        gaps_s.mean() - 1.0 / _RATE,
    )


def _tandem(lab: Lab) -> Sequence[Result]:
    rows = np.array([_one_tandem(lab, seed) for seed in range(_RUNS)])
    link, node, both, controls = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:]
    link_s = ps_stay(_RATE, _TRANSMIT_S)  # the stay in M/M/1 does not know the order
    node_s = ps_stay(_RATE / _LEAVES, 1.0)
    all_s = tandem_stay(_RATE, _TRANSMIT_S, [1.0 / _LEAVES] * _LEAVES, 1.0) + 2 * _HOP_S
    note = f"{count(_RUNS * _KEEP)} requests in {_RUNS} runs"
    return [
        judge("FIFO link, random sizes: stay [s]", link_s, link, controls, note),
        judge("node behind it: stay [s]", node_s, node, controls, note),
        judge("link, split, node, delays [s]", all_s, both, controls, note),
    ]


def _lossy_world(loss: float, tries: int, leaves: int, each: int) -> World:
    """Return a gateway that deals requests of 1 kB in turn, over lossy links, to the leaves."""
    links: list[LinkSpec] = []
    for leaf in range(1, leaves + 1):
        links.append(LinkSpec(len(links), 0, leaf, 0.001, _BYTES_PER_S, "fifo", loss))
        links.append(LinkSpec(len(links), leaf, 0, 0.001, inf, "none"))
    rate = 10.0 * leaves
    stream = StreamSpec(
        0, "all", 0, ArrivalSpec("poisson", rate), MixSpec("uniform"), up_bytes=1000.0
    )
    duration_s = 1.1 * leaves * each / rate
    return World(
        name="lossy", seed=31, duration_s=duration_s, drain_s=duration_s, slot_s=duration_s,
        nodes=(box(0, servers=0), *(box(leaf) for leaf in range(1, leaves + 1))),
        links=tuple(links), streams=(stream,), dispatch=DispatchSpec("round-robin"),
        service=replace(EXPONENTIAL, mean_s=0.001), transport=TransportSpec(tries, 0.002),
    )  # fmt: skip


def _tries(lab: Lab) -> Sequence[Result]:
    loss, tries, leaves = 0.5, 3, 128
    world = _lossy_world(loss, tries, leaves, 700)
    tables = lab.run(world).tables
    sent = np.bincount(
        tables["links"]["link"], tables["links"]["sent_bytes"], minlength=len(world.links)
    )
    server = tables["requests"]["server"]
    offered = np.bincount(server, minlength=leaves + 1)[1:]
    lost = tables["requests"]["drop"] == DROPS.index("loss")
    given_up: FloatArray = np.bincount(server, lost, minlength=leaves + 1)[1:] / offered
    note = f"{count(len(server))} requests over {leaves} links"
    return [
        judge("tries of a transfer, loss 0.5", mean_tries(loss, tries),
              sent[::2] / 1000.0 / offered, note=note),
        judge("share that arrives in 3 tries", 1.0 - loss**tries, 1.0 - given_up, note=note),
    ]  # fmt: skip


def _fluid(_: Lab) -> Sequence[Result]:
    return [exact("fair links: ends of flows [s]", worst_fluid_gap(500), 500, "networks")]


def _hops(_: Lab) -> Sequence[Result]:
    return [exact("journeys: times, fates, bytes [s]", worst_hop_gap(500), 500, "networks")]


PROOFS = (
    Proof("tandem", "links", "FIFO link, random split, nodes (Jackson)", _tandem),
    Proof("tries", "links", "lossy links: bounded tries", _tries, quick=True),
    Proof("fair-twin", "twins", "max-min fair links, exact arithmetic", _fluid, quick=True),
    Proof(
        "journey-twin", "twins", "loss, retries, cuts, re-routing, hop by hop", _hops, quick=True
    ),
)
