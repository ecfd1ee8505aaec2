"""Selections at work in a recursion: they weigh candidates and learn from them, and as many as needed are kept."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from collapse_jax.engine.process import Hyper
from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Selection


class Selected(NamedTuple):
    """All candidates with the weights that a selection gave them, its next memory, and what it records."""

    candidates: Candidates
    memory: PyTree
    record: Mapping[str, Array]


def select(
    key: Key[Array, ""],
    selection: Selection,
    candidates: Candidates,
    pool: Candidates,
    memory: PyTree,
    hyper: Hyper,
) -> Selected:
    """Return the candidates with corrected values and new weights, and what the selection learned from them.

    Raises ValueError if the selection doesn't return one weight a candidate.
    """
    own = {name: hyper[name] for name in selection.defaults}
    weighs_alone = selection.learn is None and selection.inspect is None
    weigh_key, learn_key, inspect_key = (key, key, key) if weighs_alone else jax.random.split(key, 3)
    if selection.correct is not None:
        corrected = selection.correct(candidates.examples, pool, **own)
        changed = candidates._replace(examples=corrected)
        pool = changed if pool is candidates else pool
        candidates = changed
    weights = jnp.asarray(selection.weigh(weigh_key, candidates, pool, memory, **own))
    if weights.shape != candidates.weights.shape:
        raise ValueError(
            f"selection {selection.name!r} returns weights of shape {weights.shape}; it needs one for each candidate, "
            f"{candidates.weights.shape}"
        )
    candidates = candidates._replace(weights=weights.astype(candidates.weights.dtype))
    record: Mapping[str, Array] = {}
    if selection.inspect is not None:
        record = selection.inspect(inspect_key, candidates, pool, memory, **own)
    if selection.learn is not None:
        memory = selection.learn(learn_key, candidates, pool, memory, **own)
    return Selected(candidates, memory, record)


def start_memory(key: Key[Array, ""], selection: Selection | None, real: Candidates, hyper: Hyper) -> PyTree:
    """Return the memory that a selection begins with, an empty tuple if it has none."""
    if selection is None or selection.start is None:
        return ()
    return selection.start(key, real, **{name: hyper[name] for name in selection.defaults})


def keep(
    key: Key[Array, ""],
    selection: Selection,
    candidates: Candidates,
    pool: Candidates,
    memory: PyTree,
    hyper: Hyper,
    size: int,
    *,
    in_order: bool = False,
) -> tuple[Examples, Float[Array, " {size}"], Selected]:
    """Return the `size` examples that a selection keeps, the weight of each, and all candidates as they were weighed.

    A weight of 0 marks an example that only fills the array, where fewer candidates than `size` have a weight above 0.
    Examples come in random order, so that a smaller member of the sweep, which uses the first few, has a random part
    of them; `in_order` leaves them in the order of the candidates.
    """
    weigh_key, draw_key = jax.random.split(key)
    selected = select(weigh_key, selection, candidates, pool, memory, hyper)
    candidates, weights = selected.candidates, selected.candidates.weights
    if selection.oversample == 1:
        return candidates.examples, weights, selected
    # The largest of log weight + Gumbel noise: draws in proportion to the weights, without replacement.
    score = jnp.log(weights) + jax.random.gumbel(draw_key, weights.shape)
    drawn = jax.lax.top_k(score, size)[1]
    if in_order:
        drawn = jnp.sort(drawn)
    examples = jax.tree.map(lambda leaf: leaf[drawn], candidates.examples)
    return examples, (weights[drawn] > 0).astype(weights.dtype), selected
