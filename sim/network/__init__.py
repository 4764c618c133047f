"""Links and transfers: how bytes move.

A link is busy while it transmits, never while bits propagate.
"""
