"""Hosts: the model and router state of whole blocks of nodes, behind inline and Ray executors.

The only place besides the models that loads torch, and the only one that calls Ray.
"""
