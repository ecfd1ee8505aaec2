"""Perplexity of one sequence and of many."""

import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.metrics import perplexity, sequence_perplexities

RNG = np.random.default_rng(0)


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


def test_sequences_have_a_perplexity_each_and_one_together():
    chances = RNG.uniform(0.1, 1.0, size=(4, 5))
    lengths = np.array([5, 3, 1, 0])
    weights = (np.arange(5)[None] < lengths[:, None]).astype("f4")
    log_probs = np.where(weights > 0, np.log(chances), np.nan)
    got = sequence_perplexities(jnp.array(log_probs), jnp.array(weights))
    want = [np.prod(chances[i, :size]) ** (-1 / size) for i, size in enumerate(lengths[:3])]
    np.testing.assert_allclose(got[:3], want, rtol=1e-5)
    assert np.isnan(got[3])  # nothing but padding
    np.testing.assert_allclose(sequence_perplexities(jnp.array(log_probs[:1])), want[:1], rtol=1e-5)
    together = np.prod(chances[weights > 0]) ** (-1 / weights.sum())
    assert float(perplexity(jnp.array(log_probs), jnp.array(weights))) == pytest.approx(together, rel=1e-5)
