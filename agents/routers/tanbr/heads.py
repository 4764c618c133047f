"""The ridge heads of a block: one exact regression per node and cluster over shared features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray


class Heads:
    """Weighted ridge regressions of n nodes and V clusters over D features, float64.

    Keeps inverse = (lambda I + sum w phi phi')^-1, moment = sum w y phi and theta = inverse moment.

    Args:
        shape: (n, V, D).
        ridge: lambda, > 0.

    Source: Xu et al. 2022 (Neural-LinUCB, arXiv 2012.01780), Abbasi-Yadkori et al. 2011.
    Deviation: one head per cluster, each with the precision of its own mean reward.
    """

    _NAMES = ("inverse", "moment", "theta")

    def __init__(self, shape: tuple[int, int, int], ridge: float) -> None:
        self.nodes, self.clusters, self.features = shape
        self.ridge = ridge
        self.inverse = torch.empty(*shape, shape[2], dtype=torch.float64)
        self.moment = torch.empty(*shape, dtype=torch.float64)
        self.theta = torch.empty(*shape, dtype=torch.float64)
        for row in range(shape[0]):
            self.clear(row)

    def clear(self, row: int) -> None:
        """Forget everything that one node has learned."""
        self.inverse[row] = torch.eye(self.features, dtype=torch.float64) / self.ridge
        self.moment[row] = self.theta[row] = 0.0

    def forget(self, row: int, clusters: IntArray) -> None:
        """Forget what one node has learned of some clusters; the others keep their bits."""
        for v in clusters.tolist():
            self.inverse[row, v] = torch.eye(self.features, dtype=torch.float64) / self.ridge
            self.moment[row, v] = self.theta[row, v] = 0.0

    def copy(self, row: int, other: Heads) -> None:
        """Take over node 0 of another block."""
        for name in self._NAMES:
            getattr(self, name)[row] = getattr(other, name)[0]

    def observe(
        self, row: int, phi: Tensor, reward: FloatArray, weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Add one observation to one node's heads.

        Args:
            row: The node.
            phi: Features, (D,).
            reward: Mean reward per cluster, (V,).
            weight: Precision of each mean, (V,); 0 leaves that head as it is.

        Returns:
            Mean and variance that each head had expected, (V,) each.

        Source: Sherman and Morrison 1950: inverse -= w u u' / (1 + w phi'u) with u = inverse phi.
        Deviation: none.
        """
        inverse = self.inverse[row]
        u = torch.mv(inverse.view(-1, self.features), phi).view(self.clusters, self.features)
        variance, mean = torch.mv(u, phi), torch.mv(self.theta[row], phi)
        y, w = torch.from_numpy(np.array(reward)), torch.from_numpy(np.array(weight))
        gain = w / (1.0 + w * variance)
        for v in np.flatnonzero(weight > 0.0).tolist():
            inverse[v].addr_(u[v], u[v], alpha=-float(gain[v]))
        self.theta[row] += (gain * (y - mean)).unsqueeze(1) * u
        self.moment[row] += (w * y).unsqueeze(1) * phi
        return mean.numpy(), variance.numpy()

    def observe_all(
        self, rows: IntArray, phi: Tensor, reward: FloatArray, weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Add one observation to each of some distinct nodes' heads; see `observe`, its slow twin.

        Only heads that learn something are touched: a slot tells of few clusters, and a head is
        large. A node's bits do not depend on who else is there.

        Args:
            rows: Nodes, (n',), none twice.
            phi: Features, (n', D).
            reward: Mean rewards, (n', V).
            weight: Their precisions, (n', V).

        Returns:
            Mean and variance that each head had expected, (n', V) each, 0 where the weight is 0.
        """
        at, cluster = np.nonzero(weight > 0.0)
        node, head = torch.from_numpy(rows[at]), torch.from_numpy(cluster)
        y, w = torch.from_numpy(reward[at, cluster]), torch.from_numpy(weight[at, cluster])
        theta, counts = self.theta[node, head], np.bincount(at, minlength=len(rows)).tolist()
        inverses = [
            self.inverse[r, v] for r, v in zip(rows[at].tolist(), cluster.tolist(), strict=True)
        ]
        u = _spread(inverses, phi, counts)
        variance, mean = _along(u, phi, counts), _along(theta, phi, counts)
        gain = w / (1.0 + w * variance)
        for inverse, g, step in zip(inverses, gain.tolist(), u.unbind(0), strict=True):
            inverse.addr_(step, step, alpha=-g)
        self.theta[node, head] = theta + (gain * (y - mean)).unsqueeze(1) * u
        self.moment[node, head] += (w * y).unsqueeze(1) * phi[torch.from_numpy(at)]
        told = np.zeros((2, *reward.shape))
        told[:, at, cluster] = mean.numpy(), variance.numpy()
        return told[0], told[1]

    def refit(self, row: int, phi: Tensor, reward: FloatArray, weight: FloatArray) -> None:
        """Fit one node's heads to its records anew, (R, D), (R, V), (R, V)."""
        w = torch.from_numpy(weight).T.contiguous()  # (V, R)
        scaled = w.unsqueeze(2) * phi  # (V, R, D)
        gram = torch.matmul(phi.T, scaled)
        gram.diagonal(dim1=1, dim2=2).add_(self.ridge)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        moment = torch.bmm(scaled.transpose(1, 2), torch.from_numpy(reward).T.unsqueeze(2))
        self.inverse[row] = inverse
        self.moment[row] = moment.squeeze(2)
        self.theta[row] = torch.bmm(inverse, moment).squeeze(2)

    def combine(self, mix: FloatArray) -> tuple[Tensor, Tensor]:
        """Return sum_v mix_v theta_v and sum_v mix_v^2 inverse_v per node, (n, D) and (n, D, D).

        A slot's reward is linear in the mix, so N candidates cost one quadratic form each, not V.
        """
        share = torch.from_numpy(mix).unsqueeze(1)  # (n, 1, V)
        theta = torch.bmm(share, self.theta).squeeze(1)
        inverse = torch.bmm(share * share, self.inverse.flatten(2))
        return theta, inverse.view(self.nodes, self.features, self.features)

    @property
    def nbytes(self) -> int:
        """Count the bytes of one node's heads."""
        return self.clusters * (self.features**2 + 2 * self.features) * 8

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        return {name: getattr(self, name).numpy().copy() for name in self._NAMES}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        for name in self._NAMES:
            setattr(self, name, torch.from_numpy(np.array(state[name])))


class PooledHeads:
    """One weighted ridge regression per node over mix (x) features, for rewards in one number.

    A record's own shares are its mix; the reward is that of the whole slot. `moment` and `theta`
    are (n, V D), `inverse` is (n, V D, V D).

    Args:
        shape: (n, V, D).
        ridge: lambda, > 0.

    Source: ridge regression on psi (x) phi, Abbasi-Yadkori et al. 2011. Deviation: weighted by the
    precision of each mean.
    """

    _NAMES = ("inverse", "moment", "theta")

    def __init__(self, shape: tuple[int, int, int], ridge: float) -> None:
        self.nodes, self.clusters, self.features = shape
        self.size = self.clusters * self.features
        self.ridge = ridge
        self.inverse = torch.empty(self.nodes, self.size, self.size, dtype=torch.float64)
        self.moment = torch.empty(self.nodes, self.size, dtype=torch.float64)
        self.theta = torch.empty(self.nodes, self.size, dtype=torch.float64)
        for row in range(self.nodes):
            self.clear(row)

    def clear(self, row: int) -> None:
        """Forget everything that one node has learned."""
        self.inverse[row] = torch.eye(self.size, dtype=torch.float64) / self.ridge
        self.moment[row] = self.theta[row] = 0.0

    def forget(self, row: int, clusters: IntArray) -> None:
        """Forget everything of one node: a pooled reward cannot be taken apart; the caller fits."""
        if len(clusters):
            self.clear(row)

    def copy(self, row: int, other: PooledHeads) -> None:
        """Take over node 0 of another block."""
        for name in self._NAMES:
            getattr(self, name)[row] = getattr(other, name)[0]

    def observe(
        self, row: int, phi: Tensor, reward: FloatArray, weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Add one observation to one node's regression.

        Args:
            row: The node.
            phi: Features, (D,).
            reward: The slot's mean reward, repeated, (V,).
            weight: Precision of that mean times the share of each cluster, (V,).

        Returns:
            Mean and variance that had been expected of the slot, repeated, (V,) each.

        Source: Sherman and Morrison 1950. Deviation: none.
        """
        w, point, y = self._record(phi.unsqueeze(0), weight[None], reward[None])
        z, precision = point[0], float(w[0])
        u = torch.mv(self.inverse[row], z)
        variance, mean = float(torch.dot(u, z)), float(torch.dot(self.theta[row], z))
        gain = precision / (1.0 + precision * variance)
        self.inverse[row].addr_(u, u, alpha=-gain)
        self.theta[row].add_(u, alpha=gain * (float(y[0]) - mean))
        self.moment[row].add_(z, alpha=precision * float(y[0]))
        return np.full(self.clusters, mean), np.full(self.clusters, variance)

    def observe_all(
        self, rows: IntArray, phi: Tensor, reward: FloatArray, weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Add one observation to each of some distinct nodes; see `Heads.observe_all`."""
        told = np.zeros((2, *reward.shape))
        for i, row in enumerate(rows.tolist()):
            told[:, i] = self.observe(row, phi[i], reward[i], weight[i])
        return told[0], told[1]

    def _record(
        self, phi: Tensor, weight: FloatArray, reward: FloatArray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return precisions (R,), points mix (x) phi (R, V D) and rewards (R,) of records."""
        precision = weight.sum(axis=1)
        share = weight / np.where(precision > 0.0, precision, 1.0)[:, None]
        y = torch.from_numpy((share * reward).sum(axis=1))
        points = torch.from_numpy(share).unsqueeze(2) * phi.unsqueeze(1)
        return torch.from_numpy(precision), points.flatten(1), y

    def refit(self, row: int, phi: Tensor, reward: FloatArray, weight: FloatArray) -> None:
        """Fit one node to its records anew, (R, D), (R, V), (R, V)."""
        w, points, y = self._record(phi, weight, reward)
        scaled = w.unsqueeze(1) * points
        gram = torch.matmul(points.T, scaled)
        gram.diagonal().add_(self.ridge)
        self.inverse[row] = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        self.moment[row] = torch.mv(scaled.T, y)
        self.theta[row] = torch.mv(self.inverse[row], self.moment[row])

    def combine(self, mix: FloatArray) -> tuple[Tensor, Tensor]:
        """Return theta and inverse with the mix multiplied in, (n, D) and (n, D, D)."""
        n, v, d = self.nodes, self.clusters, self.features
        share = torch.from_numpy(mix).unsqueeze(1)  # (n, 1, V)
        theta = torch.bmm(share, self.theta.view(n, v, d)).squeeze(1)
        half = torch.bmm(share, self.inverse.view(n, v, d * v * d)).view(n, d, v, d)
        return theta, torch.matmul(share.unsqueeze(1), half).squeeze(2)

    @property
    def nbytes(self) -> int:
        """Count the bytes of one node."""
        return (self.size**2 + 2 * self.size) * 8

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        return {name: getattr(self, name).numpy().copy() for name in self._NAMES}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        for name in self._NAMES:
            setattr(self, name, torch.from_numpy(np.array(state[name])))


def _spread(inverses: list[Tensor], phi: Tensor, counts: list[int]) -> Tensor:
    """Return inverse phi of some heads, `counts` of them for each node, (p, D)."""
    out = phi.new_empty(len(inverses), phi.shape[1])
    points = [point for point, n in zip(phi.unbind(0), counts, strict=True) for _ in range(n)]
    for inverse, point, place in zip(inverses, points, out.unbind(0), strict=True):
        torch.mv(inverse, point, out=place)
    return out


def _along(vectors: Tensor, phi: Tensor, counts: list[int]) -> Tensor:
    """Return each vector's product with its node's phi, (p, D) and (n', D) to (p,).

    Node by node: a batched product may round differently when other nodes are there.
    """
    out = vectors.new_empty(len(vectors))
    stretches = zip(
        vectors.split_with_sizes(counts), phi, out.split_with_sizes(counts), strict=True
    )
    for mine, point, place in stretches:
        torch.mv(mine, point, out=place)
    return out


def score(phi: Tensor, theta: Tensor, inverse: Tensor) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of the slot reward of candidates, (n, N) each.

    Args:
        phi: Features, (n, N, D).
        theta: Combined weights, (n, D).
        inverse: Combined covariance, (n, D, D).
    """
    mean = torch.bmm(phi, theta.unsqueeze(2)).squeeze(2)
    variance = torch.bmm(phi, inverse).mul_(phi).sum(dim=2)
    return mean.numpy(), variance.clamp_(min=0.0).sqrt_().numpy()
