"""The parameters of Tanbr, with their limits, and the presets of its modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.routers.context import ContextParams
from agents.routers.grouping import GROUPINGS
from agents.routers.params import check_word, limited, parse
from agents.routers.tanbr.cells import CELLS
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

FEATURES = ("net", "rff")

# `paper`: the closest reconstruction of Han et al. 2025, whose own text leaves these open or was
# only available second-hand; see the package docstring
PRESETS: dict[str, dict[str, Any]] = {
    "nl": {},
    "paper": {
        "cells": "box",
        "width": 64,
        "lambda0": 1.0,
        "beta": 1.0,
        "max_active": 8,
        "groups": -1,
        "polish": 0,
        "anchors": False,
        "warm_start": False,
        "hysteresis": 0.0,
        "alarm": False,
        "rollback": False,
        "detector": False,
    },
}


@dataclass(frozen=True, slots=True)
class TanbrParams(ContextParams):
    """Everything that may be set in a scenario; the defaults are the measured ones.

    `mode: paper` changes some defaults, see `PRESETS`; what is given explicitly always holds.
    """

    mode: str = "nl"  # nl: neural-linear; paper: the reconstruction
    # the model of the reward
    features: str = "net"  # net: learned; rff: random Fourier features, no training
    width: int = limited(128, 2, 4096)  # hidden units, even
    waves: int = limited(192, 2, 4096)  # random Fourier features
    scale: float = limited(0.5, 1e-3, 100.0)  # their length-scale
    lambda0: float = limited(1.0, 1e-9)  # ridge
    beta: float = limited(2.0, 0.0)  # weight of the uncertainty (upsilon of `mode: paper`)
    noise_min: float = limited(
        0.02, 1e-6
    )  # smallest noise (standard deviation) of a slot's mean reward
    scalar: bool = False  # learn from one number per slot even where there is one per cluster
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
    cells: str = "simplex"  # how it is cut: simplex, box, tight-box, cube
    c: float = limited(0.1, 1e-6)
    nu: float = limited(1.0, 1e-6)
    rho: float = limited(0.0, 0.0, 0.999999)  # 0: 2^(-1/(K-1)), the shrinking of the cells
    start_depth: int = limited(0, 0, 12)  # the tree starts with 2^depth cells
    max_leaves: int = limited(600, 1, 100_000)
    max_active: int = limited(0, 0)  # most experts in a merge, 0: all
    polish: int = limited(32, 0, 4096)  # points per round of local search, 0: off
    anchors: bool = True  # after a warm start, its points are candidates beside the leaves
    groups: int = limited(0, -1, 4096)  # super-experts; 0: 8 for more than 8 experts, -1: off
    # profile, as measured with 32 real experts (regret 4.4 points, usage 17.2, no groups 4.2); on
    # landscapes whose optima nobody shares the two tie
    grouping: str = "profile"  # how experts are put together: profile, usage
    # the start, and changes of the plan
    warm_start: bool = True
    hysteresis: float = limited(0.1, 0.0)  # a change must gain this many times what its merge costs
    # the alarm
    alarm: bool = True
    alarm_delta: float = limited(1.0, 0.0)
    alarm_height: float = limited(25.0, 1e-6)
    alarm_warm: int = limited(60, 0)  # slots without test after a start
    alarm_keep: int = limited(8, 1)  # records that survive an alarm
    alarm_depth: int = limited(3, 0, 12)  # the tree restarts with 2^depth cells
    # the way back
    rollback: bool = True
    rollback_every: int = limited(50, 1)  # slots between snapshots
    rollback_freeze: int = limited(10, 0)  # slots without exploration after going back

    def __post_init__(self) -> None:
        check_word("mode of router tanbr", self.mode, PRESETS)
        check_word("features of router tanbr", self.features, FEATURES)
        check_word("cells of router tanbr", self.cells, CELLS)
        check_word("grouping of router tanbr", self.grouping, GROUPINGS)
        if self.mode == "paper" and self.features != "net":
            raise InputError(
                f"router tanbr: features: expected net (mode paper has no other), "
                f"found {self.features!r}"
            )
        if self.width % 2:
            raise InputError(f"router tanbr: width: expected an even number, found {self.width}")
        if self.alarm_keep > self.records:
            raise InputError(
                f"router tanbr: alarm_keep: expected at most {self.records} (records), "
                f"found {self.alarm_keep}"
            )


def read_params(params: Mapping[str, Any]) -> TanbrParams:
    """Return the configuration that a user's parameters and the preset of their mode make.

    Raises:
        InputError: A parameter is unknown, of the wrong type, or out of its limits.
    """
    mode = parse(TanbrParams, params, "tanbr").mode
    return parse(TanbrParams, {**PRESETS[mode], **params}, "tanbr")
