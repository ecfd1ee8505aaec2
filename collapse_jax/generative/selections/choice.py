"""Curation: the choice of some of many candidates by a reward, soft or hard.

A candidate whose reward is NaN is never chosen: where no reward is a number, no example is left, and the model that is
fitted to none is NaN too, so that a sweep tells of it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Scalar
from collapse_jax.generative.selection import Candidates, Selection
from collapse_jax.generative.selections.learned import Reward, by_reward


@checked
def curated(reward: Reward, choose_from: int = 2) -> Selection:
    """Return the selection of one of every `choose_from` candidates by softmax(strength · reward).

    Candidates are taken in consecutive groups, and one of each survives: for two that is Bradley and Terry's model of a
    preference. The reward is a function of examples, or a `LearnedReward`, which learns. `strength`, 0 or more and by
    default 1, may be swept; 0 chooses at random. Source: Ferbach et al., arXiv 2407.09499.

    Raises ValueError for a `choose_from` below 2, and when candidates can't be grouped so.
    """
    numbers.whole("choose_from", choose_from, 2)

    def choose(
        key: Key[Array, ""], candidates: Candidates, score: Float[Array, " n"], strength: Scalar
    ) -> Float[Array, " n"]:
        noise = jax.random.gumbel(key, candidates.weights.shape)
        # The largest of logit + Gumbel noise is a draw from the softmax.
        return _best_of_groups(strength * score + noise, candidates, choose_from)

    return by_reward(
        f"curated({choose_from})",
        reward,
        choose,
        defaults={"strength": 1.0},
        ranges={"strength": (0.0, np.inf)},
        oversample=choose_from,
        source="Ferbach et al., arXiv 2407.09499",
    )


@checked
def best_of(reward: Reward, choose_from: int) -> Selection:
    """Return the selection of the best of every `choose_from` consecutive candidates, of equal ones the first.

    Raises ValueError for a `choose_from` below 2, and when candidates can't be grouped so.
    """
    numbers.whole("choose_from", choose_from, 2)

    def choose(key: Key[Array, ""], candidates: Candidates, score: Float[Array, " n"]) -> Float[Array, " n"]:
        return _best_of_groups(score, candidates, choose_from)

    return by_reward(
        f"best_of({choose_from})", reward, choose, oversample=choose_from, source="Ferbach et al., arXiv 2407.09499"
    )


@checked
def top_share(reward: Reward, oversample: int) -> Selection:
    """Return the selection of the best 1/`oversample` of all candidates together, of equal ones the first.

    In a plan of several sizes the candidates are those of the largest. Raises ValueError for an `oversample` below 2.
    """
    numbers.whole("oversample", oversample, 2)

    def choose(key: Key[Array, ""], candidates: Candidates, score: Float[Array, " n"]) -> Float[Array, " n"]:
        alive = (candidates.weights > 0) & ~jnp.isnan(score)
        score = jnp.where(alive, score, -jnp.inf)
        # By life first: a living candidate of reward -inf comes before the dead.
        order = jnp.lexsort((-score, ~alive))
        rank = jnp.argsort(order, stable=True)
        return jnp.where(alive & (rank * oversample < alive.sum()), candidates.weights, 0.0)

    return by_reward(f"top_share({oversample})", reward, choose, oversample=oversample)


def _best_of_groups(score: Float[Array, " n"], candidates: Candidates, size: int) -> Float[Array, " n"]:
    """Return the weights with all but the living candidate of the largest score in each group set to 0."""
    weights = candidates.weights
    if len(weights) % size:
        raise ValueError(f"{len(weights)} candidates can't be chosen from in groups of {size}")
    alive = (weights > 0) & ~jnp.isnan(score)
    # The living of the lowest score, -inf, still come before the dead.
    score = jnp.where(alive, jnp.maximum(score, jnp.finfo(score.dtype).min), -jnp.inf)
    best = jnp.argmax(score.reshape(-1, size), axis=1)
    chosen = jnp.arange(size)[None, :] == best[:, None]
    return jnp.where(chosen.reshape(-1) & alive, weights, 0.0)
