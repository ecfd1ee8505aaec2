"""NaN in what a metric is given, passed on to its value."""

import jax.numpy as jnp
from jaxtyping import Array, Shaped

__all__ = ()


def unless_nan(value: Shaped[Array, ""], *inputs: Shaped[Array, "..."]) -> Shaped[Array, ""]:
    """Return `value`, or NaN where an input holds one: comparisons with NaN are false and would hide it."""
    broken = jnp.any(jnp.stack([jnp.isnan(x).any() for x in inputs]))
    return jnp.where(broken, jnp.nan, value)
