"""The confidence matrix of the gradient model, whole or diagonal: ridge plus sum g g'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from agents.routers.gradient.nets import GradientNets


class Covariance(Protocol):
    """Z^-1 of n nodes over p parameters; slopes come in as rows."""

    state: Tensor
    nbytes: int  # of one node

    def clear(self, row: int) -> None:
        """Forget what one node has learned: Z = lambda I."""
        ...

    def copy(self, row: int, other: Self) -> None:
        """Take over node 0 of another block."""
        ...

    def aim(self, row: int, mix: Tensor) -> Tensor:
        """Fold the matrix for one mix, so that folded slopes fit it."""
        ...

    def variance(self, aimed: Tensor, slopes: Tensor) -> Tensor:
        """Return g' Z^-1 g of folded slopes, (N, q) to (N,)."""
        ...

    def variances(self, row: int, slopes: Tensor) -> Tensor:
        """Return g' Z^-1 g of whole slopes, (r, p) to (r,)."""
        ...

    def learn(self, row: int, slopes: Tensor) -> None:
        """Add g g' of each slope, (r, p)."""
        ...

    def renew(self, row: int, places: Tensor) -> None:
        """Put some parameters back to the ridge alone, independent of the rest."""
        ...


class FullCovariance:
    """All of Z^-1, kept by rank-r updates, (n, p, p) float32.

    Args:
        nets: Whose parameters.
        ridge: lambda.

    Source: Zhou et al. 2020 (arXiv 1911.04462), Z <- Z + g g'; Woodbury 1950. Deviation: none.
    """

    def __init__(self, nets: GradientNets, ridge: float) -> None:
        self.nets, self.ridge = nets, ridge
        self.state = torch.empty(nets.nodes, nets.params, nets.params)
        self.nbytes = 4 * nets.params**2
        for row in range(nets.nodes):
            self.clear(row)

    def clear(self, row: int) -> None:
        """Forget what one node has learned."""
        self.state[row] = torch.eye(self.nets.params) / self.ridge

    def copy(self, row: int, other: Self) -> None:
        """Take over node 0 of another block."""
        self.state[row] = other.state[0]

    def aim(self, row: int, mix: Tensor) -> Tensor:
        """Return the matrix folded on both sides, (q, q)."""
        return self.nets.fold(self.nets.fold(self.state[row], mix).T, mix)

    def variance(self, aimed: Tensor, slopes: Tensor) -> Tensor:
        """Return one quadratic form per folded slope."""
        return (slopes @ aimed).mul_(slopes).sum(dim=1)

    def variances(self, row: int, slopes: Tensor) -> Tensor:
        """Return one quadratic form per whole slope."""
        return self.variance(self.state[row], slopes)

    def learn(self, row: int, slopes: Tensor) -> None:
        """Subtract U' (I + G U')^-1 U with U = G Z^-1, all slopes at once."""
        inverse = self.state[row]
        half = slopes @ inverse
        core = torch.eye(len(slopes)) + half @ slopes.T
        root = torch.linalg.cholesky((core + core.T) / 2.0)
        step = torch.linalg.solve_triangular(root, half, upper=False)
        inverse.addmm_(step.T, step, alpha=-1.0)

    def renew(self, row: int, places: Tensor) -> None:
        """Cut some parameters off from the others and give them their first variance."""
        inverse = self.state[row]
        inverse[places] = 0.0
        inverse[:, places] = 0.0
        inverse[places, places] = 1.0 / self.ridge


class DiagonalCovariance:
    """The diagonal of Z alone, (n, p) float32: every parameter is judged by itself.

    Args:
        nets: Whose parameters.
        ridge: lambda.

    Source: the published code of Zhou et al. 2020 keeps the diagonal. Deviation: none.
    """

    def __init__(self, nets: GradientNets, ridge: float) -> None:
        self.nets, self.ridge = nets, ridge
        self.state = torch.full((nets.nodes, nets.params), ridge)
        self.nbytes = 4 * nets.params

    def clear(self, row: int) -> None:
        """Forget what one node has learned."""
        self.state[row] = self.ridge

    def copy(self, row: int, other: Self) -> None:
        """Take over node 0 of another block."""
        self.state[row] = other.state[0]

    def aim(self, row: int, mix: Tensor) -> Tensor:
        """Return the inverse folded with the squared mix, (q,)."""
        return self.nets.fold((1.0 / self.state[row]).unsqueeze(1), mix * mix).squeeze(1)

    def variance(self, aimed: Tensor, slopes: Tensor) -> Tensor:
        """Return the weighted sum of squares of each folded slope."""
        return (slopes * slopes) @ aimed

    def variances(self, row: int, slopes: Tensor) -> Tensor:
        """Return the weighted sum of squares of each whole slope."""
        return (slopes * slopes) @ (1.0 / self.state[row])

    def learn(self, row: int, slopes: Tensor) -> None:
        """Add the squares."""
        self.state[row] += (slopes * slopes).sum(dim=0)

    def renew(self, row: int, places: Tensor) -> None:
        """Put some parameters back to the ridge."""
        self.state[row, places] = self.ridge
