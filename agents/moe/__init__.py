"""Models: the compact MoE encoder, its task suites, merge-aware training, checkpoints and the oracle table."""
