"""The words: scenario files, schema, composition root, experiments, results, command line.

The only room that reads YAML or builds a simulation from one.
"""
