"""High-confidence tree: an X-armed bandit that splits a cell when it is known well enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agents.routers.boxtree import ROOT, BoxBandit
from agents.routers.params import limited, parse
from agents.routers.xarmed import XArmed, XArmedParams

if TYPE_CHECKING:
    from sim.ports import BlockSetup


@dataclass(frozen=True, slots=True)
class HctParams(XArmedParams):
    """Parameters of `hct`."""

    c: float = limited(0.1, 1e-6)  # weight of the uncertainty
    delta: float = limited(0.01, 1e-12, 0.5)  # chance that a bound fails


class HctBandit(BoxBandit):
    """HCT for independent rewards.

    U = mean + nu rho^h + sqrt(c^2 ln(1/d) / N), d = min(1/2, (rho / 3 nu)^(1/8) delta / t+), t+ the
    next power of two; the walk down ends where N < ceil(c^2 ln(1/d) rho^(-2h) / nu^2), and a leaf
    with as many answers is split. All U are computed anew when t reaches a power of two.

    Args:
        dims: Dimensions of the cube.
        params: The configuration; its rho is ignored.
        rho: Shrinking of the cells.

    Source: Azar, Lazaric and Brunskill 2014 (Online stochastic optimization under correlated bandit
    feedback, ICML), algorithm HCT-iid. Deviation: ties go to the second child. Checked against
    PyXAB 0.3.0, which splits a cell again, and forgets its children, when its threshold has grown.
    """

    def __init__(self, dims: int, params: HctParams, rho: float) -> None:
        self.c, self.delta = params.c, params.delta
        self._first = (rho / (3.0 * params.nu)) ** 0.125
        super().__init__(dims, params.nu, rho, params.max_cells)

    def _log(self) -> float:
        """Return ln(1/d)."""
        power = 1 << (self.time - 1).bit_length()
        return -math.log(min(0.5, self._first * self.delta / power))

    def threshold(self, depth: int) -> int:
        """Return the answers that a cell of some depth needs before its children are played."""
        return math.ceil(self.c**2 * self._log() * self.rho ** (-2 * depth) / self.nu**2)

    def width(self, cell: int) -> float:
        """Return the confidence width of a cell that has answers."""
        return math.sqrt(self.c**2 * self._log() / self.pulls[cell])

    def stops(self, cell: int) -> bool:
        """Tell whether a cell is not known well enough to look below."""
        return cell != ROOT and self.pulls[cell] < self.threshold(self.tree.depth[cell])

    def credit(self, cell: int, reward: float) -> None:
        """Learn the reward of a cell that was played, and split the cell if it is time."""
        if self.time & (self.time - 1) == 0:
            self.refresh()
        self.pulls[cell] += 1
        self.total[cell] += reward
        self._judge_path(cell)
        if self.pulls[cell] >= self.threshold(self.tree.depth[cell]):
            self.expand(cell)
        self.time += 1

    def amend(self, cell: int, change: float) -> None:
        """Learn that a reward that was credited has changed."""
        self.total[cell] += change
        self._judge_path(cell)

    def _judge_path(self, cell: int) -> None:
        self.judge(cell)
        for above in self.tree.up(cell):
            self.back_up(above)


class Hct(XArmed):
    """Split the cube of merges where rewards are high and known well: one tree per cluster.

    Args:
        setup: The block. Parameters: see `HctParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits.

    Source: Azar, Lazaric and Brunskill 2014. Deviation: see `HctBandit`; the context is the
    dominant cluster of the estimated mix.
    """

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    parameters: ClassVar[str] = "agents.routers.hct:HctParams"

    def __init__(self, setup: BlockSetup) -> None:
        self.tuned = parse(HctParams, setup.params, "hct")
        super().__init__(setup, self.tuned)

    def grow(self) -> BoxBandit:
        """Make a tree bandit that knows nothing."""
        return HctBandit(self.experts - 1, self.tuned, self.rho)
