"""Metrics of densities on a grid of the line. With `cell_masses` as probabilities, those of categories apply too."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.missing import unless_nan

Number = float | Float[Array, ""]


@checked
def cell_masses(log_density: Float[Array, " point"], grid: Float[Array, " point"]) -> Float[Array, " point"]:
    """Return the mass about each point of an ascending grid (trapezoid rule); they sum to what the grid covers.

    `off_support_mass`, `tail_coverage`, `total_variation` and `kl_divergence` take those of a model and of the truth.
    """
    half = jnp.diff(grid) / 2.0
    return jnp.exp(log_density) * (jnp.pad(half, (0, 1)) + jnp.pad(half, (1, 0)))


@checked
def modes(density: Float[Array, " point"], *, height: Number = 0.1) -> Float[Array, ""]:
    """Return the number of local maxima of a density on a grid that are above `height` times the largest.

    A plateau is one mode, an end of the grid may be one. 0 for a density that is 0 everywhere.
    """
    rise = jnp.sign(jnp.diff(jnp.pad(density, 1, constant_values=-jnp.inf)))
    # Along a plateau, the last rise or fall before it still counts.
    steps = jnp.arange(len(rise))
    before = rise[jax.lax.cummax(jnp.where(rise != 0.0, steps, 0))]
    peak = (before[:-1] > 0.0) & (rise[1:] < 0.0) & (density > height * density.max())
    return unless_nan(peak.sum(dtype=density.dtype), density)


@checked
def tail_mass(x: Float[Array, " n"], *, lower: Number, upper: Number) -> Float[Array, ""]:
    """Return the share of samples, in [0, 1], below `lower` or above `upper`, such as quantiles of the truth."""
    return unless_nan(((x < lower) | (x > upper)).mean(dtype=x.dtype), x)
