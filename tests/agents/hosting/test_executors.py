from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from agents.hosting.blocks import make_specs
from agents.hosting.calls import freeze
from agents.hosting.inline import InlineExecutor
from sim.arrays import AnyArray
from sim.config import ClusterSpec, PolicySpec
from sim.errors import HostError, InputError, UnknownName
from sim.plans import TopK
from tests.agents.hosting.tiny import (
    TINY_ROUTERS,
    Engine,
    load_tiny,
    step_of,
    tiny_world,
)


def inline(**options: Any) -> InlineExecutor:
    return InlineExecutor(load=load_tiny, routers=TINY_ROUTERS, **options)


def specs(kind: str = "listener", shards: int = 1, **params: Any) -> Any:
    policy = PolicySpec(kind, kind, params)
    return make_specs(tiny_world(), policy, shards=shards, block_size=4)


def test_strict_and_plain_inline_say_the_same() -> None:
    plain = Engine(tiny_world()).drive(inline(), 2)
    assert Engine(tiny_world()).drive(inline(strict=True), 2) == plain


@pytest.mark.parametrize("strict", [False, True])
def test_arrays_arrive_read_only_in_both_directions(strict: bool) -> None:
    (handle,) = inline(strict=strict).start(specs())
    step = step_of()
    reply = handle.call("step", step).result()
    assert step.active.flags.writeable  # the caller's own array stays its own
    with pytest.raises(ValueError, match="read-only"):
        reply.correct[:] = True
    profile = handle.call("profile", TopK(1)).result()
    with pytest.raises(ValueError, match="read-only"):
        profile.correct[0] = False


def test_strict_shares_no_memory() -> None:
    (plain,), (strict,) = inline().start(specs()), inline(strict=True).start(specs())
    for handle, shared in ((plain, True), (strict, False)):
        kept = handle._host.profile(TopK(1)).correct
        sent = handle.call("profile", TopK(1)).result().correct
        assert np.shares_memory(kept, sent) is shared


def test_errors_wait_for_result_and_name_shard_and_slot() -> None:
    (handle,) = inline().start(specs("broken", how="raise"))
    answer = handle.call("step", step_of(7))
    with pytest.raises(
        HostError, match="shard 0, step of slot 7: ZeroDivisionError: one over nothing"
    ):
        answer.result()
    with pytest.raises(HostError, match="router 'broken', slot 2: flop of node 1 is nan"):
        inline().start(specs("broken", how="nan"))[0].call("step", step_of(2)).result()


def test_a_wrong_policy_fails_at_the_start() -> None:
    with pytest.raises(UnknownName, match="unknown router 'listner'; did you mean 'listener'"):
        inline().start(specs("listner"))
    tableless = make_specs(tiny_world(checkpoint="tableless"), PolicySpec("peeker", "p"))
    with pytest.raises(InputError, match="has no oracle table"):
        inline().start(tableless)


def test_a_checkpoint_is_loaded_once_for_all_shards() -> None:
    loaded = []

    def load(reference: str, clusters: ClusterSpec) -> Any:
        loaded.append((reference, clusters))
        return load_tiny(reference)

    InlineExecutor(load=load, routers=TINY_ROUTERS).start(specs(shards=3))
    assert loaded == [("moody", ClusterSpec())]


def test_a_closed_executor_starts_nothing() -> None:
    executor = inline()
    executor.close()
    executor.close()
    with pytest.raises(HostError, match="closed"):
        executor.start(specs())


@dataclass(frozen=True)
class _Box:
    name: str
    array: AnyArray
    inner: list[Any] = field(default_factory=list)


def test_freeze_reaches_into_containers_and_leaves_the_rest_alone() -> None:
    array = np.arange(3)
    box = _Box("a", array, [(array, 1), "text"])
    frozen = freeze(box)
    assert not frozen.array.flags.writeable
    assert not frozen.inner[0][0].flags.writeable
    assert array.flags.writeable
    plain = (1, "x", TopK(2))
    assert freeze(plain) is plain
