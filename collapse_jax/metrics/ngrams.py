"""N-grams of a set of token sequences. Negative tokens are padding: an n-gram that touches it does not count."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from collapse_jax.checks.annotations import checked

__all__ = ["ngram_frequencies"]

_LAST = jnp.iinfo(jnp.int32).max


def ngram_codes(tokens: Int[Array, "n length"], *, n: int) -> list[Int[Array, "n length"]]:
    """Return the kinds of the 1-grams to n-grams that start at each token, -1 where there is none.

    Those of one order are numbered 0, 1, ... without a gap, over all sequences and for any vocabulary: no hash, no
    collision. Raises ValueError unless 1 <= n <= length.
    """
    length = tokens.shape[1]
    if not 1 <= n <= length:
        raise ValueError(f"n={n} must be at least 1 and at most the length of the sequences, {length}")
    codes, found = jnp.zeros(tokens.shape, jnp.int32), []
    for offset in range(n):
        following = jnp.pad(tokens[:, offset:].astype(jnp.int32), ((0, 0), (0, offset)), constant_values=-1)
        codes = _rank_pairs(codes.ravel(), following.ravel()).reshape(tokens.shape)
        found.append(codes)
    return found


@checked
def ngram_frequencies(
    tokens: Int[Array, "n length"], *, n: int, where: Bool[Array, " n"] | None = None, budget: int | None = None
) -> Float[Array, " kind"]:
    """Return the share of each kind of n-gram among all; they sum to one, and there is room for as many as tokens.

    `zipf_slope` and `entropy` take them as they are. `where` and `budget` as in `distinct_n`; all are NaN where there
    are fewer tokens than that, or no n-gram.
    """
    counted, enough = count_tokens(tokens, where, budget)
    codes = ngram_codes(counted, n=n)[-1].ravel()
    counts = jax.ops.segment_sum((codes >= 0).astype(jnp.int32), codes, len(codes))
    return jnp.where(enough, counts / counts.sum(), jnp.nan)


def count_tokens(
    tokens: Int[Array, "n length"], where: Bool[Array, " n"] | None, budget: int | None
) -> tuple[Int[Array, "n length"], Bool[Array, ""]]:
    """Return the tokens with padding for what does not count, and whether there are as many as the budget.

    Raises ValueError unless 1 <= budget <= number of tokens.
    """
    if budget is not None and not 1 <= budget <= tokens.size:
        raise ValueError(f"budget={budget} must be at least 1 and at most the number of tokens, {tokens.size}")
    used = tokens >= 0
    if where is not None:
        used &= where[:, None]
    if budget is None:
        return jnp.where(used, tokens, -1), jnp.array(True)
    position = jnp.cumsum(used.ravel()).reshape(tokens.shape)
    return jnp.where(used & (position <= budget), tokens, -1), position[-1, -1] >= budget


def _rank_pairs(first: Array, second: Array) -> Array:
    """Return the rank of each pair among the different ones; -1 where either is negative."""
    valid = (first >= 0) & (second >= 0)
    # Pairs that don't count come last, so that they take no rank from the others.
    first, second, index = jax.lax.sort((jnp.where(valid, first, _LAST), second, jnp.arange(len(first))), num_keys=2)
    fresh = (jnp.diff(first) != 0) | (jnp.diff(second) != 0)
    ranks = jnp.pad(jnp.cumsum(fresh, dtype=jnp.int32), (1, 0))
    return jnp.where(valid, jnp.zeros_like(ranks).at[index].set(ranks, unique_indices=True), -1)
