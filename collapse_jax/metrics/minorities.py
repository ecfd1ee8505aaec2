"""How a model treats each group of what is real: majorities and minorities apart."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.categorical import Probabilities, group_share, total_variation
from collapse_jax.metrics.missing import unless_nan

# Samples whose distances are held at a time.
_ROWS = 64


@checked
def group_distance(p: Probabilities, truth: Probabilities, group: Bool[Array, " category"]) -> Float[Array, ""]:
    """Return the total variation, in [0, 1], of model and truth given the group; NaN if either gives it no mass.

    It tells how well the model knows the group from inside, whatever share the group has.
    """
    within = [jnp.where(group, q, 0.0) / group_share(q, group) for q in (p, truth)]
    return total_variation(*within)


@checked
def group_misses(
    real: Float[Array, "n d"],
    groups: Int[Array, " n"],
    generated: Float[Array, "m d"],
    generated_groups: Int[Array, " m"],
    *,
    where: Bool[Array, " n"] | None = None,
) -> Float[Array, ""]:
    """Return the share, in [0, 1], of real samples whose nearest generated one is of another group.

    That is the error on real samples of the simplest classifier trained on generated ones. `where` chooses a group of
    the real; NaN where none is left or none of the generated belongs to a group that is chosen.
    """
    chosen = jnp.ones(len(real), bool) if where is None else where
    nearest = jax.lax.map(lambda one: jnp.square(generated - one[None]).sum(axis=1).argmin(), real, batch_size=_ROWS)
    found = generated_groups[nearest]
    is_there = ((generated_groups[:, None] == groups[None]) & chosen[None]).any()
    return unless_nan(jnp.where(is_there, jnp.mean(found != groups, where=chosen), jnp.nan), real, generated)


@checked
def ball_coverage(
    real: Float[Array, "n d"],
    generated: Float[Array, "m d"],
    *,
    k: int = 5,
    where: Bool[Array, " n"] | None = None,
) -> Float[Array, ""]:
    """Return the share of real samples with a generated one no farther than their k-th nearest real neighbour.

    Where samples are equal, or on a lattice, that neighbour may be as near as the generated one: it counts as reached.
    Unlike `recall` it sees what blurred samples still reach. With `where` a group is measured by itself, neighbours
    included; NaN where no more than k are left. Raises ValueError unless 1 <= k < n. Source: Naeem et al., arXiv
    2002.09797, with their k = 5 by default.
    """
    if not 1 <= k < len(real):
        raise ValueError(f"k={k} must be at least 1 and below the number of real samples, {len(real)}")
    chosen = jnp.ones(len(real), bool) if where is None else where

    def is_reached(one: Array) -> Array:
        among = jnp.where(chosen, jnp.square(real - one[None]).sum(axis=1), jnp.inf)
        # The smallest distance is the sample's own, 0.
        radius = -jax.lax.top_k(-among, k + 1)[0][-1]
        return jnp.square(generated - one[None]).sum(axis=1).min() <= radius

    reached = jax.lax.map(is_reached, real, batch_size=_ROWS)
    return unless_nan(jnp.where(chosen.sum() > k, jnp.mean(reached, where=chosen), jnp.nan), real, generated)
