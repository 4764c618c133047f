"""Worker processes that take trials one at a time.

Not `concurrent.futures`: there the death of one worker fails every trial in flight, and nothing
says which one died. Processes are spawned, never forked, because the threads of torch and Ray do
not survive a fork.
"""

from __future__ import annotations

import ctypes
import multiprocessing as mp
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from agents.hosting.attempt import Enough, OnDone, TrialFailure, attempt, failure
from agents.hosting.limits import NO_LIMITS, WATCH_S, Limits, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_GRACE_S = 2.0  # wall time that workers get to end before they are killed
_ORPHANED = 1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ProcessPool:
    """Runs items in `jobs` spawned processes that are reused; a dead one is replaced.

    Args:
        jobs: Processes, >= 1; fewer where their declared memory would not fit the machine.
        limits: Of one item; who exceeds one is killed, and is a failure.
    """

    def __init__(self, jobs: int, limits: Limits = NO_LIMITS) -> None:
        self._jobs, self._limits = limits.fit(jobs), limits

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> None:
        """Call `on_done(index, result or TrialFailure)` once per item, as each finishes."""
        run = _Run(self._jobs, (function, items, on_done), Watch(self._limits))
        try:
            run.drive()
        finally:
            run.stop()


class _Run:
    """One pass over the items: which wait, and which worker has which."""

    def __init__(
        self, jobs: int, work: tuple[Callable[[Any], Any], Sequence[Any], OnDone], watch: Watch
    ) -> None:
        self._jobs, (self._function, self._items, self._tell) = jobs, work
        self._watch = watch
        self._queue = deque(range(len(self._items)))
        self._workers: list[_Worker] = []

    def drive(self) -> None:
        """Feed workers and report until nothing waits and nothing runs."""
        while self._queue or self._workers:
            self._retire()
            while len(self._workers) < min(self._jobs, len(self._queue) + self._busy()):
                self._workers.append(_Worker())
            for worker in [w for w in self._workers if w.index is None]:
                self._feed(worker)
            for worker in _ready(self._at_work()):
                self._report(worker, worker.collect())
            self._stop_offenders()

    def stop(self) -> None:
        """End every process that is left, all within one grace time."""
        for worker in self._workers:
            worker.process.terminate()
        end_s = time.perf_counter() + _GRACE_S
        for worker in self._workers:
            worker.leave(max(0.0, end_s - time.perf_counter()))

    def _at_work(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.index is not None]

    def _busy(self) -> int:
        return len(self._at_work())

    def _retire(self) -> None:
        """Let idle workers go that hold much of what the next trial may take."""
        for worker in [w for w in self._workers if w.index is None and self._watch.worn(w.pid)]:
            self._workers.remove(worker)
            worker.leave()

    def _stop_offenders(self) -> None:
        """Kill the trials that take more than they may, and report them."""
        offenders = self._watch.offenders(self._at_work())
        for worker in [w for w in self._at_work() if w.pid in offenders]:
            if not worker.answers():  # it came to its end just now
                self._report(worker, worker.kill(offenders[worker.pid]))

    def _report(self, worker: _Worker, result: tuple[int, Any]) -> None:
        if worker.dead:
            self._workers.remove(worker)
        self._on_done(*result)

    def _on_done(self, index: int, result: Any) -> None:
        try:
            self._tell(index, result)
        except Enough:
            self._queue.clear()

    def _feed(self, worker: _Worker) -> None:
        """Give an idle worker the next item that can travel, or let it go when none is left."""
        while self._queue:
            index = self._queue.popleft()
            try:
                payload = pickle.dumps((self._function, self._items[index]))
            except Exception as error:
                self._on_done(index, failure("transfer", error))
                continue
            if worker.send(index, payload):
                return
            self._refused(worker, index)
            break
        self._workers.remove(worker)
        worker.leave()

    def _refused(self, worker: _Worker, index: int) -> None:
        """Settle an item that a dead worker did not take."""
        if worker.answered:  # it died idle, so the item is not to blame
            self._queue.appendleft(index)
        else:  # a process that dies at birth would die for ever
            worker.leave()
            self._on_done(index, worker.death())


class _Worker:
    """The parent's end of one process."""

    def __init__(self) -> None:
        context = mp.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        with _single_threaded():
            self.process.start()
        theirs.close()  # else the end of the process would not close the pipe
        self.index: int | None = None
        self.answered = 0
        self.dead = False
        self.since_s = time.perf_counter()

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def signs(self) -> tuple[Connection, int]:
        """Return what becomes ready when the worker has answered or died."""
        return self._connection, self.process.sentinel

    def send(self, index: int, payload: bytes) -> bool:
        """Hand over an item; False when the process is no longer there."""
        try:
            self._connection.send_bytes(payload)
        except OSError:
            return False
        self.index, self.since_s = index, time.perf_counter()
        return True

    def answers(self) -> bool:
        """Tell whether an answer is waiting."""
        try:
            return self._connection.poll()
        except OSError:
            return False

    def kill(self, why: TrialFailure) -> tuple[int, TrialFailure]:
        """End the process in the middle of its item; return the item's index and failure."""
        assert self.index is not None
        index, self.index, self.dead = self.index, None, True
        self.process.kill()
        self.leave()
        return index, why

    def collect(self) -> tuple[int, Any]:
        """Return the item's index and result; a failure, and `dead`, when the process died."""
        assert self.index is not None
        index, self.index = self.index, None
        try:
            if self._connection.poll():
                answer = self._connection.recv_bytes()
                self.answered += 1
                return index, _unpack(answer)
        except (EOFError, OSError):
            pass
        self.dead = True
        self.leave()
        return index, self.death()

    def death(self) -> TrialFailure:
        """Describe how the process ended."""
        return TrialFailure("worker", f"the worker process died ({_exit(self.process.exitcode)})")

    def leave(self, grace_s: float = _GRACE_S) -> None:
        """Close the pipe, upon which the process ends by itself; kill it if it does not."""
        self._connection.close()
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def serve(connection: Connection) -> None:
    """Run the life of a worker: take an item, answer, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    _die_with_parent()
    while True:
        try:
            payload = connection.recv_bytes()
        except (EOFError, OSError):
            return
        connection.send_bytes(_answer(payload))


def _answer(payload: bytes) -> bytes:
    try:
        function, item = pickle.loads(payload)
    except Exception as error:
        return pickle.dumps(failure("transfer", error))
    result = attempt(function, item)
    try:
        return pickle.dumps(result)
    except Exception as error:
        return pickle.dumps(failure("transfer", error))


def _unpack(answer: bytes) -> Any:
    try:
        return pickle.loads(answer)
    except Exception as error:
        return failure("transfer", error)


def _die_with_parent() -> None:
    """End this process when the parent is gone: an orphan would write beside a resumed run.

    A thread waits for it everywhere; on Linux the kernel kills, too, because a thread does not get
    the interpreter while compiled code holds it.
    """
    parent = mp.parent_process()
    if parent is None:
        return
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(_ORPHANED)


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait until a worker has answered or died, or it is time to look after them.

    Returns:
        Those that have, in the pool's order.
    """
    if not workers:
        return []
    ready = set(wait([sign for worker in workers for sign in worker.signs], timeout=WATCH_S))
    return [worker for worker in workers if ready.intersection(worker.signs)]


def _exit(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Set the environment that children inherit; libraries read it when they load."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
