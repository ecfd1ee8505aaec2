"""Kernel density estimates that are refitted to their own samples: E x² of the examples of each generation."""

import math

import numpy as np
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


@checked
def kernel_replace(bandwidth: float, generations: int, *, variance: float = 1.0) -> Float[np.ndarray, " generation"]:
    """Return E x², about the true mean, of the examples that train generations 1 … T: σ² + (t-1) h².

    A kernel of variance h² adds h² each time an example is drawn; the density of model t itself has h² more.

    >>> kernel_replace(0.5, 3)
    array([1.  , 1.25, 1.5 ])

    Raises ValueError unless bandwidth >= 0, variance > 0, generations >= 1.
    """
    _check(bandwidth, generations, variance)
    return variance + bandwidth**2 * np.arange(float(generations))


@checked
def kernel_accumulate(bandwidth: float, generations: int, *, variance: float = 1.0) -> Float[np.ndarray, " generation"]:
    """Return E x² of the pool that trains generations 1 … T under accumulate: σ² + h² (1/2 + … + 1/t), without bound.

    >>> kernel_accumulate(0.5, 3).round(4)
    array([1.    , 1.125 , 1.2083])

    Raises ValueError unless bandwidth >= 0, variance > 0, generations >= 1.
    """
    _check(bandwidth, generations, variance)
    return variance + bandwidth**2 * (np.cumsum(1 / np.arange(1.0, generations + 1)) - 1)


def _check(bandwidth: float, generations: int, variance: float) -> None:
    numbers.within("bandwidth", bandwidth, 0, math.inf, ends="[)")
    numbers.within("variance", variance, 0, math.inf, ends="()")
    numbers.generations(generations)
