"""The gradient of a mean over a batch, taken part by part where that is faster or saves memory."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

Total: TypeAlias = tuple[Float[Array, ""], Int[Array, ""] | int]
"""A sum, and the number of terms that its mean divides it by."""

# The most that one part may store for its backward pass: so many bytes, since a CPU's cache holds little more, or so
# many times the parameters' bytes where that is more, since adding up gradients of more parts would cost more than it
# saves.
_STORED = 16 * 2**20
_PER_PARAMETER = 32


def mean_gradient(
    total: Callable[[PyTree, PyTree, Int[Array, ""]], Total], params: PyTree, batch: PyTree, parts: int
) -> PyTree:
    """Return the gradient of a mean over a batch, `parts` of it after one another.

    `total(params, part, index)` returns the sum over a part and the number of its terms; where there are no terms at
    all the gradient is 0. `parts` divides the batch.
    """
    slope = jax.grad(total, has_aux=True)
    if parts == 1:
        gradient, number = slope(params, batch, jnp.int32(0))
    else:
        split = jax.tree.map(lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), batch)

        def add(carry: tuple[PyTree, Array], part: tuple[Array, PyTree]) -> tuple[tuple[PyTree, Array], None]:
            index, examples = part
            gradient, number = slope(params, examples, index)
            return (jax.tree.map(jnp.add, carry[0], gradient), carry[1] + jnp.asarray(number, jnp.int32)), None

        start = (jax.tree.map(jnp.zeros_like, params), jnp.int32(0))
        (gradient, number), _ = jax.lax.scan(add, start, (jnp.arange(parts, dtype=jnp.int32), split))
    mean: PyTree = jax.tree.map(lambda leaf: leaf / jnp.maximum(number, 1), gradient)
    return mean


def count_parts(loss: Callable[[PyTree, PyTree], Any], params: PyTree, batch: PyTree) -> int:
    """Return into how many equal parts a batch is best split for the gradient of loss(params, batch).

    One on an accelerator. On a CPU as many as keep what a part stores for its backward pass in cache, unless adding up
    gradients would then cost more than it saves.
    """
    if jax.default_backend() != "cpu":
        return 1
    size = jax.tree.leaves(batch)[0].shape[0]

    def backward(params: PyTree, batch: PyTree) -> Any:
        return jax.vjp(lambda params: loss(params, batch), params)[1]

    stored = jax.eval_shape(backward, params, batch)
    wanted = _bytes(stored) / max(_STORED, _PER_PARAMETER * _bytes(params))
    return next(parts for parts in range(1, size + 1) if size % parts == 0 and (parts >= wanted or parts == size))


def _bytes(tree: PyTree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
