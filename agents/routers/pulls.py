"""Which choice an answer belongs to: for routers that learn one number per choice.

Feedback names the slot in which the plan in force was decided. A plan that is chosen again keeps
that name, so several choices may wait under it; their answers come in the order of the choices.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray

_NAMES = 512  # decisions of a node that may still be answered
_WAITING = 64  # choices under one decision that may still be answered


@dataclass(frozen=True, slots=True)
class Answer:
    """What feedback says of one choice."""

    choice: FloatArray  # (W,), as noted
    first: bool  # False: a further part of an answer that was learned already
    reward: float  # mean over all its requests answered so far
    change: float  # of that mean by this part; the mean itself for the first part


@dataclass(slots=True)
class _Open:
    waiting: deque[FloatArray] = field(default_factory=lambda: deque(maxlen=_WAITING))
    last: FloatArray | None = None  # choice answered last
    reward: float = 0.0
    count: float = 0.0


class Pulls:
    """The unanswered choices of one node."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}

    def note(self, since: int, choice: FloatArray) -> None:
        """Remember a choice.

        Args:
            since: Slot in which the plan that serves it was decided.
            choice: Whatever the router needs to learn from the answer, (W,).
        """
        self._open.setdefault(since, _Open()).waiting.append(choice)
        if len(self._open) > _NAMES:
            del self._open[next(iter(self._open))]

    def answer(self, since: int, reward: float, count: float) -> Answer | None:
        """Return what a row of feedback says; None when nobody waits for it.

        Args:
            since: Slot of the decision.
            reward: Mean over the requests of the row.
            count: Requests behind it, > 0.
        """
        entry = self._open.get(since)
        if entry is None:
            return None
        if entry.waiting:
            entry.last, entry.reward, entry.count = entry.waiting.popleft(), reward, count
            return Answer(entry.last, True, reward, reward)
        if entry.last is None:
            return None
        entry.count += count
        change = (reward - entry.reward) * count / entry.count
        entry.reward += change
        return Answer(entry.last, False, entry.reward, change)

    def choices(self) -> list[FloatArray]:
        """Return what was noted and may still be answered, to be changed in place."""
        every = [(*entry.waiting, entry.last) for entry in self._open.values()]
        return [choice for entry in every for choice in entry if choice is not None]

    def clear(self) -> None:
        """Wait for nothing any more."""
        self._open = {}

    @property
    def nbytes(self) -> int:
        """Count the bytes of what waits."""
        return sum(choice.nbytes for choice in self.choices()) + 24 * len(self._open)

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state: the answered choice of each decision first, then those due.

        `what` (m, 4) holds slot, answered, reward, count; `choice` (m, W).
        """
        what, choice = [], []
        for since, entry in self._open.items():
            if entry.last is not None:
                what.append((float(since), 1.0, entry.reward, entry.count))
                choice.append(entry.last)
            what += [(float(since), 0.0, 0.0, 0.0)] * len(entry.waiting)
            choice += list(entry.waiting)
        width = len(choice[0]) if choice else 0
        return {
            "what": np.array(what).reshape(-1, 4),
            "choice": np.array(choice).reshape(len(choice), width),
        }

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        self._open = {}
        for (since, answered, reward, count), choice in zip(
            state["what"].tolist(), np.array(state["choice"]), strict=True
        ):
            entry = self._open.setdefault(int(since), _Open())
            if answered:
                entry.last, entry.reward, entry.count = choice, reward, count
            else:
                entry.waiting.append(choice)
