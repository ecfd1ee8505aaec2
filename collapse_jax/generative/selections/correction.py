"""Self-correction: what is emitted is moved towards what is known to be real."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Scalar
from collapse_jax.generative.selection import Candidates, Selection
from collapse_jax.numerics.precision import exact_products


@checked
def self_correcting(centres: Array | np.ndarray) -> Selection:
    """Return the selection that moves each example by a share `correction` of the way to its nearest centre.

    `correction`, in [0, 1] and by default 1/2, may be swept: γ/(1 + γ) for the strength γ of Gillman et al.,
    arXiv 2402.07087. All examples, of shape (n, d), keep their weights. `find_centres` makes centres from data.

    Raises ValueError for centres that are not a (k, d) array of finite numbers, k >= 1.
    """
    if centres.dtype.kind not in "fiu":
        raise ValueError(f"centres are of type {centres.dtype}; they must be numbers")
    fixed = jnp.asarray(centres, float)
    if fixed.ndim != 2 or not fixed.size or not jnp.isfinite(fixed).all():
        raise ValueError(f"centres have shape {fixed.shape}; they must be a (k, d) array of finite numbers, k >= 1")

    def correct(examples: Float[Array, "n d"], pool: Candidates, correction: Scalar) -> Float[Array, "n d"]:
        return examples + correction * (fixed[_nearest(examples, fixed)] - examples)

    def weigh(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, correction: Scalar
    ) -> Float[Array, " n"]:
        return candidates.weights

    return Selection(
        "self_correcting",
        weigh,
        defaults={"correction": 0.5},
        ranges={"correction": (0.0, 1.0)},
        correct=correct,
        source="Gillman et al., arXiv 2402.07087",
    )


@checked
def find_centres(
    key: Key[Array, ""], examples: Float[Array, "n d"], number: int, *, steps: int = 20
) -> Float[Array, "{number} d"]:
    """Return centres of clusters by `steps` steps of k-means, from `number` of the examples drawn at random.

    A cluster that loses all its examples keeps its centre. Raises ValueError for a `number` outside 1 to n and `steps`
    below 1.
    """
    numbers.whole("steps", steps, 1)
    numbers.whole("number", number, 1)
    if number > len(examples):
        raise ValueError(f"number is {number}; there are only {len(examples)} examples")
    if not isinstance(examples, jax.core.Tracer) and not jnp.isfinite(examples).all():
        raise ValueError("examples have non-finite values")
    start = examples[jax.random.choice(key, len(examples), (number,), replace=False)]

    @exact_products
    def step(_: Array, centres: Float[Array, "k d"]) -> Float[Array, "k d"]:
        member = jax.nn.one_hot(_nearest(examples, centres), number, dtype=centres.dtype)
        sizes = member.sum(0)[:, None]
        return jnp.where(sizes > 0, member.T @ examples / jnp.maximum(sizes, 1.0), centres)

    found: Array = jax.lax.fori_loop(0, steps, step, start)
    return found


def _nearest(examples: Float[Array, "n d"], centres: Float[Array, "k d"]) -> Int[Array, " n"]:
    return jnp.argmin(((examples[:, None, :] - centres[None, :, :]) ** 2).sum(-1), axis=1)
