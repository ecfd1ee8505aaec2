"""Metrics of sequences from what a text model gives their tokens."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.missing import unless_nan


@checked
def perplexity(
    log_probs: Float[Array, "*sequence token"], weights: Float[Array, "*sequence token"] | None = None
) -> Float[Array, ""]:
    """Return e to the weighted mean of -log_probs (natural logarithms, one a token): 1 at best, ∞ if one has 0.

    Of many sequences, it is that of all their tokens together. Tokens of weight 0, such as padding, are left out,
    whatever they hold; NaN if all are.
    """
    if weights is None:
        return jnp.exp(-log_probs.mean())
    used = weights != 0.0
    mean = jnp.where(used, weights * log_probs, 0.0).sum() / weights.sum()
    return unless_nan(jnp.exp(-mean), weights)


@checked
def sequence_perplexities(
    log_probs: Float[Array, "n length"], weights: Float[Array, "n length"] | None = None
) -> Float[Array, " n"]:
    """Return the `perplexity` of each sequence by itself.

    The `histogram` of their logarithms, under generation 0, shows generated text leave the tails: first it gets too
    likely, then it also gets unlikely. Source: Shumailov et al., Nature 631 (2024).
    """
    if weights is None:
        return jax.vmap(perplexity)(log_probs)
    return jax.vmap(perplexity)(log_probs, weights)
