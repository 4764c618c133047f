from __future__ import annotations

import numpy as np

from agents.routers.tanbr.drift import Cusum


def alarms(errors, height=25.0, warm=0):
    cusum = Cusum(1, 1.0, height, warm)
    found = []
    for slot, error in enumerate(errors):
        cusum.age[0] += 1
        if cusum.test(0, float(error), 0.0, 0.05):
            found.append(slot)
            cusum.restart(0)
    return found


def test_expected_noise_raises_no_alarm():
    errors = np.random.default_rng(0).normal(0.0, 0.05, 20_000)
    assert alarms(errors) == []


def test_a_jump_of_five_deviations_is_found_within_three_slots():
    errors = np.random.default_rng(1).normal(0.0, 0.05, 300)
    errors[200:] += 0.25
    assert 200 <= alarms(errors)[0] <= 203


def test_one_outlier_is_not_enough():
    assert alarms([0.0] * 10 + [50.0] + [0.0] * 10) == []


def test_nothing_is_tested_while_warming():
    assert alarms([1.0] * 60, warm=60) == []
    assert alarms([1.0] * 70, warm=60) == [61]
