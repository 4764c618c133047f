"""PyXAB's HCT behind our port: an outside reference, in no registry, for the benchmark only."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from agents.routers.hct import HctParams
from agents.routers.model import Work
from agents.routers.params import parse
from agents.routers.simplex import stick_breaking
from agents.routers.slotwise import Pick, Slotwise
from sim.errors import InputError
from sim.plans import Merged
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.routers.pulls import Answer
    from sim.arrays import BoolArray, FloatArray
    from sim.ports import BlockSetup


def installed() -> bool:
    """Tell whether PyXAB is there (it is part of the dev extra)."""
    return importlib.util.find_spec("PyXAB") is not None


class PyxabHct(Slotwise):
    """PyXAB's HCT on the stick-breaking cube, one instance per node and dominant cluster.

    Its work is not charged: it is not ours to price.

    Args:
        setup: The block. Parameters: see `HctParams`; cells and active experts are not limited.

    Raises:
        InputError: PyXAB is not installed, or a parameter is wrong.

    Source: Li et al. 2023 (PyXAB 0.3.0, MIT). Deviation: the dimension that its partition splits is
    drawn from a named stream instead of numpy's global generator; rewards that come in parts
    count by their first part.
    """

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    parameters: ClassVar[str] = "agents.routers.hct:HctParams"

    def __init__(self, setup: BlockSetup) -> None:
        if not installed():
            raise InputError("router pyxab-hct: PyXAB is not installed: pip install PyXAB==0.3.0")
        self.params = parse(HctParams, setup.params, "pyxab-hct")
        super().__init__(setup, self.params)
        self.rho = self.params.rho or 2.0 ** (-1.0 / max(1, self.experts - 1))
        streams = Streams(setup.seed)
        self.rngs = [streams.stream("router", "pyxab-hct", node) for node in self.nodes]
        self.trees: list[dict[int, Any]] = [{} for _ in self.nodes]
        self.paths: list[tuple[Any, Any]] = []  # tree and path of every choice
        self.begin()

    def start(self, row: int) -> Work:
        """Forget all trees of a node."""
        self.trees[row] = {}
        return Work(0.0, 0.0)

    def renew(self, row: int, renewed: BoolArray) -> None:
        """Forget the trees of clusters that mean something else now."""
        self.trees[row] = {c: tree for c, tree in self.trees[row].items() if not renewed[c]}

    def _tree(self, row: int, context: int) -> Any:
        from PyXAB.algos.HCT import HCT

        if context not in self.trees[row]:
            p, domain = self.params, [[0.0, 1.0]] * (self.experts - 1)
            halves = _partition(self.rngs[row])
            tree = HCT(p.nu, self.rho, p.c, p.delta, domain=domain, partition=halves)
            self.trees[row][context] = tree
        return self.trees[row][context]

    def pick(self, row: int, mix: FloatArray) -> Pick:
        """Let the tree of the dominant cluster choose."""
        tree = self._tree(row, int(mix.argmax()) if self.params.context else 0)
        node, path = tree.optTraverse()
        self.paths.append((tree, path))
        point = stick_breaking(np.array(node.get_cpoint()))
        return Pick(Merged(tuple(point.tolist())), np.array([len(self.paths) - 1.0]), False)

    def learn(self, row: int, answer: Answer) -> None:
        """Hand the reward to the tree that chose."""
        if answer.first:
            tree, path = self.paths[int(answer.choice[0])]
            tree.updateAllTree(path, answer.reward)

    def node_bytes(self, row: int) -> int:
        """Return 0: not ours to count."""
        del row
        return 0


def _partition(rng: np.random.Generator) -> type:
    """Return PyXAB's binary partition with its random dimension drawn from a stream."""
    from PyXAB.partition.BinaryPartition import BinaryPartition

    class Drawn(BinaryPartition):  # type: ignore[misc]
        """Halves a random side, as PyXAB does."""

        def make_children(self, parent: Any, newlayer: bool = False) -> None:
            """Split a node; the children join the next layer."""
            box, depth = parent.get_domain(), parent.get_depth() + 1
            axis = int(rng.integers(len(box)))
            low, high = box[axis]
            children = [
                self.node(depth, 2 * parent.get_index() - 1 + i, parent, _with(box, axis, side))
                for i, side in enumerate(([low, (low + high) / 2], [(low + high) / 2, high]))
            ]
            parent.update_children(children)
            if newlayer:
                self.node_list.append([])
                self.depth += 1
            self.node_list[depth].extend(children)

    return Drawn


def _with(box: list[list[float]], axis: int, side: list[float]) -> list[list[float]]:
    return [*box[:axis], side, *box[axis + 1 :]]
