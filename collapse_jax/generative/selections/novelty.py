"""Novelty: what is too near to something known is dropped."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Scalar
from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Selection


@checked
def novel(
    distance: Callable[[PyTree, PyTree], Float[Array, ""]],
    *,
    features: Callable[[Examples], PyTree] | None = None,
    threshold: float = 0.5,
    oversample: int = 1,
) -> Selection:
    """Return the selection that drops candidates nearer than `threshold` to the pool or to one kept before them.

    Use it as `curate`. `distance(x, y)` compares two single examples or, with `features`, what that function returns of
    examples, computed once each; `threshold`, 0 or more, may be swept, and at 0 nothing is dropped. Candidates are gone
    through in order, so that those kept are apart from each other too. Without `oversample` what is dropped is lost;
    with it, as many as the regime asks for are taken of those kept.

    Raises ValueError for a `threshold` below 0 and an `oversample` below 1.
    """
    numbers.function("distance", distance)
    if features is not None:
        numbers.function("features", features)
    numbers.whole("oversample", oversample, 1)
    if not threshold >= 0.0:
        raise ValueError(f"threshold is {threshold}; it must be a number from 0 on")

    def weigh(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, threshold: Scalar
    ) -> Float[Array, " n"]:
        alive = candidates.weights > 0
        seen, emitted = pool.examples, candidates.examples
        if features is not None:
            seen, emitted = features(seen), features(emitted)

        def is_near(x: PyTree, others: PyTree, counted: Bool[Array, " m"]) -> Bool[Array, ""]:
            return (counted & (jax.vmap(distance, (None, 0))(x, others) < threshold)).any()

        def one(kept: Bool[Array, " n"], i: Int[Array, ""]) -> tuple[Bool[Array, " n"], None]:
            x = jax.tree.map(lambda leaf: leaf[i], emitted)
            known = is_near(x, seen, pool.weights > 0) | is_near(x, emitted, kept)
            return kept.at[i].set(alive[i] & ~known), None

        # One candidate after another, so that memory grows with the pool and not with pool x candidates.
        kept, _ = jax.lax.scan(one, jnp.zeros_like(alive), jnp.arange(len(alive)))
        return jnp.where(kept, candidates.weights, 0.0)

    return Selection(
        "novel",
        weigh,
        defaults={"threshold": threshold},
        ranges={"threshold": (0.0, np.inf)},
        oversample=oversample,
        source="Wang et al., arXiv 2212.10560",
    )
