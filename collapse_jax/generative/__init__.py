"""Generative collapse: regimes, families, selections, and the populations that recurse through them."""
