"""Full-gradient neural bandit model: confidence from the gradient of the whole network.

One network per node, one confidence matrix over all its parameters, records to train on. What
picks a merge by it lives elsewhere: Tanbr's tree, the candidate bandits.
"""
