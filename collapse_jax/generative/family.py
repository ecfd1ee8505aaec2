"""Families: what can be fitted to weighted examples and emits examples of the same kind.

Write your own as a `Family` of pure functions; those at hand are in `FAMILIES`, with their default parameters, and in
`collapse_jax.families` as functions of them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

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
    sequences of tokens; `statistics`, for the recursion without examples.
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


def exact_family(family: Family) -> Family:
    """Return a family in closed form with its products of matrices in full precision, also on accelerators."""

    def exact(value: Any) -> Any:
        if isinstance(value, Tokens | Statistics):
            return value._replace(**{name: exact(one) for name, one in value._asdict().items()})
        return exact_products(value) if callable(value) else value

    return family._replace(**{name: exact(value) for name, value in family._asdict().items()})


FAMILIES: Table[Family] = Table("family")
