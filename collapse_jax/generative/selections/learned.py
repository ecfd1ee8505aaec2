"""Rewards that are learned inside the recursion, and the choices that are made by them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.checks.user_functions import call, require_functions
from collapse_jax.engine.process import Axis
from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Learn, Selection, StartMemory

__all__ = ["LearnedReward", "by_reward"]


@runtime_checkable
class Score(Protocol):
    """The rewards of examples by a reward that is learned."""

    def __call__(self, memory: PyTree, examples: Examples, /) -> Float[Array, " n"]:
        """Return one number an example, given what has been learned; the higher, the better."""


@runtime_checkable
class Choose(Protocol):
    """The weights of candidates, by their scores."""

    def __call__(
        self, key: Key[Array, ""], candidates: Candidates, scores: Float[Array, " n"], /, *_: Any, **params: Any
    ) -> Float[Array, " n"]:
        """Return one weight a candidate, 0 or more; `params` are those of the choice, not of the reward."""


class LearnedReward(NamedTuple):
    """A reward with a memory, in the place of a function of examples.

    `start` returns the memory at the beginning of a lineage and `learn`, without which it stays, the next one, from
    candidates that have just been scored: those of weight 0 were not chosen. `defaults` names the parameters of both
    that a sweep may vary, with their `ranges`, and `axes` the values of those that it runs whole. Where several sizes
    run in one program, all members score as many candidates as the largest.
    """

    start: StartMemory
    score: Score
    learn: Learn | None = None
    defaults: Mapping[str, Any] = {}
    ranges: Mapping[str, tuple[float, float]] = {}
    axes: Mapping[str, Axis] = {}


Reward: TypeAlias = Callable[[Examples], Float[Array, " n"]] | LearnedReward
"""Maps examples, with their leading axis, to one number each; or learns to do so."""


@checked
def by_reward(name: str, reward: Reward, choose: Choose, **fields: Any) -> Selection:
    """Return the selection whose weights `choose` makes of the scores that a reward gives; `fields` are others of it.

    With a `LearnedReward` it also records `judged`, the mean score of the chosen candidates, and `offered`, that of all
    candidates. Raises ValueError for a reward that is neither a function nor a `LearnedReward`, and for parameters that
    both the reward and the choice have.
    """
    if isinstance(reward, LearnedReward):
        return _by_learned_reward(name, reward, choose, **fields)
    numbers.function("reward", reward)

    def weigh(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> Float[Array, " n"]:
        score = call(f"reward of {name}", reward, candidates.examples)
        return choose(key, candidates, _one_each(name, score, candidates), **params)

    return Selection(name, weigh, **fields)


def _by_learned_reward(
    name: str, reward: LearnedReward, choose: Choose, defaults: Mapping[str, Any] = {}, **fields: Any
) -> Selection:
    """Return the selection by a learned reward; `defaults` are those of the choice."""
    ranges = {**fields.pop("ranges", {}), **reward.ranges}
    if twice := sorted(set(defaults) & set(reward.defaults)):
        raise ValueError(
            f"the learned reward and {name} share the parameters {', '.join(twice)}; each needs names of its own"
        )
    require_functions(f"of the learned reward of {name}", reward, reward.defaults)

    def named(function: str) -> str:
        return f"{function} of the learned reward of {name}"

    def own(params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: params[name] for name in reward.defaults}

    def score(memory: PyTree, candidates: Candidates) -> Float[Array, " n"]:
        return _one_each(name, call(named("score"), reward.score, memory, candidates.examples), candidates)

    def weigh(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> Float[Array, " n"]:
        return choose(key, candidates, score(memory, candidates), **{name: params[name] for name in defaults})

    def inspect(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> dict[str, Array]:
        scores = score(memory, candidates)
        return {"judged": jnp.mean(scores, where=candidates.weights > 0), "offered": scores.mean()}

    def start(key: Key[Array, ""], real: Candidates, **params: Any) -> PyTree:
        return call(named("start"), reward.start, key, real, **own(params))

    def learn(key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any) -> PyTree:
        assert reward.learn is not None
        return call(named("learn"), reward.learn, key, candidates, pool, memory, **own(params))

    return Selection(
        name,
        weigh,
        {**defaults, **reward.defaults},
        ranges,
        start=start,
        learn=None if reward.learn is None else learn,
        inspect=inspect,
        axes=reward.axes,
        **fields,
    )


def _one_each(name: str, score: Array, candidates: Candidates) -> Float[Array, " n"]:
    """Return the scores as floats; raises ValueError unless there is one for each candidate."""
    if jnp.shape(score) != candidates.weights.shape:
        raise ValueError(
            f"the reward of {name} has shape {jnp.shape(score)}; it needs one number for each of "
            f"{len(candidates.weights)} candidates"
        )
    return jnp.asarray(score, float)
