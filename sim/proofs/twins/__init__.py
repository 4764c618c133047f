"""Slow, obvious twins of the engine's mechanisms: they walk from instant to instant over lists."""
