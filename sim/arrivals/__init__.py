"""Who asks what, and when: emission times, mixes that drift, inputs and service draws.

All of a request that no policy may influence is drawn here, before the run, from streams named by
purpose and stream id; one purpose's draws never shift another's.
"""
