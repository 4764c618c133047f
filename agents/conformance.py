"""The shipped checker of routers: it plays a short script and reports what breaks the contract.

The script has nodes that are down, idle or restart, a cluster that changes its meaning, feedback
that is late, in parts or missing, and, in plays of their own, feedback with NaN and feedback in one
number per slot. A router with `snapshot` and `restore` is stopped and resumed as well.

    from agents.conformance import check_router, example_setup
    assert check_router("uniform", example_setup) == []

Your own router: `check_router("mine", example_setup, load=lambda name: MyRouter)`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.conformance_script import RESUME_SLOT, SLOTS, Script
from agents.routers import ROUTERS
from sim.errors import InputError
from sim.plans import ByTask, Gated, Plan, Single, is_gated, merge_weights
from sim.ports import (
    BlockSetup,
    Calibration,
    ContextBlock,
    DecisionBlock,
    Oracle,
    Receipts,
)
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.ports import Router

_SLACK = 1e-6
_NO_PARAMETER = "no such parameter"
_HINT = "draw from Streams(setup.seed).stream(...) alone, one stream per node"
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
    first = _play(kind(setup), setup, Script(setup, kind.oracle))
    if first.breaches:  # what is malformed is not worth comparing
        return [f"{name}: slot {slot}: {breach}" for breach, slot in first.breaches.items()]
    checks = (_check_seed, _check_poison, _check_boundary, _check_resumed, _check_alone)
    found = [breach for check in checks for breach in check(kind, setup, first)]
    found += _check_pooled(kind, setup) + _check_params(kind, setup)
    return [f"{name}: {breach}" for breach in found]


def _check_seed(kind: Any, setup: BlockSetup, first: _Trace) -> list[str]:
    """The same seed must give the same decisions."""
    slot = _parting(first, _play(kind(setup), setup, Script(setup, kind.oracle)))
    return [] if slot is None else [f"the same seed gave other decisions in slot {slot}; {_HINT}"]


def _check_poison(kind: Any, setup: BlockSetup, first: _Trace) -> list[str]:
    """Feedback with NaN must change nothing but the count of refused rows."""
    router = kind(setup)
    script = Script(setup, kind.oracle, poison=True)
    found = []
    if (slot := _parting(first, _play(router, setup, script))) is not None:
        found.append(f"feedback with NaN changed decisions in slot {slot}; see `sound_rows`")
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
    garbage = _play(kind(setup), setup, Script(setup, oracle=False, garbage=True))
    read = _parting(first, garbage) is not None
    return ["read the true mix without declaring `oracle = True`"] if read else []


def _check_resumed(kind: Any, setup: BlockSetup, first: _Trace) -> list[str]:
    """A router that is put back into an earlier state must go on as the first one did."""
    has = [callable(getattr(kind, name, None)) for name in ("snapshot", "restore")]
    if not all(has):
        return ["has only one of `snapshot` and `restore`"] if any(has) else []
    router, script = kind(setup), Script(setup, kind.oracle)
    _play(router, setup, script, range(RESUME_SLOT))
    state = router.snapshot()
    if found := _state_breaches(state):
        return found
    _play(router, setup, script, range(RESUME_SLOT, SLOTS))  # must not reach into the snapshot
    resumed, script = kind(setup), Script(setup, kind.oracle)
    resumed.restore(state)
    for before, plans in enumerate(first.plans[:RESUME_SLOT]):
        script.note(before, plans)
    slot = _parting(first, _play(resumed, setup, script, range(RESUME_SLOT, SLOTS)))
    told = f"restored from a snapshot taken before slot {RESUME_SLOT}, it decided"
    return [] if slot is None else [f"{told} otherwise in slot {slot}; copy all that changes"]


def _state_breaches(state: object) -> list[str]:
    if not isinstance(state, dict):
        return [f"snapshot: expected a dict of numpy arrays, found {type(state).__name__}"]
    bad = [k for k, v in state.items() if not isinstance(v, np.ndarray) or v.dtype.hasobject]
    return [f"snapshot: expected numpy arrays of numbers, found others at {bad}"] if bad else []


def _check_alone(kind: Any, setup: BlockSetup, first: _Trace) -> list[str]:
    """A node must decide the same alone as in the block, up to rounding."""
    found, n = [], len(setup.nodes)
    for row in (0, n - 1) if n > 1 else ():
        script = Script(setup, kind.oracle, only=row)
        swap_s = None if setup.swap_s is None else setup.swap_s[row : row + 1]
        one = replace(setup, nodes=setup.nodes[row : row + 1], swap_s=swap_s)
        lone = _play(kind(one), one, script)
        if (slot := _leaving(first, lone, row, setup.experts)) is not None:
            found.append(
                f"node {int(setup.nodes[row])} decided or cost otherwise alone than in its block, "
                f"from slot {slot}; {_HINT}"
            )
    return found


def _check_pooled(kind: Any, setup: BlockSetup) -> list[str]:
    """Rewards in one number per slot must not break what else holds."""
    one = replace(setup, pooled=True)
    trace = _play(kind(one), one, Script(one, kind.oracle))
    return [f"with `pooled`, slot {slot}: {breach}" for breach, slot in trace.breaches.items()]


def _check_params(kind: Any, setup: BlockSetup) -> list[str]:
    found = []
    try:
        kind(replace(setup, params={_NO_PARAMETER: 1}))
        found.append("accepted an unknown parameter; use `parse` or `refuse_params`")
    except InputError as error:
        if _NO_PARAMETER not in str(error):
            found.append(f"refused an unknown parameter without naming it: {error}")
    except Exception as error:  # whatever a foreign class raises
        found.append(f"met an unknown parameter with {type(error).__name__}, not InputError")
    return found


@dataclass(slots=True)
class _Trace:
    """What a router did, and what was wrong with it: each breach with its first slot."""

    first_slot: int = 0
    plans: list[tuple[Plan | None, ...]] = field(default_factory=list)
    answers: list[DecisionBlock] = field(default_factory=list)
    breaches: dict[str, int] = field(default_factory=dict)


def _parting(whole: _Trace, other: _Trace) -> int | None:
    """Return the first slot of the second trace in which the two differ by a bit, or None."""
    for slot, answer in enumerate(other.answers, start=other.first_slot):
        known = whole.answers[slot]
        if list(known.plans) != list(answer.plans) or _bytes(known) != _bytes(answer):
            return slot
    return None


def _leaving(block: _Trace, lone: _Trace, row: int, experts: int) -> int | None:
    """Return the first slot in which a node alone differs from its row in a block, or None."""
    for slot, (one, two) in enumerate(zip(block.answers, lone.answers, strict=True)):
        plans = one.plans[row], two.plans[0]
        numbers = _row_numbers(one, row), _row_numbers(two, 0)
        if not (_alike(*plans, experts) and np.allclose(*numbers, rtol=_SLACK, atol=_SLACK)):
            return slot
    return None


def _alike(one: Plan | None, two: Plan | None, experts: int) -> bool:
    if one is None or two is None or type(one) is not type(two):
        return one is two
    pair = merge_weights(one, experts), merge_weights(two, experts)
    if pair[0] is None or pair[1] is None:
        return one == two
    return bool(np.allclose(pair[0], pair[1], rtol=0.0, atol=_SLACK))


def _row_numbers(answer: DecisionBlock, row: int) -> FloatArray:
    costs = [float(np.asarray(getattr(answer.receipts, name))[row]) for name in _RECEIPTS]
    return np.array([*costs, *([] if answer.mix is None else answer.mix[row])])


def _play(router: Router, setup: BlockSetup, script: Script, slots: range = range(SLOTS)) -> _Trace:
    trace = _Trace(slots.start)
    for slot in slots:
        if slot:
            router.update_block(script.feedback(slot))
        context = script.context(slot)
        answer = router.decide_block(context)
        for breach in _breaches(answer, context, setup) + _undeclared(answer, type(router)):
            trace.breaches.setdefault(breach, slot)
        script.note(slot, answer.plans)
        trace.plans.append(tuple(answer.plans))
        trace.answers.append(copy.deepcopy(answer))
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
