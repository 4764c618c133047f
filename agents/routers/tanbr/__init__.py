"""Tanbr: tree-structured adaptive neural bandit routing of expert merges.

One merge of all experts per node and slot; a binary tree over the simplex proposes merges, a small
network with exact ridge heads per cluster scores them, and the estimated mix of clusters is the
context.

Source: Han et al. 2025 (arXiv 2509.19781). Deviation: this is the `nl` (neural-linear) mode, our
reconstruction with exact last-layer uncertainty and longest-edge bisection instead of
full-gradient NeuralUCB on a hypercube tree.
"""
