"""Worker processes that take trials one at a time.

Not `concurrent.futures`: there the death of one worker fails every trial in flight, and nothing
says which one died. Processes are spawned, never forked, because the threads of torch and Ray do
not survive a fork.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import signal
import threading
from collections import deque
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from agents.hosting.attempt import OnDone, TrialFailure, attempt, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_GRACE_S = 2.0  # wall time that workers get to end before they are killed
_ORPHANED = 1
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ProcessPool:
    """Runs items in `jobs` spawned processes that are reused; a dead one is replaced.

    Args:
        jobs: Processes, >= 1.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> None:
        """Call `on_done(index, result or TrialFailure)` once per item, as each finishes."""
        run = _Run(self._jobs, function, items, on_done)
        try:
            run.drive()
        finally:
            run.stop()


class _Run:
    """One pass over the items: which wait, and which worker has which."""

    def __init__(
        self, jobs: int, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone
    ) -> None:
        self._jobs, self._function, self._items, self._on_done = jobs, function, items, on_done
        self._queue = deque(range(len(items)))
        self._workers: list[_Worker] = []

    def drive(self) -> None:
        """Feed workers and report until nothing waits and nothing runs."""
        while self._queue or self._workers:
            while len(self._workers) < min(self._jobs, len(self._queue) + self._busy()):
                self._workers.append(_Worker())
            for worker in [w for w in self._workers if w.index is None]:
                self._feed(worker)
            for worker in _ready([w for w in self._workers if w.index is not None]):
                index, result = worker.collect()
                if worker.dead:
                    self._workers.remove(worker)
                self._on_done(index, result)

    def stop(self) -> None:
        """End every process that is left, within the grace time."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.leave()

    def _busy(self) -> int:
        return sum(worker.index is not None for worker in self._workers)

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
        self.index = index
        return True

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

    def leave(self) -> None:
        """Close the pipe, upon which the process ends by itself; kill it if it does not."""
        self._connection.close()
        self.process.join(_GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def serve(connection: Connection) -> None:
    """Run the life of a worker: take an item, answer, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_die_with_parent, daemon=True).start()
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
    """End this process when the parent is gone: an orphan would write beside a resumed run."""
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(_ORPHANED)


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait until one of the workers has answered or died; return those, in the pool's order."""
    if not workers:
        return []
    ready = set(wait([sign for worker in workers for sign in worker.signs]))
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
