"""Dispatchers: which node serves a request.

They run inside the simulation process and are free of torch.
"""

from __future__ import annotations

from sim.registry import Registry

DISPATCHERS = Registry(
    "dispatcher",
    {
        "cloud": "agents.dispatchers.fixed:Cloud",
        "least-loaded": "agents.dispatchers.loaded:LeastLoaded",
        "local": "agents.dispatchers.fixed:Local",
        "power-of-two": "agents.dispatchers.loaded:PowerOfTwo",
        "random": "agents.dispatchers.fixed:RandomChoice",
        "round-robin": "agents.dispatchers.fixed:RoundRobin",
    },
)
