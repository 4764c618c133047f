"""Who asks what, and when: emission times, mixes that drift, inputs and service draws.

All of a request that no policy may influence is drawn here, before the run, from streams named by
purpose and stream id; one purpose's draws never shift another's, and a longer run repeats a shorter
one. `emission` is the entry for times, `workload` for everything at once, `windows` for the same
bit by bit; `poisson`, `mmpp`, `hawkes` and `trace` are kinds of arrivals, `dispersion` says how
bursty they are, `sizes` and `service` are laws of what a request brings and takes, `sources` are
the generators of one stream. No policy, no clock and no file is known here.
"""
