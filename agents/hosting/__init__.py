"""Hosts: the model and router state of whole blocks of nodes, behind inline and Ray executors.

The only place besides the models that loads torch, and the only one that calls Ray. `blocks` (who
owns which node) and `launcher` (trials in parallel) stay free of both until they are used. Nothing
here knows simulated time beyond what a `StepInput` says, and nothing here turns work into seconds.
"""
