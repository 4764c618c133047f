"""The Ray twins of executor and launcher, on one local cluster for the whole file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from agents.hosting.attempt import Enough, TrialFailure
from agents.hosting.blocks import make_specs
from agents.hosting.inline import InlineExecutor
from agents.hosting.launcher import run_all
from agents.hosting.limits import Limits
from agents.hosting.ray_actor import RayExecutor
from agents.hosting.ray_session import RaySession, worker_environment
from agents.hosting.ray_tasks import cluster_cores
from agents.hosting.recovery import DurableExecutor
from sim.config import PolicySpec
from sim.errors import HostError, InputError, UnknownName
from sim.executors import HostHandle
from sim.plans import TopK
from tests.agents.hosting.jobs import Unwilling, misbehave
from tests.agents.hosting.tiny import (
    TINY_ROUTERS,
    Engine,
    load_tiny,
    step_of,
    tiny_world,
)

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[RaySession]:
    session = RaySession("local", num_cpus=2)
    yield session
    session.close()


@pytest.fixture
def executor(cluster: RaySession) -> Iterator[RayExecutor]:
    made = RayExecutor(load=load_tiny, routers=TINY_ROUTERS)
    yield made
    made.close()
    assert cluster.ray.is_initialized()  # it did not start Ray, so it does not stop it


def specs(kind: str = "listener", shards: int = 1, **params: Any) -> Any:
    policy = PolicySpec(kind, kind, params)
    return make_specs(tiny_world(), policy, shards=shards, block_size=4)


def test_ray_and_inline_say_the_same(executor: RayExecutor) -> None:
    inline = InlineExecutor(load=load_tiny, routers=TINY_ROUTERS)
    assert Engine(tiny_world()).drive(executor, 2) == Engine(tiny_world()).drive(inline, 3)


def test_errors_come_back_with_their_type_shard_and_slot(executor: RayExecutor) -> None:
    with pytest.raises(UnknownName, match="unknown router 'listner'; did you mean 'listener'"):
        executor.start(specs("listner"))
    (handle,) = executor.start(specs("broken", how="raise"))
    answer = handle.call("step", step_of(7))
    with pytest.raises(
        HostError, match="shard 0, step of slot 7: ZeroDivisionError: one over nothing"
    ):
        answer.result()


def describe_until_dead(handle: HostHandle) -> None:
    for _ in range(1000):
        handle.call("describe").result()


def test_a_dead_actor_names_shard_and_slot_and_stays_dead(
    cluster: RaySession, executor: RayExecutor
) -> None:
    _, handle = executor.start(specs(shards=2))
    assert not handle.call("profile", TopK(1)).result().correct.flags.writeable
    cluster.ray.kill(handle._actor)  # which does not wait for the death
    with pytest.raises(HostError, match="shard 1, describe: the host's process died"):
        describe_until_dead(handle)
    for slot in (3, 4):
        with pytest.raises(HostError, match=f"shard 1, step of slot {slot}: the host's process"):
            handle.call("step", step_of(slot)).result()


class Assassin:
    """An executor over Ray that kills a host's process before some of its calls."""

    def __init__(self, inner: RayExecutor, before: set[int]) -> None:
        self.inner, self.before, self.calls = inner, before, 0
        self.discard, self.close = inner.discard, inner.close

    def start(self, specs: Any) -> list[Any]:
        return [Victim(self, handle) for handle in self.inner.start(specs)]


class Victim:
    def __init__(self, assassin: Assassin, handle: Any) -> None:
        self.assassin, self.handle, self.kill = assassin, handle, handle.kill

    def call(self, method: str, *args: Any) -> Any:
        self.assassin.calls += 1
        if self.assassin.calls in self.assassin.before:
            ray, actor = self.handle._ray, self.handle._actor
            os.kill(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
        return self.handle.call(method, *args)


def test_a_killed_actor_is_replaced_and_the_run_does_not_show_it(executor: RayExecutor) -> None:
    told: list[Any] = []
    durable = DurableExecutor(Assassin(executor, {6, 15}), told.append, every=3)
    inline = InlineExecutor(load=load_tiny, routers=TINY_ROUTERS)
    assert Engine(tiny_world()).drive(durable, 2) == Engine(tiny_world()).drive(inline, 2)
    assert len(told) == 2
    assert all("the host's process died" in event.words() for event in told)


def test_limits_hold_in_tasks_too(cluster: RaySession) -> None:
    done: dict[int, Any] = {}
    run_all(
        misbehave, ["a", "hang", "threads"], jobs=2, ray_address="local",
        on_done=done.__setitem__, limits=Limits(timeout_s=5.0, memory_bytes=5e8),
    )  # fmt: skip
    assert (done[0], done[2]) == ("a", "1")
    assert done[1] == TrialFailure("timeout", "stopped after 5.00 s (--timeout)")
    with pytest.raises(InputError, match=r"--memory .*: no node of this Ray cluster offers more"):
        run_all(
            misbehave, ["a"], jobs=1, ray_address="local",
            on_done=done.__setitem__, limits=Limits(memory_bytes=1e15),
        )  # fmt: skip


def test_a_cluster_tells_its_cores(cluster: RaySession) -> None:
    assert cluster_cores("auto") == 2
    assert cluster.ray.is_initialized()


def test_no_more_tasks_after_enough(cluster: RaySession) -> None:
    done: list[int] = []

    def on_done(index: int, _: Any) -> None:
        done.append(index)
        raise Enough

    run_all(misbehave, ["a"] * 8, jobs=2, ray_address="local", on_done=on_done)
    assert 1 <= len(done) <= 2


def test_tasks_isolate_failures_and_deaths(cluster: RaySession) -> None:
    done: dict[int, Any] = {}
    items: list[Any] = ["a", "raise", "os-exit", "threads", Unwilling()]
    run_all(misbehave, items, jobs=2, ray_address="local", on_done=done.__setitem__)
    assert (done[0], done[3]) == ("a", "1")
    assert (done[1].stage, done[1].message) == ("run", "ValueError: no such luck")
    assert isinstance(done[2], TrialFailure)
    assert done[2].stage == "worker"
    assert done[4].stage == "transfer"
    assert cluster.ray.is_initialized()


def test_an_address_where_no_ray_listens_is_refused_at_once() -> None:
    code = "from agents.hosting.ray_session import RaySession; RaySession('127.0.0.1:1')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert "HostError: cannot start or reach Ray at '127.0.0.1:1'" in done.stderr


def test_workers_import_from_where_this_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/tmp")
    environment = worker_environment()
    paths = environment["PYTHONPATH"].split(os.pathsep)
    assert os.getcwd() in paths
    assert os.path.realpath("/tmp") in paths
    assert not any("site-packages" in path for path in paths)
    assert environment["OMP_NUM_THREADS"] == "1"
