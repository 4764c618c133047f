"""Tanbr: tree-structured adaptive neural bandit routing of expert merges.

One merge of all experts per node and slot; a binary tree over the simplex proposes merges, a model
of the reward per cluster scores them, and the estimated mix of clusters is the context.

Two modes stand behind one interface. `nl` (the default, neural-linear) is ours: a small network or
random Fourier features with exact ridge heads per cluster, longest-edge bisection of the simplex,
local search, warm start, drift alarm, rollback, super-experts.

`paper` is the closest reconstruction of the published algorithm, not the authors' code: none is
public, and the paper was read through its abstract and a third-party digest.

Source: Han et al. 2025 (arXiv 2509.19781). Deviation of `nl`: all of the above. Deviation of
`paper`, where the paper leaves it open or could not be read:

- cells are boxes of [0, 1]^K, halved in turn; a cell stands for its centre, shifted onto the
  simplex, with the 8 largest weights kept (their optimiser and cap rule are not known);
- the threshold of a split is HCT's (Azar et al. 2014), whose parameters theirs resemble;
- the width is upsilon sqrt(g' Z^-1 g) with upsilon = 1 and the whole matrix Z over all parameters
  of a network of 64 units and two layers of weights, lambda = 1 (Zhou et al. 2020); tanh units,
  Adam on replayed records instead of plain gradient descent;
- rewards per cluster enter one by one, weighted by their share of the requests;
- the monitor is a table of decayed counts, the same as in every router here, without the switch
  detector.
"""
