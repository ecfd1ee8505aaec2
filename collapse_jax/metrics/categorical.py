"""Metrics of categorical distributions: `p` is a model's vector of probabilities, `truth` the real one.

A category is alive where its probability is positive. Logarithms are natural, entropies in nats.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.missing import unless_nan

Probabilities = Float[Array, " category"]
Number = float | Float[Array, ""]


@checked
def total_variation(p: Probabilities, q: Probabilities) -> Float[Array, ""]:
    """Return half the sum of |p - q|, in [0, 1]."""
    return 0.5 * jnp.abs(p - q).sum()


@checked
def kl_divergence(p: Probabilities, q: Probabilities) -> Float[Array, ""]:
    """Return KL(p ‖ q) in nats, with 0 log 0 = 0; ∞ where q is 0 and p is not.

    >>> float(kl_divergence(jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0])))
    0.0
    """
    return unless_nan(jax.scipy.special.rel_entr(p, q).sum(), p, q)


@checked
def entropy(p: Probabilities) -> Float[Array, ""]:
    """Return the entropy in nats, in [0, log K] for K categories."""
    return unless_nan(jax.scipy.special.entr(p).sum(), p)


@checked
def heterozygosity(p: Probabilities) -> Float[Array, ""]:
    """Return 1 - Σp², the chance that two draws differ, in [0, 1 - 1/K]."""
    # Without the cancellation of 1 - Σp² next to fixation.
    return (p * (1.0 - p)).sum()


@checked
def survivors(p: Probabilities) -> Float[Array, ""]:
    """Return the number of categories alive; counts do as well as probabilities."""
    return unless_nan((p > 0.0).sum(dtype=p.dtype), p)


@checked
def missing_mass(p: Probabilities, truth: Probabilities) -> Float[Array, ""]:
    """Return the real mass, in [0, 1], of the categories that are dead in the model."""
    return unless_nan(jnp.where(p > 0.0, 0.0, truth).sum(), p, truth)


@checked
def tail_coverage(p: Probabilities, truth: Probabilities, *, threshold: Number) -> Float[Array, ""]:
    """Return P(p(x) > threshold) for real x, in [0, 1]: what the model still gives more than `threshold`.

    `p` may also be a density at points of real mass `truth`.
    """
    return unless_nan(jnp.where(p > threshold, truth, 0.0).sum(), p, truth)


@checked
def off_support_mass(p: Probabilities, truth: Probabilities) -> Float[Array, ""]:
    """Return the mass, in [0, 1], that the model gives to what is never real."""
    return unless_nan(jnp.where(truth > 0.0, 0.0, p).sum(), p, truth)


@checked
def zipf_slope(p: Probabilities, *, first: int = 1, last: int | None = None) -> Float[Array, ""]:
    """Return the least-squares slope of log p against log rank over ranks `first` to `last`: -β for p ∝ rank^-β.

    The most probable category has rank 1; `last` is by default the number of categories. Dead ones are left out, and
    counts do as well as probabilities; NaN where fewer than two are alive in the range. Raises ValueError unless
    1 <= first < last <= number of categories.
    """
    last = len(p) if last is None else last
    if not 1 <= first < last <= len(p):
        raise ValueError(
            f"p has {len(p)} categories; first={first} and last={last} must satisfy 1 <= first < last <= {len(p)}"
        )
    ranked = jnp.sort(p, descending=True)[first - 1 : last]
    alive = ranked > 0.0
    x = jnp.log(jnp.arange(first, last + 1, dtype=p.dtype))
    y = jnp.log(jnp.where(alive, ranked, 1.0))
    centred = jnp.where(alive, x - jnp.mean(x, where=alive), 0.0)
    return unless_nan((centred * y).sum() / jnp.square(centred).sum(), p)


@checked
def group_share(p: Probabilities, group: Bool[Array, " category"]) -> Float[Array, ""]:
    """Return the model's mass, in [0, 1], of a group of categories such as a minority."""
    return unless_nan(jnp.where(group, p, 0.0).sum(), p)


@checked
def group_coverage(
    p: Probabilities, truth: Probabilities, group: Bool[Array, " category"], *, threshold: Number
) -> Float[Array, ""]:
    """Return P(p(x) > threshold) for real x of the group, in [0, 1]; NaN for a group that is never real."""
    return tail_coverage(p, jnp.where(group, truth, 0.0), threshold=threshold) / group_share(truth, group)


@checked
def group_error(errors: Float[Array, " example"], group: Bool[Array, " example"]) -> Float[Array, ""]:
    """Return the mean of per-example errors over the examples of a group, in their units; NaN for an empty group."""
    return unless_nan(jnp.where(group, errors, 0.0).sum() / group.sum(), errors)
