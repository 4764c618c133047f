"""The verb that compiles kernels."""

from __future__ import annotations

import time

from scenarios.cli_common import guarded
from scenarios.progress import say


def kernels() -> None:
    """Compile the kernels of the engine `slots` once, so that `auto` uses them sooner."""
    from agents.caches import CACHES
    from agents.dispatchers import DISPATCHERS
    from sim.fast.jit import COMPILED, folder
    from sim.fast.warm import warm
    from sim.parts import Parts

    with guarded():
        if not COMPILED:
            say("numba is missing or not wanted (MOEDGE_KERNELS): there is nothing to compile")
            return
        started_s = time.perf_counter()
        warm(Parts(DISPATCHERS.load, CACHES.load))
        say(f"kernels ready in {time.perf_counter() - started_s:.0f} s, kept in {folder()}")
