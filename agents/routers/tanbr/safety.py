"""The way back: notices that a node serves worse than it did, without the world having changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from agents.routers.tanbr.tree import Tree
    from sim.arrays import AnyArray, FloatArray, IntArray

_DECAY = 0.98  # of what is known of a bucket, per slot in it
_ENOUGH = 10.0  # slots of a bucket before it is judged
_DEVIATIONS = 3.0
_PATIENCE = 2  # slots in a row
_UNLIKE = 0.1  # total variation between mixes that may be compared


class Watch:
    """Mean reward of slots by dominant cluster, per node, and what it was when last saved.

    Args:
        nodes: n.
        clusters: V.
        experts: K.

    Source: our own rule: go back when two slots in a row earn less than the saved mean of their
    bucket minus three deviations. Deviation: mixes differ within a bucket, so the deviation holds
    the spread of its earlier slots beside the noise, and slots whose mix is unlike theirs are not
    judged.
    """

    _NAMES = (
        "seen",
        "mean",
        "spread",
        "share",
        "good",
        "limit",
        "usual",
        "low",
        "frozen",
        "point",
    )

    def __init__(self, nodes: int, clusters: int, experts: int) -> None:
        shape = (nodes, clusters)
        self.seen: FloatArray = np.zeros(shape)  # slots, decayed
        self.mean: FloatArray = np.zeros(shape)
        self.spread: FloatArray = np.zeros(shape)  # variance about the mean
        self.share: FloatArray = np.zeros((*shape, clusters))  # mean mix
        self.good: FloatArray = np.full(shape, np.nan)  # saved mean, NaN: not enough known
        self.limit: FloatArray = np.zeros(shape)  # saved variance
        self.usual: FloatArray = np.zeros((*shape, clusters))  # saved mix
        self.low: IntArray = np.zeros(nodes, dtype=np.int64)  # poor slots in a row
        self.frozen: IntArray = np.zeros(nodes, dtype=np.int64)  # slots left without exploration
        self.point: FloatArray = np.full((nodes, experts), np.nan)  # saved merge, NaN: none
        self.trees: list[dict[str, AnyArray]] = [{} for _ in range(nodes)]
        self._own_bytes = sum(int(getattr(self, name).nbytes) for name in self._NAMES) // nodes

    def restart(self, row: int) -> None:
        """Forget everything of one node."""
        self.seen[row] = self.mean[row] = self.spread[row] = 0.0
        self.frozen[row] = 0
        self.drop(row)

    def drop(self, row: int) -> None:
        """Forget what was saved of one node, so that nothing is tested until the next saving."""
        self.good[row], self.point[row], self.low[row], self.trees[row] = np.nan, np.nan, 0, {}

    def leave(self, row: int) -> None:
        """Forget what was saved of one node but for the merge, which it serves next."""
        self.good[row], self.low[row], self.trees[row] = np.nan, 0, {}

    def renew(self, row: int, clusters: IntArray) -> None:
        """Forget buckets whose cluster means something else now, and what was saved."""
        self.seen[row, clusters] = self.mean[row, clusters] = self.spread[row, clusters] = 0.0
        self.drop(row)

    def save(self, row: int, point: FloatArray, tree: Tree) -> None:
        """Save the merge and the tree of one node, and how good its buckets are."""
        known = self.seen[row] >= _ENOUGH
        self.good[row] = np.where(known, self.mean[row], np.nan)
        self.limit[row], self.usual[row] = self.spread[row], self.share[row]
        self.point[row], self.trees[row], self.low[row] = point, tree.snapshot(), 0

    def test(self, row: int, share: FloatArray, reward: float, noise: float) -> bool:
        """Take in one slot; tell whether it is time to go back.

        Args:
            row: The node.
            share: Shares of the clusters among the slot's requests, (V,).
            reward: Mean reward of those requests.
            noise: Standard deviation of that mean.
        """
        bucket = int(share.argmax())
        if self._alike(row, bucket, share, noise):
            room = _DEVIATIONS * np.sqrt(noise * noise + self.limit[row, bucket])
            self.low[row] = self.low[row] + 1 if reward < self.good[row, bucket] - room else 0
        self._learn(row, bucket, share, reward)
        return bool(self.low[row] >= _PATIENCE)

    def _alike(self, row: int, bucket: int, share: FloatArray, noise: float) -> bool:
        """Tell whether a mix is that of the bucket's earlier slots, up to what sampling explains.

        Total variation of a sample of N from V clusters is about 0.4 sqrt(V / N), and a mean of N
        yes/no outcomes has a noise of at most 0.5 / sqrt(N).
        """
        gap = 0.5 * float(np.abs(share - self.usual[row, bucket]).sum())
        return gap <= _UNLIKE + 0.8 * noise * float(np.sqrt(len(share)))

    def _learn(self, row: int, bucket: int, share: FloatArray, reward: float) -> None:
        old = _DECAY * self.seen[row, bucket]
        self.seen[row, bucket] = old + 1.0
        gap = reward - self.mean[row, bucket]
        self.mean[row, bucket] += gap / (old + 1.0)
        left = self.spread[row, bucket] + gap * gap / (old + 1.0)
        self.spread[row, bucket] = left * old / (old + 1.0)
        self.share[row, bucket] += (share - self.share[row, bucket]) / (old + 1.0)

    def kept(self, row: int) -> bool:
        """Tell whether there is a merge to serve; renewed clusters make it void."""
        return bool(np.isfinite(self.point[row]).all())

    def saved(self, row: int) -> bool:
        """Tell whether there is something to go back to."""
        return bool(self.trees[row])

    def replant(self, row: int, tree: Tree) -> None:
        """Put the saved tree back; ids of cells go on."""
        latest = tree.next_cell
        tree.restore(self.trees[row])
        tree.next_cell = latest

    def nbytes(self, row: int) -> int:
        """Count the bytes of one node."""
        return self._own_bytes + sum(int(part.nbytes) for part in self.trees[row].values())

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state, flat."""
        state: dict[str, AnyArray] = {name: getattr(self, name).copy() for name in self._NAMES}
        for row, tree in enumerate(self.trees):
            state |= {f"tree{row}.{k}": v.copy() for k, v in tree.items()}
        return state

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        for name in self._NAMES:
            setattr(self, name, np.array(state[name]))
        for row in range(len(self.trees)):
            part = f"tree{row}."
            self.trees[row] = {
                k[len(part) :]: np.array(v) for k, v in state.items() if k.startswith(part)
            }
