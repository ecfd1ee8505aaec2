"""Kernel density estimates, histograms and empirical distributions, against scipy, NumPy and their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import collapse_jax as cj

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 1)) * 2.0 + 1.0
WEIGHTS = RNG.uniform(size=60)


def fit(family, x, weights):
    x, weights = jnp.array(x), jnp.array(weights)
    return family.fit(jax.random.key(0), family.init(jax.random.key(1), x, weights), x, weights)


@pytest.mark.parametrize("rule", ["scott", "silverman"])
def test_densities_and_bandwidths_are_scipys(rule):
    want = scipy.stats.gaussian_kde(X[:, 0], bw_method=rule, weights=WEIGHTS)
    grid = np.linspace(-6.0, 8.0, 40)
    with jax.enable_x64(True):
        family = cj.families.kde(bandwidth=rule)
        params = fit(family, X, WEIGHTS)
        np.testing.assert_allclose(params.bandwidth, np.sqrt(want.covariance[0]), rtol=1e-12)
        np.testing.assert_allclose(family.log_prob(params, jnp.array(grid[:, None])), want.logpdf(grid), rtol=1e-10)


def test_bandwidths_follow_each_dimension():
    x = RNG.normal(size=(50, 3)) * [0.1, 1.0, 10.0]
    with jax.enable_x64(True):
        got = fit(cj.families.kde(3, bandwidth="silverman"), x, np.ones(50)).bandwidth
    np.testing.assert_allclose(got, x.std(axis=0, ddof=1) * (50 * 5 / 4) ** (-1 / 7), rtol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "top_hat"])
def test_densities_integrate_to_the_moments(kernel):
    grid = np.linspace(-12.0, 14.0, 200_001)
    with jax.enable_x64(True):
        family = cj.families.kde(bandwidth=0.5, kernel=kernel)
        params = fit(family, X[:12], WEIGHTS[:12])
        p = np.exp(family.log_prob(params, jnp.array(grid[:, None])))
        moments = family.moments(params)
    dx = grid[1] - grid[0]
    mean = (p @ grid) * dx
    # The steps of the top hat fall between grid points.
    assert p.sum() * dx == pytest.approx(1.0, abs=1e-4)
    assert float(moments.mean[0]) == pytest.approx(mean, abs=1e-3)
    assert float(moments.variance) == pytest.approx((p @ (grid - mean) ** 2) * dx, rel=1e-3)


@pytest.mark.parametrize("kernel", ["gaussian", "top_hat"])
def test_samples_are_weighted_points_with_noise_of_the_bandwidth(kernel):
    n, family = 20_000, cj.families.kde(2, bandwidth=0.25, kernel=kernel)
    points = np.array([[0.0, 0.0], [100.0, 50.0], [-100.0, 50.0]], np.float32)
    params = fit(family, points, np.array([1.0, 0.0, 3.0], np.float32))
    x = np.asarray(family.sample(jax.random.key(1), params, n), np.float64)
    assert not (x[:, 0] > 50).any()  # a point without weight
    far = x[:, 0] < -50
    assert abs(far.mean() - 0.75) < 4 * np.sqrt(0.1875 / n)
    noise = x - np.where(far[:, None], points[2], points[0])
    squares = noise**2
    assert (np.abs(squares.mean(axis=0) - 0.0625) < 4 * squares.std(axis=0) / np.sqrt(n)).all()
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 4 * 0.0625 / np.sqrt(n)
    kurtosis = {"gaussian": 3.0, "top_hat": 1.8}[kernel]
    fourth = (noise**4).ravel() / 0.0625**2
    assert abs(fourth.mean() - kurtosis) < 4 * fourth.std() / np.sqrt(2 * n)


@pytest.mark.parametrize("kernel", ["gaussian", "top_hat"])
def test_second_moments_grow_by_the_squared_bandwidth(kernel):
    """Of model t: 1 + t h² when replacing, 1 + h² Σ 1/i when accumulating; training data lack the last h²."""
    h, generations, seeds = 0.6, 4, 1500
    plan = cj.make_plan([cj.REGIMES["replace"], cj.REGIMES["accumulate"]], generations, 20)
    process = cj.make_recursion(cj.families.kde(bandwidth=h, kernel=kernel), plan)
    result = cj.sweep(process, {**plan.axes, "seed": range(seeds)}, progress=False, vmap_members=500)
    second = (result["variance"] + result["mean"][..., 0] ** 2).isel(samples=0, ratio=0).to_numpy().astype(float)
    t = np.arange(1, generations + 1)
    for got, want in ((second[0], 1 + t * h**2), (second[1], 1 + h**2 * np.cumsum(1 / t))):
        z = (got.mean(axis=0) - want) / (got.std(axis=0) / np.sqrt(seeds))
        assert np.abs(z).max() < 4


def test_histograms_are_numpys_with_what_is_outside_dropped():
    with jax.enable_x64(True):
        got = fit(cj.families.histogram(-1.0, 3.0, 7), X, WEIGHTS)
    counts = np.histogram(X[:, 0], 7, (-1.0, 3.0), weights=WEIGHTS)[0]
    np.testing.assert_allclose(got, counts / counts.sum(), rtol=1e-12)
    assert counts.sum() < WEIGHTS.sum()
    ends = fit(cj.families.histogram(-1.0, 3.0, 4), np.array([[-1.0], [3.0], [3.5]], np.float32), np.ones(3, "f4"))
    np.testing.assert_array_equal(ends, [0.5, 0.0, 0.0, 0.5])
    assert np.isnan(fit(cj.families.histogram(-1.0, 3.0, 4), np.array([[5.0]], np.float32), np.ones(1, "f4"))).all()


def test_histogram_densities_and_moments_are_scipys():
    family, p = cj.families.histogram(-1.0, 3.0, 5), np.array([0.1, 0.0, 0.4, 0.3, 0.2])
    want = scipy.stats.rv_histogram((p, np.linspace(-1, 3, 6)))
    x = np.array([-1.5, -0.9, 0.1, 1.0, 2.9, 3.1])
    with jax.enable_x64(True), np.errstate(divide="ignore"):
        np.testing.assert_allclose(family.log_prob(jnp.array(p), jnp.array(x[:, None])), want.logpdf(x), rtol=1e-9)
        moments = family.moments(jnp.array(p))
    assert float(moments.mean[0]) == pytest.approx(want.mean(), rel=1e-6)
    assert float(moments.variance) == pytest.approx(want.var(), rel=1e-6)


@pytest.mark.parametrize(("low", "high", "bins"), [(-4.0, 4.0, 64), (100.0, 101.0, 90), (-3.0, 1.0, 7)])
def test_an_example_is_counted_in_the_bin_that_emitted_it(low, high, bins):
    family = cj.families.histogram(low, high, bins)
    every_second = jnp.where(jnp.arange(bins) % 2 == 0, 1.0, 0.0)
    x = family.sample(jax.random.key(0), every_second / every_second.sum(), 200_000)
    refitted = np.asarray(fit(family, x, jnp.ones(len(x))))
    assert (refitted[1::2] == 0.0).all()
    assert (refitted[::2] > 0.0).all()
    inside = (np.asarray(x[:, 0], np.float64) - low) / ((high - low) / bins) % 1.0
    assert scipy.stats.kstest(inside[:5000], "uniform").pvalue > 1e-4


def test_the_truth_of_a_histogram_is_the_normal_cut_to_the_grid():
    edges = np.linspace(-1.0, 3.0, 6)
    want = np.diff(scipy.stats.norm.cdf(edges)) / (scipy.stats.norm.cdf(3.0) - scipy.stats.norm.cdf(-1.0))
    np.testing.assert_allclose(cj.families.histogram(-1.0, 3.0, 5).truth, want, rtol=1e-6)
    assert cj.families.histogram(40.0, 41.0, 5).truth is None


def test_a_bootstrap_draws_the_points_by_weight():
    family, n = cj.families.ecdf(2), 20_000
    points = np.arange(8.0, dtype=np.float32).reshape(4, 2)
    params = fit(family, points, np.array([1.0, 0.0, 2.0, 1.0], np.float32))
    x = np.asarray(family.sample(jax.random.key(0), params, n))
    counts = [(x == one).all(axis=1).sum() for one in points]
    assert sum(counts) == n
    assert counts[1] == 0
    assert scipy.stats.chisquare([counts[0], *counts[2:]], [n / 4, n / 2, n / 4]).pvalue > 1e-4
    moments = family.moments(params)
    np.testing.assert_allclose(moments.mean, [3.5, 4.5], rtol=1e-6)
    assert float(moments.variance) == pytest.approx(2 * (0.25 * 3.5**2 + 0.5 * 0.5**2 + 0.25 * 2.5**2), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "options", "match"),
    [
        ("kde", {"d": 0}, "d is 0"),
        ("kde", {"bandwidth": 0.0}, "bandwidth is 0.0.*ecdf"),
        ("kde", {"bandwidth": "wide"}, "bandwidth is 'wide'.*scott, silverman"),
        ("kde", {"kernel": "cosine"}, "kernel is 'cosine'.*gaussian, top_hat"),
        ("ecdf", {"d": -1}, "d is -1"),
        ("histogram", {"bins": 0}, "bins is 0"),
        ("histogram", {"low": 4.0}, "low and high are 4.0 and 4.0"),
        ("histogram", {"low": 1e6, "high": 1e6 + 1}, "bins is 64"),
    ],
)
def test_bad_parameters_are_refused(make, options, match):
    with pytest.raises(ValueError, match=match):
        getattr(cj.families, make)(**options)
