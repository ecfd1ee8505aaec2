"""Rewards that are learned inside the recursion, and the choices that are made by them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.checks.user_functions import call
from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Learn, Selection, StartMemory


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
    that a sweep may vary, with their `ranges`. Where several sizes run in one program, all members score as many
    candidates as the largest.
    """

    start: StartMemory
    score: Score
    learn: Learn | None = None
    defaults: Mapping[str, Any] = {}
    ranges: Mapping[str, tuple[float, float]] = {}


Reward: TypeAlias = Callable[[Examples], Float[Array, " n"]] | LearnedReward
"""Maps examples, with their leading axis, to one number each; or learns to do so."""


@checked
def by_reward(name: str, reward: Reward, choose: Choose, **fields: Any) -> Selection:
    """Return the selection of weights `choose(key, candidates, scores, **defaults)`, with further `fields` of it.

    With a judge it also records `judged`, the mean score of what is chosen, and `offered`, of all candidates. Raises
    ValueError for a reward that is neither a function nor a judge, and for parameters of one name.
    """

    def one_each(score: Array, candidates: Candidates) -> Float[Array, " n"]:
        if jnp.shape(score) != candidates.weights.shape:
            raise ValueError(
                f"the reward of {name} has shape {jnp.shape(score)}; it needs one number for each of "
                f"{len(candidates.weights)} candidates"
            )
        return jnp.asarray(score, float)

    if not isinstance(reward, LearnedReward):
        numbers.function("reward", reward)

        def weigh(
            key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
        ) -> Float[Array, " n"]:
            return choose(
                key, candidates, one_each(call(f"reward of {name}", reward, candidates.examples), candidates), **params
            )

        return Selection(name, weigh, **fields)

    judge, defaults = reward, dict(fields.pop("defaults", {}))
    ranges = {**fields.pop("ranges", {}), **judge.ranges}
    if twice := sorted(set(defaults) & set(judge.defaults)):
        raise ValueError(f"the judge and {name} share the parameters {', '.join(twice)}; each needs names of its own")

    def judges(params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: params[name] for name in judge.defaults}

    def weigh_by_judge(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> Float[Array, " n"]:
        own = {name: params[name] for name in defaults}
        score = call("score of the judge", judge.score, memory, candidates.examples)
        return choose(key, candidates, one_each(score, candidates), **own)

    def inspect(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> dict[str, Array]:
        score = one_each(call("score of the judge", judge.score, memory, candidates.examples), candidates)
        chosen = candidates.weights > 0
        return {"judged": jnp.mean(score, where=chosen), "offered": score.mean()}

    def start(key: Key[Array, ""], real: Candidates, **params: Any) -> PyTree:
        return call("start of the judge", judge.start, key, real, **judges(params))

    def learn(key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any) -> PyTree:
        assert judge.learn is not None
        return call("learn of the judge", judge.learn, key, candidates, pool, memory, **judges(params))

    return Selection(
        name,
        weigh_by_judge,
        {**defaults, **judge.defaults},
        ranges,
        start=start,
        learn=learn if judge.learn is not None else None,
        inspect=inspect,
        **fields,
    )
