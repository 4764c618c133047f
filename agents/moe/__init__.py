"""Models: the compact MoE encoder, its suites, merge-aware training, checkpoints and tables.

Hosts call `runtime`; the command line calls `build`; whatever must stay free of torch reads `cards`
and `recipe`. Routers, hosts and simulated time do not live here.
"""
