"""Memory of this machine and of single processes, as the operating system counts it.

None where it does not say (no `/proc`): then nothing is watched.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_KIB = 1024.0
# version of control groups -> limit, use, and the entry of memory.stat that counts idle file pages
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@dataclass(frozen=True, slots=True)
class Memory:
    """What a machine, or the control group that this process lives in, has and has left."""

    total_bytes: float
    free_bytes: float


def machine_memory() -> Memory | None:
    """Return the tighter of the machine's memory and the control group's limit."""
    try:
        facts = _colons(_PROC / "meminfo")
    except OSError:
        return _total_only()
    machine = Memory(facts["MemTotal"] * _KIB, facts["MemAvailable"] * _KIB)
    groups = [found for found in map(_group_memory, _groups()) if found is not None]
    return min([machine, *groups], key=lambda memory: memory.free_bytes)


def resident_bytes(pid: int) -> float:
    """Return the resident memory of a process, 0 when it is gone or nobody says."""
    try:
        pages = (_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0.0
    return float(pages) * os.sysconf("SC_PAGE_SIZE")


def _total_only() -> Memory | None:
    """Return the memory of a machine that does not tell what is free: as if all were."""
    if sys.platform == "win32" or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    total = float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    return Memory(total, total)


def _groups() -> list[tuple[Path, tuple[str, str, str]]]:
    """Return the folders of this process's control groups that may limit memory."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    places = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "memory"}:
            words = _V1 if controllers else _V2
            root = _CGROUPS / controllers
            # inside a container the path may be the host's: then the root is the container's own
            places += [(folder, words) for folder in (root / path.lstrip("/"), root)]
    return places


def _group_memory(place: tuple[Path, tuple[str, str, str]]) -> Memory | None:
    folder, (limit, used, idle) = place
    try:
        total = float((folder / limit).read_text(encoding="ascii"))  # "max" is no limit
        now = float((folder / used).read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    # file pages that nobody uses are given back before anyone is killed
    reclaimable = float(lines[lines.index(idle) + 1]) if idle in lines else 0.0
    return Memory(total, max(0.0, total - now + reclaimable))


def _colons(path: Path) -> dict[str, float]:
    """Read lines such as `MemTotal:  24000000 kB`."""
    rows = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {row[0].rstrip(":"): float(row[1]) for row in rows if len(row) > 1}
