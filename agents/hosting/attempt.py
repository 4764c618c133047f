"""One item of an experiment, tried: its result, or why there is none.

Free of heavy imports, because every worker loads it first.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Stage: TypeAlias = Literal["run", "transfer", "worker", "timeout", "memory"]
OnDone: TypeAlias = Callable[[int, Any], None]


@dataclass(frozen=True, slots=True)
class TrialFailure:
    """Why an item has no result.

    `run`: the function raised. `transfer`: the item or its result could not travel between
    processes. `worker`: the process that ran it died. `timeout`, `memory`: it took more than it
    may, and was stopped.
    """

    stage: Stage
    message: str
    traceback: str = ""


class Enough(Exception):
    """Raised by `on_done`: start nothing more, and let what runs come to its end."""


def failure(stage: Stage, error: BaseException) -> TrialFailure:
    """Turn an exception into a failure that can travel."""
    text = "".join(traceback.format_exception(error))
    return TrialFailure(stage, f"{type(error).__name__}: {error}", text)


def attempt(function: Callable[[T], R], item: T) -> R | TrialFailure:
    """Run a function on an item; whatever it raises, except an interrupt, becomes a failure."""
    try:
        return function(item)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit of one trial must not end the others either
        return failure("run", error)
