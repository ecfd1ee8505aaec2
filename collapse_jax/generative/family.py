"""Families: what can be fitted to weighted examples and emits examples of the same kind.

Write your own as a `Family` of pure functions; those at hand are in `FAMILIES`, with their default parameters, and in
`collapse_jax.families` as functions of them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.generative.decoding import Decoding
from collapse_jax.numerics.precision import exact_products
from collapse_jax.registry import Table

Params: TypeAlias = PyTree
"""Parameters of a model: any pytree of arrays."""

Examples: TypeAlias = PyTree
"""Examples: an array, or a pytree of arrays, whose first axes are all of the number of examples."""


class Moments(NamedTuple):
    """The mean of a model and its total variance, the trace of its covariance (for a probability vector, 1 - Σp²)."""

    mean: Float[Array, " d"]
    variance: Float[Array, ""]


@runtime_checkable
class Init(Protocol):
    """Parameters to start a fit from; their shapes may depend on those of the examples."""

    def __call__(self, key: Key[Array, ""], examples: Examples, weights: Float[Array, " n"], /) -> Params:
        """Return parameters, given the examples of the first fit and their weights."""


@runtime_checkable
class Fit(Protocol):
    """Parameters fitted to weighted examples."""

    # Type checkers take `*_: Any, **hyper: Any` for `...`: a fit may have the settings that its family names, or none.
    def __call__(
        self,
        key: Key[Array, ""],
        params: Params,
        examples: Examples,
        weights: Float[Array, " n"],
        /,
        *_: Any,
        **hyper: Any,
    ) -> Params:
        """Return parameters of the same shapes, fitted from `params` on.

        Weights are 0 or more, of any sum; an example of weight 0 is padding and must not matter. `hyper` are numbers,
        one for each name in the family's `hyper`.
        """


@runtime_checkable
class Sample(Protocol):
    """Examples that a model emits."""

    def __call__(self, key: Key[Array, ""], params: Params, n: int, /) -> Examples:
        """Return n independent examples."""


@runtime_checkable
class LogProb(Protocol):
    """Logarithms of probabilities, or of densities."""

    def __call__(self, params: Params, examples: Examples, /) -> Float[Array, " n"]:
        """Return one number an example, -inf where the model never emits it."""


@runtime_checkable
class ModelMoments(Protocol):
    """The moments of a model, exactly."""

    def __call__(self, params: Params, /) -> Moments:
        """Return mean and variance of what the model emits."""


@runtime_checkable
class Respond(Protocol):
    """Answers to given inputs, for families that model answers: labels to images, a continuation to a prompt."""

    def __call__(self, key: Key[Array, ""], params: Params, examples: Examples, /) -> Examples:
        """Return the examples with their inputs as they are and their answers drawn anew, in the same shapes."""


@runtime_checkable
class Embed(Protocol):
    """Vectors by which examples are compared."""

    def __call__(self, params: Params, examples: Examples, /) -> Float[Array, "n d"]:
        """Return one vector an example."""


@runtime_checkable
class Draw(Protocol):
    """A truth that is no model of the family: it only emits."""

    def __call__(self, key: Key[Array, ""], n: int, /) -> Examples:
        """Return n independent examples."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Resampling:
    """The truth that draws from given examples, uniformly without replacement: what `resample` returns."""

    examples: Examples

    def __call__(self, key: Key[Array, ""], n: int, /) -> Examples:
        """Return n of the examples; raises ValueError where there are fewer."""
        size = jax.tree.leaves(self.examples)[0].shape[0]
        if n > size:
            raise ValueError(f"the regime asks for {n} real examples at once; there are {size}")
        chosen = jax.random.choice(key, size, (n,), replace=False)
        return jax.tree.map(lambda leaf: leaf[chosen], self.examples)


@runtime_checkable
class TokenLogProb(Protocol):
    """Logarithms of the probabilities of tokens."""

    def __call__(self, params: Params, examples: Int[Array, "n ..."], /) -> Float[Array, "n ..."]:
        """Return one number a token, given those before it; 0 for padding, a token below 0."""


@runtime_checkable
class TokenProbabilities(Protocol):
    """Probabilities of every token of the vocabulary."""

    def __call__(self, params: Params, examples: Int[Array, "n ..."], /) -> Float[Array, "n ... v"]:
        """Return, for each place, those of all tokens that may stand there, given the tokens before it."""


@runtime_checkable
class DrawStatistics(Protocol):
    """Sufficient statistics of examples that are not drawn themselves."""

    def __call__(self, key: Key[Array, ""], params: Params, samples: Int[Array, ""], /) -> PyTree:
        """Return the statistics of `samples` independent examples, a traced whole number."""


@runtime_checkable
class FitStatistics(Protocol):
    """Parameters fitted to the statistics of several sources."""

    def __call__(self, statistics: PyTree, weights: Float[Array, " source"], /) -> Params:
        """Return parameters fitted with the weight of its source for each example; 0 is a source that is not used.

        The leaves of `statistics` have a leading axis of sources.
        """


@runtime_checkable
class MergeStatistics(Protocol):
    """The statistics of a union of sources."""

    def __call__(self, statistics: PyTree, weights: Float[Array, " source"], /) -> PyTree:
        """Return the statistics of all examples of the sources of weight 1, without those of weight 0."""


class Statistics(NamedTuple):
    """What a family can do with sufficient statistics in the place of examples: the recursion has the same law.

    `draw` makes them at once, `fit` fits a model to those of several sources, and `merge` returns those of the union
    of sources, by default the sum.
    """

    draw: DrawStatistics
    fit: FitStatistics
    merge: MergeStatistics | None = None


@runtime_checkable
class Factor(Protocol):
    """By what a total variance is multiplied."""

    def __call__(self, value: float, /) -> float:
        """Return a number from 0 on, given the sum of squared weights, or the value of a decoding."""


class MomentMatching(NamedTuple):
    """How a fitted model has the moments of its examples: what `predict_moments` needs, and `check_family` tests.

    The model's mean is that of its weighted examples. Its total variance is theirs, Σ a |x - mean|² for weights a that
    sum to 1, times `gain` (a function of Σ a², 1/n for n equal weights; None is 1), plus the variance `added` that it
    emits too. A family that rounds examples to the centres of cells has the mean and the variance of what is rounded,
    plus `within`, the variance inside a cell, which it emits and rounds away again; all examples must be in its cells.

    `emitted` says, for those decodings that keep the mean, by what they multiply the total variance of what is emitted,
    as a function of their value; the others have no law. Where a truth is a function and something is added to its
    variance, `truth_variance` is the total variance of `truth`, of that one function and no other.
    """

    gain: Factor | None = None
    added: float = 0.0
    within: float = 0.0
    emitted: Mapping[str, Factor] = {}
    truth: Draw | None = None
    truth_variance: float | None = None


class Tokens(NamedTuple):
    """What a family of sequences of tokens knows of each token, given those before it in its example.

    `log_prob` adds up to the family's own, an example at a time; its examples are whole numbers below `vocabulary`,
    and below 0 for padding, unless the family takes none. A recursion examines the examples of its truth by these two.
    """

    log_prob: TokenLogProb
    probabilities: TokenProbabilities | None = None
    vocabulary: int | None = None
    padding: bool = True


class Family(NamedTuple):
    """A family of generators: pure functions, each described by its class, that JAX can trace and batch.

    A family needs `init`, `fit` and `sample`. `hyper` names the settings of `fit` that a sweep may vary, with their
    defaults (a learning rate, a number of steps), and `ranges` the lowest and highest value of those that have such
    bounds. `decodings` are the maps of decoding that have a meaning here. `truth` is a standard truth to collapse from:
    parameters, or a function (key, n) -> examples. `source` is where the family was described.

    What else a family can do is None where it can't: `log_prob`, `moments`, `respond` and `embed`; `tokens`, for
    sequences of tokens; `statistics`, for the recursion without examples; `matching`, where a fit has the moments of
    its examples, whatever the parameters it starts from, so that recursions have the law of `predict_moments`.

    `config` is JSON by which a saved model's family is made again, see `rebuildable`: None for one of your own.
    """

    name: str
    init: Init
    fit: Fit
    sample: Sample
    log_prob: LogProb | None = None
    moments: ModelMoments | None = None
    respond: Respond | None = None
    embed: Embed | None = None
    tokens: Tokens | None = None
    statistics: Statistics | None = None
    decodings: Mapping[str, Decoding] = {}
    hyper: Mapping[str, float] = {}
    ranges: Mapping[str, tuple[float, float]] = {}
    truth: Params | Draw | None = None
    source: str = ""
    matching: MomentMatching | None = None
    config: Mapping[str, Any] | None = None


def exact_family(family: Family) -> Family:
    """Return a family in closed form with its products of matrices in full precision, also on accelerators."""

    def exact(value: Any) -> Any:
        if isinstance(value, Tokens | Statistics):
            return value._replace(**{name: exact(one) for name, one in value._asdict().items()})
        return exact_products(value) if callable(value) else value

    return family._replace(**{name: exact(value) for name, value in family._asdict().items()})


FAMILIES: Table[Family] = Table("family")
