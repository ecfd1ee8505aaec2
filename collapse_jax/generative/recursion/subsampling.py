"""The subsample of its training set that a generation draws."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.generative.selection import Candidates


def subsample(key: Key[Array, ""], candidates: Candidates, draws: Int[Array, ""], size: int) -> Candidates:
    """Return `draws` of the candidates of a weight above 0, drawn uniformly without replacement.

    The result has `size` candidates, whatever the number of draws: those beyond it have weight 0.
    """
    alive = candidates.weights > 0
    # The candidates of weight above 0 come in random order, after them the others.
    order = jnp.where(alive, _scatter(key, len(alive)), 0.0)
    drawn = jax.lax.top_k(order, size)[1]
    chosen: Candidates = jax.tree.map(lambda leaf: leaf[drawn], candidates)
    return chosen._replace(weights=jnp.where(jnp.arange(size) < draws, chosen.weights, 0.0))


def _scatter(key: Key[Array, ""], n: int) -> Float[Array, " n"]:
    """Return n numbers above 0 whose order is random: the whole numbers 0 to n - 1, each hashed with the key.

    Two rounds of a 32-bit mixer (lowbias32, by C. Wellons), each a bijection: a draw for every example of the pool
    would take ten times as long, most of a generation.
    """
    first, second = jax.random.bits(key, (2,))

    def mix(x: Array) -> Array:
        x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
        x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
        return x ^ (x >> 16)

    hashed = mix(mix(jnp.arange(n, dtype=jnp.uint32) ^ first) + second)
    return (hashed >> 8).astype(float) + 1.0
