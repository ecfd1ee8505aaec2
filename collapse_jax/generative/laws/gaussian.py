"""Gaussians that are refitted to their own samples: what variance, its logarithm and the Wasserstein distance do."""

import math
from collections.abc import Sequence

import numpy as np
import scipy
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


@checked
def replace_log_variance(
    samples: int, generations: int
) -> tuple[Float[np.ndarray, " generation"], Float[np.ndarray, " generation"]]:
    """Return E log σ_t² and Var log σ_t² of generations 1 … T, true variance 1, under replace with unbiased fits.

    σ_t² is a product of t independent χ²_k / k with k = samples - 1.

    >>> replace_log_variance(10, 2)[0].round(4)
    array([-0.1152, -0.2304])

    Raises ValueError for fewer than two samples or one generation. Source: Shumailov et al., Nature 631:755 (2024).
    """
    numbers.whole_value("samples", samples, 2)
    t, half = _generations(generations), (samples - 1) / 2
    return t * (scipy.special.digamma(half) - math.log(half)), t * scipy.special.polygamma(1, half)


@checked
def replace_log_determinant(samples: int, dim: int, generations: int) -> Float[np.ndarray, " generation"]:
    """Return E log det Σ_t of generations 1 … T, true covariance the identity, under replace with unbiased fits.

    Bartlett's factors of the Wishart matrix are χ² of samples - 1, samples - 2, … degrees of freedom.

    >>> replace_log_determinant(10, 3, 2).round(4)
    array([-0.7641, -1.5282])

    Raises ValueError unless 1 <= dim < samples, or for fewer than one generation.
    """
    numbers.whole_value("dim", dim, 1)
    numbers.whole_value("samples", samples, dim + 1)
    j = np.arange(1, dim + 1)
    step = float(np.sum(scipy.special.digamma((samples - j) / 2) + math.log(2) - math.log(samples - 1)))
    return _generations(generations) * step


@checked
def replace_wasserstein(samples: Sequence[int]) -> Float[np.ndarray, " generation"]:
    """Return E W2² between N(μ_t, σ_t²) and N(0, 1) under replace with unbiased fits to M_1, M_2, … samples.

    It is E μ_t² + E (σ_t - 1)² = Σ 1/M_i + 2 (1 - Π c4(M_i)) with c4(M) = E σ̂ / σ.

    >>> replace_wasserstein([100, 100]).round(5)
    array([0.01504, 0.03008])

    Raises ValueError for no sizes or one below 2. Source of the leading order: Shumailov et al.,
    Nature 631:755 (2024).
    """
    sizes = _sizes(samples)
    k = sizes - 1
    # For large k the difference of log-gammas loses digits, and Stirling's series is exact up to rounding.
    gammas = 0.5 * np.log(2 / k) + scipy.special.gammaln((k + 1) / 2) - scipy.special.gammaln(k / 2)
    log_c4 = np.where(k < 100, gammas, -1 / (4 * k) + 1 / (24 * k**3) - 1 / (20 * k**5))
    return np.asarray(np.cumsum(1 / sizes) - 2 * np.expm1(np.cumsum(log_c4)))


@checked
def replace_wasserstein_leading(samples: Sequence[int]) -> Float[np.ndarray, " generation"]:
    """Return 3/2 Σ 1/M_i, what `replace_wasserstein` becomes while it is small.

    >>> replace_wasserstein_leading([100, 100])
    array([0.015, 0.03 ])

    Raises ValueError for no sizes or one below 2. Source: Shumailov et al., Nature 631:755 (2024).
    """
    return 1.5 * np.cumsum(1 / _sizes(samples))


@checked
def accumulate_variance_limit(samples: int) -> float:
    """Return lim E σ_t² = sin(π/√M) / (π/√M), the true variance being 1, under accumulate with MLE fits.

    >>> round(accumulate_variance_limit(10), 4)
    0.8434

    Raises ValueError for fewer than one sample. Source: Kazdan et al., arXiv 2410.16713; Euler's product of the sine.
    """
    numbers.whole_value("samples", samples, 1)
    return float(np.sinc(1 / math.sqrt(samples)))


def _generations(generations: int) -> Float[np.ndarray, " generation"]:
    numbers.generations(generations)
    return np.arange(1.0, generations + 1)


def _sizes(samples: Sequence[int]) -> Float[np.ndarray, " generation"]:
    if not len(samples):
        raise ValueError("samples = [] has no generation; one size a generation is needed")
    for size in samples:
        numbers.whole_value("samples", size, 2)
    return np.asarray(samples, np.float64)
