"""Hierarchical optimistic optimisation, truncated: an X-armed bandit that splits what it plays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agents.routers.boxtree import BoxBandit
from agents.routers.params import limited, parse
from agents.routers.xarmed import XArmed, XArmedParams

if TYPE_CHECKING:
    from sim.ports import BlockSetup


@dataclass(frozen=True, slots=True)
class HooParams(XArmedParams):
    """Parameters of `hoo`."""

    horizon: int = limited(0, 0)  # answers that a tree is made for; 0: unknown, doubled as needed


class HooBandit(BoxBandit):
    """Truncated HOO.

    U = mean + sqrt(2 ln n / N) + nu rho^h with N and mean over all answers below the cell; every
    leaf that is played is split, down to depth (ln n / 2 - ln(1/nu)) / ln(1/rho).

    Args:
        dims: Dimensions of the cube.
        params: The configuration; its rho is ignored.
        rho: Shrinking of the cells.

    Source: Bubeck, Munos, Stoltz and Szepesvari 2011 (X-armed bandits, JMLR 12), sections 3 and
    4.2. Deviation: without a horizon, n is the next power of two and all U are computed anew when
    it grows (the paper starts again instead).
    """

    def __init__(self, dims: int, params: HooParams, rho: float) -> None:
        self.horizon = params.horizon
        super().__init__(dims, params.nu, rho, params.max_cells)

    @property
    def rounds(self) -> int:
        """Return n."""
        return self.horizon or 1 << self.time.bit_length()

    @property
    def deepest(self) -> int:
        """Return the depth to which cells are split."""
        edge = math.log(self.rounds) / 2.0 - math.log(1.0 / self.nu)
        return math.ceil(edge / math.log(1.0 / self.rho))

    def width(self, cell: int) -> float:
        """Return the confidence width of a cell that has answers."""
        return math.sqrt(2.0 * math.log(self.rounds) / self.pulls[cell])

    def stops(self, cell: int) -> bool:
        """Return False: the walk ends in leaves."""
        del cell
        return False

    def credit(self, cell: int, reward: float) -> None:
        """Learn the reward of a cell that was played, and split it."""
        before = self.rounds
        for above in self.tree.up(cell):
            self.pulls[above] += 1
            self.total[above] += reward
        self.time += 1
        if self.tree.depth[cell] <= self.deepest:
            self.expand(cell)
        if self.rounds == before:
            self._judge_path(cell)
        else:
            self.refresh()

    def amend(self, cell: int, change: float) -> None:
        """Learn that a reward that was credited has changed."""
        for above in self.tree.up(cell):
            self.total[above] += change
        self._judge_path(cell)

    def _judge_path(self, cell: int) -> None:
        for above in self.tree.up(cell):
            self.judge(above)
            self.back_up(above)


class Hoo(XArmed):
    """Split the cube of merges wherever it is played: one tree per cluster.

    Args:
        setup: The block. Parameters: see `HooParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits.

    Source: Bubeck et al. 2011. Deviation: see `HooBandit`; the context is the dominant cluster of
    the estimated mix.
    """

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    parameters: ClassVar[str] = "agents.routers.hoo:HooParams"

    def __init__(self, setup: BlockSetup) -> None:
        self.tuned = parse(HooParams, setup.params, "hoo")
        super().__init__(setup, self.tuned)

    def grow(self) -> BoxBandit:
        """Make a tree bandit that knows nothing."""
        return HooBandit(self.experts - 1, self.tuned, self.rho)
