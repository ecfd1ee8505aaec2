"""The loss of a reward model on rankings: the ranking objective of every prompt, under the utility of its type."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from collapse_jax.reward.models import Model
from collapse_jax.reward.prompt_objective import Objective, make_objective
from collapse_jax.reward.rankings import Pairs
from collapse_jax.reward.schemes import Row, apply_utility
from collapse_jax.reward.utilities import Utility


class RankingData(NamedTuple):
    """Rankings as device arrays, the best item of a prompt first; wins and margins where labels say more than that."""

    features: PyTree
    mask: Bool[Array, "prompt item"]
    types: Int[Array, " prompt"]
    wins: Float[Array, "prompt item item"] | None = None
    margins: Float[Array, "prompt item item"] | None = None
    memberships: Float[Array, "prompt type"] | None = None


def draw_batch(
    key: Key[Array, ""], data: RankingData, size: int, among: Int[Array, " place"] | None = None
) -> RankingData:
    """Return `size` of the prompts at random, none twice, or all of them if there are no more.

    `among` are the places of the prompts to draw from, by default all.
    """
    places = len(data.types) if among is None else len(among)
    if size >= places and among is None:
        return data
    # The largest of random numbers: sorting all of them, as `choice` does, took a third of a small model's step.
    chosen = jax.lax.top_k(jax.random.uniform(key, (places,)), min(size, places))[1]
    chosen = chosen if among is None else among[chosen]
    batch: RankingData = jax.tree.map(lambda leaf: leaf[chosen], data)
    return batch


def by_prompt(
    branches: Sequence[Utility],
    row: Row,
    data: RankingData,
    *,
    pairs: Pairs,
    centring: float | Array = 0.0,
    both_sides: bool = False,
    bounded: bool = True,
) -> Callable[[Callable[..., Any], Float[Array, "prompt item"]], Any]:
    """Return (fn, rewards) -> fn(objective of the prompt, rewards of the prompt) for all prompts.

    With `both_sides`, as graded labels and Plackett-Luce need it, two-sided utilities are taken as they are at any gap,
    and not continued by a tangent; so they are for raw logits, which are not `bounded`. With memberships the objective
    of a prompt is the mean of those under the types' utilities, weighted by its shares of the types.
    """
    whole = both_sides or not bounded or pairs == "plackett_luce"

    def of_type(data: RankingData, branch: Array, params: Array) -> Objective:
        utility = partial(apply_utility, branches, branch, params, both_sides=whole)
        labels = {"wins": data.wins, "margins": data.margins}
        return make_objective(utility, data.mask, pairs=pairs, centring=centring, bounded=bounded, **labels)

    def at(fn: Callable[..., Any], own: RankingData, rewards: Array) -> Any:
        shares = own.memberships
        if shares is None:
            return fn(of_type(own, jnp.asarray(row.branch)[own.types], jnp.asarray(row.params)[own.types]), rewards)

        def mixture(rewards: Float[Array, " item"]) -> Float[Array, ""]:
            each = jax.vmap(lambda *kind: of_type(own, *kind)(rewards))(
                jnp.asarray(row.branch), jnp.asarray(row.params)
            )
            # Not a product of matrices, which accelerators round to fewer digits.
            return (shares * each).sum()

        return fn(mixture, rewards)

    return lambda fn, rewards: jax.vmap(partial(at, fn))(data._replace(features=None), rewards)


def ranking_loss(
    model: Model,
    params: PyTree,
    branches: Sequence[Utility],
    row: Row,
    data: RankingData,
    *,
    pairs: Pairs = "all",
    centring: float | Array = 0.0,
    both_sides: bool = False,
) -> Float[Array, ""]:
    """Return minus the mean objective of the prompts; `both_sides` as in `by_prompt`."""

    def value(objective: Objective, rewards: Array) -> Array:
        return objective(rewards)

    options: dict[str, Any] = {"pairs": pairs, "centring": centring, "both_sides": both_sides}
    objectives = by_prompt(branches, row, data, bounded=model.bounded, **options)
    mean: Array = objectives(value, model.apply(params, data.features)).mean()
    return -mean
