"""A selection of one's own, checked."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Process
from collapse_jax.generative import families
from collapse_jax.generative.family import Family
from collapse_jax.generative.recursion.guards import guarded_selection
from collapse_jax.generative.recursion.plan import make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import REAL, REGIMES
from collapse_jax.generative.recursion.resolving import resolve_truth
from collapse_jax.generative.recursion.selecting import select, start_memory
from collapse_jax.generative.selection import Candidates, Selection
from collapse_jax.testing.claims import alike, claim, counted, runs_in_one_program


@checked
def check_selection(selection: Selection, family: Family | None = None, *, samples: int = 24) -> None:
    """Check a selection among examples of a family, by default of a Gaussian in one dimension.

    Weights must be finite and 0 or more, one for each candidate. A candidate of weight 0 stands for no example: it
    stays at 0, and whatever fills its place must not change the weights of the others. What the selection remembers and
    records keeps its shape over generations, a recursion with it runs in one program, and each parameter is taken at
    both ends of its range.

    Raises ValueError for functions that don't return what they should, AssertionError for what does not hold.
    """
    family = family or families.gaussian(1)
    defaults, *ends = _settings(selection)
    kept = _check_weights(selection, family, samples, defaults)
    for params in ends:
        _check_weights(selection, family, samples, params)
    # Accumulating keeps the real set beside what is refused: no model is without examples.
    plan = make_plan(REGIMES["accumulate"], 3, samples)
    # A selection that refuses all that it knows already, such as a novel one, can't weigh a whole training set.
    for way in ["curate", "reweigh"] if selection.oversample == 1 and kept else ["curate"]:

        def make(calls: list[int], way: str = way) -> Process:
            noted = selection._replace(weigh=counted(selection.weigh, calls))
            options: dict[str, Any] = {way: noted, "measure": lambda key, params: {"one": jnp.zeros(())}}
            return make_recursion(family, plan, by="examples", **options)

        runs_in_one_program(f"selection {selection.name!r} as `{way}`", make)


def _settings(selection: Selection) -> list[dict[str, Any]]:
    """Return the defaults, and the defaults with one parameter at an end of its range."""
    settings = [dict(selection.defaults)]
    for name, ends in selection.ranges.items():
        settings += [{**selection.defaults, name: end} for end in ends if np.isfinite(end)]
    return settings


def _check_weights(selection: Selection, family: Family, samples: int, params: dict[str, Any]) -> bool:
    """Check the weights with these parameters; return whether any is above 0."""
    said = ", ".join(f"{name}={value}" for name, value in params.items() if np.ndim(value) == 0)
    name = f"selection {selection.name!r}" + (f" with {said}" if said else "")
    draw_key, other_key, weight_key = jax.random.split(jax.random.key(0), 3)
    size = samples * selection.oversample
    draw = resolve_truth(family, None)
    examples, others = draw(draw_key, size), draw(other_key, size)
    weights = jax.random.randint(weight_key, (size,), 0, 3).astype(float)

    def fill(leaf: Array, other: Array) -> Array:
        other = 100.0 * other if jnp.issubdtype(leaf.dtype, jnp.floating) else other
        return jnp.where((weights > 0).reshape(-1, *[1] * (leaf.ndim - 1)), leaf, other)

    plain = _weigh(selection, examples, weights, params)
    filled = _weigh(selection, jax.tree.map(fill, examples, others), weights, params)
    claim(
        np.isfinite(plain).all() and (plain >= 0).all(), f"{name} gives weights from {plain.min():g} to {plain.max():g}"
    )
    dead = np.asarray(weights) == 0
    claim((plain[dead] == 0).all(), f"{name} gives a candidate of weight 0, which is no example, a weight above 0")
    alike(filled, plain, f"with other values in the places of weight 0, a weight by {name}", "as without them,")
    return bool(plain.any())


def _weigh(
    selection: Selection, examples: Any, weights: Float[Array, " n"], params: dict[str, Any]
) -> Float[np.ndarray, " n"]:
    """Return the weights of candidates that are their own pool, with the memory that the selection starts with."""
    guarded = guarded_selection(selection)
    assert guarded is not None
    params, place = jax.tree.map(jnp.asarray, params), jnp.zeros(len(weights), jnp.int32)
    memory = start_memory(jax.random.key(1), guarded, Candidates(examples, weights, place + REAL, place), params)
    candidates = Candidates(examples, weights, place + 1, place)
    selected = select(jax.random.key(2), guarded, candidates, candidates, memory, params)
    return np.asarray(selected.candidates.weights)
