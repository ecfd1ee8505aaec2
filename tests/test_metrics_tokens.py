"""Metrics of token sequences, against counting in Python."""

from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from collapse_jax.metrics import ngram_entropy, perplexity

RNG = np.random.default_rng(0)
TOKENS = RNG.zipf(1.6, size=200) % 5


@pytest.mark.parametrize("n", [1, 2, 3, 200])
def test_ngram_entropy_counts_ngrams(n):
    counts = Counter(tuple(TOKENS[i : i + n]) for i in range(200 - n + 1))
    want = scipy.stats.entropy(list(counts.values()))
    # The whole sequence is one n-gram, whose code must fit: a vocabulary of one.
    tokens, vocabulary = (TOKENS, 5) if n < 200 else (TOKENS * 0, 1)
    got = ngram_entropy(jnp.array(tokens, jnp.int32), n=n, vocabulary=vocabulary)
    assert float(got) == pytest.approx(want, rel=1e-5, abs=1e-7)


def test_tokens_outside_the_vocabulary_are_not_measured():
    assert np.isnan(ngram_entropy(jnp.array([0, 1, 2]), n=1, vocabulary=2))
    assert np.isnan(ngram_entropy(jnp.array([0, -1, 1]), n=1, vocabulary=2))


@pytest.mark.parametrize(
    ("n", "vocabulary", "message"),
    [
        (0, 5, "n=0 must be at least 1 and at most the number of tokens, 3"),
        (4, 5, "n=4 must be at least 1 and at most the number of tokens, 3"),
        (3, 2000, "vocabulary=2000 to the power n=3 must be"),
        (1, 0, "vocabulary=0 to the power n=1 must be"),
    ],
)
def test_what_cant_be_counted_is_refused(n, vocabulary, message):
    with pytest.raises(ValueError, match=message):
        ngram_entropy(jnp.array([0, 1, 2]), n=n, vocabulary=vocabulary)


def test_perplexity_of_equal_chances_is_their_number():
    assert float(perplexity(jnp.full(9, -np.log(7.0)))) == pytest.approx(7.0, rel=1e-5)


def test_perplexity_is_a_weighted_geometric_mean():
    weights, chances = np.array([1.0, 2.0, 0.0]), np.array([0.5, 0.125, 0.0])
    got = perplexity(jnp.log(jnp.array(chances)), jnp.array(weights))
    assert float(got) == pytest.approx((2 * 8**2) ** (1 / 3), rel=1e-5)
    assert float(perplexity(jnp.array([-1.0, -jnp.inf]))) == np.inf
    assert np.isnan(perplexity(jnp.array([-1.0]), jnp.zeros(1)))


def test_what_is_not_a_number_stays_so():
    chances = jnp.array([-1.0, jnp.nan])
    assert np.isnan(perplexity(chances))
    assert np.isnan(perplexity(chances, jnp.ones(2)))
    assert np.isnan(perplexity(jnp.ones(2), chances))
    # Unless it has no weight: padding.
    assert float(perplexity(chances, jnp.array([1.0, 0.0]))) == pytest.approx(np.e)
