"""How far generated samples or their embeddings have moved from the real ones, by their moments."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.gaussians import frechet_distance


class Drift(NamedTuple):
    """Where generated embeddings are, and how wide, both in units of the real ones' mean distance to their mean.

    `distance` is between the two means, `spread` the mean distance of the generated ones to their own mean.
    """

    distance: Float[Array, ""]
    spread: Float[Array, ""]


@checked
def semantic_drift(
    real: Float[Array, "n d"],
    generated: Float[Array, "m d"],
    *,
    real_where: Bool[Array, " n"] | None = None,
    generated_where: Bool[Array, " m"] | None = None,
) -> Drift:
    """Return how far the embeddings of generated text are from the real ones, and how wide: near (0, 1) for no drift.

    Without drift, the distance is not 0 but some √(1/n + 1/m). Samples outside a `where` are left out, whatever they
    hold; NaN where none is left.
    """
    real_centre, real_spread = _centre(real, real_where)
    centre, spread = _centre(generated, generated_where)
    return Drift(jnp.linalg.norm(centre - real_centre) / real_spread, spread / real_spread)


@checked
def sample_frechet_distance(
    real: Float[Array, "n d"],
    generated: Float[Array, "m d"],
    *,
    real_where: Bool[Array, " n"] | None = None,
    generated_where: Bool[Array, " m"] | None = None,
) -> Float[Array, ""]:
    """Return the `frechet_distance` of the Gaussians with the samples' means and unbiased covariances, as FID does.

    In units of the samples squared. It is biased upwards, the more the fewer the samples: compare sets of equal size.
    Samples outside a `where` are left out, whatever they hold; NaN where fewer than two are left. Source: Heusel et
    al., arXiv 1706.08500, there of the features of an image classifier.
    """
    return frechet_distance(*_moments(real, real_where), *_moments(generated, generated_where))


def _centre(x: Array, where: Array | None) -> tuple[Array, Array]:
    """Return the mean and the mean distance to it."""
    rows = None if where is None else where[:, None]
    mean = jnp.mean(x, axis=0, where=rows)
    return mean, jnp.mean(jnp.linalg.norm(x - mean[None], axis=1), where=where)


def _moments(x: Array, where: Array | None) -> tuple[Array, Array]:
    """Return the mean and the unbiased covariance."""
    rows = jnp.ones((len(x), 1), bool) if where is None else where[:, None]
    mean = jnp.mean(x, axis=0, where=rows)
    centred = jnp.where(rows, x - mean[None], 0.0)
    number = rows.sum()
    # Accelerators would multiply float32 matrices in half precision.
    products = jnp.matmul(centred.T, centred, precision="highest")
    return mean, jnp.where(number < 2, jnp.nan, products / (number - 1))
