"""State as bytes: what is shared stays shared, layouts stay, and what everybody has is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agents.hosting.fingerprint import fingerprint
from agents.hosting.state import pack, unpack
from sim.plans import Merged, TopK
from sim.ports import NodeDecision, StepReply


def there_and_back(value: Any, known: dict[str, Any] | None = None) -> Any:
    return unpack(pack(value, known or {}), known or {})


@pytest.mark.parametrize("order", ["C", "F"])
def test_views_stay_views_with_their_layout(order: Any) -> None:
    whole = np.asarray(np.arange(24.0).reshape(4, 6), order=order)
    state = {"whole": whole, "row": whole[1], "strided": whole[::2, ::-3], "turned": whole.T}
    found = there_and_back(state)
    for name, array in state.items():
        assert np.array_equal(found[name], array), name
        assert found[name].strides == array.strides, name
    found["whole"][0, 5] = -1.0
    assert found["strided"][0, 0] == found["turned"][5, 0] == -1.0
    assert whole[0, 5] != -1.0


def test_views_of_views_and_read_only_ones() -> None:
    whole = np.arange(10)
    part = whole[2:8]
    part.flags.writeable = False
    found = there_and_back([part[1:3], whole])
    found[1][3] = 77
    assert found[0].tolist() == [77, 4]
    assert not found[0].flags.writeable


def test_arrays_of_objects_and_of_foreign_memory_are_copied() -> None:
    texts = np.array(["a", None], dtype=object)[::-1]
    foreign = np.frombuffer(b"abcd", np.uint8)[1:]
    found = there_and_back([texts, foreign])
    assert found[0].tolist() == [None, "a"]
    assert found[1].tobytes() == b"bcd"


def test_tensors_share_what_they_shared() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.full((2, 2), 5.0)
    state = [base, base[1], base.t()[::2], weight, [weight], torch.empty(0)]
    found = there_and_back(state)
    assert found[2].stride() == state[2].stride()
    found[0][1, 2] = -1.0
    assert found[1][2] == found[2][1, 1] == -1.0
    assert isinstance(found[3], torch.nn.Parameter)
    assert found[3] is found[4][0]
    assert found[3].requires_grad
    assert torch.equal(found[3].grad, weight.grad)
    assert found[5].numel() == 0


def test_generators_go_on() -> None:
    rng, torch_rng = np.random.default_rng(3), torch.Generator().manual_seed(3)
    rng.random(5), torch.rand(3, generator=torch_rng)
    copy, torch_copy = there_and_back([rng, torch_rng])
    assert copy.random(4).tolist() == rng.random(4).tolist()
    assert torch.equal(torch.rand(4, generator=torch_copy), torch.rand(4, generator=torch_rng))


def test_what_is_known_is_named_and_found_again() -> None:
    here, there = np.zeros(100_000), np.ones(100_000)
    packed = pack({"big": here, "part": here[:2]}, {"pool": here, "nothing": None})
    assert len(packed) < 1000
    found = unpack(packed, {"pool": there, "nothing": None})
    assert found["big"] is there
    assert np.shares_memory(found["part"], there)


def test_fingerprints_tell_answers_apart_and_nothing_else() -> None:
    def reply(right: Any = (True, False), plan: Any = None, flop: float = 0.5) -> StepReply:
        decision = NodeDecision(3, plan, flop, 0.0, 0.0, 8.0, False, (0.25, 0.75))
        return StepReply(np.array(right), [decision], [{"table": "drift", "node": 3}])

    assert fingerprint(reply()) == fingerprint(reply())
    assert fingerprint(there_and_back(reply())) == fingerprint(reply())
    others = [
        reply((True, True)), reply((True, False, False)), reply(plan=TopK(1)),
        reply(plan=Merged((1.0, 0.0))), reply(flop=np.nextafter(0.5, 1.0)), reply(flop=-0.5),
        reply(np.array([1, 0])), StepReply(reply().correct, []),
    ]  # fmt: skip
    assert len({fingerprint(reply()), *map(fingerprint, others)}) == 9
    assert fingerprint([["a"], "b"]) != fingerprint([["a", "b"]])
    assert fingerprint(0.0) != fingerprint(-0.0)
    assert fingerprint(1) != fingerprint(True)
    assert fingerprint({1, 2}) == fingerprint({1, 2})
