"""Selections: which examples survive, by their values. They compose with every regime, family and decoding.

A selection weighs candidates. As `curate` of `make_recursion` it sees what a generation has just emitted, before that
joins the pool; as `reweigh` it sees the whole training set, real and generated.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.checks.user_functions import require_functions
from collapse_jax.engine.process import Axis


class Candidates(NamedTuple):
    """Examples with where they come from: `generation` 0 is the fixed real set, -1 fresh real examples.

    `weights` are 0 where there is no example; `origin` numbers the model of an ecosystem that emitted it.
    """

    examples: PyTree
    weights: Float[Array, " n"]
    generation: Int[Array, " n"]
    origin: Int[Array, " n"]


# Type checkers take `*_: Any, **params: Any` for `...`: a selection may have the parameters that it names, or none.


@runtime_checkable
class Weigh(Protocol):
    """The weights of candidates, by which they are kept or trained on."""

    def __call__(
        self, key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, /, *_: Any, **params: Any
    ) -> Float[Array, " n"]:
        """Return one weight a candidate, 0 or more; one of weight 0 is dropped.

        `pool` holds the stored sources of which the coming generation may be trained; with `reweigh` it is the training
        set itself. `memory` is what the selection has learned, an empty tuple if it has no `start`. `params` are
        numbers, one for each name in the selection's `defaults`.
        """


@runtime_checkable
class Correct(Protocol):
    """Examples with their values changed, before they are weighed."""

    def __call__(self, examples: PyTree, pool: Candidates, /, *_: Any, **params: Any) -> PyTree:
        """Return as many examples, in the same structure and shapes."""


@runtime_checkable
class StartMemory(Protocol):
    """What a selection knows at the beginning of a lineage."""

    def __call__(self, key: Key[Array, ""], real: Candidates, /, *_: Any, **params: Any) -> PyTree:
        """Return the first memory, any pytree of arrays, given the fixed real set."""


@runtime_checkable
class Learn(Protocol):
    """What a selection knows after a generation."""

    def __call__(
        self, key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, /, *_: Any, **params: Any
    ) -> PyTree:
        """Return the next memory, in the shapes of the old one; the candidates have the weights just given."""


@runtime_checkable
class InspectSelection(Protocol):
    """What is recorded of a selection in each generation."""

    def __call__(
        self, key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, /, *_: Any, **params: Any
    ) -> Mapping[str, Array]:
        """Return named arrays; the candidates have the weights just given, the memory hasn't learned from them yet."""


class Selection(NamedTuple):
    """A rule that weighs candidates, described by the classes of its functions; only `weigh` is needed.

    `defaults` names the parameters that a sweep may vary, `ranges` the lowest and highest value of those that have such
    bounds, `axes` the values of those that a sweep runs whole unless it chooses by label. `oversample` candidates are
    emitted for each example that is kept: those kept are drawn in proportion to the weights, without replacement, and
    one with weight 0 never is, however few remain. With an `oversample` of 1 nothing is drawn, and the weights are
    those of the fit.

    `correct` changes the values of examples before they are weighed. A selection with `start` has a memory, which
    `learn` renews once a generation; without `learn` it stays as it started. `inspect` records.
    """

    name: str
    weigh: Weigh
    defaults: Mapping[str, Any] = {}
    ranges: Mapping[str, tuple[float, float]] = {}
    oversample: int = 1
    correct: Correct | None = None
    source: str = ""
    start: StartMemory | None = None
    learn: Learn | None = None
    inspect: InspectSelection | None = None
    axes: Mapping[str, Axis] = {}


def require_signatures(selection: Selection) -> None:
    """Raise ValueError for a function of a selection that takes other arguments than its class says."""
    require_functions(f"of selection {selection.name!r}", selection, selection.defaults)
