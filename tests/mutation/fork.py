"""Children that do one thing and say one text."""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Task = TypeVar("Task")
Say = Callable[[str], None]
ROOM_BYTES = 3 << 30  # what a mutant may take beyond its parent
TIMEOUT, DIED = "timeout", "died"


@dataclass
class _Child(Generic[Task]):
    task: Task
    pid: int
    pipe: int
    until_s: float
    said: bytes = b""


def _start(task: Task, work: Callable[[Task, Say], None], limit_s: float) -> _Child[Task]:
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        try:
            _silence()
            _bound()
            work(task, lambda text: _write(into, text))
        except BaseException as problem:  # whatever it is, the parent must know
            _write(into, f"{DIED}: {problem!r}"[:4000])
        finally:
            os._exit(0)
    os.close(into)
    return _Child(task, pid, out, time.monotonic() + limit_s)


def _write(pipe: int, text: str) -> None:
    left = text.encode()
    while left:
        left = left[os.write(pipe, left) :]


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _bound() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        used_bytes = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + ROOM_BYTES, resource.RLIM_INFINITY))


def each(
    tasks: Iterable[Task], work: Callable[[Task, Say], None], jobs: int, limit_s: float
) -> Iterator[tuple[Task, str]]:
    """Do every task in a child of its own, `jobs` at a time; yield what they say as they end."""
    waiting, running = iter(tasks), dict[int, _Child[Task]]()
    more = True
    while more or running:
        while more and len(running) < jobs:
            task = next(waiting, None)
            more = task is not None
            if task is not None:
                child = _start(task, work, limit_s)
                running[child.pipe] = child
        for pipe in select.select(list(running), [], [], 1.0)[0] if running else ():
            text = os.read(pipe, 1 << 16)
            running[pipe].said += text
            if not text:
                child = running.pop(pipe)
                yield child.task, _end(child)
        for child in running.values():
            if time.monotonic() > child.until_s:
                os.kill(child.pid, signal.SIGKILL)


def _end(child: _Child[Task]) -> str:
    os.close(child.pipe)
    status = os.waitpid(child.pid, 0)[1]
    if os.WIFSIGNALED(status):
        late = os.WTERMSIG(status) in {signal.SIGPROF, signal.SIGKILL}
        return TIMEOUT if late else DIED
    return child.said.decode()


def call(work: Callable[[Say], None], limit_s: float = 3600.0) -> str:
    """Do one thing in a child and return what it says.

    Raises:
        RuntimeError: The child died or took too long.
    """
    [(_, said)] = each([0], lambda _, say: work(say), 1, limit_s)
    if said == TIMEOUT or said.startswith(DIED):
        raise RuntimeError(said)
    return said


def stream(work: Callable[[Say], None]) -> Iterator[str]:
    """Do one thing in a child and yield the lines that it says, as it says them.

    Raises:
        RuntimeError: The child died.
    """
    child = _start(0, lambda _, say: work(say), 0.0)
    with os.fdopen(os.dup(child.pipe), encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(DIED):
                raise RuntimeError(line)
            yield line
    if _end(child) == DIED:
        raise RuntimeError(DIED)


def alarm(limit_s: float) -> None:
    """End this process (signal SIGPROF) when it has computed for so long; 0 disarms."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)
