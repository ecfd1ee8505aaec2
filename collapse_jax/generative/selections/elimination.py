"""Elimination: instructions that no model could follow are dropped, by their form alone."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.selection import Selection
from collapse_jax.generative.selections.verification import accepted


@checked
def well_formed(end: int, *, least: int = 1, most: int | None = None, oversample: int = 1) -> Selection:
    """Return the selection that keeps rows (n, length) with `least` to `most` tokens before the first token `end`.

    Rows without `end` were cut, and are dropped; so is what is padding, below 0, from the start. Without `most` any
    length will do; `oversample` as in `accepted`. That a new instruction repeats an old one is for `novel` to see.
    Source: Xu et al., arXiv 2304.12244.

    Raises ValueError for an `end` below 0, a `least` below 1, a `most` below `least` and an `oversample` below 1.
    """
    numbers.whole("end", end, 0)
    numbers.whole("least", least, 1)
    if most is not None:
        numbers.whole("most", most, least)

    def probability(examples: Int[Array, "n length"]) -> Float[Array, " n"]:
        closed = (examples == end) | (examples < 0)
        place = jnp.argmax(closed, axis=1)
        is_ended = jnp.take_along_axis(examples, place[:, None], axis=1)[:, 0] == end
        return (is_ended & (place >= least) & (place <= (most or examples.shape[1]))).astype(float)

    return accepted(probability, oversample=oversample, name="well_formed", source="Xu et al., arXiv 2304.12244")
