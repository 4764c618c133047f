"""The timetable of faults: scheduled ones, and ones drawn from the seed before the run starts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import inf, isfinite
from typing import TYPE_CHECKING, Protocol

from sim.clock import FAULT, Clock
from sim.errors import InputError
from sim.records import FAULTS
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.config import FaultKind, FaultSpec, Work, World
    from sim.ports import ExpertKey, ModelCard

LINK_KINDS = ("link-down", "link-slow", "link-lossy")
EXPERT_KINDS = ("expert-lost", "expert-corrupt")
MODEL_KINDS = (
    *EXPERT_KINDS,
    "storage-slow",
    "feedback-spoiled",
)  # without a model they hit nothing
# what holds or does not, however many outages say so; the others add up, so each of them is told
SINGLE_KINDS = ("node-crash", "link-down", "telemetry-loss")
MOST_FACTOR = 1e6  # so that not even fifty that overlap leave the range of floats
MOST = 200_000  # outages of one fault: more is a slip in the input, and would not end


@dataclass(frozen=True, slots=True)
class Outage:
    """One interval in which a fault holds at a target; `until_s` may be infinite."""

    kind: FaultKind
    target: int
    from_s: float
    until_s: float
    spec: FaultSpec


def timetable(world: World, card: ModelCard | None = None) -> tuple[Outage, ...]:
    """Return every outage that starts before the run's latest end, by time, then kind and target.

    Drawn faults alternate exponential up and down times, starting up; each draws from its own
    stream, so that no policy and no other fault moves it (law L5). One draw holds for all targets
    of a fault. Repeats start at products, `at_s + i * every_s`, so that no rounding adds up.

    Args:
        world: The run.
        card: Its model, to check which experts there are.

    Raises:
        InputError: A fault hits what does not exist or what it can take nothing from, or a number
            of it makes no sense.

    Source: alternating renewal process, availability MTBF / (MTBF + MTTR). Deviation: none.
    """
    for index, fault in enumerate(world.faults):
        _check_numbers(index, fault)
        _check_targets(world, index, fault)
        _check_model(world, card, index, fault)
    end_s = world.duration_s + world.drain_s
    outages: list[Outage] = []
    for index, fault in enumerate(world.faults):
        spans = _scheduled(fault, end_s) if fault.mtbf_s is None else _drawn(world, index, end_s)
        found = list(islice(spans, MOST + 1))
        if len(found) > MOST:
            raise InputError(f"faults.{index}: expected at most {MOST} outages, found more")
        outages += [
            Outage(fault.kind, target, from_s, until_s, fault)
            for from_s, until_s in found
            for target in (fault.target, *fault.also)
        ]
    return tuple(sorted(outages, key=lambda o: (o.from_s, o.kind, o.target, o.until_s)))


def _scheduled(fault: FaultSpec, end_s: float) -> Iterator[tuple[float, float]]:
    """Yield (from_s, until_s) of a scheduled fault and its repeats."""
    assert fault.at_s is not None
    start_s, count = fault.at_s, 0
    while start_s <= end_s and (count == 0 or start_s < fault.until_s):
        yield start_s, start_s + fault.for_s
        if fault.every_s is None:
            return
        count += 1
        start_s = fault.at_s + count * fault.every_s


def _drawn(world: World, index: int, end_s: float) -> Iterator[tuple[float, float]]:
    """Yield (from_s, until_s) of a drawn fault."""
    fault = world.faults[index]
    assert fault.mtbf_s is not None
    rng = Streams(world.seed).stream("faults", fault.kind, fault.target, index)
    t_s = 0.0
    while True:
        t_s += float(rng.exponential(fault.mtbf_s))
        down_s = inf if fault.mttr_s is None else float(rng.exponential(fault.mttr_s))
        if t_s > end_s:
            return
        yield t_s, t_s + down_s
        t_s += down_s


# --- what a fault may say


def _check_numbers(index: int, fault: FaultSpec) -> None:
    if (fault.at_s is None) == (fault.mtbf_s is None):
        raise InputError(f"faults.{index}: expected either at_s or mtbf_s, found both or none")
    if fault.every_s is not None and fault.at_s is None:
        raise InputError(f"faults.{index}.every_s: only a scheduled fault (at_s) repeats")
    for name, low, high in (
        ("at_s", 0.0, inf), ("delay_s", 0.0, inf), ("factor", 1.0, MOST_FACTOR), ("loss", 0.0, 1.0),
    ):  # fmt: skip
        value = getattr(fault, name)
        if value is not None and not low <= value < high:
            raise InputError(
                f"faults.{index}.{name}: expected >= {low} and < {high}, found {value}"
            )
    for name in ("for_s", "mtbf_s", "mttr_s", "every_s", "until_s"):
        value = getattr(fault, name)
        if value is not None and not value > 0.0:
            raise InputError(f"faults.{index}.{name}: expected > 0, found {value}")


def _check_targets(world: World, index: int, fault: FaultSpec) -> None:
    links = fault.kind in LINK_KINDS
    count = len(world.links if links else world.nodes)
    targets = (fault.target, *fault.also)
    for target in targets:
        if not 0 <= target < count:
            raise InputError(f"faults.{index}.target: expected 0 to {count - 1}, found {target}")
        if not links and world.nodes[target].servers == 0:
            raise InputError(
                f"faults.{index}: node {world.nodes[target].name} has no servers and only "
                f"forwards, so {fault.kind} takes nothing from it; take its links down instead"
            )
    if len(set(targets)) < len(targets):
        raise InputError(f"faults.{index}.also: expected each target once, found {targets}")


def _check_model(world: World, card: ModelCard | None, index: int, fault: FaultSpec) -> None:
    if fault.kind in MODEL_KINDS and world.model is None:
        raise InputError(f"faults.{index}: {fault.kind} needs a model, found `model: none`")
    if fault.work != "drop" and fault.kind != "node-crash":
        raise InputError(f"faults.{index}.work: only node-crash has it, found {fault.kind}")
    if fault.work == "resume" and world.model is not None:
        raise InputError(
            f"faults.{index}.work: resume needs `model: none`, since memory is lost with a model; "
            "expected drop, keep or migrate"
        )
    if fault.kind not in EXPERT_KINDS:
        return
    if not fault.experts:
        raise InputError(f"faults.{index}.experts: expected (layer, expert) pairs, found none")
    for layer, expert in fault.experts if card is not None else ():
        assert card is not None
        if not (0 <= layer < card.layers and 0 <= expert < card.experts):
            raise InputError(
                f"faults.{index}.experts: expected layer 0 to {card.layers - 1} and expert 0 to "
                f"{card.experts - 1}, found {(layer, expert)}"
            )


# --- carrying out


class Targets(Protocol):
    """What a fault hits."""

    def crash(self, node: int, now_s: float, work: Work) -> None:
        """Take a node down; `work` says what becomes of its requests."""
        ...

    def restart(self, node: int, now_s: float) -> None:
        """Bring a node back."""
        ...

    def cut(self, link: int, now_s: float) -> None:
        """Take a link down."""
        ...

    def mend(self, link: int, now_s: float) -> None:
        """Bring a link up."""
        ...

    def change_link(self, link: int, now_s: float) -> None:
        """Note that a link's speed, delay or loss is another one from now on."""
        ...

    def lose_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """Take (layer, expert) pairs away from a node, or spoil its copies of them."""
        ...

    def restore_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """End what `lose_experts` began."""
        ...

    def mute(self, node: int, now_s: float) -> None:
        """Let nothing be heard of a node."""
        ...

    def unmute(self, node: int, now_s: float) -> None:
        """Let a node be heard again."""
        ...

    def spoil(self, node: int, value: float, now_s: float) -> None:
        """Turn the rewards of what a node serves into a value."""
        ...

    def unspoil(self, node: int, value: float, now_s: float) -> None:
        """End what `spoil` began with the same value."""
        ...


class Faults:
    """Carries out a timetable.

    A crash, a cut or a loss of telemetry that overlaps another one of the same target ends with the
    last of them, and the one that began it decides how. Other kinds add up: each is told.
    At one instant ends come before beginnings, then the timetable's order.

    Args:
        clock: The run's clock.
        outages: The timetable.
        targets: What is hit.
        note: Called with (t_s, kind code, target) for the table `faults`.
    """

    def __init__(
        self,
        clock: Clock,
        outages: Sequence[Outage],
        targets: Targets,
        note: Callable[[tuple[float, ...]], None],
    ) -> None:
        self.clock, self.outages, self.targets, self.note = clock, outages, targets, note
        self._depth: dict[tuple[str, int], int] = {}

    def arm(self) -> None:
        """Set an alarm for every outage."""
        for index, outage in enumerate(self.outages):
            self.clock.at(outage.from_s, FAULT, index, self._down, outage)

    def _down(self, outage: Outage, now_s: float) -> None:
        key = (outage.kind, outage.target)
        self._depth[key] = self._depth.get(key, 0) + 1
        if isfinite(outage.until_s):
            self.clock.at(outage.until_s, FAULT, -1 - outage.target, self._up, outage)
        if self._depth[key] == 1 or outage.kind not in SINGLE_KINDS:
            self.note((now_s, FAULTS.index(outage.kind), outage.target))
            self._begin(outage, now_s)

    def _up(self, outage: Outage, now_s: float) -> None:
        key = (outage.kind, outage.target)
        self._depth[key] -= 1
        if self._depth[key] == 0 or outage.kind not in SINGLE_KINDS:
            self.note((now_s, FAULTS.index(_END.get(outage.kind, f"{outage.kind}-end")), key[1]))
            self._end(outage, now_s)

    def _begin(self, outage: Outage, now_s: float) -> None:
        targets, target, spec = self.targets, outage.target, outage.spec
        match outage.kind:
            case "node-crash":
                targets.crash(target, now_s, spec.work)
            case "link-down":
                targets.cut(target, now_s)
            case "link-slow" | "link-lossy":
                targets.change_link(target, now_s)
            case "expert-lost" | "expert-corrupt":
                corrupt = outage.kind == "expert-corrupt"
                targets.lose_experts(target, spec.experts, corrupt, now_s)
            case "telemetry-loss":
                targets.mute(target, now_s)
            case "feedback-spoiled":
                targets.spoil(target, spec.value, now_s)
            case "storage-slow":
                pass  # a node's storage knows the timetable (sim.pace)

    def _end(self, outage: Outage, now_s: float) -> None:
        targets, target, spec = self.targets, outage.target, outage.spec
        match outage.kind:
            case "node-crash":
                targets.restart(target, now_s)
            case "link-down":
                targets.mend(target, now_s)
            case "link-slow" | "link-lossy":
                targets.change_link(target, now_s)
            case "expert-lost" | "expert-corrupt":
                corrupt = outage.kind == "expert-corrupt"
                targets.restore_experts(target, spec.experts, corrupt, now_s)
            case "telemetry-loss":
                targets.unmute(target, now_s)
            case "feedback-spoiled":
                targets.unspoil(target, spec.value, now_s)
            case "storage-slow":
                pass


_END = {"node-crash": "node-restart", "link-down": "link-up"}
