"""Distances and ratios of Gaussians, from their means and covariances; one dimension is d = 1.

Covariances are symmetric and positive semidefinite. One whose correlations have an eigenvalue below d times the
precision of its numbers counts as singular, since rounding hides the difference.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.missing import unless_nan

Vector = Float[Array, " d"]
Matrix = Float[Array, "d d"]


@checked
def frechet_distance(
    mean: Vector, covariance: Matrix, other_mean: Vector, other_covariance: Matrix
) -> Float[Array, ""]:
    """Return the Fréchet distance as the field reports it (FID): the *squared* 2-Wasserstein distance of two Gaussians.

    In units of the samples squared; singular covariances are allowed. Source: Dowson and Landau (1982), here as
    |m - n|² + min over orthogonal U of ‖√A - √B U‖², which keeps its precision where A and B are close.

    >>> float(frechet_distance(jnp.array([0.0]), jnp.array([[1.0]]), jnp.array([3.0]), jnp.array([[9.0]])))
    13.0
    """
    # Accelerators would multiply float32 matrices in half precision.
    with jax.default_matmul_precision("highest"):
        root, other_root = _square_root(covariance), _square_root(other_covariance)
        left, _, right = jnp.linalg.svd(other_root @ root)
        return jnp.square(mean - other_mean).sum() + jnp.square(root - other_root @ left @ right).sum()


@checked
def wasserstein2(mean: Vector, covariance: Matrix, other_mean: Vector, other_covariance: Matrix) -> Float[Array, ""]:
    """Return the 2-Wasserstein distance of two Gaussians, in units of the samples: the root of `frechet_distance`."""
    return jnp.sqrt(frechet_distance(mean, covariance, other_mean, other_covariance))


@checked
def gaussian_kl_divergence(
    mean: Vector, covariance: Matrix, other_mean: Vector, other_covariance: Matrix
) -> Float[Array, ""]:
    """Return KL(N(mean, covariance) ‖ N(other ...)) in nats; ∞ where either covariance is singular."""
    dimension = mean.shape[0]
    difference = other_mean - mean
    solved = jnp.linalg.solve(other_covariance, jnp.concatenate([covariance, difference[:, None]], axis=1))
    log_determinant, other = _log_determinant(covariance), _log_determinant(other_covariance)
    singular = jnp.isneginf(log_determinant) | jnp.isneginf(other)
    value = 0.5 * (jnp.trace(solved) + (difference * solved[:, -1]).sum() - dimension + other - log_determinant)
    return unless_nan(jnp.where(singular, jnp.inf, value), mean, covariance, other_mean, other_covariance)


@checked
def trace_ratio(covariance: Matrix, reference: Matrix) -> Float[Array, ""]:
    """Return the total variance as a multiple of the reference's: for d = 1, the variance ratio."""
    return jnp.trace(covariance) / jnp.trace(reference)


@checked
def log_determinant_ratio(covariance: Matrix, reference: Matrix) -> Float[Array, ""]:
    """Return log(det covariance / det reference); -∞ for a singular covariance, NaN if the reference is too."""
    return _log_determinant(covariance) - _log_determinant(reference)


def _log_determinant(covariance: Array) -> Array:
    """Return the log-determinant, through the correlations: dimensions of any unit count alike."""
    variances = jnp.diagonal(covariance)
    scale = jnp.sqrt(jnp.where(variances > 0.0, variances, 1.0))
    spectrum = jnp.linalg.eigvalsh(covariance / (scale[:, None] * scale[None, :]))
    floor = len(spectrum) * jnp.finfo(covariance.dtype).eps * spectrum.max()
    value = 2.0 * jnp.log(scale).sum() + jnp.log(jnp.maximum(spectrum, floor)).sum()
    return unless_nan(jnp.where((spectrum <= floor).any(), -jnp.inf, value), covariance)


def _square_root(covariance: Array) -> Array:
    values, vectors = jnp.linalg.eigh(covariance)
    # Zero eigenvalues come out as rounding errors of either sign.
    root: Array = (vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]) @ vectors.T
    return root
