"""Distances of Gaussians, against scipy's matrix functions, closed forms and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.stats import multivariate_normal

from collapse_jax.metrics import (
    frechet_distance,
    gaussian_kl_divergence,
    log_determinant_ratio,
    trace_ratio,
    wasserstein2,
)

RNG = np.random.default_rng(0)


def gaussian(d):
    root = RNG.normal(size=(d, d + 2))
    return RNG.normal(size=d), root @ root.T / d


PAIRS = [(*gaussian(d), *gaussian(d)) for d in (1, 2, 7)]


def arrays(*values):
    return [jnp.array(value, dtype=float) for value in values]


@pytest.mark.parametrize("pair", PAIRS, ids=["d=1", "d=2", "d=7"])
def test_frechet_distance_is_the_formula_of_dowson_and_landau(pair):
    mean, covariance, other_mean, other = pair
    cross = scipy.linalg.sqrtm(covariance @ other).real
    want = np.square(mean - other_mean).sum() + np.trace(covariance + other - 2 * cross)
    with jax.enable_x64():
        assert float(frechet_distance(*arrays(*pair))) == pytest.approx(want, rel=1e-9)
        assert float(wasserstein2(*arrays(*pair))) == pytest.approx(np.sqrt(want), rel=1e-9)


def test_frechet_distance_of_singular_covariances():
    # Commuting covariances: the sum of (σ - τ)².
    basis = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    sigma, tau = np.array([2.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 3.0])
    first, second = (basis @ np.diag(s**2) @ basis.T for s in (sigma, tau))
    got = float(frechet_distance(*arrays(np.zeros(4), first, np.zeros(4), second)))
    assert got == pytest.approx(1 + 1 + 9, rel=2e-3)  # zero variances are known to float32's √ε of the largest
    point = np.zeros((4, 4))
    assert float(frechet_distance(*arrays(np.zeros(4), point, np.ones(4), point))) == 4.0


def test_wasserstein2_of_near_gaussians_keeps_its_precision():
    # Of the squares of traces, float32 would leave nothing: (1e-4)² against 1.
    covariance = np.diag([1.0, 2.0, 3.0])
    near = covariance * (1 + 1e-4) ** 2
    got = float(wasserstein2(*arrays(np.zeros(3), covariance, np.zeros(3), near)))
    assert got == pytest.approx(1e-4 * np.sqrt(6), rel=2e-2)  # variances 2e-4 apart, rounded to 1e-7
    assert float(wasserstein2(*arrays(np.zeros(3), covariance, np.zeros(3), covariance))) < 1e-6


@pytest.mark.parametrize("pair", PAIRS, ids=["d=1", "d=2", "d=7"])
def test_kl_divergence_is_the_mean_log_ratio(pair):
    mean, covariance, other_mean, other = pair
    with jax.enable_x64():
        got = float(gaussian_kl_divergence(*arrays(*pair)))
    draws = np.atleast_2d(RNG.multivariate_normal(mean, covariance, size=100_000))
    ratios = multivariate_normal(mean, covariance).logpdf(draws) - multivariate_normal(other_mean, other).logpdf(draws)
    assert abs(ratios.mean() - got) < 4 * ratios.std() / np.sqrt(len(draws))


def test_kl_divergence_closed_form_on_the_line():
    got = float(gaussian_kl_divergence(*arrays([1.0], [[4.0]], [3.0], [[9.0]])))
    assert got == pytest.approx(np.log(3 / 2) + (4 + 4) / 18 - 0.5, rel=1e-5)  # float32


def test_kl_divergence_of_singular_covariances_is_infinite():
    full, flat = np.eye(2), np.ones((2, 2))
    mean = np.zeros(2)
    for first, second in ((flat, full), (full, flat), (full, np.zeros((2, 2))), (flat, flat)):
        assert float(gaussian_kl_divergence(*arrays(mean, first, mean, second))) == np.inf


@pytest.mark.parametrize("pair", PAIRS, ids=["d=1", "d=2", "d=7"])
def test_ratios_are_numpys(pair):
    _, covariance, _, other = pair
    want = np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(other)[1]
    with jax.enable_x64():
        assert float(log_determinant_ratio(*arrays(covariance, other))) == pytest.approx(want, rel=1e-9)
        assert float(trace_ratio(*arrays(covariance, other))) == pytest.approx(np.trace(covariance) / np.trace(other))


def test_log_determinant_of_unequal_units_and_of_singular_covariances():
    # Variances seven orders apart are no singularity, though in float32 they look like one before they are scaled.
    graded = np.array([[1e-9, 0.5e-5], [0.5e-5, 0.1]])
    got = float(log_determinant_ratio(*arrays(graded, np.eye(2))))
    assert got == pytest.approx(np.log(0.75e-10), rel=1e-5)
    x = RNG.normal(size=(3, 5)).astype("f4")
    singular = x.T @ x
    assert float(log_determinant_ratio(*arrays(singular, np.eye(5)))) == -np.inf
    assert float(log_determinant_ratio(*arrays(np.eye(5), np.zeros((5, 5))))) == np.inf
    assert np.isnan(log_determinant_ratio(*arrays(singular, singular)))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("distance", [frechet_distance, wasserstein2, gaussian_kl_divergence])
def test_what_is_not_a_number_stays_so(distance, place):
    inputs = arrays(np.zeros(2), np.eye(2), np.zeros(2), np.eye(2))
    inputs[place] = inputs[place] * jnp.nan
    assert np.isnan(distance(*inputs))


def test_ratios_of_what_is_not_a_number_are_not_numbers():
    broken = jnp.array([[1.0, jnp.nan], [jnp.nan, 1.0]])
    assert np.isnan(log_determinant_ratio(broken, jnp.eye(2)))
    assert np.isnan(trace_ratio(broken * jnp.nan, jnp.eye(2)))


def test_members_are_batched_by_vmap():
    means = jnp.array(RNG.normal(size=(3, 2)))
    covariances = jnp.stack([jnp.eye(2), 2 * jnp.eye(2), jnp.zeros((2, 2))])
    got = jax.vmap(frechet_distance, in_axes=(0, 0, None, None))(means, covariances, jnp.zeros(2), jnp.eye(2))
    want = np.square(means).sum(1) + 2 * np.square(np.sqrt([1.0, 2.0, 0.0]) - 1)
    np.testing.assert_allclose(got, want, rtol=1e-5)
