"""The minds: trained models, the routers that steer them, and the hosts that run both.

Models (`moe`), slot-level learners (`routers`), request-level choices (`dispatchers`), expert
eviction (`caches`) and executors (`hosting`). From `sim` only ports, plans, views, config, arrays,
registry, rng, units and errors may be imported. torch and ray live here and nowhere else;
dispatchers and caches stay free of both.
"""
