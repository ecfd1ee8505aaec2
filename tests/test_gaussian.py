"""Gaussians: fits against NumPy, densities against scipy, singular covariances, statistics and their merging."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import collapse_jax as cj
from collapse_jax.generative.families.gaussian import Gaussian, bartlett, root

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("unbiased", [False, True])
def test_fits_are_numpys(d, unbiased):
    x, weights = RNG.normal(size=(20, d)) + 5.0, RNG.uniform(size=20)
    with jax.enable_x64(True):
        family = cj.families.gaussian(d, unbiased=unbiased)
        start = Gaussian(jnp.zeros(d), jnp.eye(d))
        got = family.fit(jax.random.key(0), start, jnp.array(x), jnp.array(weights))
    np.testing.assert_allclose(got.mean, np.average(x, axis=0, weights=weights), rtol=1e-12)
    want = np.cov(x.T, aweights=weights, bias=not unbiased).reshape(d, d)
    np.testing.assert_allclose(got.covariance, want, rtol=1e-10)


@pytest.mark.parametrize("d", [1, 3])
def test_densities_are_scipys(d):
    factor, mean, x = RNG.normal(size=(d, d)), RNG.normal(size=d), RNG.normal(size=(9, d))
    with jax.enable_x64(True):
        params = Gaussian(jnp.array(mean), jnp.array(factor @ factor.T))
        got = cj.families.gaussian(d).log_prob(params, jnp.array(x))
    want = scipy.stats.multivariate_normal(mean, factor @ factor.T).logpdf(x)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_samples_have_the_mean_and_the_covariance():
    n, covariance = 20_000, np.array([[2.0, -0.9], [-0.9, 0.5]])
    params = Gaussian(jnp.array([1.0, -3.0]), jnp.array(covariance, jnp.float32))
    x = np.asarray(cj.families.gaussian(2).sample(jax.random.key(0), params, n), np.float64) - [1.0, -3.0]
    assert (np.abs(x.mean(axis=0)) < 4 * x.std(axis=0) / np.sqrt(n)).all()
    products = x[:, :, None] * x[:, None]
    assert (np.abs(products.mean(axis=0) - covariance) < 4 * products.std(axis=0) / np.sqrt(n)).all()


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_singular_covariances_have_roots(scale):
    for rank in (0, 1, 2):
        half = scale * RNG.normal(size=(4, rank))
        covariance = jnp.array(half @ half.T, jnp.float32)
        factor = np.asarray(root(covariance), np.float64)
        assert (np.triu(factor, 1) == 0).all()
        # The lift is about d ulps of the widest direction.
        np.testing.assert_allclose(factor @ factor.T, covariance, atol=2e-6 * float(covariance.max()) + 1e-29)


@pytest.mark.parametrize("freedom", [0, 1, 2, 3, 7])
def test_bartletts_matrices_are_wisharts(freedom):
    """The mean of A Aᵀ is k I, its entries have variances k (1 + [i = j]), and its rank is the least of k and d."""
    d, seeds = 3, 40_000  # squares of squares are skewed: few replicas are far from normal
    keys = jax.random.split(jax.random.key(freedom), seeds)
    factors = np.asarray(jax.jit(jax.vmap(lambda key: bartlett(key, d, jnp.float32(freedom))))(keys), np.float64)
    wishart = factors @ factors.transpose(0, 2, 1)
    assert (np.linalg.matrix_rank(wishart, tol=1e-5, hermitian=True) <= min(freedom, d)).all()
    centred = wishart - freedom * np.eye(d)
    for power, want in ((1, np.zeros((d, d))), (2, freedom * (1 + np.eye(d)))):
        values = centred**power
        error = np.abs(values.mean(axis=0) - want)
        assert (error <= 4 * values.std(axis=0) / np.sqrt(seeds) + 1e-9).all()


@pytest.mark.parametrize("unbiased", [False, True])
def test_statistics_of_weighted_sources_fit_as_their_examples(unbiased):
    d, sizes, weights = 2, (5, 8, 1), np.array([1.0, 0.25, 3.0])
    samples = [RNG.normal(size=(n, d)) + i for i, n in enumerate(sizes)]
    with jax.enable_x64(True):
        family = cj.families.gaussian(d, unbiased=unbiased)
        own = [(float(len(x)), x.mean(axis=0), (x - x.mean(axis=0)).T @ (x - x.mean(axis=0))) for x in samples]
        stacked = type(family.statistics.draw(jax.random.key(0), family.truth, jnp.int32(2)))(
            *(jnp.array(np.stack(part)) for part in zip(*own, strict=True))
        )
        got = family.statistics.fit(stacked, jnp.array(weights))
        each = np.repeat(weights, sizes)
        want = family.fit(jax.random.key(1), family.truth, jnp.array(np.concatenate(samples)), jnp.array(each))
        union = family.statistics.merge(stacked, jnp.array([1.0, 0.0, 1.0]))
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-12)
    np.testing.assert_allclose(got.covariance, want.covariance, rtol=1e-10)
    both = np.concatenate([samples[0], samples[2]])
    centred = both - both.mean(axis=0)
    for one, other in zip(union, (6.0, both.mean(axis=0), centred.T @ centred), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_bias_scales_the_covariance():
    params = Gaussian(jnp.array([1.0]), jnp.array([[4.0]]))
    for name in ("bias", "temperature"):
        decoded = cj.families.gaussian().decodings[name].apply(params, 0.25)
        assert (float(decoded.mean[0]), float(decoded.covariance[0, 0])) == (1.0, 1.0)


@pytest.mark.parametrize("d", [0, -1, True])
def test_bad_dimensions_are_refused(d):
    with pytest.raises(ValueError, match=f"d is {d}"):
        cj.families.gaussian(d)
