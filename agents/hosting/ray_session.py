"""A connection to Ray: an own local cluster, or one that runs. Only this file imports Ray."""

from __future__ import annotations

import os
import signal
import socket
import sys
import sysconfig
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sim
from agents.hosting.threads import THREADS
from sim.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

_KNOCK_S = 5.0  # wall time that a cluster gets to accept a connection


class RaySession:
    """Connects to Ray when made, and leaves as little behind as it can.

    Args:
        address: "local" starts a cluster of this process's own; else an address that `ray.init`
            understands.
        num_cpus: CPUs that an own local cluster offers; None for all.

    Raises:
        HostError: There is no Ray at the address, or it refuses.
    """

    def __init__(self, address: str = "local", num_cpus: int | None = None) -> None:
        # read by Ray when it is imported; a person who set them has the last word
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # a task that ran out of memory would be tried again for ever
        os.environ.setdefault("RAY_task_oom_retries", "0")
        import ray

        self.ray: Any = ray
        self.local = address == "local"
        self._own = not self.ray.is_initialized()
        if self._own:
            local = {"num_cpus": num_cpus, "include_dashboard": False} if self.local else {}
            self._connect(address, local)

    def _connect(self, address: str, local: dict[str, Any]) -> None:
        try:
            _probe(address)
            with _own_signals():
                self.ray.init(address=address, log_to_driver=False, logging_level="error", **local)
        except Exception as error:
            raise HostError(
                f"cannot start or reach Ray at {address!r}: {error}{_hint(address)}"
            ) from error

    def close(self) -> None:
        """Leave the cluster, and end it if this session started it; twice is harmless."""
        if self._own and self.ray.is_initialized():
            self.ray.shutdown()
        self._own = False


def _hint(address: str) -> str:
    """Name what a cluster asks for that Ray's own message may not name."""
    if address in {"local", "auto"} or os.environ.get("RAY_AUTH_MODE"):
        return ""
    return (
        "; a cluster that asks for a token needs RAY_AUTH_MODE=token, and its token in "
        "RAY_AUTH_TOKEN or in a file, RAY_AUTH_TOKEN_PATH"
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray replaces by one that may wait for long."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # elsewhere than in the main thread neither Ray nor this may set one
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def _probe(address: str) -> None:
    """Knock at host:port, because Ray itself goes on trying for minutes where nobody answers."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def worker_environment() -> dict[str, str]:
    """Return the variables that a Ray worker needs: one thread, and the driver's own import paths.

    Paths under the interpreter's prefixes are left out: a worker has them, and on another machine
    they may differ.
    """
    paths = [str(Path(str(sim.__file__)).resolve().parents[1])]
    paths += [str(Path(entry or os.curdir).resolve()) for entry in sys.path]
    kept = [path for path in dict.fromkeys(paths) if Path(path).is_dir() and not _of_python(path)]
    return {**THREADS, "PYTHONPATH": os.pathsep.join(kept)}


def _of_python(path: str) -> bool:
    places = sysconfig.get_paths()
    homes = {sys.prefix, sys.base_prefix, places["stdlib"], places["platstdlib"]}
    return any(Path(path).is_relative_to(Path(home).resolve()) for home in homes)
