"""Networks: one transformer for language and reward models, and gradients accumulated over parts of a batch."""

from collapse_jax.nets.transformer import Architecture

__all__ = ["Architecture"]
