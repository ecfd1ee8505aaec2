"""Decoding: maps from a fitted model to the model that emits, each with one number, neutral where nothing changes.

A family lists the maps that have a meaning for it, by name; `make_recursion(decoding=...)` makes them axes of a sweep.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
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
    k = jnp.clip(jnp.ceil(jnp.asarray(k)), 1, p.shape[-1])
    least = _largest(p, lambda among: among.sum(axis=-1, keepdims=True) >= k)
    return _keep(p, least, k - (p > least).sum(axis=-1, keepdims=True))


def keep_top_p(p: Float[Array, "... v"], mass: Scalar) -> Float[Array, "... v"]:
    """Return the probabilities of the fewest outcomes, most probable first, whose mass reaches `mass`, renormalised.

    Nucleus sampling: Holtzman et al., arXiv 1904.09751. The outcome that crosses `mass` is kept.
    """
    # Rounding may make the sum reach 1 too early: at mass 1 everything is kept, whatever the sum.
    due = jnp.where(jnp.asarray(mass) >= 1.0, jnp.inf, mass * (1.0 - _TINY))
    least = _largest(p, lambda among: jnp.where(among, p, 0.0).sum(axis=-1, keepdims=True) >= due)
    missing = due - jnp.where(p > least, p, 0.0).sum(axis=-1, keepdims=True)
    return _keep(p, least, jnp.maximum(jnp.ceil(missing / least), 1.0))


def _largest(p: Array, enough: Callable[[Array], Array]) -> Array:
    """Return the largest number, a row, for which the outcomes of at least that probability are `enough`; else 0.

    Non-negative floats are ordered like the integers that have their bits, so that the number is found by deciding its
    bits one by one, from the highest. Sorting would take ten times as long.
    """
    bits = jnp.finfo(p.dtype).bits
    whole = jnp.int32 if bits == 32 else jnp.int64
    codes = jax.lax.bitcast_convert_type(jnp.abs(p), whole)

    def try_bit(number: Array, found: Array) -> Array:
        candidate = found | (jnp.ones((), whole) << (bits - 2 - number).astype(whole))
        return jnp.where(enough(codes >= candidate), candidate, found)

    found = jax.lax.fori_loop(0, bits - 1, try_bit, jnp.zeros((*p.shape[:-1], 1), whole))
    return jax.lax.bitcast_convert_type(found, p.dtype)


def _keep(p: Array, least: Array, ties: Array) -> Array:
    """Return the outcomes above `least`, and the first few that equal it, renormalised."""
    tied = p == least
    q = jnp.where((p > least) | (tied & (jnp.cumsum(tied, axis=-1) <= ties)), p, 0.0)
    return q / jnp.sum(q, axis=-1, keepdims=True)


def of_probabilities(size: int) -> dict[str, Decoding]:
    """Return temperature, top_k and top_p for models that are (..., size) arrays of probabilities."""
    return {
        "temperature": Decoding(temper, 1.0, _TINY, jnp.inf),
        "top_k": Decoding(keep_top_k, float(size), 1.0, jnp.inf),
        "top_p": Decoding(keep_top_p, 1.0, _TINY, 1.0),
    }
