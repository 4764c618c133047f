"""Outcomes of all requests whose service ended since the last boundary, at once.

Kernels log who ended, in order; hosts get everything of a slot sorted by id, so that nothing else
depends on the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.arrays import AnyArray, FloatArray, IntArray  # noqa: TC001  (fields of named tuples)
from sim.audits import Audits
from sim.coupling import Coupling
from sim.errors import HostError
from sim.ports import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.clock import Clock
    from sim.config import FeedbackSpec
    from sim.ports import StepReply


class Ended(NamedTuple):
    """Requests whose service ended, in that order, (n,) each; `t_s` is when."""

    ids: IntArray
    nodes: IntArray
    t_s: FloatArray

    def where(self, chosen: AnyArray | slice) -> Ended:
        """Return some of them."""
        return Ended(self.ids[chosen], self.nodes[chosen], self.t_s[chosen])


class FastAudits(Audits):
    """Outcomes on their way, many at once.

    Args:
        feedback: Delay and judge.
        audited: By request, whether it is drawn to be audited.
        listens: By node, whether a router there learns.
        clock: The run's clock.
        life: Returns how often a node has crashed, None while it is down.
    """

    def __init__(
        self,
        feedback: FeedbackSpec,
        audited: Sequence[bool],
        listens: Sequence[bool],
        clock: Clock,
        life: Callable[[int], int | None],
    ) -> None:
        super().__init__(feedback, audited, listens, clock, life)
        self._drawn, self._hears = np.array(audited, np.bool_), np.array(listens, np.bool_)
        self._waiting: list[Ended] = []  # `t_s` is when they are heard of

    def hears(self, node: int) -> bool:
        """Tell whether a router that learns steers a node."""
        return bool(self._hears[node])

    def wanted_of(self, ids: IntArray, nodes: IntArray) -> AnyArray:
        """Tell which requests that nodes served are audited, (n,)."""
        found: AnyArray = self._hears[nodes] & self._drawn[ids]
        return found

    def served_all(self, ended: Ended) -> None:
        """Begin the audits of requests whose service ended; no judge is asked."""
        begun = ended.where(self.wanted_of(ended.ids, ended.nodes))
        self.counts["begun"] += len(begun.ids)
        for node in self._mute:
            gone = begun.nodes == node
            self._lost.extend((rid, node) for rid in begun.ids[gone].tolist())
            begun = begun.where(~gone)
        for node, values in self._spoilers.items():
            spoiled = begun.ids[begun.nodes == node].tolist()
            self._spoiled.extend((rid, node, values[-1]) for rid in spoiled)
        if len(begun.ids):
            self._waiting.append(begun._replace(t_s=begun.t_s + self.feedback.delay_s))

    def collect(self, now_s: float) -> list[tuple[int, int]]:
        """Return (request, node) of the outcomes that arrived up to now, each once."""
        heard, later = super().collect(now_s), []
        for ended in self._waiting:
            due = int(np.searchsorted(ended.t_s, now_s, side="right"))
            pairs = zip(ended.ids[:due].tolist(), ended.nodes[:due].tolist(), strict=True)
            heard.extend(pairs)
            self.counts["heard"] += due
            if due < len(ended.ids):
                later.append(ended.where(slice(due, None)))
        self._waiting = later
        return heard


class FastCoupling(Coupling):
    """Exchanges outcomes, feedback and decisions with the hosts, whole columns at once."""

    audits: FastAudits

    def served_all(self, ended: Ended) -> None:
        """Note requests whose service ended."""
        shard = np.asarray(self.shard_of)[ended.nodes]
        for index, box in enumerate(self._boxes):
            box.ended.extend(ended.ids[shard == index].tolist())
        self.audits.served_all(ended)

    def _served(self, ids: list[int]) -> Served:
        rows, stamp = np.array(ids, np.int64), self.requests.stamp
        node = stamp("server")[rows].astype(np.int64)
        return Served(
            id=rows,
            node=node,
            input=self.requests.workload.input[rows].astype(np.int64),
            plan_id=stamp("plan")[rows].astype(np.int64),
            audited=self.audits.wanted_of(rows, node),
            batch=stamp("batch")[rows].astype(np.int64),
        )

    def _score(self, ids: IntArray, reply: StepReply) -> None:
        if len(reply.correct) != len(ids):
            raise HostError(f"a host scored {len(reply.correct)} of {len(ids)} requests")
        self.requests.stamp("correct")[ids] = reply.correct
