"""Linear regression on its own labels: E |ŵ_t - w|² for standard normal designs and labels y = X ŵ_(t-1) + noise.

Each generation brings `samples` rows of `dim` independent standard normal inputs and noise of variance `noise`;
|ŵ - w|² is also the test error above the noise. Source: Gerstgrasser et al., arXiv 2404.01413.
"""

import math

import numpy as np
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


@checked
def regression_replace(samples: int, dim: int, noise: float, generations: int) -> Float[np.ndarray, " generation"]:
    """Return the error of generations 1 … T, each trained on the last labels alone: σ² d / (n - d - 1) · t.

    Designs may be the same or fresh each generation.

    >>> regression_replace(23, 2, 1.0, 3)
    array([0.1, 0.2, 0.3])

    Raises ValueError unless samples > dim + 1, dim >= 1, noise >= 0, generations >= 1.
    """
    step = _one_fit(samples, dim, noise, generations)
    return step * np.arange(1.0, generations + 1)


@checked
def regression_accumulate(samples: int, dim: int, noise: float, generations: int) -> Float[np.ndarray, " generation"]:
    """Return the error of generations 1 … T trained on all labels so far of one design: σ² d / (n - d - 1) · Σ 1/i².

    >>> regression_accumulate(23, 2, 1.0, 3).round(4)
    array([0.1   , 0.125 , 0.1361])

    Raises ValueError unless samples > dim + 1, dim >= 1, noise >= 0, generations >= 1.
    """
    step = _one_fit(samples, dim, noise, generations)
    return step * np.cumsum(1 / np.arange(1.0, generations + 1) ** 2)


@checked
def regression_accumulate_fresh(
    samples: int, dim: int, noise: float, generations: int
) -> Float[np.ndarray, " generation"]:
    """Return the error of generations 1 … T trained on all labels so far, with a fresh design each generation.

    Exact: with G_i = X_i' X_i and A_t = G_1 + … + G_t the fit moves by A_t⁻¹ X_t' ε_t; the G_i are exchangeable, so
    that E tr A_t⁻¹ G_t A_t⁻¹ = E tr A_t⁻¹ / t, and the error is σ² Σ d / (i (i n - d - 1)).

    >>> regression_accumulate_fresh(23, 2, 1.0, 3).round(4)
    array([0.1   , 0.1233, 0.1334])

    Raises ValueError unless samples > dim + 1, dim >= 1, noise >= 0, generations >= 1.
    """
    _one_fit(samples, dim, noise, generations)
    i = np.arange(1.0, generations + 1)
    return np.cumsum(noise * dim / (i * (i * samples - dim - 1)))


def _one_fit(samples: int, dim: int, noise: float, generations: int) -> float:
    numbers.whole_value("dim", dim, 1)
    numbers.whole_value("samples", samples, dim + 2)
    numbers.within("noise", noise, 0, math.inf, ends="[)")
    numbers.generations(generations)
    return noise * dim / (samples - dim - 1)
