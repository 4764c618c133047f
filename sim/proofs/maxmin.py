"""Fair links against their exact twin, on instances drawn at random."""

from __future__ import annotations

from math import inf, nan

import numpy as np

from sim.clock import EMIT, FAULT, Clock
from sim.network.fluid import Fluid
from sim.proofs.twins.fluid import FlowSpec, FluidInstance, fluid_twin
from sim.proofs.verdict import apart
from sim.rng import Streams

_LATE_S = 1e18


def fluid_instance(rng: np.random.Generator) -> FluidInstance:
    """Draw an instance: 2 to 8 links, 1 to 14 flows over 1 to 4 of them, changes and cuts.

    Half of the instances have small whole numbers, so that flows start and end at the same
    instants; a flow in ten is empty, a link in ten has infinite capacity.
    """
    whole = bool(rng.random() < 0.5)

    def number(low: float, high: float) -> float:
        drawn = float(rng.uniform(low, high))
        return float(max(1, round(drawn))) if whole else drawn

    def moment() -> float:
        return float(rng.integers(0, 9)) / 2.0 if whole else float(rng.uniform(0.0, 4.0))

    count = int(rng.integers(2, 9))
    capacity = tuple(inf if rng.random() < 0.1 else number(1.0, 9.0) for _ in range(count))
    flows: list[FlowSpec] = []
    for _ in range(int(rng.integers(1, 15))):
        links = rng.permutation(count)[: int(rng.integers(1, 1 + min(4, count)))]
        size_bytes = 0.0 if rng.random() < 0.1 else number(1.0, 20.0)
        start_s = moment() if rng.random() < 0.7 or not flows else flows[-1].start_s
        flows.append(FlowSpec(start_s, tuple(links.tolist()), size_bytes))
    finite = [link for link in range(count) if capacity[link] < inf]
    changes = [
        (moment(), link, number(1.0, 9.0)) for link in finite if rng.random() < 0.3
    ]  # one each, so that the order of changes at one instant does not matter
    cuts = [(moment(), link) for link in range(count) if rng.random() < 0.1]
    return FluidInstance(capacity, tuple(flows), tuple(changes), tuple(cuts))


def fluid_engine(instance: FluidInstance) -> list[float]:
    """Return when each flow ends as the engine has it: `sim.network.fluid` on a clock."""
    clock = Clock()
    ended = [nan] * len(instance.flows)

    def gone(index: int, now_s: float) -> None:
        ended[index] = now_s

    fluid = Fluid(clock, instance.bytes_per_s, gone)

    def change(item: tuple[float, int, float], now_s: float) -> None:
        fluid.change(item[1], item[2], now_s)

    def start(index: int, now_s: float) -> None:
        _, links, size_bytes = instance.flows[index]
        fluid.start(index, index, links, size_bytes, now_s)

    for item in instance.changes:
        clock.at(item[0], FAULT, 0, change, item)
    for t_s, link in instance.cuts:
        clock.at(t_s, FAULT, 1, fluid.cut, link)
    for index, flow in enumerate(instance.flows):
        clock.at(flow.start_s, EMIT, index, start, index)
    clock.stop(_LATE_S)
    clock.run_to_stop()
    return ended


def fluid_gap(instance: FluidInstance) -> float:
    """Return the largest difference of an end between engine and twin, relative above 1 s."""
    exact = np.array(fluid_twin(instance))
    scale_s = np.maximum(1.0, exact)
    return apart(fluid_engine(instance) / scale_s, exact / scale_s)


def worst_fluid_gap(instances: int = 500, seed: int = 1) -> float:
    """Return the largest `fluid_gap` of many random instances."""
    rng = Streams(seed).stream("proofs", "fluid")
    return max(fluid_gap(fluid_instance(rng)) for _ in range(instances))
