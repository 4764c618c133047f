"""The inline executor: hosts in this process, behaving as Ray's do."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from agents.hosting.calls import freeze, host_error, place
from agents.hosting.model import HostedModel, LoadModel, load_model
from agents.hosting.shard import Shard
from agents.routers import ROUTERS
from sim.errors import HostError, SimError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.config import ClusterSpec
    from sim.ports import Host, HostSpec
    from sim.registry import Registry


class Answer:
    """A call that has run already: its value, or what it raised."""

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self._value, self._error = value, error

    def result(self) -> Any:
        """Return the value, or raise what the call raised."""
        if self._error is not None:
            raise self._error
        return self._value


class InlineHandle:
    """One shard in this process.

    Args:
        shard: Its number, for messages.
        host: The shard.
        strict: Pass arguments and results through pickle, so that nothing can be shared by mistake.
    """

    def __init__(self, shard: int, host: Host, strict: bool) -> None:
        self._shard, self._host, self._strict = shard, host, strict

    def call(self, method: str, *args: Any) -> Answer:
        """Run a Host method at once."""
        try:
            return Answer(self._pass(getattr(self._host, method)(*self._pass(args))))
        except SimError as error:
            return Answer(error=error)
        except Exception as error:
            failure = host_error(place(self._shard, method, args), error)
            failure.__cause__ = error
            return Answer(error=failure)

    def _pass(self, value: Any) -> Any:
        return freeze(pickle.loads(pickle.dumps(value)) if self._strict else value)


class InlineExecutor:
    """Runs hosts in this process, one model per checkpoint shared by its shards.

    Args:
        strict: Copy every argument and result deeply, to catch aliasing in tests.
        load: How a checkpoint is loaded.
        routers: Where the policy's router is looked up.
    """

    def __init__(
        self, *, strict: bool = False, load: LoadModel = load_model, routers: Registry = ROUTERS
    ) -> None:
        self._strict, self._load, self._routers = strict, load, routers
        self._open = True

    def start(self, specs: Sequence[HostSpec]) -> list[InlineHandle]:
        """Start one host per spec.

        Raises:
            HostError: The executor is closed.
            SimError: A checkpoint or a router's parameters are wrong.
        """
        if not self._open:
            raise HostError("this executor is closed")
        models: dict[tuple[str, ClusterSpec], HostedModel] = {}
        for spec in specs:
            asked = spec.checkpoint, spec.clusters
            if asked not in models:
                models[asked] = self._load(*asked)
        return [self._handle(spec, models[spec.checkpoint, spec.clusters]) for spec in specs]

    def close(self) -> None:
        """Refuse further hosts; those that run end when nothing refers to them."""
        self._open = False

    def _handle(self, spec: HostSpec, model: HostedModel) -> InlineHandle:
        return InlineHandle(spec.shard, Shard(spec, model, self._routers), self._strict)
