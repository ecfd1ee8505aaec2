"""Distances between sample sets, as pure jax.numpy functions: batch them with `jax.vmap`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def wasserstein(x: Float[Array, " n"], y: Float[Array, " m"]) -> Float[Array, ""]:
    """Return the 1-Wasserstein distance between two sample sets on the line, in units of the samples.

    >>> float(wasserstein(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5])))
    0.5
    """
    points, below_x, below_y = _distribution_functions(x, y)
    return jnp.sum(jnp.abs(below_x - below_y)[:-1] * jnp.diff(points))


def kolmogorov_smirnov(x: Float[Array, " n"], y: Float[Array, " m"]) -> Float[Array, ""]:
    """Return the largest distance, in [0, 1], between the distribution functions of two sample sets on the line.

    >>> float(kolmogorov_smirnov(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5])))
    0.5
    """
    points, below_x, below_y = _distribution_functions(x, y)
    return jnp.where(jnp.isnan(points).any(), jnp.nan, jnp.abs(below_x - below_y).max())


def mmd_squared(
    x: Float[Array, " n"], y: Float[Array, " m"], kernel: Callable[[Float[Array, "..."]], Float[Array, "..."]]
) -> Float[Array, ""]:
    """Return the squared maximum mean discrepancy (V-statistic) under `kernel(|distance|)`.

    With kernel -U for a concave utility with U(0) = 0, between rewards and their limit law, it is what the rewards miss
    of the optimum: the natural distance to collapse.
    """

    def mean(a: Array, b: Array) -> Array:
        return kernel(jnp.abs(a[:, None] - b[None, :])).mean()

    return mean(x, x) + mean(y, y) - 2.0 * mean(x, y)


def _distribution_functions(x: Array, y: Array) -> tuple[Array, Array, Array]:
    points = jnp.sort(jnp.concatenate([x, y]))
    share = jax.vmap(lambda point: (jnp.mean(x <= point), jnp.mean(y <= point)))
    return points, *share(points)
