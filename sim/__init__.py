"""The physics: time, space and work of a simulated fleet.

Here live requests, queues, links, memory, faults, plans, the ports of plug-ins and the laws that
every run must obey. Nothing here imports another room, torch, ray, plotly, yaml or pydantic, and
nothing writes a file.
"""
