"""Own work is charged, and drains end on time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.sim import minds, worlds


def test_a_policy_pays_for_its_own_work() -> None:
    def costs(**cost: Any) -> tuple[float, float]:
        plan = minds.world([minds.node()], [minds.poisson(20.0)])
        seen = minds.run(plan, minds.script(**cost))
        return float(seen["slots"]["busy_s"].sum()), seen.record.meta["nodes"][0]["own_s"]

    free_s, none_s = costs()
    busy_s, own_s = costs(flop=1e8, read_bytes=5e7)
    # five boundaries with a decision, each 0.1 s of FLOP and 0.05 s of bytes
    np.testing.assert_allclose([busy_s - free_s, own_s, none_s], [5 * 0.15, 5 * 0.15, 0.0])


def test_drains_end_on_time_and_what_is_left_is_in_flight() -> None:
    world = worlds.queue(30.0, 0.1, 10.0)
    record = worlds.run(replace(world, drain_s=1.0))
    laws = record.meta["laws"]
    assert record.meta["end_s"] == 11.0
    assert laws["in_flight"] == laws["emitted"] - laws["returned"] > 100
