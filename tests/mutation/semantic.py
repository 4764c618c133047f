"""Mistakes that people make in queueing simulators, made by hand: a text and its wrong twin."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from tests.mutation import rule
from tests.mutation.runner import Patch


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake in one module: pieces of text and what they become."""

    name: str
    module: str
    edits: tuple[tuple[str, str], ...]


_PLAIN, _STATION = "sim.compute.plain", "sim.compute.station"
_LINKS, _SUPPLY = "sim.network.links", "sim.compute.storage"

BUGS: tuple[Bug, ...] = (
    Bug("K counts only who waits", _PLAIN,
        (("or number >= self.capacity:", "or len(self._queue) >= self.capacity:"),)),
    Bug("K counts only who waits (batches)", _STATION,
        (("elif present >= self.capacity:", "elif len(self._queue) >= self.capacity:"),)),
    Bug("last come, first served", "sim.compute.waiting",
        (("self._order.popitem(last=False)[0]", "self._order.popitem()[0]"),)),
    Bug("one server too many", _STATION,
        (("self.servers = self.free = spec.servers  # none",
          "self.servers = self.free = spec.servers + 1  # none"),)),
    Bug("a batch waits from its newest request on", _STATION,
        (("due_s = self._queue.oldest_s() + self.max_wait_s",
          "due_s = self.requests.t_enqueue_s[list(self._queue)[-1]] + self.max_wait_s"),)),
    Bug("a batch lasts as long as its first request", "sim.compute.stations",
        (("max(draw_s[rid] for rid in ids)", "draw_s[ids[0]]"),)),
    Bug("patience includes service", _STATION,
        (("if rid in self._queue and self._leave_s(rid) <= now_s:",
          "if self._leave_s(rid) <= now_s and rid in self.present():"),
         ("            self._queue.remove(rid)\n            late",
          "            if rid in self._queue:\n                self._queue.remove(rid)\n"
          "            late"))),
    Bug("patience and service share their luck", "sim.arrivals.sources",
        (('return _times(stream.patience, "patience", seeds, stream.id)',
          'return _times(stream.patience, "service", seeds, stream.id)'),)),
    Bug("lower numbers go first", "sim.compute.waiting",
        (("(-self._priority[rid], number, rid)", "(self._priority[rid], number, rid)"),)),
    Bug("a crash takes the queue and lets running work end", _PLAIN,
        (("        gone = self.present()\n        self._serving.clear()\n",
          "        gone = [*self._queue]\n"),)),
    Bug("a node's own work is free", _STATION,
        (("self.clock.at(now_s + job.work_s, END,", "self.clock.at(now_s, END,"),)),
    Bug("propagation holds the link", _LINKS,
        (("self.free_s[link] = gone_s = (free_s if free_s > now_s else now_s) + transmit_s\n"
          "        return gone_s + self.delay_s[link]",
          "self.free_s[link] = gone_s = (free_s if free_s > now_s else now_s) + transmit_s"
          " + self.delay_s[link]\n        return gone_s"),)),
    Bug("transfers on a link do not queue", _LINKS,
        (("(free_s if free_s > now_s else now_s) + transmit_s", "now_s + transmit_s"),)),
    Bug("a mended link still has its old queue", _LINKS,
        (("        self.up[link] = True\n        self.free_s[link] = now_s",
          "        self.up[link] = True"),)),
    Bug("what is on a link survives a cut", _LINKS,
        (("        self.epoch[link] += 1\n", ""),)),
    Bug("bytes of lost tries are not counted", _LINKS,
        (("        self.lost[culprit] += 1\n",
          "        self.lost[culprit] += 1\n        for link in way:\n"
          "            self.sent_bytes[link] -= size_bytes\n"
          "            total_bytes[link] -= size_bytes\n"),)),
    Bug("every link shares equally, and nobody takes what others leave", "sim.network.maxmin",
        (("                    left[link] -= level\n                    waiting[link] -= 1\n",
          "                    left[link] *= 1.0 - 1.0 / waiting[link]\n"
          "                    waiting[link] -= 1\n"),)),
    Bug("waits between tries do not grow", "sim.network.transfer",
        (("self.backoff_s * 2.0 ** min(journey.failures - 1, _DOUBLINGS)", "self.backoff_s"),)),
    Bug("one try too many", "sim.network.transfer",
        (("if journey.failures >= self.tries:", "if journey.failures > self.tries:"),)),
    Bug("a slowed transfer keeps the speed it began with", "sim.pace",
        (("            if done_s >= work_s:\n                return start_s",
          "            return start_s"),)),
    Bug("an equal fetch under way is made again", _SUPPLY,
        (("        elif key in self._coming:\n            self._coming[key].append(waiter)\n",
          ""),
         ("            self._coming[key] = [waiter]\n",
          "            self._coming.setdefault(key, []).append(waiter)\n"),
         ("self._coming.pop(key)", "self._coming.pop(key, [])"))),
    Bug("a hit does not touch the cache", _SUPPLY,
        (("            return False\n        self.cache.touch(key)\n",
          "            return False\n"),)),
    Bug("energy ignores idle time", "sim.slots",
        (("hardware.idle_w * up_s + (hardware.busy_w - hardware.idle_w) * share_s",
          "hardware.busy_w * share_s"),)),
    Bug("a top-k batch costs as its size", "sim.compute.cost",
        (("self._tokens(n, k, self._touched(n, k, key[2]))",
          "self._tokens(n, k, tuple(float(n * k) for _ in self._touched(n, k, key[2])))"),)),
    Bug("gaps are clipped at three means", "sim.arrivals.poisson",
        (("gaps = rng.standard_exponential(length)",
          "gaps = np.minimum(rng.standard_exponential(length), 3.0)"),)),
    Bug("a target is up when the first of its outages ends", "sim.faults",
        (("        self._depth[key] -= 1\n        if self._depth[key] == 0 or",
          "        self._depth[key] = 0\n        if self._depth[key] == 0 or"),)),
    Bug("MTBF and MTTR are swapped", "sim.faults",
        (("rng.exponential(fault.mtbf_s))\n        down_s = inf if fault.mttr_s is None else "
          "float(rng.exponential(fault.mttr_s))",
          "rng.exponential(fault.mttr_s or fault.mtbf_s))\n        down_s = inf if fault.mttr_s is "
          "None else float(rng.exponential(fault.mtbf_s))"),)),
    Bug("routes count hops, not delay", "sim.topology.graph",
        (("label = (delay_s + link.delay_s, hops + 1)", "label = (hops + 1.0, hops + 1)"),)),
)  # fmt: skip


def patched(bug: Bug) -> tuple[str, tuple[int, ...]]:
    """Return the module's wrong text, and the lines that change.

    Raises:
        ValueError: A piece of text is not in the module exactly once: the bug is to be made anew.
    """
    text = rule.text_of(bug.module)
    lines: list[int] = []
    for old, new in bug.edits:
        if text.count(old) != 1:
            raise ValueError(f"{bug.name}: {old!r} is {text.count(old)} times in {bug.module}")
        first = text[: text.index(old)].count("\n") + 1
        lines += range(first, first + old.count("\n") + 1)
        text = text.replace(old, new)
    return text, tuple(lines)


def patches() -> list[Patch]:
    """Return all mistakes for the runner."""
    return [patch(bug) for bug in BUGS]


def patch(bug: Bug) -> Patch:
    text, lines = patched(bug)
    change = "; ".join(f"{old} -> {new}" for old, new in bug.edits)
    names = tuple(f"{bug.module}:{name}" for name in _around(bug.module, lines))
    return Patch(bug.name, bug.module, lambda: (ast.parse(text), change), names, lines)


def _around(module: str, lines: tuple[int, ...]) -> list[str]:
    found = []
    for name, node in rule.definitions(rule.parse(module)):
        inside = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if "<locals>" not in name and any(line in inside for line in lines):
            found.append(name)
    return found
