"""The build check: cross-fitting, bounds, and refusal."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agents.moe.check import _bounds, _cross_fit, _Hits, check, render, require
from sim.errors import InputError
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.moe.train import Trained

TASKS, ITEMS = 4, 200


def _hits(one: float, uniform: float, best: float) -> _Hits:
    """Return answers that are right with given probabilities."""
    rng = Streams(1).stream("hits")
    members = tuple(combinations(range(TASKS), 2))
    shape = (len(members), 2, ITEMS)
    return _Hits(
        one=rng.random((TASKS, TASKS, ITEMS)) < one,
        uniform=rng.random((TASKS, ITEMS)) < uniform,
        members=members,
        mix=rng.random(shape) < best,
        best=rng.random(shape) < best,
    )


@pytest.mark.parametrize(
    ("hits", "holds"),
    [
        (_hits(0.5, 0.6, 0.9), (True, True, True)),
        (_hits(0.5, 0.8, 0.97), (False, True, True)),
        (_hits(0.5, 0.6, 0.66), (True, False, True)),
        (_hits(0.9, 0.6, 0.8), (True, True, False)),
    ],
)
def test_each_bound_catches_its_failure(hits: _Hits, holds: tuple[bool, bool, bool]) -> None:
    bounds = _bounds(hits)
    assert tuple(b.holds for b in bounds) == holds
    assert all(b.low <= b.value + 0.05 and b.value - 0.05 <= b.high for b in bounds)
    assert all(b.low < b.high for b in bounds)


def test_point_values_are_plain_means() -> None:
    hits = _hits(0.5, 0.6, 0.9)
    uniform, gap, lead = (b.value for b in _bounds(hits))
    assert uniform == pytest.approx(hits.uniform.mean())
    pairs = [hits.pair(i) for i in range(len(hits.members))]
    assert gap == pytest.approx(np.median([p.best - p.uniform for p in pairs]))
    assert lead == pytest.approx(min(p.best - p.one for p in pairs))


def test_intervals_cover_the_truth() -> None:
    rng = Streams(4).stream("truth")
    base, covered = _hits(0.5, 0.6, 0.9), 0
    for _ in range(20):
        hits = replace(base, uniform=rng.random((TASKS, ITEMS)) < 0.6)
        covered += _bounds(hits)[0].low <= 0.6 <= _bounds(hits)[0].high
    assert covered >= 16  # 19 expected of 20


def test_cross_fitting_does_not_reward_luck() -> None:
    rng = Streams(2).stream("luck")
    lucky = np.stack([_cross_fit(rng.random((40, 2, 60)) < 0.5) for _ in range(60)])
    assert abs(lucky.mean() - 0.5) < 0.02  # picking the maximum in sample would give about 0.58
    skilled = np.concatenate([rng.random((5, 2, 60)) < 0.5, rng.random((1, 2, 60)) < 0.9])
    assert _cross_fit(skilled).mean() > 0.8


def test_an_untrained_landscape_is_refused_with_its_numbers(trained: Trained) -> None:
    landscape = check(trained.model, trained.suite)
    assert not landscape.useful
    with pytest.raises(InputError, match=r"useless landscape: .*median pair: best - uniform: -?\d"):
        require(landscape)
    text = render(landscape)
    assert "BROKEN" in text
    assert len([line for line in text.splitlines() if " + " in line]) == 28
    assert landscape.summary()["useful"] is False


def test_the_table_repeats_a_direct_measurement(trained: Trained) -> None:
    from agents.moe.model import Mixed, One

    landscape = check(trained.model, trained.suite)
    split = trained.suite.calibration
    import torch

    with torch.inference_mode():
        for t in (0, 5):
            inputs, labels = torch.from_numpy(split.inputs[t]), torch.from_numpy(split.labels[t])
            right = trained.model(inputs, One(3)).logits.argmax(-1) == labels
            assert landscape.experts[3, t] == pytest.approx(float(right.float().mean()), abs=1e-6)
            even = trained.model(inputs, Mixed(torch.full((8,), 0.125))).logits.argmax(-1) == labels
            assert landscape.routes["uniform"][t] == pytest.approx(
                float(even.float().mean()), abs=1e-6
            )
