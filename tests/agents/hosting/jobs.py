"""What launcher tests run in other processes: functions must be importable there by name."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_KEPT: list[bytes] = []


def double(item: int) -> int:
    return 2 * item


def misbehave(item: str) -> Any:
    """Do what the item says."""
    match item:
        case "raise":
            raise ValueError("no such luck")
        case "exit":
            sys.exit(3)
        case "os-exit":
            os._exit(7)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)  # as a terminal sends it to the whole group
            time.sleep(0.01)
        case "hang":
            # compiled code: it sees no signal, and here it even holds the interpreter
            ctypes.PyDLL(None).usleep(60_000_000)
        case "memory":
            return len(b"." * (1 << 30))
        case "keep":
            _KEPT.append(b"." * (1 << 28))
            return os.getpid()
        case "lambda":
            return lambda: None
        case "threads":
            return os.environ["OMP_NUM_THREADS"]
        case "pid":
            return os.getpid()
    return item


def sleep_and_tell(item: tuple[str, float]) -> str:
    """Write the own process id into a folder, then sleep."""
    folder, seconds = item
    Path(folder, str(os.getpid())).touch()
    time.sleep(seconds)
    return folder


def tell_and_hold(item: tuple[str, float]) -> str:
    """The same in compiled code that holds the interpreter: no thread and no signal is heard."""
    folder, seconds = item
    Path(folder, str(os.getpid())).touch()
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return folder


class Unwilling:
    """An item that cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Trap:
    """An item that pickles, but cannot be unpickled."""

    def __reduce__(self) -> Any:
        return _spring, ()


def _spring() -> None:
    raise RuntimeError("sprung")
