"""When the world changes: was it noticed, how often was noticed what was not, how long did it hurt?

A change is a row `true` of the table `drift` at a routed node; several streams of a node that
change in one slot are one change. Of a gradual drift the row marks the start of its ramp, of a
recurring one every turn. So delay and recovery are measured from the start of a ramp, and a
detection later in a ramp that outlasts the window counts as false.

A detection is a row `detected` (the router saw a new mix) or `alarm` (its rewards left its
expectations). It belongs to a change when it comes within `WINDOW` slots from it and before the
next change of the node; the first one counts, later ones in the window count neither way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.records import DRIFTS, Table

if TYPE_CHECKING:
    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray

WINDOW = 30  # slots after a change in which a detection answers it
BEFORE = 20  # served slots before a change that say what was usual
LEAST_BEFORE = 5  # fewer than this say nothing
MOVING = 10  # served slots whose mean regret must be back
TOLERANCE = 0.02  # accuracy; two points above the usual is recovered
_SEEN = (DRIFTS.index("detected"), DRIFTS.index("alarm"))
_TRUE = DRIFTS.index("true")
_NAMES = (
    "drift_changes", "drift_delay_slots", "drift_missed", "drift_false_per_1000",
    "drift_recovered", "drift_recovery_slots",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of the world by (node, slot); `begin` and `end` bound the slots that are theirs."""

    node: IntArray  # (C,)
    slot: IntArray  # (C,)
    begin: IntArray  # (C,), slot of the node's change before, 0 for the first
    end: IntArray  # (C,), slot of the node's next change, or the slots that arrivals reach into

    def __len__(self) -> int:
        return len(self.node)


def changes(drift: Table, nodes: list[int], length: int) -> Changes:
    """Return the true changes of some nodes.

    Args:
        drift: The table of a Record.
        nodes: Nodes that count.
        length: Slots that arrivals reach into; later ones serve a handful and tell nothing.
    """
    kept = (drift["kind"] == _TRUE) & np.isin(drift["node"], nodes)
    pairs = np.unique(np.stack((drift["node"][kept], drift["slot"][kept])).astype(np.int64), axis=1)
    node, slot = pairs[0], pairs[1]
    same = node[1:] == node[:-1]
    begin, end = np.zeros(len(node), np.int64), np.full(len(node), length, np.int64)
    begin[1:][same] = slot[:-1][same]
    end[:-1][same] = slot[1:][same]
    return Changes(node, slot, begin, end)


def detections(drift: Table, nodes: list[int]) -> tuple[IntArray, IntArray]:
    """Return (node, slot) of what a router noticed, sorted; twice in one slot counts once."""
    kept = np.isin(drift["kind"], _SEEN) & np.isin(drift["node"], nodes)
    pairs = np.unique(np.stack((drift["node"][kept], drift["slot"][kept])).astype(np.int64), axis=1)
    return pairs[0], pairs[1]


def delays(found: Changes, node: IntArray, slot: IntArray, window: int = WINDOW) -> FloatArray:
    """Return slots from each change to its first detection, (C,); NaN: missed.

    Args:
        found: The changes.
        node: Nodes of the detections.
        slot: Slots of the detections.
        window: Slots from a change in which a detection belongs to it.
    """
    out = np.full(len(found), np.nan)
    for i in range(len(found)):
        late = min(int(found.slot[i]) + window, int(found.end[i]))
        mine = slot[(node == found.node[i]) & (slot >= found.slot[i]) & (slot < late)]
        if len(mine):
            out[i] = float(mine.min() - found.slot[i])
    return out


def false_alarms(found: Changes, node: IntArray, slot: IntArray, window: int = WINDOW) -> BoolArray:
    """Tell which detections follow no true change of their node within `window` slots before."""
    out = np.ones(len(node), dtype=bool)
    for i in range(len(node)):
        ago = slot[i] - found.slot[found.node == node[i]]
        out[i] = not bool(((ago >= 0) & (ago < window)).any())
    return out


def recoveries(found: Changes, slots: Table) -> FloatArray:
    """Return slots from each change until regret is back to usual, (C,).

    Usual is the mean realised regret of the node's last `BEFORE` served slots before the change
    (at least `LEAST_BEFORE`, none older than the change before). A node is back at the first
    served slot from which `MOVING` served slots on average lose at most `TOLERANCE` more than
    that: 0 when the change never hurt. Infinite: not before the next change or the end of the run.
    NaN: nothing was usual yet, or too little was served afterwards to tell.

    Args:
        found: The changes.
        slots: The table of one trial; rows without service or reward are left out.
    """
    out = np.full(len(found), np.nan)
    regret, node, slot = _regret(slots)
    first, last = (np.searchsorted(node, found.node, side) for side in ("left", "right"))
    for i in range(len(found)):
        at, lost = slot[first[i] : last[i]], regret[first[i] : last[i]]
        usual = lost[(at >= found.begin[i]) & (at < found.slot[i])][-BEFORE:]
        after = (at >= found.slot[i]) & (at < found.end[i])
        if len(usual) >= LEAST_BEFORE and after.sum() >= MOVING:
            out[i] = _back(at[after] - found.slot[i], lost[after], float(usual.mean()))
    return out


def _back(ago: IntArray, lost: FloatArray, usual: float) -> float:
    moving = np.convolve(lost, np.full(MOVING, 1.0 / MOVING), mode="valid")
    good = np.flatnonzero(moving <= usual + TOLERANCE + 1e-12)
    return float(ago[good[0]]) if len(good) else math.inf


def _regret(slots: Table) -> tuple[FloatArray, AnyArray, AnyArray]:
    """Return regret of the node-slots that have one, with node and slot, sorted by these."""
    lost = slots["reward_best"] - slots["reward"]
    kept = np.flatnonzero((slots["served"] > 0) & np.isfinite(lost))
    kept = kept[np.lexsort((slots["slot"][kept], slots["node"][kept]))]
    return lost[kept], slots["node"][kept], slots["slot"][kept].astype(np.int64)


def aligned(found: Changes, slots: Table, before: int = BEFORE, after: int = 40) -> FloatArray:
    """Return mean regret by slots since a change, over nodes and changes, (before + after,).

    Entry `before` is the slot of the change. What belongs to the change before or after is left
    out; NaN where nothing was served.
    """
    regret, node, slot = _regret(slots)
    total, count = np.zeros(before + after), np.zeros(before + after)
    first, last = (np.searchsorted(node, found.node, side) for side in ("left", "right"))
    for i in range(len(found)):
        at, lost = slot[first[i] : last[i]], regret[first[i] : last[i]]
        place = at - found.slot[i] + before
        kept = (at >= found.begin[i]) & (at < found.end[i])
        kept &= (place >= 0) & (place < before + after)
        np.add.at(total, place[kept], lost[kept])
        np.add.at(count, place[kept], 1.0)
    out: FloatArray = np.full(before + after, np.nan)
    np.divide(total, count, out=out, where=count > 0.0)
    return out


def drift_facts(drift: Table, slots: Table, nodes: list[int], length: int) -> dict[str, float]:
    """Return a trial's answer to its changes; NaN where nothing changed or nothing can tell.

    `drift_missed` is a share of the changes, `drift_delay_slots` a mean over those detected,
    `drift_false_per_1000` per thousand node-slots with service. Delay, misses and false alarms
    are NaN for a policy that keeps no estimate of the mix and never reported anything: it does not
    look. `drift_recovery_slots` is the median over the changes that can be measured; a change that
    did not recover counts as all the slots that it was watched for, so where `drift_recovered`,
    the share that did, is low, it is a lower bound.

    Args:
        drift: The table of a Record, or an empty dict.
        slots: The table of a Record, or an empty dict.
        nodes: Routed nodes.
        length: Slots that arrivals reach into.
    """
    out = dict.fromkeys(_NAMES, math.nan)
    if not drift or not slots:
        return out
    mine = np.isin(slots["node"], nodes) & (slots["served"] > 0)
    found = changes(drift, nodes, length)
    node, slot = detections(drift, nodes)
    if not len(found) and not len(node):
        return out
    out["drift_changes"] = float(len(found))
    if len(node) or np.isfinite(slots["context_tv"][mine]).any():
        out["drift_false_per_1000"] = (
            1000.0 * float(false_alarms(found, node, slot).sum()) / max(int(mine.sum()), 1)
        )
        out |= _noticed(delays(found, node, slot))
    return out | _recovered(recoveries(found, slots), found.end - found.slot)


def _noticed(delay: FloatArray) -> dict[str, float]:
    seen = delay[np.isfinite(delay)]
    return {
        "drift_delay_slots": float(seen.mean()) if len(seen) else math.nan,
        "drift_missed": 1.0 - len(seen) / len(delay) if len(delay) else math.nan,
    }


def _recovered(slots: FloatArray, watched: IntArray) -> dict[str, float]:
    known = ~np.isnan(slots)
    if not known.any():
        return {"drift_recovered": math.nan, "drift_recovery_slots": math.nan}
    least = np.where(np.isfinite(slots), slots, watched)[known]
    return {
        "drift_recovered": float(np.isfinite(slots[known]).mean()),
        "drift_recovery_slots": float(np.median(least)),
    }
