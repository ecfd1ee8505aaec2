"""Families: what can be fitted to weighted examples and emits examples of the same kind.

Write your own as a `Family` of pure functions; those at hand are in `FAMILIES`, with their default parameters, and in
`collapse_jax.families` as functions of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Array, Float, PyTree

from collapse_jax.generative.decoding import Decoding
from collapse_jax.numerics.precision import exact_products
from collapse_jax.registry import Table

Params: TypeAlias = PyTree
Examples: TypeAlias = PyTree


class Moments(NamedTuple):
    """The mean of a model and its total variance, the trace of its covariance (for a probability vector, 1 - Σp²)."""

    mean: Float[Array, " d"]
    variance: Float[Array, ""]


class Statistics(NamedTuple):
    """Sufficient statistics of a family, drawn at once in the place of examples: the recursion has the same law.

    `draw(key, params, samples)` returns the statistics of that many (a traced whole number) independent examples. The
    others take several sources at once, leaves with a leading axis of sources, and `weights`, one a source (0 where it
    is not used): `fit(statistics, weights)` fits a model in which each example of a source has its weight;
    `merge(statistics, weights)`, for weights of 0 and 1, returns the statistics of the union, by default the sum.
    """

    draw: Callable[..., PyTree]
    fit: Callable[..., Params]
    merge: Callable[..., PyTree] | None = None


class Family(NamedTuple):
    """A family of generators, as pure functions that JAX can trace and batch.

    Examples are arrays, or pytrees of arrays, with a leading axis of examples. `init(key, examples, weights)` returns
    parameters to start from, their shapes; `fit(key, params, examples, weights, **hyper)` the parameters fitted to
    weighted examples from there (weights >= 0, of any sum; 0 is padding); `sample(key, params, n)` draws n examples.
    `hyper` names the settings of `fit` that a sweep may vary, with their defaults (a learning rate, a number of steps),
    and `ranges` the lowest and highest value of those that have such bounds.

    Optional: `log_prob(params, examples)`, one number an example, and of sequences `token_log_prob(params, examples)`,
    one a token, which add up to it, and `token_probabilities(params, examples)`, of every token of the vocabulary in
    each place, given those before it, along a last axis; `embed(params, examples)`, vectors (n, d) to compare examples
    by; `moments(params)`; `respond(key, params, examples)`, the examples with their answers (labels, next tokens) drawn
    anew, for families that model answers to given inputs; `decodings`, the maps of decoding that have a meaning here;
    `statistics` for the fused step; `truth`, a standard truth to collapse from: parameters, or a function
    (key, n) -> examples.
    """

    name: str
    init: Callable[..., Params]
    fit: Callable[..., Params]
    sample: Callable[..., Examples]
    log_prob: Callable[..., Array] | None = None
    moments: Callable[..., Moments] | None = None
    respond: Callable[..., Examples] | None = None
    decodings: Mapping[str, Decoding] = {}
    statistics: Statistics | None = None
    truth: Params | Callable[..., Examples] | None = None
    hyper: Mapping[str, float] = {}
    ranges: Mapping[str, tuple[float, float]] = {}
    token_log_prob: Callable[..., Array] | None = None
    token_probabilities: Callable[..., Array] | None = None
    embed: Callable[..., Array] | None = None
    source: str = ""


def exact_family(family: Family) -> Family:
    """Return a family in closed form with its products of matrices in full precision, also on accelerators."""

    def exact(record: Family | Statistics) -> dict[str, Any]:
        return {name: exact_products(value) for name, value in record._asdict().items() if callable(value)}

    family = family._replace(**exact(family))
    if family.statistics is None:
        return family
    return family._replace(statistics=family.statistics._replace(**exact(family.statistics)))


FAMILIES: Table[Family] = Table("family")
