"""Space: generators of topologies, and routes over the links that are up.

Nothing here knows of time, bytes or requests: the network room sends, this room says which way.
"""
