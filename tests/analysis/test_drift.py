from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.drift import (
    aligned,
    changes,
    delays,
    detections,
    drift_facts,
    false_alarms,
    recoveries,
)  # fmt: skip
from analysis.metrics import BY_KEY
from sim.records import DRIFTS


def drift(*rows: tuple[int, int, str]) -> dict[str, np.ndarray]:
    slot, node, kind = zip(*rows, strict=True) if rows else ((), (), ())
    codes = [DRIFTS.index(word) for word in kind]
    return {"slot": np.array(slot, int), "node": np.array(node, int), "kind": np.array(codes, int)}


def slots(*regrets: list[float], tv: float = math.nan) -> dict[str, np.ndarray]:
    """One node per list; its regret slot by slot, NaN where nothing was served."""
    lost = np.concatenate([np.array(r, float) for r in regrets])
    return {
        "slot": np.concatenate([np.arange(len(r)) for r in regrets]),
        "node": np.concatenate([np.full(len(r), i) for i, r in enumerate(regrets)]),
        "served": np.where(np.isnan(lost), 0, 9), "reward": 0.9 - lost,
        "reward_best": np.full(len(lost), 0.9), "context_tv": np.full(len(lost), tv),
    }  # fmt: skip


def test_changes_know_their_neighbours_and_merge_streams() -> None:
    table = drift((40, 1, "true"), (10, 1, "true"), (10, 1, "true"), (20, 0, "true"),
                  (15, 7, "true"), (12, 1, "alarm"))  # fmt: skip
    found = changes(table, [0, 1], 100)
    assert found.node.tolist() == [0, 1, 1]
    assert found.slot.tolist() == [20, 10, 40]
    assert found.begin.tolist() == [0, 0, 10]
    assert found.end.tolist() == [100, 40, 100]


def test_the_first_detection_in_the_window_is_the_delay() -> None:
    table = drift(
        (10, 0, "true"), (50, 0, "true"), (60, 0, "true"), (95, 0, "true"),
        (13, 0, "detected"), (12, 0, "alarm"), (61, 0, "alarm"), (99, 1, "alarm"),
        (11, 0, "rollback"),
    )  # fmt: skip
    found = changes(table, [0], 200)
    got = delays(found, *detections(table, [0]))
    # 10: the alarm at 12; 50: the next change takes the alarm at 61; 95: only another node's
    np.testing.assert_array_equal(got, [2.0, np.nan, 1.0, np.nan])


@pytest.mark.parametrize(("slot", "delay"), [(39, 29.0), (40, math.nan)])
def test_the_window_is_half_open(slot: int, delay: float) -> None:
    table = drift((10, 0, "true"), (slot, 0, "detected"))
    found = changes(table, [0], 100)
    np.testing.assert_array_equal(delays(found, *detections(table, [0])), [delay])
    false = false_alarms(found, *detections(table, [0]))
    assert false.tolist() == [math.isnan(delay)]


def test_repeats_in_a_window_are_neither_first_nor_false() -> None:
    table = drift((10, 0, "true"), (9, 0, "alarm"), (12, 0, "alarm"), (20, 0, "detected"),
                  (10, 1, "alarm"))  # fmt: skip
    found = changes(table, [0, 1], 100)
    assert false_alarms(found, *detections(table, [0, 1])).tolist() == [True, False, False, True]


def test_recovery_is_the_first_slot_that_starts_ten_usual_ones() -> None:
    lost = [0.10] * 20 + [0.50] * 6 + [0.10] * 20
    found = changes(drift((20, 0, "true")), [0], 46)
    # ten slots from 25 on have one bad slot left: 0.14 on average, more than 0.12
    assert recoveries(found, slots(lost)).tolist() == [6.0]
    mild = [0.10] * 20 + [0.50] * 6 + [0.28] + [0.10] * 20
    assert recoveries(found, slots(mild)).tolist() == [6.0]  # 0.118 from slot 26 on


def test_a_change_that_never_hurts_is_recovered_at_once() -> None:
    found = changes(drift((20, 0, "true")), [0], 60)
    assert recoveries(found, slots([0.1] * 60)).tolist() == [0.0]


def test_idle_slots_count_as_time_but_not_as_service() -> None:
    nan = math.nan
    lost = [0.1] * 20 + [0.5, nan, nan, 0.5] + [0.1, nan] * 12
    found = changes(drift((20, 0, "true")), [0], len(lost))
    assert recoveries(found, slots(lost)).tolist() == [4.0]


def test_recovery_ends_at_the_next_change_and_needs_a_past() -> None:
    lost = [0.1] * 20 + [0.5] * 15 + [0.1] * 30
    found = changes(drift((3, 0, "true"), (20, 0, "true"), (35, 0, "true")), [0], 65)
    got = recoveries(found, slots(lost))
    assert math.isnan(got[0])  # three slots before it
    assert got[1] == math.inf  # bad until the next change
    assert got[2] == 0.0  # better than what was usual


def test_aligned_regret_is_the_mean_over_nodes_and_leaves_neighbours_out() -> None:
    one, two = [0.1] * 10 + [0.3] * 10, [0.2] * 15 + [0.6] * 5
    found = changes(drift((10, 0, "true"), (15, 1, "true"), (18, 1, "true")), [0, 1], 20)
    got = aligned(found, slots(one, two), before=2, after=3)
    # -2, -1: node 0, node 1 before 15, node 1 before 18 (its change at 15 bounds nothing here)
    np.testing.assert_allclose(got[:2], [(0.1 + 0.2 + 0.6) / 3] * 2)
    np.testing.assert_allclose(got[2:4], [(0.3 + 0.6 + 0.6) / 3] * 2)
    np.testing.assert_allclose(got[4], (0.3 + 0.6) / 2)  # node 1's first change ended


def test_the_facts_of_a_trial_by_hand() -> None:
    lost = [0.10] * 20 + [0.50] * 6 + [0.10] * 24
    table = drift((20, 0, "true"), (20, 1, "true"), (23, 0, "detected"), (5, 1, "alarm"))
    found = drift_facts(table, slots(lost, [0.1] * 20 + [0.5] * 30, tv=0.1), [0, 1], 50)
    assert found == {
        "drift_changes": 2.0, "drift_delay_slots": 3.0, "drift_missed": 0.5,
        "drift_false_per_1000": 10.0, "drift_recovered": 0.5,
        "drift_recovery_slots": (6.0 + 30.0) / 2,  # node 1 never recovers in the 30 slots left
    }  # fmt: skip


def test_a_policy_that_does_not_look_misses_nothing() -> None:
    lost = [0.1] * 60
    found = drift_facts(drift((20, 0, "true")), slots(lost), [0], 60)
    assert math.isnan(found["drift_missed"])
    assert math.isnan(found["drift_false_per_1000"])
    assert found["drift_recovery_slots"] == 0.0
    looks = drift_facts(drift((20, 0, "true")), slots(lost, tv=0.2), [0], 60)
    assert looks["drift_missed"] == 1.0
    assert math.isnan(looks["drift_delay_slots"])


def test_a_steady_world_has_false_alarms_at_most() -> None:
    found = drift_facts(drift((20, 0, "alarm")), slots([0.1] * 50), [0], 60)
    assert found["drift_false_per_1000"] == 20.0
    assert math.isnan(found["drift_recovered"])
    nothing = drift_facts(drift(), slots([0.1] * 50, tv=0.1), [0], 60)
    assert all(math.isnan(value) for value in nothing.values())
    assert all(math.isnan(value) for value in drift_facts({}, {}, [0], 9).values())


def test_slots_are_written_as_slots() -> None:
    assert BY_KEY["drift_delay_slots"].pair(7.25, 0.5) == "7.2 ± 0.5 slots"
    assert BY_KEY["drift_recovery_slots"].text(0.0) == "0 slots"


def test_slots_after_the_last_arrival_tell_nothing() -> None:
    lost = [0.1] * 20 + [0.5] * 8 + [0.1] * 32
    table = drift((20, 0, "true"))
    assert drift_facts(table, slots(lost), [0], 60)["drift_recovery_slots"] == 8.0
    cut = drift_facts(table, slots(lost), [0], 30)
    assert cut["drift_recovered"] == 0.0
    assert np.isnan(aligned(changes(table, [0], 30), slots(lost))[30:]).all()
