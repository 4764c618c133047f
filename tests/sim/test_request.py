"""Columns as lists: one object where all values are the same bits, and never more than that."""

from __future__ import annotations

import numpy as np
import pytest

from sim.request import _listed, _order
from sim.rng import Streams


@pytest.mark.parametrize(
    "values",
    [
        np.array([], np.float64),
        np.array([np.inf] * 3),
        np.array([0.0, -0.0]),
        np.array([1.5, 1.5, 2.5]),
        np.array([7], np.int16),
        np.array([-1, -1], np.int32),
        np.array([0, 1, 0], np.int8),
        np.broadcast_to(np.float64(0.25), 4),
    ],
)
def test_a_list_has_the_values_of_its_column(values: np.ndarray) -> None:
    listed = _listed(values)
    assert repr(listed) == repr(values.tolist())


def test_a_column_of_one_value_is_one_object() -> None:
    listed = _listed(np.full(5, 1e300))
    assert all(value is listed[0] for value in listed)


@pytest.mark.parametrize("distinct", [1, 7, 400])
def test_an_order_keeps_equal_values_as_they_come(distinct: int) -> None:
    drawn = Streams(distinct).stream("order").integers(0, distinct, 400) / 7.0
    for values in (drawn, np.unique(drawn)[::-1], drawn[:0]):
        expected = sorted(range(len(values)), key=values.__getitem__)
        assert _order(values).tolist() == expected
