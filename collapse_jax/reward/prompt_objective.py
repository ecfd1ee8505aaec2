"""The ranking objective of one prompt, and the certified distance of its rewards from the best possible ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from collapse_jax.reward.rankings import Pairs

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
    better, worse = _sides(mask, pairs)
    valid = better & worse
    if pairs == "all":
        valid = jnp.triu(valid, 1)

    def objective(rewards: Float[Array, " item"]) -> Float[Array, ""]:
        above, below = _sides(jnp.where(mask, rewards, 0.0), pairs)
        # Where there is no pair, a gap at which every utility has a slope: 0 times an infinite one would be NaN.
        gap = jnp.where(valid, above - below, 1.0)
        terms = utility(gap) - centring * (above + below - 1.0) ** 2
        return jnp.where(valid, terms, 0.0).sum() / valid.sum()

    return objective


def _sides(values: Shaped[Array, " item"], pairs: Pairs) -> tuple[Shaped[Array, "..."], Shaped[Array, "..."]]:
    """Return what is paired, the better and the worse, as `pair_indices` does; "all" has them in rows and in columns.

    Slices and not items by their indices, whose gradient would be a scatter: on a GPU that adds in any order.
    """
    if pairs == "chain":
        return values[:-1], values[1:]
    if pairs == "star":
        return values[:1], values[1:]
    return values[:, None], values[None]


def value_and_gap(objective: Objective, rewards: Float[Array, " item"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the objective and a certified bound on how much more any ordered rewards in [0, 1] could reach.

    Best item first. With g the gradient, the bound is max(0, largest sum of g over the k best items) - g·rewards: a
    concave objective lies below its tangent, whose maximum over ordered rewards in [0, 1] is at k ones followed by
    zeros. It is zero at the optimum, and no bound if U is not concave or a reward is outside [0, 1].
    """
    value, slope = jax.value_and_grad(objective)(rewards)
    # Not a product of matrices, which accelerators round to fewer digits.
    return value, jnp.maximum(0.0, jnp.cumsum(slope).max()) - (slope * rewards).sum()
