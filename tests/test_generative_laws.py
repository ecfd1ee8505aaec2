"""Laws of Gaussians, mixing, regression and kernel densities against simulated lineages and numerical optima."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from collapse_jax.generative.laws import density, gaussian, mixing, regression
from collapse_jax.generative.recursion import regimes

REPLICAS = 20_000


def check(values, expected):
    z = (values.mean() - expected) / (values.std() / np.sqrt(len(values)))
    assert abs(z) < 4, z


def test_log_variance_of_simulated_lineages():
    rng, variance = np.random.default_rng(0), np.ones(REPLICAS)
    for mean, spread in zip(*gaussian.replace_log_variance(6, 3), strict=True):
        variance = np.var(rng.standard_normal((REPLICAS, 6)) * np.sqrt(variance)[:, None], axis=1, ddof=1)
        check(np.log(variance), mean)
        check((np.log(variance) - mean) ** 2, spread)


def test_log_determinant_of_simulated_lineages():
    rng, covariance = np.random.default_rng(1), np.broadcast_to(np.eye(3), (REPLICAS, 3, 3))
    for expected in gaussian.replace_log_determinant(7, 3, 2):
        x = rng.standard_normal((REPLICAS, 7, 3)) @ np.linalg.cholesky(covariance).mT
        x -= x.mean(1, keepdims=True)
        covariance = x.mT @ x / 6
        check(np.linalg.slogdet(covariance)[1], expected)


def test_wasserstein_distance_of_simulated_lineages():
    rng, sizes = np.random.default_rng(2), [6, 4, 9]
    mean, deviation = np.zeros(REPLICAS), np.ones(REPLICAS)
    for size, expected in zip(sizes, gaussian.replace_wasserstein(sizes), strict=True):
        x = mean[:, None] + deviation[:, None] * rng.standard_normal((REPLICAS, size))
        mean, deviation = x.mean(1), x.std(1, ddof=1)
        check(mean**2 + (deviation - 1) ** 2, expected)


def test_leading_wasserstein_distance_of_many_samples():
    sizes = [1_000_000, 300_000, 2_000_000]
    # The next order is relatively 1/M.
    np.testing.assert_allclose(
        gaussian.replace_wasserstein_leading(sizes), gaussian.replace_wasserstein(sizes), rtol=1e-5
    )


@pytest.mark.parametrize("samples", [1, 2, 10, 100])
def test_accumulated_variance_tends_to_its_limit(samples):
    product = np.prod(1 - 1 / (samples * np.arange(1.0, 1_000_001) ** 2))
    # The factors left out are 1 - 1e-6 / M together.
    assert gaussian.accumulate_variance_limit(samples) == pytest.approx(product, rel=1.1e-6 / samples, abs=1e-15)


@pytest.mark.parametrize("odds", [0.05, 0.5, 1.0, 2.0, 30.0])
def test_the_golden_weight_is_the_best_and_equals_its_error(odds):
    share = odds / (1 + odds)
    best = minimize_scalar(lambda w: mixing.weighted_error(w, share), bounds=(1e-6, 1), options={"xatol": 1e-10})
    # A minimum is located to the root of rounding.
    assert mixing.golden_weight(share) == pytest.approx(best.x, abs=1e-7)
    assert mixing.golden_weight(share) == pytest.approx((math.sqrt(odds**2 + 4 * odds) - odds) / 2, rel=1e-12)
    assert mixing.golden_weight(share) == pytest.approx(best.fun, rel=1e-12)
    assert mixing.pooled_error(share) == pytest.approx(mixing.weighted_error(share, share), rel=1e-12)
    assert mixing.pooled_error(share) > best.fun


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_golden_weight_of_the_law_is_that_of_the_regime(share):
    assert mixing.golden_weight(share) == pytest.approx(regimes.golden_weight(share), rel=1e-12)


@pytest.mark.parametrize(("weight", "real", "synthetic"), [(0.618, 4, 4), (0.3, 5, 2)])
def test_the_error_of_simulated_weighted_estimates(weight, real, synthetic):
    rng, estimate = np.random.default_rng(3), np.zeros(REPLICAS)
    # (1-w)^60 of the start is left: below 1e-9.
    for _ in range(60):
        emitted = (estimate[:, None] + rng.standard_normal((REPLICAS, synthetic))).mean(1)
        estimate = weight * rng.standard_normal((REPLICAS, real)).mean(1) + (1 - weight) * emitted
    check(estimate**2, mixing.weighted_error(weight, real / (real + synthetic)) / real)


def test_the_error_of_simulated_weighted_fits():
    rng, weight, mean, variance = np.random.default_rng(4), 0.3, np.zeros(REPLICAS), np.ones(REPLICAS)
    for _ in range(60):
        real = rng.standard_normal((REPLICAS, 3))
        emitted = mean[:, None] + np.sqrt(variance)[:, None] * rng.standard_normal((REPLICAS, 5))
        x, a = np.concatenate([real, emitted], 1), np.repeat([weight / 3, (1 - weight) / 5], [3, 5])
        mean = x @ a
        variance = (x - mean[:, None]) ** 2 @ a
    check(mean**2, mixing.weighted_fit_error(weight, 3, 5))
    check(variance, 1 - mixing.weighted_fit_error(weight, 3, 5))


@pytest.mark.parametrize("source", ["fresh", "resampled", "replayed"])
def test_the_error_of_simulated_shares_of_real_examples(source):
    rng, mean, variance = np.random.default_rng(5), np.zeros(REPLICAS), np.ones(REPLICAS)
    real = rng.standard_normal((REPLICAS, 2))
    whole = rng.standard_normal((REPLICAS, 10))
    # 0.8^120 of the start is left.
    for _ in range(60):
        if source == "fresh":
            real = rng.standard_normal((REPLICAS, 2))
        if source == "resampled":
            real = np.take_along_axis(whole, np.argsort(rng.random(whole.shape), axis=1)[:, :2], axis=1)
        emitted = mean[:, None] + np.sqrt(variance)[:, None] * rng.standard_normal((REPLICAS, 8))
        x = np.concatenate([real, emitted], 1)
        mean, variance = x.mean(1), x.var(1)
    check(mean**2, getattr(mixing, f"{source}_share_error")(0.2, 10))


@pytest.mark.parametrize("rule", ["replace", "replace_same_design", "accumulate", "accumulate_fresh"])
def test_simulated_regressions(rule):
    rng, samples, dim, noise, truth = np.random.default_rng(6), 9, 2, 0.7, np.array([1.0, -2.0])
    law = getattr(regression, f"regression_{rule.removesuffix('_same_design')}")(samples, dim, noise, 3)
    same = rule in ("accumulate", "replace_same_design")
    designs, labels, weights = [], [], np.broadcast_to(truth, (REPLICAS, dim))
    for expected in law:
        designs.append(designs[0] if same and designs else rng.standard_normal((REPLICAS, samples, dim)))
        signal = (designs[-1] @ weights[:, :, None])[:, :, 0]
        labels.append(signal + math.sqrt(noise) * rng.standard_normal((REPLICAS, samples)))
        kept = slice(0 if "accumulate" in rule else -1, None)
        x, y = np.concatenate(designs[kept], 1), np.concatenate(labels[kept], 1)[:, :, None]
        weights = np.linalg.solve(x.mT @ x, x.mT @ y)[:, :, 0]
        check(((weights - truth) ** 2).sum(1), expected)


def test_accumulation_over_fresh_designs_is_lower_than_over_one():
    same, fresh = regression.regression_accumulate(20, 5, 1, 50), regression.regression_accumulate_fresh(20, 5, 1, 50)
    assert fresh[0] == same[0]
    assert (fresh[1:] < same[1:]).all()
    assert same[-1] < same[0] * math.pi**2 / 6


@pytest.mark.parametrize("rule", ["replace", "accumulate"])
def test_simulated_kernel_densities(rule):
    rng, bandwidth = np.random.default_rng(7), 0.8
    law = getattr(density, f"kernel_{rule}")(bandwidth, 4, variance=2.0)
    pool = math.sqrt(2) * rng.standard_normal((REPLICAS, 5))
    for expected in law:
        check((pool**2).mean(1), expected)
        centres = np.take_along_axis(pool, rng.integers(0, pool.shape[1], (REPLICAS, 5)), 1)
        emitted = centres + bandwidth * rng.standard_normal((REPLICAS, 5))
        pool = emitted if rule == "replace" else np.concatenate([pool, emitted], 1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gaussian.replace_log_variance(1, 3), "samples = 1"),
        (lambda: gaussian.replace_log_variance(5, 0), "generations = 0"),
        (lambda: gaussian.replace_log_determinant(3, 3, 1), "samples = 3"),
        (lambda: gaussian.replace_log_determinant(3, 0, 1), "dim = 0"),
        (lambda: gaussian.replace_wasserstein([]), "samples"),
        (lambda: gaussian.replace_wasserstein([4, 1]), "samples = 1"),
        (lambda: gaussian.accumulate_variance_limit(0), "samples = 0"),
        (lambda: mixing.golden_weight(1.5), "share = 1.5"),
        (lambda: mixing.golden_weight(math.nan), "share = nan"),
        (lambda: mixing.weighted_error(0.0, 1.0), "weight = 0.0"),
        (lambda: mixing.weighted_error(0.5, 1.0), "share = 1.0"),
        (lambda: mixing.pooled_error(0.0), "share = 0.0"),
        (lambda: mixing.weighted_fit_error(0.5, 0, 3), "real = 0"),
        (lambda: mixing.weighted_fit_error(0.5, 3, 0), "synthetic = 0"),
        (lambda: mixing.fresh_share_error(0.0, 10), "share = 0.0"),
        (lambda: mixing.replayed_share_error(1.1, 10), "share = 1.1"),
        (lambda: mixing.resampled_share_error(-0.1, 10), "share = -0.1"),
        (lambda: mixing.fresh_share_error(0.04, 10), "share is 0.04, which rounds to none of 10 examples"),
        (lambda: mixing.replayed_share_error(0.96, 10), "share is 0.96, which rounds to all of 10 examples"),
        (lambda: regression.regression_replace(4, 3, 1.0, 2), "samples = 4"),
        (lambda: regression.regression_accumulate(9, 3, -1.0, 2), "noise = -1.0"),
        (lambda: regression.regression_accumulate_fresh(9, 0, 1.0, 2), "dim = 0"),
        (lambda: density.kernel_replace(-1.0, 2), "bandwidth = -1.0"),
        (lambda: density.kernel_accumulate(1.0, 2, variance=0.0), "variance = 0.0"),
    ],
)
def test_arguments_out_of_range_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
