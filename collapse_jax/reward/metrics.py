"""What tells collapse from its absence in the rewards of many prompts, best item first, NaN or masked where none is."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.checks.unit_interval import outside


def ranking_accuracy(
    rewards: Float[Array, " item"], mask: Bool[Array, " item"], wins: Float[Array, "item item"] | None = None
) -> Float[Array, ""]:
    """Return the share of pairs in which the better item has the larger reward; equal rewards count one half.

    With `wins`, it is the share of all wins that go to the larger reward: at most 1 for orders, and less where labels
    have both sides of a pair.
    """
    if wins is not None:
        larger = 0.5 * (1.0 + jnp.sign(rewards[:, None] - rewards[None]))
        return jnp.where(wins > 0, wins * larger, 0.0).sum() / wins.sum()
    n_items = rewards.shape[0]
    better, worse = jnp.triu_indices(n_items, 1)
    valid = mask[better] & mask[worse]
    right = 0.5 * (1.0 + jnp.sign(rewards[better] - rewards[worse]))
    return jnp.where(valid, right, 0.0).sum() / valid.sum()


def type_curves(
    rewards: Float[Array, "prompt item"], types: Int[Array, " prompt"], n_types: int
) -> Float[Array, "type item"]:
    """Return the mean reward by type of prompt and item index, NaN for a type that no prompt has.

    Prompts have one number of answers: an item that one of them lacks (NaN) has no mean, since prompts with different
    numbers have different laws.
    """
    member = jax.nn.one_hot(types, n_types, axis=0)[:, :, None]
    return jnp.where(member > 0, rewards[None], 0.0).sum(1) / member.sum(1)


@checked
def separation_by_pair(
    rewards: Float[Array, "prompt item"], types: Int[Array, " prompt"], n_types: int
) -> Float[Array, " pair"]:
    """Return for each pair of types, (0, 1), (0, 2), ..., (1, 2), ..., the mean over items of |difference of curves|.

    A type's curve is its mean reward by item. Rewards are best first, of prompts with one number of answers; a pair is
    NaN where a type has no prompt or an item no reward. Raises ValueError for `n_types` below 1.
    """
    numbers.whole("n_types", n_types, 1)
    first, second = np.triu_indices(n_types, 1)
    curves = type_curves(rewards, types, n_types)
    return jnp.abs(curves[first] - curves[second]).mean(1)


@checked
def separation(rewards: Float[Array, "prompt item"], types: Int[Array, " prompt"], n_types: int) -> Float[Array, ""]:
    """Return the mean of `separation_by_pair` over the pairs of types that have prompts: 0 where rewards collapsed.

    It is NaN where fewer than two types have prompts, since then nothing can be told apart.
    """
    return over_pairs(separation_by_pair(rewards, types, n_types), types, n_types)


def over_pairs(values: Float[Array, " pair"], types: Int[Array, " prompt"], n_types: int) -> Float[Array, ""]:
    """Return the mean of a value a pair of types over the pairs of which both types have prompts, NaN without any."""
    first, second = np.triu_indices(n_types, 1)
    there = jax.nn.one_hot(types, n_types).sum(0) > 0
    both = there[first] & there[second]
    return jnp.where(both, values, 0.0).sum() / both.sum()


def atom_masses(rewards: Float[Array, "prompt item"], tolerance: float = 0.05) -> Float[Array, "2"]:
    """Return the shares of all rewards within `tolerance` of 0 and of 1; NaN if one is outside [0, 1]."""
    count = jnp.isfinite(rewards).sum()
    shares = jnp.stack([(rewards <= tolerance).sum(), (rewards >= 1.0 - tolerance).sum()]) / count
    return jnp.where(outside(rewards).any(), jnp.nan, shares)


def reward_variance(rewards: Float[Array, " item"]) -> Float[Array, ""]:
    """Return the variance of one prompt's rewards, at most 1/4 where they lie in [0, 1]."""
    return jnp.nanvar(rewards)


def prompt_distance(rewards: Float[Array, "prompt item"]) -> Float[Array, ""]:
    """Return the mean 1-Wasserstein distance between the rewards of two prompts, over all pairs of prompts.

    Prompts have one number of answers.
    """
    prompts = rewards.shape[0]
    # Item by item in order of reward; over all pairs, a sum of |differences| is a weighted sum of the sorted values.
    ordered = jnp.sort(jnp.sort(rewards, axis=1), axis=0)
    weight = 2.0 * jnp.arange(prompts) - prompts + 1.0
    return (weight[:, None] * ordered).sum(0).mean() * 2.0 / (prompts * max(prompts - 1, 1))


def mmd_gap(objective: Any, n_items: int, limit_value: Any, value_at_zero: Any) -> Any:
    """Return MMD²(rewards, limit law) under the kernel -U, from a prompt's mean of U over all pairs of its rewards.

    It is I* - 2 S / n² for every vector of rewards in [0, 1], U shifted to U(0) = 0; `limit_value` is I* and
    `value_at_zero` U(0), which must be finite. Arguments are numbers or arrays, labelled or not. The optimum of n items
    keeps U'(0)/(6 n²).
    """
    return limit_value - value_at_zero - (1.0 - 1.0 / n_items) * (objective - value_at_zero)
