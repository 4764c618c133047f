"""X-armed bandit routers: a tree bandit per node and dominant cluster on the cube of merges."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.context import ContextParams
from agents.routers.model import Work
from agents.routers.params import limited
from agents.routers.simplex import sparsify, stick_breaking
from agents.routers.slotwise import Pick, Slotwise
from agents.routers.snapshots import below, flat
from sim.plans import Merged

if TYPE_CHECKING:
    from agents.routers.boxtree import BoxBandit
    from agents.routers.pulls import Answer
    from sim.arrays import AnyArray, BoolArray, FloatArray
    from sim.ports import BlockSetup

_STICK_FLOP = 14.0  # per expert: a power and some products


@dataclass(frozen=True, slots=True)
class XArmedParams(ContextParams):
    """What tree bandits may set."""

    nu: float = limited(0.5, 1e-6)  # cells of depth h differ by at most nu rho^h within
    rho: float = limited(0.0, 0.0, 0.999999)  # 0: 2^(-1/(K-1)), the shrinking of the cells
    context: bool = True  # a tree per dominant cluster of the mix; False: one for all mixes
    max_active: int = limited(0, 0)  # most experts in a merge, 0: all
    max_cells: int = limited(20_000, 3)  # per tree


class XArmed(Slotwise):
    """Base: the cube of dimension K-1 stands for the simplex by stick breaking.

    A reward is credited to the cell that was chosen, in the tree in which it was. No warm start:
    these bandits have no place for rewards of points that they did not choose.

    Args:
        setup: The block.
        params: The configuration.
    """

    def __init__(self, setup: BlockSetup, params: XArmedParams) -> None:
        super().__init__(setup, params)
        k = setup.experts
        self.params = params
        self.rho = params.rho or 2.0 ** (-1.0 / max(1, k - 1))
        self.max_active = min(params.max_active or k, k)
        # per node: dominant cluster -> serial number and bandit; a serial is never used again
        self.trees: list[dict[int, tuple[int, BoxBandit]]] = [{} for _ in self.nodes]
        self.serials = [0] * len(self.nodes)
        self.begin()

    @abstractmethod
    def grow(self) -> BoxBandit:
        """Make a tree bandit that knows nothing."""

    def start(self, row: int) -> Work:
        """Forget all trees of a node."""
        self.trees[row] = {}
        return Work(0.0, 0.0)

    def renew(self, row: int, renewed: BoolArray) -> None:
        """Forget the trees of clusters that mean something else now."""
        if self.params.context:
            kept = {c: tree for c, tree in self.trees[row].items() if not renewed[c]}
            self.trees[row] = kept

    def pick(self, row: int, mix: FloatArray) -> Pick:
        """Walk down the tree of the dominant cluster and take the middle of the cell."""
        context = int(mix.argmax()) if self.params.context else 0
        if context not in self.trees[row]:
            self.trees[row][context] = (self.serials[row], self.grow())
            self.serials[row] += 1
        serial, bandit = self.trees[row][context]
        cell, explored = bandit.choose()
        point = sparsify(stick_breaking(bandit.tree.centre(cell)), self.max_active)
        self.charge(row, bandit.work() + Work(_STICK_FLOP * self.experts, 0.0))
        return Pick(Merged(tuple(point.tolist())), np.array([serial, cell], float), explored)

    def learn(self, row: int, answer: Answer) -> None:
        """Credit the cell that was chosen, if its tree still stands."""
        serial, cell = (int(value) for value in answer.choice)
        for known, bandit in self.trees[row].values():
            if known == serial:
                if answer.first:
                    bandit.credit(cell, answer.reward)
                else:
                    bandit.amend(cell, answer.change)
                self.charge(row, bandit.work())

    def node_bytes(self, row: int) -> int:
        """Count the bytes of a node's trees."""
        return sum(bandit.nbytes for _, bandit in self.trees[row].values())

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state that changes, as flat numpy arrays."""
        state = super().snapshot() | {"serials": np.array(self.serials)}
        for row, trees in enumerate(self.trees):
            state[f"trees.{row}.index"] = np.array(
                [(context, serial) for context, (serial, _) in trees.items()], dtype=np.int64
            ).reshape(-1, 2)
            state |= flat(
                {f"trees.{row}.{c}": bandit.snapshot() for c, (_, bandit) in trees.items()}
            )
        return state

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot of a router with the same setup back."""
        super().restore(state)
        self.serials = [int(serial) for serial in state["serials"]]
        for row in range(len(self.nodes)):
            self.trees[row] = {}
            for context, serial in state[f"trees.{row}.index"].tolist():
                bandit = self.grow()
                bandit.restore(below(state, f"trees.{row}.{context}"))
                self.trees[row][context] = (serial, bandit)
