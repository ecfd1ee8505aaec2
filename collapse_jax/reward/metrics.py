"""What tells collapse from its absence in the rewards of many prompts, best item first, NaN or masked where none is."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def ranking_accuracy(rewards: Float[Array, " item"], mask: Bool[Array, " item"]) -> Float[Array, ""]:
    """Return the share of pairs in which the better item has the larger reward; a tie counts one half."""
    n_items = rewards.shape[0]
    better, worse = jnp.triu_indices(n_items, 1)
    valid = mask[better] & mask[worse]
    right = 0.5 * (1.0 + jnp.sign(rewards[better] - rewards[worse]))
    return jnp.where(valid, right, 0.0).sum() / valid.sum()


def type_curves(
    rewards: Float[Array, "prompt item"], types: Int[Array, " prompt"], n_types: int
) -> Float[Array, "type item"]:
    """Return the mean reward by type of prompt and item index, over the prompts that have the item."""
    member = jax.nn.one_hot(types, n_types, axis=0)[:, :, None]
    there = jnp.isfinite(rewards)
    total = (member * jnp.where(there, rewards, 0.0)[None]).sum(1)
    return total / (member * there[None]).sum(1)


def separation(rewards: Float[Array, "prompt item"], types: Int[Array, " prompt"]) -> Float[Array, ""]:
    """Return the mean over items of |mean reward of type 0 - mean reward of type 1|: 0 where rewards have collapsed."""
    first, second = type_curves(rewards, types, 2)
    return jnp.abs(first - second).mean()


def atom_masses(rewards: Float[Array, "prompt item"], tolerance: float = 0.05) -> Float[Array, "2"]:
    """Return the shares of all rewards within `tolerance` of 0 and of 1."""
    count = jnp.isfinite(rewards).sum()
    return jnp.stack([(rewards <= tolerance).sum(), (rewards >= 1.0 - tolerance).sum()]) / count


def reward_variance(rewards: Float[Array, " item"]) -> Float[Array, ""]:
    """Return the variance of one prompt's rewards, at most 1/4."""
    return jnp.nanvar(rewards)


def prompt_distance(rewards: Float[Array, "prompt item"]) -> Float[Array, ""]:
    """Return the mean 1-Wasserstein distance between the rewards of two prompts, over all pairs of prompts."""
    prompts = rewards.shape[0]
    # Item by item in order of reward; over all pairs, a sum of |differences| is a weighted sum of the sorted values.
    ordered = jnp.sort(jnp.sort(rewards, axis=1), axis=0)
    weight = 2.0 * jnp.arange(prompts) - prompts + 1.0
    return (weight[:, None] * ordered).sum(0).mean() * 2.0 / (prompts * max(prompts - 1, 1))


def mmd_gap(objective: Any, n_items: int, limit_value: Any, value_at_zero: Any) -> Any:
    """Return MMD²(rewards, limit law) under the kernel -U, from a prompt's mean of U over all pairs of its rewards.

    It is I* - 2 S / n² for every reward vector, U shifted to U(0) = 0; `limit_value` is I* and `value_at_zero` U(0),
    which must be finite. Arguments are numbers or arrays, labelled or not. The optimum of n items keeps U'(0)/(6 n²).
    """
    return limit_value - value_at_zero - (1.0 - 1.0 / n_items) * (objective - value_at_zero)
