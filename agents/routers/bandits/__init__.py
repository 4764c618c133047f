"""Candidate bandits: the rivals that share Tanbr's estimate of the mix but search without a tree.

In every slot a node draws fresh merges, judges them by its reward model and serves the best by its
rule. One router per file; what they share is in `base`.
"""
