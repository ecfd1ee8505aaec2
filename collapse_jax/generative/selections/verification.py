"""Verification: every candidate is accepted or refused by itself."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Scalar
from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Selection


@checked
def accepted(
    probability: Callable[..., Float[Array, " n"]],
    *,
    oversample: int = 1,
    defaults: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    name: str = "accepted",
    source: str = "",
) -> Selection:
    """Return the selection in which every candidate survives, by itself, with `probability(examples, **params)`.

    Probabilities below 0 count as 0, above 1 as 1. Without `oversample` what is refused is lost, and the generation is
    trained on fewer examples; with it, as many as the regime asks for are taken of what is accepted, and fewer only if
    there are not so many. `defaults` names the parameters that may be swept, with their `ranges`.

    Raises ValueError for an `oversample` below 1 and for a range without a parameter.
    """
    numbers.function("probability", probability)
    numbers.whole("oversample", oversample, 1)
    defaults, ranges = dict(defaults or {}), dict(ranges or {})
    if unknown := set(ranges) - set(defaults):
        raise ValueError(f"ranges name {sorted(unknown)}; parameters are {sorted(defaults)}")

    def weigh(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Scalar
    ) -> Float[Array, " n"]:
        drawn = jax.random.uniform(key, candidates.weights.shape)
        return jnp.where(drawn < probability(candidates.examples, **params), candidates.weights, 0.0)

    return Selection(name, weigh, defaults, ranges, oversample, source=source)


@checked
def verified(correct: Callable[[Examples], Bool[Array, " n"]], *, oversample: int = 1) -> Selection:
    """Return the selection that keeps a right example with probability `right` and a wrong one with `wrong`.

    Both, in [0, 1] and by default 1 and 0, may be swept; `correct(examples)` tells which are right. `oversample` as in
    `accepted`. Where nothing is accepted there is no model, and the member is flagged. Source: Feng et al.,
    arXiv 2406.07515.

    Raises ValueError for an `oversample` below 1.
    """
    numbers.function("correct", correct)

    def probability(examples: Examples, right: Scalar, wrong: Scalar) -> Float[Array, " n"]:
        return jnp.where(correct(examples), jnp.asarray(right, float), jnp.asarray(wrong, float))

    return accepted(
        probability,
        oversample=oversample,
        defaults={"right": 1.0, "wrong": 0.0},
        ranges={"right": (0.0, 1.0), "wrong": (0.0, 1.0)},
        name="verified",
        source="Feng et al., arXiv 2406.07515",
    )
