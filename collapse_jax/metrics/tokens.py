"""Metrics of token sequences that need no text model."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from collapse_jax.metrics.missing import unless_nan


def ngram_entropy(tokens: Int[Array, " token"], *, n: int, vocabulary: int) -> Float[Array, ""]:
    """Return the entropy, in nats, of the n-grams that occur in a sequence, each as often as it occurs.

    It is at most the logarithm of their number, so compare sequences of equal length. NaN where a token is outside
    0 ... vocabulary - 1. Raises ValueError unless 1 <= n <= length and vocabulary**n fits 32-bit integers.
    """
    length = len(tokens) - n + 1
    if not 1 <= n <= len(tokens):
        raise ValueError(f"n={n} must be at least 1 and at most the number of tokens, {len(tokens)}")
    if not 1 <= vocabulary**n < 2**31:
        raise ValueError(f"vocabulary={vocabulary} to the power n={n} must be at least 1 and below 2^31")
    codes = jnp.zeros(length, jnp.int32)
    for offset in range(n):
        codes = codes * vocabulary + tokens[offset : offset + length].astype(jnp.int32)
    codes = jnp.sort(codes)
    counts = jnp.searchsorted(codes, codes, side="right") - jnp.searchsorted(codes, codes, side="left")
    valid = ((tokens >= 0) & (tokens < vocabulary)).all()
    # Each occurrence adds the surprise of its kind once.
    return jnp.where(valid, jnp.log(length / counts).mean(), jnp.nan)


def perplexity(log_probs: Float[Array, " token"], weights: Float[Array, " token"] | None = None) -> Float[Array, ""]:
    """Return e to the weighted mean of -log_probs (natural logarithms, one a token): 1 at best, ∞ after the impossible.

    Tokens of weight 0, such as padding, are left out, whatever they hold; NaN if all are.
    """
    if weights is None:
        return jnp.exp(-log_probs.mean())
    used = weights != 0.0
    mean = jnp.where(used, weights * log_probs, 0.0).sum() / weights.sum()
    return unless_nan(jnp.exp(-mean), weights)
