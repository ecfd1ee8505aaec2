"""A checksum of each member's state, the same however the state is spread over devices."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, UInt32


@partial(jax.jit, static_argnames="members")
def checksum(state: PyTree, members: int) -> UInt32[Array, " members"]:
    """Return a number for each member, which differs between two states that differ in a single bit.

    Every leaf of `state` has a leading axis of `members`. The number is the sum, modulo 2^32, of the state's words
    times odd weights: it is exact, so that the order of summation doesn't matter. It finds damage by accident, not by
    intent.
    """
    total = jnp.zeros(members, jnp.uint32)
    for number, leaf in enumerate(jax.tree.leaves(state)):
        words = _words(leaf)
        words = words.reshape(members, words.size // members)
        weights = 2 * jnp.arange(words.shape[1], dtype=jnp.uint32) + jnp.uint32(2 * number + 1)
        total = total + (words * weights[None]).sum(1, dtype=jnp.uint32)
    return total


def _words(leaf: Array) -> Array:
    """Return the bits of an array as unsigned integers of at most 32 bits, a value each."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if jnp.iscomplexobj(leaf):
        leaf = jnp.stack([leaf.real, leaf.imag], 1)
    if not jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.dtype.itemsize <= 4:
        return leaf.astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(leaf, jnp.dtype(f"uint{8 * min(leaf.dtype.itemsize, 4)}")).astype(jnp.uint32)
