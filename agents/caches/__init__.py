"""Expert caches: which expert leaves a node's memory.

They run inside the simulation process, free of torch.
"""

from __future__ import annotations

from sim.registry import Registry

CACHES = Registry(
    "expert cache",
    {
        "all": "agents.caches.all:KeepAll",
        "belady": "agents.caches.belady:FarthestNextUse",
        "lfu": "agents.caches.lfu:LeastFrequentlyUsed",
        "lru": "agents.caches.lru:LeastRecentlyUsed",
    },
)
