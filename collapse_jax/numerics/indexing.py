"""Sums over what shares an index, and rows of a table by index, in the same bits whenever they are computed.

A GPU's scatter adds with atomic operations, in the order in which its threads arrive: two runs of one program differ in
their last bits. CPUs and TPUs add in order, and there a scatter is the fastest way.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Up to so many segments a GPU compares each index with all of them, in fewer kernels than sorting takes. For vectors
# this stores a matrix of indicators, as large as the logits of a language model over as many tokens.
_COMPARED = 2048


def segment_sum(values: Float[Array, "n *d"], index: Int[Array, " n"], size: int) -> Float[Array, "{size} *d"]:
    """Return the sum of the values of each index 0 ... size - 1; larger indices are left out, none may be negative.

    A sum of nothing is 0 exactly. Float32 sums are rounded as float32 everywhere.
    """
    on_gpu = partial(_by_comparing if size <= _COMPARED else _by_sorting, size=size)
    total: Array = jax.lax.platform_dependent(
        values, index, cuda=on_gpu, rocm=on_gpu, default=partial(_by_scatter, size=size)
    )
    return total


def _by_scatter(values: Array, index: Array, *, size: int) -> Array:
    return jnp.zeros((size, *values.shape[1:]), values.dtype).at[index].add(values)


def _by_comparing(values: Array, index: Array, *, size: int) -> Array:
    own = index[None] == jnp.arange(size)[:, None]
    if values.ndim == 1:
        return jnp.where(own, values[None], 0.0).sum(axis=1)
    return jnp.tensordot(own.astype(values.dtype), values, 1, precision="highest")


def _by_sorting(values: Array, index: Array, *, size: int) -> Array:
    """Return the sums by a scan over the values in order of their index, begun anew with each."""
    order = jnp.argsort(index, stable=True)
    index, values = index[order], values[order]
    changes = index[1:] != index[:-1]
    first = jnp.pad(changes, (1, 0), constant_values=True)
    last = jnp.pad(changes, (0, 1), constant_values=True)

    def add(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
        (left, began), (right, begins) = one, other
        return jnp.where(_like(begins, right), right, left + right), began | begins

    totals, _ = jax.lax.associative_scan(add, (values, first))
    # What isn't a total is written beyond the end, where it is dropped; each has its own place, so that none repeats.
    place = jnp.where(last, index, size + jnp.arange(len(index)))
    zeros = jnp.zeros((size, *values.shape[1:]), values.dtype)
    return zeros.at[place].set(totals, mode="drop", unique_indices=True)


def _like(flags: Array, values: Array) -> Array:
    return flags.reshape(-1, *[1] * (values.ndim - 1))


def lookup(table: Float[Array, "size d"], index: Int[Array, "*n"]) -> Float[Array, "*n d"]:
    """Return rows of a table, NaN beyond its end; the gradient is a `segment_sum`."""
    return _lookup(len(table), table, index)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lookup(size: int, table: Array, index: Array) -> Array:
    return jnp.take(table, index, axis=0)


def _forward(size: int, table: Array, index: Array) -> tuple[Array, Array]:
    return _lookup(size, table, index), index


def _backward(size: int, index: Array, slope: Array) -> tuple[Array, None]:
    return segment_sum(slope.reshape(-1, slope.shape[-1]), index.reshape(-1), size), None


_lookup.defvjp(_forward, _backward)
