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
    """Rankings as device arrays, the best item of a prompt first."""

    features: PyTree
    mask: Bool[Array, "prompt item"]
    types: Int[Array, " prompt"]


def draw_batch(key: Key[Array, ""], data: RankingData, size: int) -> RankingData:
    """Return `size` of the prompts at random, none twice, or all of them if there are no more."""
    if size >= len(data.types):
        return data
    # The largest of random numbers: sorting all of them, as `choice` does, took a third of a small model's step.
    chosen = jax.lax.top_k(jax.random.uniform(key, data.types.shape), size)[1]
    batch: RankingData = jax.tree.map(lambda leaf: leaf[chosen], data)
    return batch


def by_prompt(
    branches: Sequence[Utility], row: Row, data: RankingData, *, pairs: Pairs, centring: float | Array = 0.0
) -> Callable[[Callable[..., Any], Float[Array, "prompt item"]], Any]:
    """Return (fn, rewards) -> fn(objective of the prompt, rewards of the prompt) for all prompts."""

    def at(fn: Callable[..., Any], kind: Array, mask: Array, rewards: Array) -> Any:
        utility = partial(apply_utility, branches, jnp.asarray(row.branch)[kind], jnp.asarray(row.params)[kind])
        return fn(make_objective(utility, mask, pairs=pairs, centring=centring), rewards)

    return lambda fn, rewards: jax.vmap(partial(at, fn))(data.types, data.mask, rewards)


def ranking_loss(
    model: Model,
    params: PyTree,
    branches: Sequence[Utility],
    row: Row,
    data: RankingData,
    *,
    pairs: Pairs = "all",
    centring: float | Array = 0.0,
) -> Float[Array, ""]:
    """Return minus the mean objective of the prompts."""

    def value(objective: Objective, rewards: Array) -> Array:
        return objective(rewards)

    objectives = by_prompt(branches, row, data, pairs=pairs, centring=centring)
    mean: Array = objectives(value, model.apply(params, data.features)).mean()
    return -mean
