"""The benchmark of learning routers on landscapes: regret, its late part and bend, and time.

Needs no simulator and no trained model. The command line is `moedge bench-routers`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from agents.hosting.threads import one_thread
from agents.routers import ROUTERS
from agents.routers.landscapes import KINDS, Arena, Game, best_merges, draw, setup_for
from agents.routers.landscapes.arena import tail_slope
from agents.routers.outside import PyxabHct, installed
from sim.errors import InputError, UnknownName
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agents.routers.landscapes import Landscape
    from sim.arrays import FloatArray
    from sim.ports import BlockSetup, ContextBlock, DecisionBlock, FeedbackBlock, Router

CLUSTERS = 4
FIXED = "fixed-hindsight"  # the best merge that never changes, known afterwards only
PYXAB = "pyxab-hct"
FLOORS = ("uniform", "random")
LANDSCAPES = ("quad-4", "quad-8", "bump-4", "bump-8", "ripple-8", "mlp-8")
_MLP_REQUESTS = 128
_REFERENCE, _REFERENCE_RUNS = 256, 15  # rows of the reference product, and how often it is timed


@dataclass(frozen=True, slots=True)
class Contender:
    """A router with its parameters; `label` is how the user wrote it."""

    label: str
    kind: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """Say what a reader must know of it."""
        notes = {FIXED: "needs hindsight", PYXAB: "outside reference"}
        return notes.get(self.kind, "" if self.kind not in FLOORS else "learns nothing")


@dataclass(frozen=True, slots=True)
class Rules:
    """What all contenders share.

    Args:
        slots: T.
        seeds: One landscape, one walk of mixes and one stream of noise each.
        delay: Slots between a decision and its feedback.
        warm: Hand over a calibration; False: everybody starts cold.
        lagged: The mix is known from the slot before only.
    """

    slots: int
    seeds: tuple[int, ...]
    delay: int = 0
    warm: bool = False
    lagged: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One contender on one kind of landscape."""

    contender: Contender
    landscape: str
    rules: Rules


@dataclass(frozen=True, slots=True)
class Score:
    """What came of a job; one number per seed."""

    label: str
    landscape: str
    note: str
    regret: tuple[float, ...]  # cumulative
    late: tuple[float, ...]  # per slot, in the last quarter
    slope: tuple[float, ...]  # of log cumulative regret over log t on [T/4, T]
    decision_s: float  # processor time to decide and learn, per node and slot
    reference_s: float  # processor time of one product of two 256 x 256 matrices

    @property
    def decision_ratio(self) -> float:
        """Return the time of a decision in reference products."""
        return self.decision_s / self.reference_s


def parse_landscape(word: str) -> tuple[str, int]:
    """Read a landscape such as `bump-8`: its kind and the number of experts.

    Raises:
        InputError: It has another form.
        UnknownName: No such kind.
    """
    kind, _, experts = word.rpartition("-")
    if kind and kind not in KINDS:
        raise UnknownName("landscape", kind, KINDS)
    if not kind or not experts.isdecimal() or not 2 <= int(experts) <= 256:
        raise InputError(
            f"landscape {word!r}: expected KIND-EXPERTS with 2 to 256 experts, such as bump-8 "
            f"(kinds: {', '.join(KINDS)})"
        )
    return kind, int(experts)


def everybody() -> list[Contender]:
    """Return all learning routers that are no oracles, then floors and references.

    Raises:
        InputError: A router cannot be imported.
    """
    learners = [name for name in ROUTERS if _learns(name)]
    outside = [PYXAB] if installed() else []
    return [Contender(name, name) for name in (*learners, *FLOORS, FIXED, *outside)]


def _learns(name: str) -> bool:
    kind = _load(name)
    return bool(kind.learns and not kind.oracle)


def _load(name: str) -> Any:
    if name == PYXAB:
        return PyxabHct
    if name not in ROUTERS:
        raise UnknownName("router", name, (*ROUTERS, FIXED, PYXAB))
    try:
        return ROUTERS.load(name)
    except ImportError as error:
        raise InputError(f"router {name}: cannot be loaded from {ROUTERS[name]}: {error}") from None


def check(contender: Contender) -> None:
    """Refuse a contender that does not exist, whose parameters are wrong, or that cannot play.

    Raises:
        InputError: The message says why.
    """
    if contender.kind == FIXED:
        if contender.params:
            raise InputError(f"router {FIXED}: takes no parameters")
        return
    kind = _load(contender.kind)
    if kind.oracle:
        raise InputError(f"router {contender.kind}: is an oracle, and landscapes ship no table")
    lands, game = [draw("quad", 4, CLUSTERS, 0, 1)], Game(1)
    router = _make(contender, setup_for(lands, game, 0, {}), warm=True)
    try:
        Arena(lands, game, 0).take(0, router)
    except InputError as error:
        raise InputError(f"router {contender.label}: {error}") from None


def _make(contender: Contender, setup: BlockSetup, *, warm: bool) -> Router:
    """Build a contender; a cold start is asked for where the router has the switch."""
    kind = _load(contender.kind)
    params = dict(contender.params)
    if not warm and "warm_start" in _parameters(kind):
        params.setdefault("warm_start", False)
    router: Router = kind(replace(setup, params=params))
    return router


def _parameters(kind: Any) -> tuple[str, ...]:
    place = getattr(kind, "parameters", "")
    if not place:
        return ()
    module, _, name = place.partition(":")
    return tuple(f.name for f in fields(getattr(import_module(module), name)))


class Timed:
    """A router whose processor time is counted."""

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    def __init__(self, router: Router) -> None:
        self._router, self.spent_s = router, 0.0

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Decide."""
        begin_s = time.process_time()
        answer = self._router.decide_block(context)
        self.spent_s += time.process_time() - begin_s
        return answer

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn."""
        begin_s = time.process_time()
        self._router.update_block(feedback)
        self.spent_s += time.process_time() - begin_s


def play_job(job: Job) -> Score:
    """Play a contender on one landscape per seed, in one block where nobody needs his own.

    Raises:
        InputError: A parameter does not fit this landscape, or the router serves gated plans.
    """
    one_thread()
    rules, (kind, experts) = job.rules, parse_landscape(job.landscape)
    lands = [_draw(kind, experts, seed) for seed in rules.seeds]
    before = _reference_times()
    blocks = [[i] for i in range(len(lands))] if rules.warm else [list(range(len(lands)))]
    # a block has one calibration, so a warm start needs a block per seed
    parts = [
        _play([lands[i] for i in block], job, [rules.seeds[i] for i in block]) for block in blocks
    ]
    regret, spent_s = np.vstack([part[0] for part in parts]), sum(part[1] for part in parts)
    reference_s = float(np.median(before + _reference_times()))
    return _score(job, regret, spent_s / regret.size, reference_s)


@lru_cache(maxsize=64)
def _draw(kind: str, experts: int, seed: int) -> Landscape:
    return draw(kind, experts, CLUSTERS, seed)


def _game(job: Job) -> Game:
    rules = job.rules
    requests = _MLP_REQUESTS if job.landscape.startswith("mlp-") else 0
    return Game(
        rules.slots, lagged=rules.lagged, delay=rules.delay, warm=rules.warm, requests=requests
    )


def _play(lands: Sequence[Landscape], job: Job, seeds: list[int]) -> tuple[FloatArray, float]:
    """Return regret, (n, T), and the router's processor time."""
    game = _game(job)
    arena = Arena(lands, game, seeds)
    if job.contender.kind == FIXED:
        return _fixed(arena, seeds), 0.0
    router = Timed(_make(job.contender, setup_for(lands, game, seeds[0], {}), warm=game.warm))
    for slot in range(game.slots):
        arena.take(slot, router)
    return arena.regret, router.spent_s


def _fixed(arena: Arena, seeds: list[int]) -> FloatArray:
    """Return the regret of the best merge for the mean mix of each node's slots, (n, T)."""
    rows = []
    for land, walk, seed in zip(arena.lands, arena.walk, seeds, strict=True):
        rng = Streams(seed).stream("bench", "fixed")
        point, _ = best_merges(land, land.mixes[walk].mean(axis=0)[None], rng)
        rows.append((land.best - land.mixes @ land.reward(point[0]))[walk])
    return np.stack(rows)


def _reference_times() -> list[float]:
    """Time the product of two 256 x 256 matrices, in seconds of processor time."""
    matrix = np.linspace(0.0, 1.0, _REFERENCE**2).reshape(_REFERENCE, _REFERENCE)
    spent = []
    for _ in range(_REFERENCE_RUNS):
        begin_s = time.process_time()
        matrix @ matrix
        spent.append(time.process_time() - begin_s)
    return spent


def _score(job: Job, regret: FloatArray, decision_s: float, reference_s: float) -> Score:
    late = regret[:, regret.shape[1] * 3 // 4 :].mean(axis=1)
    return Score(
        job.contender.label,
        job.landscape,
        job.contender.note,
        tuple(regret.sum(axis=1).tolist()),
        tuple(late.tolist()),
        tuple(tail_slope(regret).tolist()),
        decision_s,
        reference_s,
    )
