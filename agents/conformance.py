"""The shipped checker of routers: it plays a short script and reports what breaks the contract.

    from agents.conformance import check_router, example_setup
    assert check_router("uniform", example_setup) == []

Your own router: `check_router("mine", example_setup, load=lambda name: MyRouter)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.routers import ROUTERS
from sim.errors import InputError
from sim.plans import ByTask, Gated, Plan, Single, is_gated, merge_weights, uniform
from sim.ports import (
    BlockSetup,
    Calibration,
    ContextBlock,
    DecisionBlock,
    FeedbackBlock,
    Oracle,
    Receipts,
)
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.arrays import BoolArray, FloatArray
    from sim.ports import Router

SLOTS = 12
_SLACK = 1e-6
_RESET_SLOT = 7
_RECEIPTS = ("flop", "read_bytes", "moved_bytes", "state_bytes")

Make = Callable[[], BlockSetup]
Load = Callable[[str], Any]


def example_setup(
    nodes: int = 3, experts: int = 4, clusters: int = 3, seed: int = 11, **params: object
) -> BlockSetup:
    """Return a small block with a calibration and an oracle table, made up from the seed."""
    rng = Streams(seed).stream("conformance", "setup")
    eye = np.eye(experts)
    points = np.vstack([eye, np.full((1, experts), 1.0 / experts), rng.dirichlet(eye[0] + 1.0, 4)])
    known = Calibration(
        points, rng.random((len(points), clusters)), np.full(clusters, 50.0), np.full(clusters, 1.0)
    )
    tasks = clusters + 1
    table = Oracle(points, rng.random((len(points), tasks)), rng.dirichlet(np.ones(experts), tasks))
    ids = 10 + np.arange(nodes)
    return BlockSetup(ids, 0, experts, clusters, 2, 5.0, seed, known, params, table)


def check_router(name: str, make_setup: Make, load: Load = ROUTERS.load) -> list[str]:
    """Play a router through a short script, several times, and report every breach.

    Args:
        name: A row of the registry, or any name that `load` understands.
        make_setup: Makes a block, with an oracle table; the same one at every call.
        load: Turns the name into the router's class.

    Returns:
        One sentence per breach; empty when the router conforms.
    """
    kind = load(name)
    if not isinstance(getattr(kind, "oracle", None), bool):
        return [f"{name}: `oracle` must be a class attribute, True or False"]
    setup = make_setup()
    if not kind.oracle:
        setup = replace(setup, oracle=None)  # nobody else may depend on it
    first = _play(kind(setup), setup, _Script(setup, kind.oracle))
    found = list(dict.fromkeys(first.breaches))
    if not _same(first, _play(kind(setup), setup, _Script(setup, kind.oracle))):
        found.append("the same seed gave other decisions")
    found += _check_poison(kind, setup, first)
    found += _check_boundary(kind, setup, first)
    found += _check_params(kind, setup)
    return [f"{name}: {breach}" for breach in found]


def _check_poison(kind: Any, setup: BlockSetup, first: _Trace) -> list[str]:
    """Feedback with NaN must change nothing but the count of refused rows."""
    router = kind(setup)
    script = _Script(setup, kind.oracle, poison=True)
    found = []
    if not _same(first, _play(router, setup, script)):
        found.append("feedback with NaN changed decisions")
    refused = getattr(router, "refused", None)
    if refused != script.poisoned:
        found.append(
            f"refused {refused} rows with NaN (attribute `refused`), not {script.poisoned}"
        )
    return found


def _check_boundary(kind: Any, setup: BlockSetup, first: _Trace) -> list[str]:
    """A router that is no oracle must not read the true mix."""
    if kind.oracle:
        return []
    garbage = _play(kind(setup), setup, _Script(setup, oracle=False, garbage=True))
    return [] if _same(first, garbage) else ["read the true mix without declaring `oracle = True`"]


def _check_params(kind: Any, setup: BlockSetup) -> list[str]:
    try:
        kind(replace(setup, params={"no such parameter": 1}))
    except InputError:
        return []
    return ["accepted an unknown parameter"]


@dataclass(slots=True)
class _Trace:
    """What a router did, and what was wrong with it."""

    plans: list[tuple[Plan | None, ...]] = field(default_factory=list)
    arrays: list[bytes] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)


def _same(one: _Trace, two: _Trace) -> bool:
    return one.plans == two.plans and one.arrays == two.arrays


class _Script:
    """Contexts and feedback of a short run, a function of the seed and of what the router decided.

    Args:
        setup: The block.
        oracle: Hand over a true mix.
        garbage: Hand over a true mix of NaN to a router that must not look.
        poison: Add a row with NaN to every batch of feedback.
    """

    def __init__(
        self, setup: BlockSetup, oracle: bool, garbage: bool = False, poison: bool = False
    ) -> None:
        self._setup, self._oracle, self._garbage, self._poison = setup, oracle, garbage, poison
        self._n = len(setup.nodes)
        self._history: list[list[tuple[int, Plan]]] = [
            [(-1, uniform(setup.experts))] for _ in range(self._n)
        ]
        self.poisoned = 0

    def _rng(self, *name: str | int) -> np.random.Generator:
        return Streams(self._setup.seed).stream("conformance", *name)

    def active(self, slot: int) -> BoolArray:
        """Switch one node off in every third slot."""
        up = np.ones(self._n, dtype=np.bool_)
        up[slot // 3 % self._n] = slot % 3 != 0
        return up

    def context(self, slot: int) -> ContextBlock:
        """Return what the router sees; the last node restarts once."""
        counts = (
            self._rng("counts", slot)
            .integers(0, 20, (self._n, self._setup.clusters))
            .astype(np.float64)
        )
        counts[self._n // 2] *= slot % 2  # a node that serves nothing now and then
        reset = np.zeros(self._n, dtype=np.bool_)
        reset[-1] = slot == _RESET_SLOT
        active = self.active(slot)
        counts = np.asarray(counts * (active[:, None] & (slot > 0)), dtype=np.float64)
        t_s = slot * self._setup.slot_s
        return ContextBlock(slot, t_s, active, counts, reset, self._mix(slot))

    def _mix(self, slot: int) -> FloatArray | None:
        table = self._setup.oracle
        if self._garbage:
            return np.full((self._n, 5), np.nan)
        if not self._oracle or table is None:
            return None
        tasks = table.accuracy.shape[1]
        return np.asarray(self._rng("mix", slot).dirichlet(np.ones(tasks), self._n))

    def note(self, slot: int, answer: DecisionBlock) -> None:
        """Remember the plans in force."""
        for row, plan in enumerate(answer.plans):
            if plan is not None:
                self._history[row].append((slot, plan))

    def feedback(self, slot: int) -> FeedbackBlock:
        """Answer the last two decisions of every node, in parts; nothing at all in slot 2."""
        rows, decided, plans = [], [], []
        for row in range(self._n if slot != 2 else 0):
            for when, plan in self._history[row][-2:]:
                rows.append(row)
                decided.append(when)
                plans.append(plan)
        rng, shape = self._rng("feedback", slot), (len(rows), self._setup.clusters)
        count = rng.integers(0, 5, shape).astype(np.float64)
        reward = np.asarray(rng.random(shape) * (count > 0.0), dtype=np.float64)
        block = FeedbackBlock(
            slot, np.array(rows, int), np.array(decided, int), plans, reward, count
        )
        return self._poisoned(block) if self._poison and rows else block

    def _poisoned(self, block: FeedbackBlock) -> FeedbackBlock:
        """Add a spoilt copy of the first row: NaN in the reward or in the count, in turn."""
        self.poisoned += 1
        reward, count = block.reward[:1].copy(), block.count[:1] + 1.0
        (reward if block.slot % 2 else count)[0, 0] = np.nan
        return FeedbackBlock(
            block.slot,
            np.concatenate([block.row[:1], block.row]),
            np.concatenate([block.decided[:1], block.decided]),
            [block.plans[0], *block.plans],
            np.concatenate([reward, block.reward]),
            np.concatenate([count, block.count]),
        )


def _play(router: Router, setup: BlockSetup, script: _Script) -> _Trace:
    trace = _Trace()
    for slot in range(SLOTS):
        if slot:
            router.update_block(script.feedback(slot))
        context = script.context(slot)
        answer = router.decide_block(context)
        trace.breaches += _breaches(answer, context, setup)
        trace.breaches += _undeclared(answer, type(router))
        script.note(slot, answer)
        trace.plans.append(tuple(answer.plans))
        trace.arrays.append(_bytes(answer))
    return trace


def _bytes(answer: DecisionBlock) -> bytes:
    arrays = [getattr(answer.receipts, name) for name in _RECEIPTS]
    arrays += [answer.explored] + ([] if answer.mix is None else [answer.mix])
    rows = repr([sorted(row.items()) for row in answer.telemetry])
    return b"".join(np.asarray(array).tobytes() for array in arrays) + rows.encode()


def _breaches(answer: DecisionBlock, context: ContextBlock, setup: BlockSetup) -> list[str]:
    n = len(setup.nodes)
    if len(answer.plans) != n:
        return [f"{len(answer.plans)} plans for {n} nodes"]
    found = []
    for plan, active in zip(answer.plans, context.active.tolist(), strict=True):
        if plan is not None and not active:
            found.append("decided for an inactive node")
        if plan is not None:
            found += _plan_breaches(plan, setup)
    if np.shape(answer.explored) != (n,):
        found.append(f"explored has shape {np.shape(answer.explored)}, not {(n,)}")
    found += _receipt_breaches(answer.receipts, n)
    found += _mix_breaches(answer.mix, (n, setup.clusters))
    return found + _telemetry_breaches(answer.telemetry, {int(node) for node in setup.nodes})


def _plan_breaches(plan: Plan, setup: BlockSetup) -> list[str]:
    experts = setup.experts
    if is_gated(plan):
        return _gated_breaches(plan, setup)
    if isinstance(plan, Single) and not 0 <= plan.expert < experts:
        return [f"expert {plan.expert} of {experts}"]
    weights = np.array(merge_weights(plan, experts))
    fits = len(weights) == experts and bool(np.isfinite(weights).all())
    on_simplex = fits and abs(weights.sum() - 1.0) <= _SLACK and bool(weights.min() >= 0.0)
    return [] if on_simplex else [f"a merge off the simplex of {experts} experts"]


def _gated_breaches(plan: Gated, setup: BlockSetup) -> list[str]:
    experts = setup.experts
    if not isinstance(plan, ByTask):
        return [] if plan.k <= experts else [f"{plan.kind} of {plan.k} experts, of {experts}"]
    tasks = 0 if setup.oracle is None else setup.oracle.accuracy.shape[1]
    kinds = setup.clusters if plan.tags == "cluster" else tasks
    fits = len(plan.experts) == kinds and all(0 <= e < experts for e in plan.experts)
    return [] if fits else [f"{plan}: expected one of {experts} experts per {plan.tags}, {kinds}"]


def _undeclared(answer: DecisionBlock, kind: Any) -> list[str]:
    """Report plans of which nobody could know from the class: nodes must hold the experts."""
    found = []
    for plan in answer.plans:
        if plan is not None and is_gated(plan) and not getattr(kind, "gated", False):
            found.append(f"chose a gated plan ({plan.kind}) without declaring `gated = True`")
        if isinstance(plan, ByTask) and plan.tags == "task" and not kind.oracle:
            found.append("chose a plan by true tasks without declaring `oracle = True`")
    return found


def _receipt_breaches(receipts: Receipts, n: int) -> list[str]:
    found = []
    for name in _RECEIPTS:
        values = np.asarray(getattr(receipts, name))
        if values.shape != (n,) or not np.isfinite(values).all() or bool((values < 0.0).any()):
            found.append(f"receipt {name} must be {n} finite numbers >= 0")
    return found


def _mix_breaches(mix: FloatArray | None, shape: tuple[int, int]) -> list[str]:
    if mix is None:
        return []
    if mix.shape != shape:
        return [f"mix has shape {mix.shape}, not {shape}"]
    good = bool((mix >= 0.0).all()) and np.allclose(mix.sum(axis=1), 1.0, atol=_SLACK)
    return [] if good else ["mix is no probability over clusters"]


def _telemetry_breaches(
    rows: Sequence[Mapping[str, float | int | str]], nodes: set[int]
) -> list[str]:
    known = [row.get("table") in ("tree", "drift") and row.get("node") in nodes for row in rows]
    return [] if all(known) else ["telemetry of an unknown table, or of a node outside the block"]
