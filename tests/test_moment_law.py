"""The moment law against closed forms, an example-by-example recursion, and simulated lineages."""

import itertools

import numpy as np
import pytest

from collapse_jax.generative.laws import moment_law
from collapse_jax.generative.laws.mixing import (
    fresh_share_error,
    golden_weight,
    pooled_error,
    replayed_share_error,
    resampled_share_error,
    weighted_error,
    weighted_fit_error,
)

REPLICAS = 40_000
T = np.arange(1, 101)


def matrix(rule, generations=100):
    """Return the count matrix of a rule (generation, source) -> count, with nothing from the future."""
    return np.array(
        [[rule(t, s) if s < t else 0 for s in range(-1, generations)] for t in range(1, generations + 1)], int
    )


REPLACE = matrix(lambda t, s: 10 if s == t - 1 else 0)
ACCUMULATE = matrix(lambda t, s: 10 if s >= 0 else 0)


@pytest.mark.parametrize(
    ("counts", "options", "variance", "mean_error"),
    [
        (REPLACE, {}, 0.9**T, 1 - 0.9**T),
        (REPLACE, {"unbiased": True}, T**0, T / 10),
        (REPLACE, {"unbiased": True, "bias": 0.8}, 0.8 ** (T - 1.0), (1 + 0.8 * (1 - 0.8 ** (T - 1.0)) / 0.2) / 10),
        (REPLACE, {"bias": 1.05}, 0.9**T * 1.05 ** (T - 1), None),
        (ACCUMULATE, {}, np.cumprod(1 - 1 / (10 * T**2)), 1 - np.cumprod(1 - 1 / (10 * T**2))),
        # One model is fitted to 7 of 10 examples: the pair of distinct ones is what counts.
        (REPLACE, {"draws": np.full(100, 7)}, (6 / 7) ** T, 1 - (6 / 7) ** T),
        (REPLACE, {"weights": np.full((100, 101), 2.5)}, 0.9**T, 1 - 0.9**T),
        (matrix(lambda t, s: 10 * (s == -1)), {}, 0.9 * T**0, 0.1 * T**0),
        (matrix(lambda t, s: 10 * (s == 0)), {"unbiased": True}, T**0, 0.1 * T**0),
    ],
)
def test_closed_forms(counts, options, variance, mean_error):
    law = moment_law(counts, **options)
    # A hundred float64 recursions of numbers around 1.
    np.testing.assert_allclose(law.variance, variance, rtol=1e-11)
    if mean_error is not None:
        np.testing.assert_allclose(law.mean_error, mean_error, rtol=1e-11)


def test_two_thousand_generations():
    law = moment_law(np.eye(2050, 2051, 1, dtype=int) * 1000)
    np.testing.assert_allclose(law.variance, 0.999 ** np.arange(1, 2051), rtol=1e-11)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("samples", [10, 100])
def test_a_stationary_share_of_real_examples(share, samples):
    real = round(share * samples)
    # Start and transient are forgotten: (1 - 0.1)^(2·400) is below 1e-36.
    for source, law in ((-1, fresh_share_error), (0, replayed_share_error)):
        counts = matrix(lambda t, s, a=source: real * (s == a) + (samples - real) * (s == max(t - 1, 1)), 400)
        assert moment_law(counts).mean_error[-1] == pytest.approx(law(share, samples), rel=1e-10)
    among = np.where(counts == real, samples, counts)
    among[:, 2:] = counts[:, 2:]
    drawn_anew = resampled_share_error(share, samples)
    assert moment_law(counts, among=among).mean_error[-1] == pytest.approx(drawn_anew, rel=1e-10)
    assert fresh_share_error(share, samples) < drawn_anew < replayed_share_error(share, samples)


def test_a_random_tenth_of_one_set_lies_between_fresh_and_replayed():
    """THEORY: at M = 100 and α = .1 simulated .0595 ± .0006 after 60 generations, fresh .0503, replayed .1404."""
    assert resampled_share_error(0.1, 100) == pytest.approx(0.0593, abs=5e-5)
    assert fresh_share_error(0.1, 100) == pytest.approx(0.0503, abs=5e-5)
    assert replayed_share_error(0.1, 100) == pytest.approx(0.1407, abs=5e-5)
    # Of 2.5 in 10 examples two are real.
    assert fresh_share_error(0.25, 10) == fresh_share_error(0.2, 10)


@pytest.mark.parametrize(("real", "synthetic"), [(10, 10), (5, 20), (40, 10)])
def test_a_stationary_weight_of_fresh_examples(real, synthetic):
    counts = matrix(lambda t, s: real * (s == -1) + synthetic * (s == t - 1), 300)
    share = real / (real + synthetic)
    for weight in (golden_weight(share), share, 0.3):
        weights = np.full((300, 301), (1 - weight) / synthetic)
        weights[:, 0] = weight / real
        error = moment_law(counts, weights=weights).mean_error[-1]
        assert error == pytest.approx(weighted_fit_error(weight, real, synthetic), rel=1e-10)
        # With 1e6 times the examples the fitted variance is the true one, to 1e-6.
        many = moment_law(counts * 1_000_000, weights=weights).mean_error[-1] * 1e6 * real
        assert many == pytest.approx(weighted_error(weight, share), rel=1e-5)
    plain = moment_law(counts * 1_000_000).mean_error[-1] * 1e6 * real
    assert plain == pytest.approx(pooled_error(share), rel=1e-5)


def arbitrary(seed, generations=6, largest=6):
    """Return counts of arbitrary prefixes of arbitrary sources, and numbers of draws that they allow."""
    rng = np.random.default_rng(seed)
    counts = np.tril(rng.integers(0, largest + 1, (generations, generations + 1)), 1)
    counts[:, 0] += 1
    counts[np.arange(generations), np.arange(generations) + 1] += 1
    draws = rng.integers(2, counts.sum(1), endpoint=True)
    return counts, draws, rng.uniform(0.1, 2, counts.shape)


def options_of(case, draws, weights, counts):
    rng = np.random.default_rng(len(draws))
    among = counts + rng.integers(0, 5, counts.shape) * (counts > 0)
    among[:, 0] = counts[:, 0]
    gain = rng.uniform(0.5, 1.5, len(counts))
    return {
        "among": {"among": among},
        "among, weights, bias": {"among": among, "weights": weights, "bias": 0.7},
        "among, draws, gain": {"among": among, "draws": draws, "gain": gain, "added": 0.2},
        "all": {},
        "draws": {"draws": draws},
        "weights": {"weights": weights},
        "unbiased draws": {"draws": draws, "unbiased": True},
        "unbiased weights, bias": {"weights": weights, "unbiased": True, "bias": 0.7},
        "draws, bias": {"draws": draws, "bias": 1.3},
    }[case]


CASES = ("all", "draws", "weights", "unbiased draws", "unbiased weights, bias", "draws, bias")
CASES += ("among", "among, weights, bias", "among, draws, gain")


def included(row, of, origin, number):
    """Return P(i and j are both counted) of the fresh examples and all others, k of the first `of` of each source."""
    one = np.where(number < of[1:][origin], row[1:][origin] / np.maximum(of[1:][origin], 1), 0)
    k, n = row[1:][origin], np.maximum(of[1:][origin], 2)
    same = np.where(number < of[1:][origin], k * (k - 1) / (n * (n - 1)), 0)
    pairs = np.where(origin[:, None] == origin[None], np.minimum(same[:, None], same[None]), np.outer(one, one))
    pairs[np.diag_indices(len(one))] = one
    every = np.ones((row[0] + len(one), row[0] + len(one)))
    every[row[0] :, : row[0]], every[: row[0], row[0] :], every[row[0] :, row[0] :] = one[:, None], one[None], pairs
    return every


def example_by_example(counts, *, draws=None, weights=None, unbiased=False, bias=1.0, among=None, gain=None, added=0.0):
    """Return the same law from the matrix E x_i x_j of all examples that exist, with inclusion probabilities."""
    among = counts if among is None else among
    largest = among.max()
    origin = np.repeat(np.arange(len(counts)), largest)  # `largest` examples of sources 0, 1, …
    number = np.tile(np.arange(largest), len(counts))
    moments = np.diag(np.where(origin == 0, 1.0, 0.0))
    result = []
    for t, row in enumerate(counts, start=1):
        scale = np.ones(len(row)) if weights is None else weights[t - 1]
        both = included(row, among[t - 1], origin, number)
        full = np.concatenate([np.full(row[0], scale[0]), scale[1:][origin]]) / (scale @ row)
        a = full * np.diag(both)
        every = np.eye(len(a))
        every[row[0] :, row[0] :] = moments
        pairs = both * np.outer(full, full)
        if draws is not None:
            m, n = draws[t - 1], row.sum()
            pairs = both * (m - 1) / max(m * n * (n - 1), 1)
            pairs[np.diag_indices(len(a))] = a / m
        error = np.sum(pairs * every)
        variance = a @ np.diag(every) - error
        if unbiased:
            variance /= 1 - np.trace(pairs)
        variance = (1.0 if gain is None else gain[t - 1]) * variance + added
        result.append((variance, error))
        own = origin == t
        cross = (every @ a)[row[0] :]
        moments[own] = np.where(own, error, cross)
        moments[:, own] = moments[own].T
        moments[own, own] = error + bias * variance
    return np.array(result).T


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(5))
def test_arbitrary_counts_example_by_example(case, seed):
    counts, draws, weights = arbitrary(seed)
    options = options_of(case, draws, weights, counts)
    np.testing.assert_allclose(moment_law(counts, **options), example_by_example(counts, **options), rtol=1e-12)


@pytest.mark.parametrize("case", ["all", "draws", "weights", "among"])
def test_variance_and_mean_error_sum_to_one_for_every_unbiased_resampling(case):
    for seed in range(20):
        counts, draws, weights = arbitrary(seed, generations=30, largest=40)
        law = moment_law(counts, **options_of(case, draws, weights, counts))
        np.testing.assert_allclose(law.variance + law.mean_error, 1, rtol=1e-12)


def lineages(counts, emit, fit, rng, *, draws=None, weights=None, among=None):
    """Return the list of fitted models, REPLICAS of them in each generation, by drawing every example."""
    pool, models = {}, [None]
    among = counts if among is None else among
    for t, row in enumerate(counts, start=1):
        parts, scales = [], []
        for s in np.flatnonzero(row) - 1:
            if s == -1:
                parts.append(emit(None, row[0], rng))
            else:
                if s not in pool:
                    pool[s] = emit(models[s], among[:, s + 1].max(), rng)
                some = pool[s][:, : among[t - 1, s + 1]]
                if some.shape[1] > row[s + 1]:
                    chosen = np.argsort(rng.random(some.shape[:2]), axis=1)[:, : row[s + 1]]
                    some = np.take_along_axis(some, chosen[:, :, None], 1)
                parts.append(some)
            scales.append(np.full(row[s + 1], 1.0 if weights is None else weights[t - 1, s + 1]))
        examples, scale = np.concatenate(parts, 1), np.concatenate(scales)
        if draws is not None:
            chosen = np.argsort(rng.random(examples.shape[:2]), axis=1)[:, : draws[t - 1]]
            examples, scale = np.take_along_axis(examples, chosen[:, :, None], 1), np.ones(draws[t - 1])
        models.append(fit(examples, scale / scale.sum()))
    return models[1:]


def check(values, expected):
    z = (values.mean() - expected) / (values.std() / np.sqrt(len(values)))
    assert abs(z) < 4, z


@pytest.mark.parametrize("case", CASES)
def test_simulated_gaussians(case):
    counts, draws, weights = arbitrary(CASES.index(case), generations=4, largest=5)
    options = options_of(case, draws, weights, counts)
    unbiased, bias = options.get("unbiased", False), options.get("bias", 1.0)

    def emit(model, number, rng):
        noise = rng.standard_normal((REPLICAS, number, 1))
        return noise if model is None else model[0][:, None] + np.sqrt(bias * model[1])[:, None] * noise

    def fit(examples, a):
        mean = np.einsum("rnd,n->rd", examples, a)
        variance = np.einsum("rnd,n->rd", (examples - mean[:, None]) ** 2, a)
        if "gain" in options:
            return mean, options["gain"][next(times)] * variance + options["added"]
        return mean, variance / (1 - a @ a) if unbiased else variance

    times = itertools.count()
    arrays = {k: v for k, v in options.items() if k in ("draws", "weights", "among")}
    models = lineages(counts, emit, fit, np.random.default_rng(1), **arrays)
    for (mean, variance), expected, error in zip(models, *moment_law(counts, **options), strict=True):
        check(variance[:, 0], expected)
        check(mean[:, 0] ** 2, error)


@pytest.mark.parametrize("case", ["all", "draws", "weights", "among"])
def test_simulated_categoricals(case):
    counts, draws, weights = arbitrary(9, generations=4, largest=4)
    truth = np.array([0.6, 0.3, 0.1])

    def emit(model, number, rng):
        cdf = np.cumsum(np.broadcast_to(truth, (REPLICAS, 3)) if model is None else model, axis=1)
        kind = (rng.random((REPLICAS, number, 1)) > cdf[:, None] * (1 - 1e-12)).sum(2)
        return np.eye(3)[np.minimum(kind, 2)]

    options = options_of(case, draws, weights, counts)
    fit = lambda examples, a: np.einsum("rnd,n->rd", examples, a)  # noqa: E731
    models = lineages(counts, emit, fit, np.random.default_rng(2), **options)
    unit = 1 - truth @ truth
    for model, variance, error in zip(models, *moment_law(counts, **options), strict=True):
        check((1 - (model**2).sum(1)) / unit, variance)
        check(((model - truth) ** 2).sum(1) / unit, error)


GOOD = np.eye(3, 4, 1, dtype=int) * 5
UNEQUAL = np.ones((3, 4)) + np.eye(3, 4)


@pytest.mark.parametrize(
    ("counts", "options", "words"),
    [
        (np.ones((3, 3)), {}, r"counts of shape \(3, 3\)"),
        (np.zeros((0, 1)), {}, r"counts is an array of shape \(0, 1\)"),
        (GOOD - 1, {}, "non-negative"),
        (GOOD * 0.5, {}, "whole"),
        (GOOD * np.nan, {}, "whole"),
        (GOOD + np.eye(3, 4, 2), {}, "generation 1 must not use source 1"),
        (GOOD * np.array([[1], [0], [1]]), {}, "counts of generation 2 are all zero"),
        (GOOD, {"draws": np.array([5, 6, 5])}, "draws"),
        (GOOD, {"draws": np.array([5, 0, 5])}, "draws"),
        (GOOD, {"draws": np.array([5, 2.5, 5])}, "draws"),
        (np.tril(np.ones((3, 4), int), 1), {"draws": np.ones(3, int), "weights": UNEQUAL}, "unequal weights"),
        (GOOD, {"weights": -np.ones((3, 4))}, "weights"),
        (GOOD, {"weights": np.full((3, 4), np.nan)}, "weights"),
        (GOOD, {"weights": np.zeros((3, 4))}, "weights of generation 1"),
        (GOOD, {"bias": 0.0}, "bias = 0.0"),
        (GOOD, {"bias": np.inf}, "bias = inf"),
        (GOOD, {"gain": np.ones(2)}, "gain"),
        (GOOD, {"gain": np.array([1, np.nan, 1])}, "gain"),
        (GOOD, {"added": -0.1}, "added = -0.1"),
        (GOOD, {"added": np.inf}, "added = inf"),
        (GOOD, {"among": GOOD - np.eye(3, 4, 1, dtype=int)}, "is below the counts"),
        (GOOD, {"among": GOOD + 1}, "or not 0 where these are 0"),
        (GOOD, {"among": GOOD * 1.1}, "among"),
        (GOOD, {"among": np.ones((2, 3))}, "among"),
        (np.eye(3, 4, dtype=int) + GOOD, {"among": 2 * np.eye(3, 4, dtype=int) + GOOD}, "always new"),
        (GOOD, {"unbiased": True, "draws": np.array([5, 1, 5])}, "generation 2 has one"),
        (np.eye(3, 4, 1, dtype=int), {"unbiased": True}, "generation 1 has one"),
    ],
)
def test_what_has_no_law_is_refused(counts, options, words):
    with pytest.raises(ValueError, match=words):
        moment_law(counts, **options)
