"""The parameters of Tanbr, with their limits."""

from __future__ import annotations

from dataclasses import dataclass

from agents.routers.params import limited
from sim.errors import InputError


@dataclass(frozen=True, slots=True)
class TanbrParams:
    """Everything that may be set in a scenario; the defaults are the measured ones."""

    # the model of the reward
    width: int = limited(128, 2, 4096)  # hidden units, even
    lambda0: float = limited(1.0, 1e-9)  # ridge
    beta: float = limited(2.0, 0.0)  # weight of the uncertainty
    noise_min: float = limited(
        0.02, 1e-6
    )  # smallest noise (standard deviation) of a slot's mean reward
    # training
    lr: float = limited(5e-3, 1e-9, 1.0)
    batch: int = limited(64, 1, 4096)
    steps: int = limited(10, 0, 1000)  # gradient steps per slot, done `period` slots at a time
    period: int = limited(25, 1)
    early_period: int = limited(5, 1)
    early_slots: int = limited(100, 0)  # a cold start trains at `early_period` until this age
    restart_steps: int = limited(300, 0)  # gradient steps of a warm start, and after an alarm
    records: int = limited(4000, 16)  # observations kept
    # the tree
    c: float = limited(0.1, 1e-6)
    nu: float = limited(1.0, 1e-6)
    rho: float = limited(0.0, 0.0, 0.999999)  # 0: 2^(-1/(K-1)), the shrinking of the cells
    max_leaves: int = limited(600, 1, 100_000)
    max_active: int = limited(0, 0)  # most experts in a merge, 0: all
    polish: int = limited(32, 0, 4096)  # points per round of local search, 0: off
    anchors: bool = True  # after a warm start, its points are candidates beside the leaves
    # the context
    alpha: float = limited(0.5, 1e-6, 1.0)  # weight of the last slot in the estimated mix
    warm_start: bool = True
    hysteresis: float = limited(0.0, 0.0)  # keep the plan unless the score gains more than this
    # the alarm
    alarm: bool = True
    alarm_delta: float = limited(1.0, 0.0)
    alarm_height: float = limited(25.0, 1e-6)
    alarm_warm: int = limited(60, 0)  # slots without test after a start
    alarm_keep: int = limited(8, 1)  # records that survive an alarm
    alarm_depth: int = limited(3, 0, 12)  # the tree restarts with 2^depth cells

    def __post_init__(self) -> None:
        if self.width % 2:
            raise InputError(f"router tanbr: width: expected an even number, found {self.width}")
        if self.alarm_keep > self.records:
            raise InputError(
                f"router tanbr: alarm_keep: expected at most {self.records} (records), "
                f"found {self.alarm_keep}"
            )
