"""The same laws with the shipped checkpoint and real routers."""

from __future__ import annotations

import pytest

from agents.hosting.inline import InlineExecutor
from agents.hosting.model import HostedModel, load_model
from tests.agents.hosting.tiny import Engine, Transcript, tiny_world


@pytest.fixture(scope="module")
def model() -> HostedModel:
    return load_model("builtin:stream")


def drive(model: HostedModel, kind: str, shards: int) -> Transcript:
    world = tiny_world("builtin:stream", sample=0.05, experts=model.card.experts)
    return Engine(world, slots=6, model=model).drive(
        InlineExecutor(load=lambda *_: model), shards, kind
    )


@pytest.mark.parametrize("kind", ["tanbr", "best-oracle", "top1-capacity"])
def test_real_routers_on_the_real_model_do_not_see_the_shards(
    model: HostedModel, kind: str
) -> None:
    one = drive(model, kind, 1)
    assert 0.2 < sum(one.correct.values()) / len(one.correct) < 1.0
    assert one == drive(model, kind, 3)
