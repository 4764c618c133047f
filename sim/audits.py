"""Audits: which outcomes a router hears of, when, and what it takes to tell them.

Users report by themselves, at no cost to the network; or a judge (`FeedbackSpec.via`) is sent what
it takes to judge a request and sends its verdict back, over the links that requests share. Nodes
whose router does not learn have nobody audited.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sim.clock import END, Clock
from sim.ports import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.config import FeedbackSpec


class Case(NamedTuple):
    """An audited request; `life` is that of its node (it counts crashes) when service ended."""

    rid: int
    node: int
    life: int
    judged: bool = False


class Audits:
    """Outcomes on their way back to the routers that caused them.

    A verdict is lost where its request's bytes or itself meet a broken link, where the judge is
    down when the bytes arrive or crashes before it is done, and where the node is down or another
    one than it was (it restarted, and its router with it) when the verdict arrives. Of what ends at
    a node whose telemetry is lost nobody hears; where feedback is spoiled, a reward turns into
    another number on its way.

    Args:
        feedback: Delay and judge.
        audited: By request, whether it is drawn to be audited.
        listens: By node, whether a router there learns.
        clock: The run's clock.
        life: Returns how often a node has crashed, None while it is down.

    Attributes:
        post: Sends a message; set by who builds the network.
        counts: Audits begun, heard of and lost.
        sent_bytes: Bytes of all messages, each counted once however many links it crosses.
    """

    def __init__(
        self,
        feedback: FeedbackSpec,
        audited: Sequence[bool],
        listens: Sequence[bool],
        clock: Clock,
        life: Callable[[int], int | None],
    ) -> None:
        self.feedback, self.clock, self.life = feedback, clock, life
        self._audited, self._listens = audited, listens
        self._due: deque[tuple[float, int, int]] = deque()  # (time, request, node), times rise
        self._lost: list[tuple[int, int]] = []
        self._mute: dict[int, bool] = {}
        self._spoilers: dict[int, list[float]] = {}  # by node: values, the latest fault's last
        self._spoiled: list[tuple[int, int, float]] = []
        self.counts = {"begun": 0, "heard": 0, "lost": 0}
        self.sent_bytes = 0.0
        self.post: Callable[[Message, float], None]

    def wanted(self, rid: int, node: int) -> bool:
        """Tell whether a request that a node served is audited."""
        return self._listens[node] and self._audited[rid]

    def served(self, node: int, ids: Sequence[int], now_s: float) -> None:
        """Begin the audits of requests whose service ended."""
        if not self._listens[node]:
            return
        begun = [rid for rid in ids if self._audited[rid]]
        self.counts["begun"] += len(begun)
        if node in self._mute:
            self._lost.extend((rid, node) for rid in begun)
            return
        if node in self._spoilers:
            value = self._spoilers[node][-1]
            self._spoiled.extend((rid, node, value) for rid in begun)
        if self.feedback.via is None:
            due_s = now_s + self.feedback.delay_s
            self._due.extend((due_s, rid, node) for rid in begun)
            return
        for rid in begun:
            case = Case(rid, node, self.life(node) or 0)
            self._send(Message(node, self.feedback.via, self.feedback.up_bytes, case), now_s)

    def _send(self, message: Message, now_s: float) -> None:
        self.sent_bytes += message.size_bytes
        self.post(message, now_s)

    def deliver(self, message: Message, now_s: float) -> None:
        """Take a message that reached its node."""
        case: Case = message.payload
        life = self.life(message.dst)
        if life is None or (case.judged and life != case.life):
            self.lose(message, now_s)
        elif case.judged:
            self._due.append((now_s, case.rid, case.node))
        else:
            done_s = now_s + self.feedback.delay_s
            self.clock.at(done_s, END, case.rid, self._judged, (case, life))

    def _judged(self, item: tuple[Case, int], now_s: float) -> None:
        case, life = item
        via = self.feedback.via
        assert via is not None
        verdict = Message(via, case.node, self.feedback.down_bytes, case._replace(judged=True))
        if self.life(via) == life:
            self._send(verdict, now_s)
        else:
            self.lose(verdict, now_s)

    def lose(self, message: Message, now_s: float) -> None:
        """Note that nobody will hear of a case."""
        case: Case = message.payload
        self._lost.append((case.rid, case.node))

    # --- faults

    def mute(self, node: int) -> None:
        """Lose the outcomes of what ends at a node from now on."""
        self._mute[node] = True

    def unmute(self, node: int) -> None:
        """Hear of a node again."""
        del self._mute[node]

    def spoil(self, node: int, value: float) -> None:
        """Turn the rewards of what ends at a node from now on into a value."""
        self._spoilers.setdefault(node, []).append(value)

    def unspoil(self, node: int, value: float) -> None:
        """End what `spoil` began with the same value (the same object: NaN equals nothing)."""
        self._spoilers[node].remove(value)
        if not self._spoilers[node]:
            del self._spoilers[node]

    # --- the hosts ask

    def collect_spoiled(self) -> list[tuple[int, int, float]]:
        """Return (request, node, reward) of the outcomes spoiled since the last call."""
        spoiled, self._spoiled = self._spoiled, []
        return spoiled

    def collect(self, now_s: float) -> list[tuple[int, int]]:
        """Return (request, node) of the outcomes that arrived up to now, each once."""
        heard = []
        while self._due and self._due[0][0] <= now_s:
            _, rid, node = self._due.popleft()
            heard.append((rid, node))
        self.counts["heard"] += len(heard)
        return heard

    def collect_lost(self) -> list[tuple[int, int]]:
        """Return (request, node) of the outcomes that were lost since the last call."""
        lost, self._lost = self._lost, []
        self.counts["lost"] += len(lost)
        return lost
