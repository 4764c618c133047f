"""Finds the processes that a command has started, and sees how long they live.

By parentage and by a mark in their environment, never by name: names are shared with strangers. A
process that changes its title loses its mark, and one whose parent dies loses its parent, so the
family is followed from the start.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "MOEDGE_KILLS_MARK"
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process; the time of its start tells it from a later one of the same number."""

    pid: int
    started: int

    def alive(self) -> bool:
        facts = _stat(self.pid)
        return facts is not None and facts[1] == self.started

    def title(self) -> str:
        """Return its command line, or what is left of it."""
        with suppress(OSError):
            raw = (_PROC / str(self.pid) / "cmdline").read_bytes()
            return raw.replace(b"\0", b" ").decode(errors="replace").strip()
        return ""

    def kill(self) -> bool:
        """Kill it; False when it was gone already."""
        if not self.alive():
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            return True
        return False


class Family:
    """A process and all that descend from it or carry its mark."""

    def __init__(self, pid: int, mark: str) -> None:
        self._mark = f"{MARK}={mark}".encode()
        self.titles: dict[Process, str] = {}
        facts = _stat(pid)
        self._members = {} if facts is None else {pid: Process(pid, facts[1])}

    def look(self) -> list[Process]:
        """Take in new members; return those that live."""
        found = {pid: facts for pid in _pids() if (facts := _stat(pid)) is not None}
        before = -1
        while before != len(self._members):  # children of children
            before = len(self._members)
            for pid, (parent, started) in found.items():
                known = self._members.get(pid)
                if known is not None and known.started == started:
                    continue
                if self._belongs(pid, parent):
                    self._members[pid] = Process(pid, started)
        living = [each for each in self._members.values() if each.alive()]
        for each in living:
            self.titles[each] = each.title() or self.titles.get(each, "")
        return living

    def _belongs(self, pid: int, parent: int) -> bool:
        mother = self._members.get(parent)
        if mother is not None and mother.alive():
            return True
        with suppress(OSError):
            return self._mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        return False

    def last_s(self, chosen: Callable[[str], bool], limit_s: float) -> float:
        """Wait until no living member's title is chosen; return the wall time, or the limit."""
        started_s = time.perf_counter()
        while any(chosen(self.titles[each]) for each in self.look()):
            if time.perf_counter() - started_s > limit_s:
                return limit_s
            time.sleep(0.1)
        return time.perf_counter() - started_s


def _pids() -> list[int]:
    return [int(path.name) for path in _PROC.iterdir() if path.name.isdecimal()]


def _stat(pid: int) -> tuple[int, int] | None:
    """Return a process's parent and the time of its start, None when it is gone or a zombie."""
    try:
        words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else (int(words[1]), int(words[19]))
