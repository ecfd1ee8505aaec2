"""Gaussians in any dimension, fitted by maximum likelihood or without bias."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Decoding
from collapse_jax.generative.draws.chi_square import draw_chi_square
from collapse_jax.generative.family import FAMILIES, Family, MomentMatching, Moments, Statistics, exact_family
from collapse_jax.generative.rebuilding import rebuildable

__all__ = ["gaussian"]

_TINY = 1e-30


class Gaussian(NamedTuple):
    """The mean and the covariance of a Gaussian."""

    mean: Float[Array, " d"]
    covariance: Float[Array, "d d"]


class GaussianStatistics(NamedTuple):
    """The size, the mean and the scatter Σ (x - mean)(x - mean)ᵀ of a sample, or of several with a leading axis."""

    size: Float[Array, "*source"]
    mean: Float[Array, "*source d"]
    scatter: Float[Array, "*source d d"]


@checked
@rebuildable
def gaussian(d: int = 1, *, unbiased: bool = False) -> Family:
    """Return the family of Gaussians in d dimensions, with full covariance.

    The fit is maximum likelihood, or, if `unbiased`, divides the scatter by 1 - Σa² for normalised weights a (n - 1 of
    n equal ones). A singular covariance is a model like any other; directions narrower than about 1e-5 of the widest
    are lost in rounding. `bias` λ emits with covariance λΣ (Alemohammad et al., arXiv 2307.01850); for a Gaussian that
    is also its `temperature`. Examples are (n, d). The truth is the standard normal.
    """
    numbers.whole("d", d, 1)
    scale = Decoding(lambda params, value: params._replace(covariance=value * params.covariance), 1.0, 0.0, jnp.inf)

    def init(key: Key[Array, ""], examples: Array, weights: Array) -> Gaussian:
        return Gaussian(jnp.zeros(d), jnp.eye(d))

    def fit(
        key: Key[Array, ""], params: Gaussian, examples: Float[Array, "n d"], weights: Float[Array, " n"]
    ) -> Gaussian:
        a = weights / weights.sum()
        mean = a @ examples
        centred = examples - mean[None]
        covariance = (a[:, None] * centred).T @ centred
        return Gaussian(mean, covariance / (1.0 - a @ a) if unbiased else covariance)

    def sample(key: Key[Array, ""], params: Gaussian, n: int) -> Float[Array, "n d"]:
        return params.mean[None] + jax.random.normal(key, (n, d)) @ root(params.covariance).T

    def log_prob(params: Gaussian, examples: Float[Array, "n d"]) -> Float[Array, " n"]:
        factor = root(params.covariance)
        z = jax.scipy.linalg.solve_triangular(factor, (examples - params.mean[None]).T, lower=True)
        return -0.5 * (z * z).sum(0) - jnp.log(jnp.diagonal(factor)).sum() - 0.5 * d * jnp.log(2.0 * jnp.pi)

    def draw(key: Key[Array, ""], params: Gaussian, samples: Int[Array, ""]) -> GaussianStatistics:
        mean_key, scatter_key = jax.random.split(key)
        factor, n = root(params.covariance), samples.astype(float)
        mean = params.mean + factor @ jax.random.normal(mean_key, (d,)) / jnp.sqrt(n)
        half = factor @ bartlett(scatter_key, d, n - 1.0)
        return GaussianStatistics(n, mean, half @ half.T)

    def fit_statistics(statistics: GaussianStatistics, weights: Float[Array, " source"]) -> Gaussian:
        size, mean, scatter = _merge(statistics, weights)
        covariance = scatter / size
        squares = weights**2 @ statistics.size / size**2
        return Gaussian(mean, covariance / (1.0 - squares) if unbiased else covariance)

    family = Family(
        "gaussian_unbiased" if unbiased else "gaussian",
        init,
        fit,
        sample,
        log_prob,
        _moments,
        decodings={"bias": scale, "temperature": scale},
        statistics=Statistics(draw, fit_statistics, _merge),
        truth=Gaussian(jnp.zeros(d), jnp.eye(d)),
        source="Shumailov et al., Nature 631:755; Alemohammad et al., arXiv 2307.01850",
        matching=MomentMatching(
            gain=(lambda squares: 1.0 / (1.0 - squares)) if unbiased else None,
            emitted={name: lambda value: value for name in ("bias", "temperature")},
        ),
    )
    return exact_family(family)


def _moments(params: Gaussian) -> Moments:
    return Moments(params.mean, jnp.trace(params.covariance))


def _merge(statistics: GaussianStatistics, weights: Float[Array, " source"]) -> GaussianStatistics:
    """Return the statistics of the union of the sources of weight 1, or of each example counted by its weight."""
    counted = weights * statistics.size
    size = counted.sum()
    share = counted / jnp.maximum(size, 1.0)
    mean = share @ statistics.mean
    apart = statistics.mean - mean[None]
    within = jnp.tensordot(weights, statistics.scatter, 1)
    return GaussianStatistics(size, mean, within + (counted[:, None] * apart).T @ apart)


def root(covariance: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Return a lower triangular factor L with L Lᵀ = covariance up to rounding, singular ones included."""
    d = covariance.shape[0]
    if d == 1:
        return jnp.sqrt(covariance)
    # Rounding leaves a singular covariance slightly indefinite, which Cholesky's factorisation refuses: lift it by
    # about as much as rounding may have lowered it.
    lift: Array = d * jnp.finfo(covariance.dtype).eps * jnp.max(jnp.diagonal(covariance)) + _TINY
    factor: Array = jnp.linalg.cholesky(covariance + lift * jnp.eye(d))
    return factor


def bartlett(key: Key[Array, ""], d: int, freedom: Float[Array, ""]) -> Float[Array, "d d"]:
    """Return A, lower triangular, with A Aᵀ Wishart distributed with the given degrees of freedom, 0 or more.

    Bartlett's decomposition; with fewer degrees of freedom k than dimensions the columns from k on are zero.
    """
    diagonal_key, below_key = jax.random.split(key)
    left = freedom - jnp.arange(d)
    diagonal = jnp.sqrt(draw_chi_square(diagonal_key, jnp.maximum(left, 1.0)))
    below: Array = jnp.tril(jax.random.normal(below_key, (d, d)), -1)
    return jnp.where((left > 0.5)[None, :], below + jnp.diag(diagonal), 0.0)


FAMILIES.promise("gaussian", gaussian)
FAMILIES.promise("gaussian_unbiased", lambda: gaussian(unbiased=True))
