"""Categorical models over a vocabulary: the smallest language model, in which every tail is exact."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import of_probabilities
from collapse_jax.generative.draws.multinomial import draw_frequencies
from collapse_jax.generative.family import FAMILIES, Family, MomentMatching, Moments, Statistics, Tokens, exact_family
from collapse_jax.generative.rebuilding import rebuildable
from collapse_jax.numerics.indexing import segment_sum

__all__ = ["categorical", "zipf"]

_UNITS = 2**30


@checked
@rebuildable
def categorical(vocabulary: int = 100, *, exponent: float = 1.5) -> Family:
    """Return the family of categorical distributions over `vocabulary` tokens; examples are (n,) whole numbers.

    Parameters are the probabilities, fitted as relative frequencies: a token that was not drawn is dead, exactly. The
    truth is Zipf's law, p_i in proportion to i^-exponent (0: uniform), the "Hutter LM" of Dohmatob et al.,
    arXiv 2402.07043.
    """
    numbers.whole("vocabulary", vocabulary, 1, 2**20)

    def init(key: Key[Array, ""], examples: Array, weights: Array) -> Float[Array, " v"]:
        return jnp.full(vocabulary, 1.0 / vocabulary)

    def fit(
        key: Key[Array, ""], params: Array, examples: Int[Array, " n"], weights: Float[Array, " n"]
    ) -> Float[Array, " v"]:
        return segment_sum(weights, examples, vocabulary) / weights.sum()

    def sample(key: Key[Array, ""], params: Float[Array, " v"], n: int) -> Int[Array, " n"]:
        return draw_tokens(key, params, n)

    def log_prob(params: Float[Array, " v"], examples: Int[Array, " n"]) -> Float[Array, " n"]:
        return jnp.log(params)[examples]

    def token_probabilities(params: Float[Array, " v"], examples: Int[Array, " n"]) -> Float[Array, "n v"]:
        return jnp.broadcast_to(params, (*examples.shape, vocabulary))

    def moments(params: Float[Array, " v"]) -> Moments:
        return Moments(params, 1.0 - params @ params)

    def draw(key: Key[Array, ""], params: Array, samples: Int[Array, ""]) -> Float[Array, " v"]:
        return draw_frequencies(key, params, samples)

    def fit_statistics(statistics: Float[Array, "source v"], weights: Float[Array, " source"]) -> Array:
        total: Array = weights @ statistics
        return total / total.sum()

    family = Family(
        "categorical",
        init,
        fit,
        sample,
        log_prob,
        moments,
        tokens=Tokens(log_prob, token_probabilities, vocabulary, padding=False),
        decodings=of_probabilities(vocabulary),
        statistics=Statistics(draw, fit_statistics),
        truth=zipf(vocabulary, exponent),
        source="Dohmatob et al., arXiv 2402.07043",
        matching=MomentMatching(),
    )
    return exact_family(family)


@checked
def zipf(vocabulary: int, exponent: float) -> Float[Array, " v"]:
    """Return Zipf's law: probabilities in proportion to i^-exponent, i = 1 ... vocabulary."""
    if vocabulary < 1:
        raise ValueError(f"vocabulary is {vocabulary}; it must be 1 or more")
    if not 0.0 <= exponent < jnp.inf:
        raise ValueError(f"exponent is {exponent}; it must be a number from 0 on")
    p = jnp.arange(1.0, vocabulary + 1.0) ** -exponent
    return p / p.sum()


def draw_tokens(key: Key[Array, ""], p: Float[Array, " v"], n: int) -> Int[Array, " n"]:
    """Return n independent tokens with probabilities p.

    Probabilities are rounded to multiples of 2^-30 (living ones up to one at least): in whole numbers a dead token
    stays dead, while a cumulative sum of floats can bring it back.
    """
    units = jnp.where(p > 0, jnp.maximum(jnp.round(p * _UNITS), 1.0), 0.0).astype(jnp.int32)
    below = jnp.cumsum(units)
    # A model without living tokens (p is NaN) is flagged by its parameters; any token will do.
    at = jax.random.randint(key, (n,), 0, jnp.maximum(below[-1], 1))
    return jnp.minimum(jnp.searchsorted(below, at, side="right"), len(p) - 1).astype(jnp.int32)


FAMILIES.promise("categorical", categorical)
