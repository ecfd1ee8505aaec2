"""Gaussian mixtures: expectation maximisation against its own definition in NumPy, densities against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import logsumexp

import collapse_jax as cj
from collapse_jax.generative.families.mixture import Mixture

RNG = np.random.default_rng(0)
PLANE = cj.families.mixture()


def some_mixture(k=3, d=2):
    factors = RNG.normal(size=(k, d, d))
    return Mixture(
        jnp.array(RNG.dirichlet(np.ones(k))),
        jnp.array(3 * RNG.normal(size=(k, d))),
        jnp.array(factors @ factors.transpose(0, 2, 1) + 0.1 * np.eye(d)),
    )


def log_joint(shares, means, covariances, x):
    densities = [scipy.stats.multivariate_normal(m, c).logpdf(x) for m, c in zip(means, covariances, strict=True)]
    return np.log(shares)[:, None] + np.stack(densities)


def expectation_maximisation(params, x, weights, steps, floor):
    """Return the parameters after so many steps, written out."""
    shares, means, covariances = (np.asarray(part, np.float64) for part in params)
    for _ in range(steps):
        joint = log_joint(shares, means, covariances, x)
        responsibility = np.exp(joint - logsumexp(joint, axis=0)) * weights / weights.sum()
        shares = responsibility.sum(axis=1)
        means = np.array([np.average(x, axis=0, weights=r) for r in responsibility])
        covariances = np.array(
            [np.cov(x.T, aweights=r, bias=True) + floor * np.eye(x.shape[1]) for r in responsibility]
        )
    return shares, means, covariances


@pytest.mark.parametrize(("k", "d"), [(1, 2), (3, 2), (2, 3)])
def test_densities_are_scipys(k, d):
    with jax.enable_x64(True):
        params, x = some_mixture(k, d), jnp.array(4 * RNG.normal(size=(50, d)))
        got = cj.families.mixture(k, d).log_prob(params, x)
    np.testing.assert_allclose(got, logsumexp(log_joint(*params, np.asarray(x)), axis=0), rtol=1e-9)


def test_a_fit_takes_steps_of_expectation_maximisation():
    with jax.enable_x64(True):
        family, start = cj.families.mixture(steps=7, floor=0.02), some_mixture()
        x, weights = jnp.array(4 * RNG.normal(size=(80, 2))), jnp.array(RNG.uniform(size=80))
        got = family.fit(jax.random.key(0), start, x, weights)
        want = expectation_maximisation(start, np.asarray(x), np.asarray(weights), 7, 0.02)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7)
        # Warm start: 3 steps and 4 are 7.
        halfway = cj.families.mixture(steps=3, floor=0.02).fit(jax.random.key(0), start, x, weights)
        again = cj.families.mixture(steps=4, floor=0.02).fit(jax.random.key(0), halfway, x, weights)
        np.testing.assert_allclose(again.means, got.means, rtol=1e-9)


def test_the_mean_is_that_of_the_examples_and_the_variance_theirs_and_the_floor():
    x, weights = RNG.normal(size=(60, 2)) * [1.0, 3.0], RNG.integers(0, 3, size=60).astype(float)
    family = cj.families.mixture(components=4, floor=0.05)
    x32, w32 = jnp.array(x, jnp.float32), jnp.array(weights, jnp.float32)
    start = family.init(jax.random.key(0), x32, w32)
    moments = family.moments(family.fit(jax.random.key(1), start, x32, w32))
    np.testing.assert_allclose(moments.mean, np.average(x, axis=0, weights=weights), atol=2e-5)
    want = np.trace(np.cov(x.T, aweights=weights, bias=True)) + 2 * 0.05
    assert float(moments.variance) == pytest.approx(want, rel=1e-4)


def test_samples_have_the_means_and_covariances_of_the_components():
    params = Mixture(
        jnp.array([0.0, 0.3, 0.7]),
        jnp.array([[0.0, 0.0], [-50.0, 0.0], [50.0, 0.0]]),
        jnp.array([np.eye(2), [[2.0, 0.9], [0.9, 0.5]], [[1.0, -0.6], [-0.6, 4.0]]], jnp.float32),
    )
    n = 20_000
    x = np.asarray(PLANE.sample(jax.random.key(0), params, n), np.float64)
    assert not (np.abs(x[:, 0]) < 25).any()  # a component without a share
    left = x[:, 0] < 0
    assert abs(left.mean() - 0.3) < 4 * np.sqrt(0.21 / n)
    for part, i in ((x[left], 1), (x[~left], 2)):
        apart = part - np.asarray(params.means[i], np.float64)
        for a in range(2):
            assert abs(apart[:, a].mean()) < 4 * apart[:, a].std() / np.sqrt(len(part))
            for b in range(2):
                product = apart[:, a] * apart[:, b]
                error = product.mean() - float(params.covariances[i, a, b])
                assert abs(error) < 4 * product.std() / np.sqrt(len(part))


def test_bias_scales_the_covariances_alone():
    params = some_mixture()
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    biased = PLANE.decodings["bias"].apply(params, 0.25)
    np.testing.assert_allclose(biased.covariances, 0.25 * params.covariances, rtol=1e-6)
    np.testing.assert_array_equal(biased.means, params.means)
    # Without any covariance left, only the centres are emitted.
    still = PLANE.sample(jax.random.key(0), PLANE.decodings["bias"].apply(params, 0.0), 50)
    distances = np.linalg.norm(np.asarray(still)[:, None] - np.asarray(params.means)[None], axis=2).min(axis=1)
    assert distances.max() < 1e-5


@pytest.mark.parametrize(
    "x", [np.full((9, 2), 3.0), np.outer(np.arange(9.0), [1.0, 2.0]), np.repeat([[0.0, 0], [1e3, 1e3]], 5, axis=0)]
)
def test_singular_examples_give_finite_models(x):
    """All at one point, all on a line, two points for three components."""
    x, weights = jnp.array(x, jnp.float32), jnp.ones(len(x))

    @jax.jit
    def recur(init_key, fit_key, sample_key, refit_key):
        params = PLANE.fit(fit_key, PLANE.init(init_key, x, weights), x, weights)
        emitted = PLANE.sample(sample_key, params, len(x))
        params = PLANE.fit(refit_key, params, emitted, weights)
        return *params, emitted, PLANE.log_prob(params, emitted)

    for leaf in recur(*jax.random.split(jax.random.key(0), 4)):
        assert np.isfinite(leaf).all()


def test_an_empty_component_stays_where_it_was():
    start = Mixture(
        jnp.array([0.5, 0.5, 0.0]), jnp.array([[0.0, 0], [3, 0], [7, 7]]), jnp.broadcast_to(jnp.eye(2), (3, 2, 2))
    )
    x = PLANE.sample(jax.random.key(0), start, 100)
    fitted = PLANE.fit(jax.random.key(1), start, x, jnp.ones(100))
    assert float(fitted.shares[2]) == 0.0
    np.testing.assert_array_equal(fitted.means[2], start.means[2])
    np.testing.assert_array_equal(fitted.covariances[2], start.covariances[2])
    assert np.isfinite(PLANE.log_prob(fitted, x)).all()


def test_starting_centres_are_examples_far_apart():
    # Three clusters, one of weight 0: with only two left to choose from, both must be found, by the squared distance.
    x = jnp.concatenate([jnp.zeros((30, 2)), jnp.full((30, 2), 100.0), jnp.full((30, 2), -100.0)])
    weights = jnp.where(jnp.arange(90) < 60, 1.0, 0.0)
    family = cj.families.mixture(components=2)
    means = jax.jit(jax.vmap(lambda seed: family.init(jax.random.key(seed), x, weights).means))(jnp.arange(20))
    np.testing.assert_array_equal(np.sort(means[:, :, 0], axis=1), np.tile([0.0, 100.0], (20, 1)))
    # The second centre is drawn in proportion to weight times squared distance: 1 : 4 from the first.
    line, weights = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 1e-6, 1e-6])
    pair = cj.families.mixture(components=2, d=1)
    second = jax.jit(jax.vmap(lambda seed: pair.init(jax.random.key(seed), line, weights).means[1, 0]))
    share = (np.asarray(second(jnp.arange(2000))) == 2.0).mean()
    assert abs(share - 0.8) < 4 * np.sqrt(0.16 / 2000)


@pytest.mark.parametrize(("d", "spread"), [(1, 4.0**2 * (1.5**2 + 0.5**2) / 2), (2, 4.0**2), (3, 4.0**2)])
def test_the_truth_has_its_centres_evenly_around_zero(d, spread):
    truth = cj.families.mixture(components=4, d=d).truth
    np.testing.assert_allclose(truth.means.mean(axis=0), 0.0, atol=1e-5)
    assert (np.asarray(truth.means) ** 2).sum(axis=1).mean() == pytest.approx(spread, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"components": 0}, "components is 0"),
        ({"d": True}, "d is True"),
        ({"steps": 0}, "steps is 0"),
        ({"floor": 0.0}, "floor is 0.0"),
        ({"floor": float("nan")}, "floor is nan"),
    ],
)
def test_bad_parameters_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        cj.families.mixture(**options)
