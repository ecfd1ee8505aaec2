"""Families of generators, each a function of its parameters that returns a `Family`."""

from collapse_jax.generative.families.categorical import categorical, zipf
from collapse_jax.generative.families.gaussian import gaussian

__all__ = ["categorical", "gaussian", "zipf"]
