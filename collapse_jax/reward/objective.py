"""The ranking objective of one prompt, and the certified distance of its rewards from the best possible ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from collapse_jax.reward.rankings import Pairs, pair_indices

Objective = Callable[[Float[Array, " item"]], Float[Array, ""]]


def make_objective(
    utility: Callable[[Array], Array],
    mask: Bool[Array, " item"],
    *,
    pairs: Pairs = "all",
    centring: float | Array = 0.0,
) -> Objective:
    """Return rewards, best item first -> mean over pairs of utility(better - worse) - centring (better + worse - 1)².

    Pairs with an item outside `mask` don't count.
    """
    better, worse = pair_indices(mask.shape[0], pairs)
    valid = mask[better] & mask[worse]

    def objective(rewards: Float[Array, " item"]) -> Float[Array, ""]:
        present = jnp.where(mask, rewards, 0.0)
        above, below = present[better], present[worse]
        terms = utility(above - below) - centring * (above + below - 1.0) ** 2
        return jnp.where(valid, terms, 0.0).sum() / valid.sum()

    return objective


def value_and_gap(objective: Objective, rewards: Float[Array, " item"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the objective and a certified bound on how much more any ordered rewards in [0, 1] could reach.

    Best item first. With g the gradient: max(0, largest sum of g over the k best items) - g·rewards, by concavity and
    because step vectors are the corners of the ordered box. Zero at the optimum; it says nothing if U is not concave.
    """
    value, slope = jax.value_and_grad(objective)(rewards)
    return value, jnp.maximum(0.0, jnp.cumsum(slope).max()) - slope @ rewards
