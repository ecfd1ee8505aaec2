"""Drawing from weighted examples without replacement, in static shapes: who trains, and who is kept."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Selection
from collapse_jax.process import Hyper


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


def select(
    key: Key[Array, ""], selection: Selection, candidates: Candidates, pool: Candidates, hyper: Hyper
) -> Candidates:
    """Return the candidates corrected and with the weights that a selection gives them."""
    own = {name: hyper[name] for name in selection.defaults}
    if selection.correct is not None:
        corrected = selection.correct(candidates.examples, pool, **own)
        changed = candidates._replace(examples=corrected)
        pool = changed if pool is candidates else pool
        candidates = changed
    return candidates._replace(weights=selection.weigh(key, candidates, pool, **own))


def keep(
    key: Key[Array, ""],
    selection: Selection,
    candidates: Candidates,
    pool: Candidates,
    hyper: Hyper,
    size: int,
    *,
    in_order: bool = False,
) -> tuple[Examples, Float[Array, " {size}"]]:
    """Return `size` examples that survive a selection, and the weights they are kept by (0: there was none left).

    Survivors come in random order, so that the first few are as good as any, or `in_order` as they were given.
    """
    weigh_key, draw_key = jax.random.split(key)
    candidates = select(weigh_key, selection, candidates, pool, hyper)
    weights = candidates.weights
    if selection.oversample == 1:
        return candidates.examples, weights
    # The largest of log weight + Gumbel noise: draws in proportion to the weights, without replacement.
    score = jnp.log(weights) + jax.random.gumbel(draw_key, weights.shape)
    drawn = jax.lax.top_k(score, size)[1]
    if in_order:
        drawn = jnp.sort(drawn)
    return jax.tree.map(lambda leaf: leaf[drawn], candidates.examples), (weights[drawn] > 0).astype(weights.dtype)
