"""Stops a command that was told to stop, even when it does not listen.

Python acts on a signal between two of its own instructions, so a long call into compiled code hears
of Ctrl-C when it returns. A thread is told at once; if the command has not left by itself after the
grace time, the thread ends the process. It needs the interpreter for that, so compiled code must
release it (`nogil`), as torch, numpy's sorts, DuckDB and our own kernels do.

Nothing is lost by it: files appear whole or not at all, and locks end with the process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GRACE_S = 4.0  # wall time from the signal to the end
_WATCHED = {signal.SIGINT, signal.SIGTERM}
_SHELL = 128  # what a shell adds to the number of the signal that ended a command


@contextmanager
def stopping(last_words: Callable[[], str], grace_s: float = GRACE_S) -> Iterator[None]:
    """Watch for SIGINT and SIGTERM while something runs, and end the process if it goes on.

    Only the main thread can have signals watched; elsewhere this does nothing.

    Args:
        last_words: What to write to stderr before the process is ended.
        grace_s: Wall time to leave by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    left = threading.Event()
    watch = threading.Thread(target=_watch, args=(told, left, last_words, grace_s), daemon=True)
    watch.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(tell)  # upon which the thread ends
        watch.join(1.0)


def _watch(told: int, left: threading.Event, last_words: Callable[[], str], grace_s: float) -> None:
    """Read the numbers of signals as they arrive; the first one that stops starts the clock."""
    while number := os.read(told, 1):
        if number[0] in _WATCHED:
            if not left.wait(grace_s):
                _end(number[0], last_words())
            break
    os.close(told)


def _end(number: int, words: str) -> None:
    # not through sys.stderr, which the main thread may hold
    with suppress(OSError):
        os.write(2, f"{words}\n".encode())
    if "multiprocessing" in sys.modules:
        import multiprocessing

        for child in multiprocessing.active_children():
            child.kill()
    os._exit(_SHELL + number)
