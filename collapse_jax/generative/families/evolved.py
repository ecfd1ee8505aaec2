"""Data evolution as a family: the model is a pool of examples, and what it emits are members of it, rewritten.

Self-Instruct (Wang et al., arXiv 2212.10560) and Evol-Instruct (Xu et al., arXiv 2304.12244) grow instructions from a
few seeds: a member is deepened (made harder) or broadened (moved to another topic), and what breaks or repeats is
eliminated, which here a selection does. `instruction_space` is an exact testbed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Decoding
from collapse_jax.generative.families.categorical import draw_tokens
from collapse_jax.generative.family import Draw, Examples, Family, Params
from collapse_jax.generative.rebuilding import rebuildable

__all__ = ["evolved"]

Operator = Callable[[Key[Array, ""], Examples], Examples]
"""Rewrites a single example."""


class Pool(NamedTuple):
    """Members with their shares of the pool, and how they are rewritten: the two chances of `evolved`."""

    members: Examples
    shares: Float[Array, " n"]
    evolution: Float[Array, ""]
    deepening: Float[Array, ""]


@checked
@rebuildable
def evolved(
    deepen: Operator,
    broaden: Operator,
    *,
    evolution: float = 1.0,
    deepening: float = 0.5,
    truth: Params | Draw | None = None,
) -> Family:
    """Return the family whose model is the weighted training set, and which emits members of it, rewritten.

    A member is drawn by its weight and evolved with probability `evolution`, else emitted as it is: 0 is resampling.
    One that evolves is deepened with probability `deepening`, else broadened, by functions (key, example) -> example of
    single examples. Both chances, in [0, 1], are also decodings, so that they can be swept. Examples may be any
    pytree, and `truth` (a function (key, n) -> examples) draws the seeds; what is recorded needs a `measure`.

    Raises ValueError for chances outside [0, 1].
    """
    for name, value in (("evolution", evolution), ("deepening", deepening)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value}; it must be a probability in [0, 1]")

    def init(key: Key[Array, ""], examples: Examples, weights: Float[Array, " n"]) -> Pool:
        return Pool(
            jax.tree.map(jnp.zeros_like, examples),
            jnp.full(weights.shape, 1.0 / len(weights)),
            jnp.asarray(evolution, float),
            jnp.asarray(deepening, float),
        )

    def fit(key: Key[Array, ""], params: Pool, examples: Examples, weights: Float[Array, " n"]) -> Pool:
        return params._replace(members=examples, shares=weights / weights.sum())

    def sample(key: Key[Array, ""], params: Pool, n: int) -> Examples:
        pick_key, fate_key, deepen_key, broaden_key = jax.random.split(key, 4)
        picked = draw_tokens(pick_key, params.shares, n)
        parents = jax.tree.map(lambda leaf: leaf[picked], params.members)
        evolves, deepens = (
            jax.random.uniform(fate_key, (2, n)) < jnp.stack([params.evolution, params.deepening])[:, None]
        )

        def choose(one: Bool[Array, " n"], then: Examples, other: Examples) -> Examples:
            return jax.tree.map(lambda a, b: jnp.where(one.reshape(-1, *[1] * (a.ndim - 1)), a, b), then, other)

        deeper = jax.vmap(deepen)(jax.random.split(deepen_key, n), parents)
        broader = jax.vmap(broaden)(jax.random.split(broaden_key, n), parents)
        return choose(evolves, choose(deepens, deeper, broader), parents)

    return Family(
        "evolved",
        init,
        fit,
        sample,
        decodings={
            "evolution": Decoding(lambda params, value: params._replace(evolution=value), evolution, 0.0, 1.0),
            "deepening": Decoding(lambda params, value: params._replace(deepening=value), deepening, 0.0, 1.0),
        },
        truth=truth,
        source="Wang et al., arXiv 2212.10560; Xu et al., arXiv 2304.12244",
    )
