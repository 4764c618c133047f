from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sim.config import FaultSpec, LinkSpec, World
from sim.errors import InputError
from sim.fast import decide as room
from sim.fast.decide import decide
from sim.parts import Parts
from tests.sim.fast.worlds import parts, plain


def world(**changes: Any) -> World:
    return replace(plain(1), **{"engine": "auto", "faults": (), **changes})


def chosen(world: World) -> tuple[str, str]:
    decision = decide(world, parts(), world.dispatch)
    return decision.engine, decision.why


def test_a_short_run_goes_event_by_event() -> None:
    engine, why = chosen(world())
    assert engine == "events"
    assert "too few for slots to pay" in why


def test_a_longer_run_is_not_worth_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WORTH_REQUESTS", 10)
    monkeypatch.setattr(room, "ready", lambda: False)
    engine, why = chosen(world())
    assert engine == "events"
    assert "`moedge kernels` does that once" in why


@pytest.mark.parametrize("kept", [True, False])
def test_a_long_run_is_compiled(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WORTH_REQUESTS", 10)
    monkeypatch.setattr(room, "ready", lambda: kept)
    monkeypatch.setattr(room, "WORTH_COMPILING", 10**9 if kept else 20)
    engine, why = chosen(world())
    assert engine == "slots"
    assert "nothing needs events" in why


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"links": (LinkSpec(0, 0, 1, 0.0, 1e6, "fair"),)}, "links.0.sharing"),
        ({"links": (LinkSpec(0, 0, 1, 0.0, 1e6, loss=0.1),)}, "links.0.loss"),
        ({"faults": (FaultSpec("link-lossy", 0, at_s=1.0, loss=0.5),)}, "faults.0"),
    ],
)
def test_what_forces_events_is_named(
    changes: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WORTH_REQUESTS", 10)
    engine, why = chosen(world(**changes))
    assert engine == "events"
    assert why.startswith("only events can do")
    assert named in why
    with pytest.raises(InputError, match=f"engine: slots cannot do .*{named}"):
        chosen(world(engine="slots", **changes))


def test_a_dispatcher_without_a_rule_forces_events() -> None:
    class Mine:
        flop = 0.0

        def __init__(self, setup: object) -> None:
            """Need nothing."""

        def choose(self, source: int, view: object) -> int:
            return source

    mine = Parts(lambda kind: Mine, parts().cache)
    found = decide(world(engine="auto"), mine, world().dispatch)
    assert "a dispatcher without a rule" in found.why


def test_the_user_has_the_last_word() -> None:
    assert chosen(world(engine="slots")) == ("slots", "asked for")
    assert chosen(world(engine="events")) == ("events", "asked for")


def test_without_compiled_kernels_events_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "COMPILED", False)
    assert "not compiled" in chosen(world())[1]
