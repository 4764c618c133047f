from __future__ import annotations

from dataclasses import dataclass

import pytest

from agents.routers.params import limited, parse, refuse_params
from agents.routers.tanbr.config import TanbrParams
from sim.errors import InputError, UnknownName


@dataclass(frozen=True)
class Knobs:
    size: int = limited(4, 1, 8)
    rate: float = limited(0.5, 0.0, 1.0)
    on: bool = True
    name: str = "x"


def test_defaults_hold_where_nothing_is_given():
    assert parse(Knobs, {}, "r") == Knobs(4, 0.5, True, "x")


def test_an_integer_serves_as_a_number():
    assert parse(Knobs, {"rate": 1, "size": 3}, "r") == Knobs(3, 1.0)


def test_unknown_key_names_the_nearest():
    with pytest.raises(
        UnknownName, match="unknown parameter of router r 'sise'; did you mean 'size'"
    ):
        parse(Knobs, {"sise": 1}, "r")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"size": 9}, r"router r: size: expected an integer in \[1, 8\], found 9"),
        ({"size": 2.0}, "size: expected an integer"),
        ({"size": True}, "size: expected an integer"),
        ({"rate": -0.1}, r"rate: expected a number in \[0, 1\], found -0.1"),
        ({"rate": float("nan")}, "rate: expected a number"),
        ({"rate": "1"}, "rate: expected a number"),
        ({"on": 1}, "on: expected a bool, found 1"),
        ({"name": 3}, "name: expected a str, found 3"),
    ],
)
def test_wrong_values_are_refused(params, message):
    with pytest.raises(InputError, match=message):
        parse(Knobs, params, "r")


def test_a_router_without_parameters_refuses_all():
    refuse_params({}, "uniform")
    with pytest.raises(UnknownName, match=r"parameter of router uniform 'k' \(allowed: none\)"):
        refuse_params({"k": 1}, "uniform")


def test_tanbr_wants_an_even_width():
    with pytest.raises(InputError, match="width: expected an even number, found 5"):
        parse(TanbrParams, {"width": 5}, "tanbr")


def test_tanbr_cannot_keep_more_than_it_records():
    with pytest.raises(InputError, match="alarm_keep: expected at most 16"):
        parse(TanbrParams, {"records": 16, "alarm_keep": 17}, "tanbr")
