"""Typed random keys in states: their data, which files and hosts hold, and keys of them again."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_key(leaf: Any) -> bool:
    """Return whether an array, or the shape of one, is of typed keys."""
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def in_data(leaf: Any) -> Any:
    """Return what tells the shape and the type in which a leaf is held: of keys those of their data, else the leaf."""
    return jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf


def as_keys(data: np.ndarray | jax.Array, like: Any) -> jax.Array:
    """Return keys of their data, of the kind of those in `like`, an array or the shape of one."""
    found: list[Any] = []
    jax.eval_shape(lambda given: found.append(jax.random.key_impl(given)), like)
    keys: jax.Array = jax.random.wrap_key_data(jnp.asarray(data), impl=found[0])
    return keys
