"""Proofs: closed forms, slow twins and verdicts that the physics is held against.

The verb `moedge prove` runs them for users, the test suite runs them with random scripts. Nothing
in the simulation itself imports this package.
"""
