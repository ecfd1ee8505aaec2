"""Decoding: maps from a fitted model to the model that emits, each with one number, neutral where nothing changes.

A family lists the maps that have a meaning for it, by name; `make_recursion(decoding=...)` makes them axes of a sweep.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Scalar: TypeAlias = float | Float[Array, ""] | Int[Array, ""]

_TINY = 1e-6


class Decoding(NamedTuple):
    """A map `apply(params, value)` from a fitted model to what emits; `low` to `high` are the values allowed."""

    apply: Callable[[Any, Any], Any]
    neutral: float
    low: float
    high: float


def temper(p: Float[Array, "... v"], temperature: Scalar) -> Float[Array, "... v"]:
    """Return probabilities in proportion to p^(1/temperature); what has none keeps none."""
    log_p = jnp.where(p > 0, jnp.log(jnp.where(p > 0, p, 1.0)), -jnp.inf)
    top = jnp.max(log_p, axis=-1, keepdims=True)
    q = jnp.exp((log_p - top) / temperature)
    return q / jnp.sum(q, axis=-1, keepdims=True)


def keep_top_k(p: Float[Array, "... v"], k: Scalar) -> Float[Array, "... v"]:
    """Return the probabilities of the k most probable outcomes, renormalised; ties go to the lower index."""
    return _keep(p, _descending_rank(p) < k)


def keep_top_p(p: Float[Array, "... v"], mass: Scalar) -> Float[Array, "... v"]:
    """Return the probabilities of the fewest outcomes, most probable first, whose mass reaches `mass`, renormalised.

    Nucleus sampling: Holtzman et al., arXiv 1904.09751. The outcome that crosses `mass` is kept.
    """
    order = jnp.argsort(-p, axis=-1, stable=True)
    ordered = jnp.take_along_axis(p, order, axis=-1)
    before = jnp.cumsum(ordered, axis=-1) - ordered
    kept = jnp.take_along_axis(before, jnp.argsort(order, axis=-1, stable=True), axis=-1) < mass * (1.0 - _TINY)
    # At mass 1 the last outcomes must not fall to the rounding of the sum.
    return _keep(p, kept | (jnp.asarray(mass) >= 1.0))


def _keep(p: Array, kept: Array) -> Array:
    q = jnp.where(kept, p, 0.0)
    return q / jnp.sum(q, axis=-1, keepdims=True)


def _descending_rank(p: Array) -> Array:
    return jnp.argsort(jnp.argsort(-p, axis=-1, stable=True), axis=-1, stable=True)


def of_probabilities(size: int) -> dict[str, Decoding]:
    """Return temperature, top_k and top_p for models that are (..., size) arrays of probabilities."""
    return {
        "temperature": Decoding(temper, 1.0, _TINY, jnp.inf),
        "top_k": Decoding(keep_top_k, float(size), 1.0, jnp.inf),
        "top_p": Decoding(keep_top_p, 1.0, _TINY, 1.0),
    }
