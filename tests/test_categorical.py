"""Categorical models: counting, exact death, and decodings, against NumPy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import collapse_jax as cj
from collapse_jax.generative.families.categorical import draw_tokens

RNG = np.random.default_rng(0)


def test_fits_are_relative_frequencies():
    tokens, weights = RNG.integers(0, 4, size=30), RNG.uniform(size=30)
    with jax.enable_x64(True):
        family = cj.families.categorical(6)
        got = family.fit(jax.random.key(0), family.truth, jnp.array(tokens), jnp.array(weights))
    np.testing.assert_allclose(got, np.bincount(tokens, weights, minlength=6) / weights.sum(), rtol=1e-12)
    assert (np.asarray(got[4:]) == 0).all()


def test_probabilities_and_moments():
    p = jnp.array([0.5, 0.0, 0.25, 0.25])
    family = cj.families.categorical(4)
    np.testing.assert_allclose(
        family.log_prob(p, jnp.array([0, 1, 3])), [np.log(0.5), -np.inf, np.log(0.25)], rtol=1e-6
    )
    moments = family.moments(p)
    np.testing.assert_array_equal(moments.mean, p)
    assert float(moments.variance) == pytest.approx(0.625)


@pytest.mark.parametrize("exponent", [0.0, 1.5])
def test_the_truth_is_zipfs_law(exponent):
    want = np.arange(1, 51.0) ** -exponent
    np.testing.assert_allclose(cj.families.categorical(50, exponent=exponent).truth, want / want.sum(), rtol=1e-5)


P = np.array([0.0, 0.3, 0.0, 0.0, 0.45, 0.05, 0.2, 0.0])


def test_tokens_come_with_their_probabilities_and_dead_ones_never():
    n = 50_000
    counts = np.bincount(draw_tokens(jax.random.key(0), jnp.array(P, jnp.float32), n), minlength=len(P))
    assert (counts[P == 0] == 0).all()
    assert scipy.stats.chisquare(counts[P > 0], n * P[P > 0]).pvalue > 1e-4


def test_a_dead_token_stays_dead_where_floats_would_revive_it():
    # Probabilities that a float32 cumulative sum can't add up to one, and dead tokens at both ends.
    p = np.full(3001, np.float32(1 / 3000))
    p[[0, 1500, 3000]] = 0.0
    counts = np.bincount(draw_tokens(jax.random.key(0), jnp.array(p), 1_000_000), minlength=3001)
    assert (counts[p == 0] == 0).all()
    assert (counts[p > 0] > 0).all()
    # A probability below the unit lives on.
    rare = draw_tokens(jax.random.key(1), jnp.array([1e-12, 1.0]), 1000)
    assert set(np.asarray(rare)) <= {0, 1}


def test_statistics_of_weighted_sources_add_up():
    fit = cj.families.categorical(3).statistics.fit
    got = fit(jnp.array([[2.0, 2.0, 0.0], [0.0, 1.0, 3.0]]), jnp.array([1.0, 0.5]))
    np.testing.assert_allclose(got, np.array([2.0, 2.5, 1.5]) / 6.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"vocabulary": 0}, "vocabulary is 0"),
        ({"vocabulary": 2**21}, "vocabulary is 2097152"),
        ({"exponent": -0.5}, "exponent is -0.5"),
        ({"exponent": float("nan")}, "exponent is nan"),
    ],
)
def test_bad_parameters_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        cj.families.categorical(**options)
