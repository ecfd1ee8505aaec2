"""The subsample of its training set that a generation draws."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.generative.selection import Candidates


def subsample(key: Key[Array, ""], candidates: Candidates, draws: Int[Array, ""], size: int) -> Candidates:
    """Return `draws` of the candidates with a weight above 0, uniformly without replacement, padded to `size`."""
    alive = candidates.weights > 0
    # Random order of the living; the dead come last.
    order = jnp.where(alive, _scatter(key, len(alive)), 0.0)
    drawn = jax.lax.top_k(order, size)[1]
    chosen: Candidates = jax.tree.map(lambda leaf: leaf[drawn], candidates)
    return chosen._replace(weights=jnp.where(jnp.arange(size) < draws, chosen.weights, 0.0))


def _scatter(key: Key[Array, ""], n: int) -> Float[Array, " n"]:
    """Return n numbers above 0 in random order: the places 0 ... n - 1, hashed under the key.

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
