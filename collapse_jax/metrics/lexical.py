"""Lexical diversity of a set of token sequences; negative tokens are padding.

All but `repetition` depend on how many tokens they see, so compare sets at the same `budget` of tokens.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.categorical import entropy
from collapse_jax.metrics.ngrams import count_tokens, ngram_codes, ngram_frequencies

Tokens = Int[Array, "n length"]


@checked
def distinct_n(
    tokens: Tokens, *, n: int, where: Bool[Array, " n"] | None = None, budget: int | None = None
) -> Float[Array, ""]:
    """Return distinct-n, the number of different n-grams of the set over the number of all its n-grams, in (0, 1].

    Only sequences in `where` count, and of those the first `budget` tokens in reading order, by default all. NaN where
    there are fewer tokens than that, or no n-gram. Raises ValueError unless 1 <= n <= length and 1 <= budget <= number
    of tokens. Source: Li et al., arXiv 1510.03055, who divide by the number of tokens.
    """
    counted, enough = count_tokens(tokens, where, budget)
    codes = ngram_codes(counted, n=n)[-1]
    return jnp.where(enough, (codes.max() + 1) / (codes >= 0).sum(), jnp.nan)


@checked
def type_token_ratio(
    tokens: Tokens, *, where: Bool[Array, " n"] | None = None, budget: int | None = None
) -> Float[Array, ""]:
    """Return the number of different tokens over the number of tokens, in (0, 1]: distinct-1, under its older name."""
    return distinct_n(tokens, n=1, where=where, budget=budget)


@checked
def ngram_entropy(
    tokens: Tokens, *, n: int, where: Bool[Array, " n"] | None = None, budget: int | None = None
) -> Float[Array, ""]:
    """Return the entropy, in nats, of the n-grams of the set, each as often as it occurs; at most log of their number.

    `where`, `budget`, NaN and errors as in `distinct_n`.
    """
    return entropy(ngram_frequencies(tokens, n=n, where=where, budget=budget))


@checked
def repetition(tokens: Tokens, *, n: int = 4, where: Bool[Array, " n"] | None = None) -> Float[Array, ""]:
    """Return seq-rep-n, the share of a sequence's n-grams that occurred in it before, in [0, 1); mean of sequences.

    Sequences without an n-gram are left out; NaN if all are. It grows with their length. Raises ValueError unless
    1 <= n <= length. Source: Welleck et al., arXiv 1908.04319, with n = 4.
    """
    counted, _ = count_tokens(tokens, where, None)
    codes = jnp.sort(ngram_codes(counted, n=n)[-1], axis=1)
    number = (codes >= 0).sum(1)
    fresh = jnp.diff(codes, axis=1, prepend=-1) != 0
    return jnp.mean(1.0 - fresh.sum(1) / number, where=number > 0)


@checked
def self_bleu(tokens: Tokens, *, n: int = 4, where: Bool[Array, " n"] | None = None) -> Float[Array, ""]:
    """Return the mean over sequences of BLEU-n with all the others as references, in [0, 1]: 1 where all are the same.

    It grows with the number of sequences, so compare sets of as many. The conventions are those of sacreBLEU for
    sentences: clipped counts, the closest reference length (the shorter of two), exponential smoothing of orders
    without a match, only orders that the sequence is long enough for. Sequences without tokens are left out; NaN where
    fewer than two remain. Raises ValueError unless 1 <= n <= length. Source: Zhu et al., arXiv 1802.01886.
    """
    counted, _ = count_tokens(tokens, where, None)
    lengths = (counted >= 0).sum(1)
    used = lengths > 0
    smooth = jnp.ones(len(tokens))
    log_precision, orders = jnp.zeros(len(tokens)), jnp.zeros(len(tokens))
    some_match = jnp.zeros(len(tokens), bool)
    for codes in ngram_codes(counted, n=n):
        total, matches = (codes >= 0).sum(1), _clipped_matches(codes)
        present = total > 0
        smooth = jnp.where(matches > 0, smooth, 2.0 * smooth)
        precision = jnp.where(matches > 0, matches, 1.0 / smooth) / total
        log_precision += jnp.where(present, jnp.log(precision), 0.0)
        orders += present
        some_match |= matches > 0
    penalty = jnp.minimum(1.0 - _closest_lengths(lengths) / lengths, 0.0)
    scores = jnp.where(some_match, jnp.exp(penalty + log_precision / orders), 0.0)
    return jnp.where(used.sum() >= 2, jnp.mean(scores, where=used), jnp.nan)


def _clipped_matches(codes: Array) -> Array:
    """Return the number of n-grams of each sequence, each kind counted at most as often as some other has it."""
    number, size = len(codes), codes.size
    rows = jnp.broadcast_to(jnp.arange(number)[:, None], codes.shape)
    code, row = jax.lax.sort((codes.ravel(), rows.ravel()), num_keys=2)
    # Equal n-grams of one sequence now stand side by side, as a run. What counts once a run is counted at its start.
    start = jnp.pad((jnp.diff(code) != 0) | (jnp.diff(row) != 0), (1, 0), constant_values=True)
    count = jax.ops.segment_sum(jnp.ones_like(code), jnp.cumsum(start) - 1, size, indices_are_sorted=True)
    count = count[jnp.cumsum(start) - 1]

    def over_kind(reduce: Callable[..., Array], values: Array) -> Array:
        return reduce(values, code, size, indices_are_sorted=True)[code]

    # Another sequence has at most the largest count of all. Only the sequence that alone has that largest count must be
    # compared with the second largest.
    most = over_kind(jax.ops.segment_max, count)
    is_most = count == most
    second = over_kind(jax.ops.segment_max, jnp.where(is_most, 0, count))
    is_only = is_most & (over_kind(jax.ops.segment_sum, (start & is_most).astype(jnp.int32)) == 1)
    clipped = jnp.minimum(count, jnp.where(is_only, second, most))
    return jax.ops.segment_sum(jnp.where(start & (code >= 0), clipped, 0), row, number)


def _closest_lengths(lengths: Array) -> Array:
    """Return the length nearest to each among the other positive ones; of two equally near, the shorter."""
    order = jnp.argsort(lengths)
    ascending = lengths[order]
    # In ascending order the nearest other length is that of a neighbour. Neighbours that don't exist (before the first,
    # after the last, of length 0) get the largest distance, so that they are never the nearest.
    far = 4 * lengths.max()
    below = jnp.concatenate([-far[None], jnp.where(ascending > 0, ascending, -far)[:-1]])
    above = jnp.concatenate([ascending[1:], far[None]])
    nearest = jnp.where(ascending - below <= above - ascending, below, above)
    return jnp.zeros_like(lengths).at[order].set(nearest, unique_indices=True)
