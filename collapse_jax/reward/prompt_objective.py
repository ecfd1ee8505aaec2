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
    wins: Float[Array, "item item"] | None = None,
    margins: Float[Array, "item item"] | None = None,
    bounded: bool = True,
) -> Objective:
    """Return rewards, best item first -> mean over pairs of utility(better - worse) - centring (better + worse - 1)².

    Pairs with an item outside `mask` don't count. With `wins`, [i, j] the weight of "i beats j", the mean is over both
    sides of all pairs, with these weights; `margins` are taken from the gaps. With `pairs` "plackett_luce" the mean of
    utilities is that over stages, `_plackett_luce`. Where rewards are raw logits, not `bounded`, the penalty is
    centring (better + worse)².
    """
    centre = 1.0 if bounded else 0.0
    if pairs == "plackett_luce":
        return _plackett_luce(utility, mask, centring, centre)
    if wins is not None or margins is not None:
        if wins is None:
            wins = jnp.triu(mask[:, None] & mask[None], 1).astype(jnp.float32)
        return _weighted(utility, mask, wins, margins, centring, centre)
    better, worse = _sides(mask, pairs)
    valid = better & worse
    if pairs == "all":
        valid = jnp.triu(valid, 1)

    def objective(rewards: Float[Array, " item"]) -> Float[Array, ""]:
        above, below = _sides(jnp.where(mask, rewards, 0.0), pairs)
        # Where there is no pair, a gap at which every utility has a slope: 0 times an infinite one would be NaN.
        gap = jnp.where(valid, above - below, 1.0)
        terms = utility(gap) - centring * (above + below - centre) ** 2
        return jnp.where(valid, terms, 0.0).sum() / valid.sum()

    return objective


def _weighted(
    utility: Callable[[Array], Array],
    mask: Bool[Array, " item"],
    wins: Float[Array, "item item"],
    margins: Float[Array, "item item"] | None,
    centring: float | Array,
    centre: float,
) -> Objective:
    """Return the mean over both sides of pairs, weighted by `wins`, of utility(gap - margin) and of the penalty."""
    valid = wins > 0

    def objective(rewards: Float[Array, " item"]) -> Float[Array, ""]:
        above, below = _sides(jnp.where(mask, rewards, 0.0), "all")
        gap = above - below if margins is None else above - below - margins
        # Elsewhere, a gap at which every utility has a slope.
        terms = utility(jnp.where(valid, gap, 1.0)) - centring * (above + below - centre) ** 2
        return jnp.where(valid, wins * terms, 0.0).sum() / wins.sum()

    return objective


def _plackett_luce(
    utility: Callable[[Array], Array], mask: Bool[Array, " item"], centring: float | Array, centre: float
) -> Objective:
    """Return the mean over stages of the log-probability that an item is chosen before all that come after it.

    With p = exp(U) the probability that it is chosen before one of them, that of all is 1 / (1 + Σ (1/p - 1)): U itself
    for one other, and Plackett and Luce's for U = log σ. The last item has no stage.
    """
    valid = jnp.triu(mask[:, None] & mask[None], 1)
    count = valid.sum(1)

    def objective(rewards: Float[Array, " item"]) -> Float[Array, ""]:
        above, below = _sides(jnp.where(mask, rewards, 0.0), "all")
        cost = jnp.where(valid, -utility(jnp.where(valid, above - below, 1.0)), 0.0)
        # Scaled by the largest, since 1/p can be beyond any float.
        largest = jax.lax.stop_gradient(cost.max(1, keepdims=True))
        rest = jnp.where(valid, jnp.exp(cost - largest) - jnp.exp(-largest), 0.0).sum(1)
        stages = -(largest[:, 0] + jnp.log(jnp.exp(-largest[:, 0]) + rest))
        penalty = jnp.where(valid, (above + below - centre) ** 2, 0.0).sum() / valid.sum()
        return jnp.where(count > 0, stages, 0.0).sum() / (count > 0).sum() - centring * penalty

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


def value_and_gap(
    objective: Objective, rewards: Float[Array, " item"], *, ordered: bool = True
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the objective and a certified bound on how much more any ordered rewards in [0, 1] could reach.

    Best item first. With g the gradient, the bound is max(0, largest sum of g over the k best items) - g·rewards: a
    concave objective lies below its tangent, whose maximum over ordered rewards in [0, 1] is at k ones followed by
    zeros. It is zero at the optimum, and no bound if U is not concave or a reward is outside [0, 1]. Labels that say
    more than an order may be best fit in another one: not `ordered`, the bound is over all rewards in [0, 1], where
    each is 1 or 0 by the sign of its g.
    """
    value, slope = jax.value_and_grad(objective)(rewards)
    if not ordered:
        # An item that isn't there has no slope, and its reward can be anything.
        best = jnp.where(slope > 0, 1.0, 0.0)
        return value, jnp.where(slope == 0, 0.0, slope * (best - rewards)).sum()
    # Not a product of matrices, which accelerators round to fewer digits.
    return value, jnp.maximum(0.0, jnp.cumsum(slope).max()) - (slope * rewards).sum()
