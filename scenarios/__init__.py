"""The words: scenario files, their schema, the composition root, experiments, results on disk, the command line.

The only room that reads YAML or builds a simulation from one.
"""
