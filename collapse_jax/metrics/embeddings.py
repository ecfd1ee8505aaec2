"""Embeddings: any function from n examples to n vectors. The default for text needs no model."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from collapse_jax.checks.annotations import checked


@checked
def hashed_ngram_embedding(
    tokens: Int[Array, "n length"], *, size: int = 512, orders: Sequence[int] = (1, 2, 3)
) -> Float[Array, "n size"]:
    """Return the counts of a sequence's n-grams of the given orders, hashed to signed places, scaled to norm 1.

    Inner products estimate the cosine of the counts themselves, without bias before the scaling and with an error of
    the order of 1/√size. Negative tokens are padding; a sequence without n-grams gives zeros. Raises ValueError unless
    size >= 1 and 1 <= order <= length. Source: Weinberger et al., arXiv 0902.2206.
    """
    number, length = tokens.shape
    if size < 1:
        raise ValueError(f"size={size} must be at least 1")
    if not orders or not all(1 <= order <= length for order in orders):
        raise ValueError(f"orders={tuple(orders)} must be from 1 to the length of the sequences, {length}")
    # Whole numbers: their sums are the same in any order in which a GPU adds them.
    counts = jnp.zeros((number, size), jnp.int32)
    rows = jnp.arange(number)[:, None]
    for order in orders:
        starts = length - order + 1
        state = jnp.full((number, starts), order, jnp.uint32)
        valid = jnp.ones((number, starts), bool)
        for offset in range(order):
            token = tokens[:, offset : offset + starts]
            state = _mix(state ^ _mix(token.astype(jnp.uint32) + jnp.uint32(offset * 0x9E3779B9 % 2**32)))
            valid &= token >= 0
        sign = jnp.where(state >> 31 == 0, 1, -1)
        place = (state % jnp.uint32(size)).astype(jnp.int32)
        counts = counts.at[jnp.broadcast_to(rows, place.shape), place].add(jnp.where(valid, sign, 0))
    counts = counts.astype(float)
    norm = jnp.linalg.norm(counts, axis=1, keepdims=True)
    return counts / jnp.where(norm > 0.0, norm, 1.0)


def _mix(state: Array) -> Array:
    """Return MurmurHash3's finaliser of 32-bit words: each bit of the input moves half of the output's."""
    state = (state ^ (state >> 16)) * jnp.uint32(0x85EBCA6B)
    state = (state ^ (state >> 13)) * jnp.uint32(0xC2B2AE35)
    return state ^ (state >> 16)
