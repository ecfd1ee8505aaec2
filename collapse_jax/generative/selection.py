"""Selections: which examples survive, by their values. They compose with every regime, family and decoding.

A selection weighs candidates. As `curate` of `make_recursion` it sees what a generation has just emitted, before that
joins the pool; as `reweigh` it sees the whole training set, real and generated.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, PyTree


class Candidates(NamedTuple):
    """Examples with where they come from: `generation` 0 is the fixed real set, -1 fresh real examples.

    `weights` are 0 where there is no example; `origin` numbers the model of an ecosystem that emitted it.
    """

    examples: PyTree
    weights: Float[Array, " n"]
    generation: Int[Array, " n"]
    origin: Int[Array, " n"]


class Selection(NamedTuple):
    """A rule `weigh(key, candidates, pool, **params)` that returns the new weights (n,) of candidates, 0 or more.

    `pool` holds, as `Candidates`, the stored sources of which the coming generation may be trained. `defaults` names
    the parameters that a sweep may vary, `ranges` the lowest and highest value of those that have such bounds.
    `oversample` candidates are emitted for each example that is kept: those kept are drawn in proportion to the
    weights, without replacement, and one with weight 0 never is, however few remain. With an `oversample` of 1 nothing
    is drawn, and the weights are those of the fit. `correct(examples, pool, **params)`, if given, changes the values of
    examples first.

    A selection that learns has a memory, any pytree of arrays: `start(key, real, **params)` returns it at the beginning
    of a lineage, `real` being the fixed real set as candidates. Then `weigh` and `inspect` take it after the pool, and
    `learn(key, candidates, pool, memory, **params)` returns the next one, the candidates having the weights just given;
    without `learn` it stays. `inspect(key, candidates, pool, **params)` returns what is recorded of each generation.
    """

    name: str
    weigh: Callable[..., Array]
    defaults: Mapping[str, Any] = {}
    ranges: Mapping[str, tuple[float, float]] = {}
    oversample: int = 1
    correct: Callable[..., PyTree] | None = None
    source: str = ""
    start: Callable[..., PyTree] | None = None
    learn: Callable[..., PyTree] | None = None
    inspect: Callable[..., Mapping[str, Array]] | None = None
