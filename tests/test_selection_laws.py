"""Laws of decoding and curation against enumeration, iteration, quadrature and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import brentq

from collapse_jax.generative.laws import curation, decoding

MODEL = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
REWARDS = np.array([0.3, -1.0, 2.0, 0.0, 5.0])


def check(values, expected):
    z = (values.mean() - expected) / (values.std() / np.sqrt(len(values)))
    assert abs(z) < 4, z


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_temperature_alone_is_a_power(temperature):
    models = decoding.iterate_decoding(lambda p: decoding.tempered(p, temperature), MODEL, 6)
    powers = MODEL ** (1 / temperature ** np.arange(7.0)[:, None])
    np.testing.assert_allclose(models, powers / powers.sum(1, keepdims=True), rtol=1e-9)


def test_an_impossible_category_stays_impossible():
    np.testing.assert_allclose(decoding.tempered(np.array([0.5, 0.5, 0.0]), 2.0), [0.5, 0.5, 0.0])


def subsets(model):
    indices = range(len(model))
    return [list(s) for n in range(1, len(model) + 1) for s in itertools.combinations(indices, n)]


@pytest.mark.parametrize("shuffle", [[0, 1, 2, 3, 4], [4, 2, 0, 1, 3]])
def test_top_k_and_top_p_by_enumeration_of_all_subsets(shuffle):
    model = MODEL[shuffle]
    for number in range(1, 6):
        best = max((s for s in subsets(model) if len(s) == number), key=lambda s: model[s].sum())
        expected = np.where(np.isin(np.arange(5), best), model, 0) / model[best].sum()
        np.testing.assert_allclose(decoding.top_k(model, number), expected, rtol=1e-12)
    for mass in (0.3, 0.4, 0.41, 0.65, 0.9, 0.97, 1.0):
        reaching = [s for s in subsets(model) if model[s].sum() >= mass - 1e-12]
        best = min(reaching, key=lambda s: (len(s), -model[s].sum()))
        expected = np.where(np.isin(np.arange(5), best), model, 0) / model[best].sum()
        np.testing.assert_allclose(decoding.top_p(model, mass), expected, rtol=1e-12)


def test_ties_go_to_the_first():
    np.testing.assert_array_equal(decoding.top_k(np.full(4, 0.25), 2), [0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(decoding.top_p(np.full(4, 0.25), 0.5), [0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(decoding.top_k(np.array([0.2, 0.4, 0.4]), 9), [0.2, 0.4, 0.4])


def test_top_k_stops_and_top_p_goes_on():
    stopped = decoding.iterate_decoding(lambda p: decoding.top_k(p, 3), MODEL, 3)
    np.testing.assert_allclose(stopped[1], stopped[3], rtol=1e-15)
    cut = decoding.iterate_decoding(lambda p: decoding.top_p(p, 0.75), MODEL, 4)
    # .4 .25 .2 reach .75; of .47 .29 .24 the first two do; of .62 .38 both are needed.
    assert np.count_nonzero(cut, axis=1).tolist() == [5, 3, 2, 2, 2]


def test_a_share_of_truth_keeps_what_decoding_cuts():
    models = decoding.iterate_decoding(lambda p: decoding.top_k(p, 1), MODEL, 3, truth=np.full(5, 0.2), share=0.3)
    np.testing.assert_allclose(models[-1], [0.76, 0.06, 0.06, 0.06, 0.06])


@pytest.mark.parametrize("categories", [2, 5, 40])
@pytest.mark.parametrize("temperature", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("offset", [-0.02, 0.02])
def test_uniform_truth_is_stable_above_the_threshold(categories, temperature, offset):
    share = 1 - temperature + offset
    points = decoding.temperature_fixed_points(categories, temperature, share)
    uniform = np.argmin(np.abs(points.favoured - 1 / categories))
    assert points.favoured[uniform] == pytest.approx(1 / categories, rel=1e-12)
    assert points.stable[uniform] == (offset > 0)


@pytest.mark.parametrize(
    ("categories", "favoured", "temperature", "share"),
    [(2, 1, 0.5, 0.4), (2, 1, 0.5, 0.6), (6, 1, 0.5, 0.3), (6, 1, 0.5, 0.52), (6, 5, 0.5, 0.52), (30, 1, 0.6, 0.45)],
)
def test_fixed_points_stay_and_their_stability_is_seen(categories, favoured, temperature, share):
    rng = np.random.default_rng(0)
    points = decoding.temperature_fixed_points(categories, temperature, share, favoured=favoured)
    step = lambda p: decoding.iterate_decoding(  # noqa: E731
        lambda q: decoding.tempered(q, temperature), p, 400, truth=np.full(categories, 1 / categories), share=share
    )
    for value, stable in zip(*points, strict=True):
        rest = (1 - favoured * value) / (categories - favoured)
        point = np.repeat([value, rest], [favoured, categories - favoured])
        np.testing.assert_allclose(step(point)[1], point, rtol=1e-9)
        noise = rng.standard_normal(categories) * point
        near = point + 1e-6 * (noise - noise.sum() * point)
        distance = np.abs(step(near)[-1] - point).max()
        assert (distance < 1e-7) if stable else (distance > 1e-4)
    # No sign change of the map on two levels is missed: the number of fixed points by a scan of another variable.
    a = np.linspace(share / categories, 1 / favoured, 200_002)[1:-1]
    b = (1 - favoured * a) / (categories - favoured)
    odds = (a / b) ** (1 / temperature)
    moved = share / categories + (1 - share) * odds / (favoured * odds + categories - favoured) - a
    assert np.count_nonzero(np.diff(np.sign(moved))) == len(points.favoured)


def enumerated_choice(model, rewards, choices):
    result = np.zeros(len(model))
    for draws in itertools.product(range(len(model)), repeat=choices):
        indices = list(draws)
        odds = np.exp(rewards[indices])
        np.add.at(result, indices, np.prod(model[indices]) * odds / odds.sum())
    return result


@pytest.mark.parametrize("choices", [1, 2, 3, 5])
@pytest.mark.parametrize("scale", [0.0, 1.0, -1.0, 10.0])
def test_soft_choice_by_enumeration(choices, scale):
    expected = enumerated_choice(MODEL, scale * REWARDS, choices)
    np.testing.assert_allclose(curation.curated(MODEL, scale * REWARDS, choices), expected, rtol=1e-11)


def test_soft_choice_is_a_distribution_and_tends_to_the_exponential_tilt():
    for choices in (7, 100, 10_000):
        assert curation.curated(MODEL, REWARDS, choices).sum() == pytest.approx(1, rel=1e-12)
    limit = curation.curated_limit(MODEL, REWARDS, 2)
    once = curation.curated(MODEL, REWARDS, 1_000_000)
    # The next order is 1/K times the squared coefficient of variation of e^r, here about 10.
    np.testing.assert_allclose(once, limit[1], rtol=1e-4)
    np.testing.assert_allclose(curation.curated(once, REWARDS, 1_000_000), limit[2], rtol=1e-4)


def test_a_limit_of_many_generations_does_not_overflow():
    with_zero = curation.curated_limit(np.array([0.5, 0.5, 0.0]), np.array([0.0, 2.0, 1e4]), 1000)
    np.testing.assert_allclose(with_zero[[0, -1]], [[0.5, 0.5, 0], [0, 1, 0]], atol=1e-15)


@pytest.mark.parametrize("gap", [-3.0, 0.0, 0.5, 40.0])
@pytest.mark.parametrize("good", [0.0, 0.2, 1.0])
def test_pairs_are_the_choice_of_two(good, gap):
    model, rewards = np.array([good, 1 - good]), np.array([gap, 0.0])
    assert curation.curated_pair(good, gap) == pytest.approx(enumerated_choice(model, rewards, 2)[0], rel=1e-12)


@pytest.mark.parametrize("gap", [-3.0, 0.0, 0.5, 40.0])
@pytest.mark.parametrize("emitted", [0.0, 0.1, 0.5, 0.7, 0.99])
@pytest.mark.parametrize("real", [0.1, 0.5, 0.9])
def test_the_fixed_point_of_pairs(real, emitted, gap):
    change = lambda p: (1 - emitted) * real + emitted * curation.curated_pair(p, gap) - p  # noqa: E731
    expected = brentq(change, 0, 1, xtol=1e-15)
    assert curation.curated_pair_fixed_point(real, emitted, gap) == pytest.approx(expected, abs=1e-12)


def test_the_best_of_k_by_enumeration():
    probabilities = np.array([0.5, 0.3, 0.2])
    law = curation.best_of(np.cumsum(probabilities), 3, 2)
    for expected in law[1:]:
        best = np.zeros(3)
        for draws in itertools.product(range(3), repeat=3):
            best[max(draws)] += np.prod(probabilities[list(draws)])
        probabilities = best
        np.testing.assert_allclose(np.cumsum(best), expected, rtol=1e-12)


def test_a_soft_verifier_by_summation():
    x = np.linspace(-12, 12, 4801)
    weights = np.exp(-((x - 0.5) ** 2) / (2 * 1.7))
    for mean, variance in zip(*curation.verified_gaussian(0.5, 1.7, -1.0, 0.9, 4), strict=True):
        weights /= weights.sum()
        # The trapezoidal rule is exact to rounding for a Gaussian that vanishes at both ends.
        assert x @ weights == pytest.approx(mean, abs=1e-12)
        assert (x - mean) ** 2 @ weights == pytest.approx(variance, rel=1e-12)
        weights *= np.exp(-((x + 1) ** 2) / (2 * 0.81))


def test_simulated_verification():
    rng, q, phi, psi, number = np.random.default_rng(1), 0.3, 0.8, 0.25, 200_000
    right = rng.random(number) < q
    kept = rng.random(number) < np.where(right, phi, psi)
    check(right[kept], curation.verified(q, phi, psi))
    refilled = np.where(kept, right, rng.random(number) < 0.6)
    check(refilled, curation.verified_and_refilled(q, phi, psi, 0.6))


def test_a_calibrated_detector():
    truth, model = MODEL, np.array([0.7, 0.2, 0.1, 0.0, 0.0])
    resampled = lambda power: curation.importance_resampled(truth, model, 0.4, power)  # noqa: E731
    np.testing.assert_allclose(resampled(1.0), truth, rtol=1e-14)
    pool = 0.4 * truth + 0.6 * model
    np.testing.assert_allclose(resampled(0.0), pool, rtol=1e-14)
    beyond = truth**1.5 * pool**-0.5
    np.testing.assert_allclose(resampled(1.5), beyond / beyond.sum(), rtol=1e-12)


def test_a_detector_that_resamples_a_simulated_pool():
    rng, number, power = np.random.default_rng(2), 200_000, 0.5
    truth, model = np.array([0.5, 0.3, 0.2]), np.array([0.8, 0.2, 0.0])
    real = rng.random(number) < 0.4
    kinds = np.where(real, rng.choice(3, number, p=truth), rng.choice(3, number, p=model))
    human = np.array([0.2 / 0.68, 0.12 / 0.24, 1.0])
    kept = kinds[rng.random(number) < human[kinds] ** power]
    for kind, expected in enumerate(curation.importance_resampled(truth, model, 0.4, power)):
        check(kept == kind, expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decoding.tempered(MODEL * 2, 1.0), "model"),
        (lambda: decoding.tempered(MODEL, 0.0), "temperature = 0.0"),
        (lambda: decoding.top_k(MODEL, 0), "number = 0"),
        (lambda: decoding.top_p(MODEL, 0.0), "mass = 0.0"),
        (lambda: decoding.iterate_decoding(lambda p: p, MODEL, 2, share=1.5), "share = 1.5"),
        (lambda: decoding.iterate_decoding(lambda p: p, MODEL, -1), "generations = -1"),
        (lambda: decoding.iterate_decoding(lambda p: p, MODEL, 1, truth=MODEL * 2), "truth"),
        (lambda: decoding.temperature_fixed_points(1, 0.5, 0.5), "categories = 1"),
        (lambda: decoding.temperature_fixed_points(3, 0.5, 0.5, favoured=3), "favoured = 3"),
        (lambda: decoding.temperature_fixed_points(3, -0.5, 0.5), "temperature = -0.5"),
        (lambda: decoding.temperature_fixed_points(3, 0.5, 0.0), "share = 0.0"),
        (lambda: curation.curated_pair(1.5, 1.0), "good = 1.5"),
        (lambda: curation.curated_pair_fixed_point(0.5, 1.0, 1.0), "emitted_share = 1.0"),
        (lambda: curation.curated(MODEL, REWARDS, 0), "choices = 0"),
        (lambda: curation.curated(MODEL, REWARDS * math.inf, 2), "rewards"),
        (lambda: curation.curated(MODEL, REWARDS * 1000, 2), "range of the rewards"),
        (lambda: curation.curated_limit(MODEL, REWARDS, -1), "generations = -1"),
        (lambda: curation.best_of(np.array([1.2]), 2, 1), "cdf"),
        (lambda: curation.verified_gaussian(0.0, 0.0, 0.0, 1.0, 1), "variance = 0.0"),
        (lambda: curation.verified_gaussian(0.0, 1.0, 0.0, 0.0, 1), "width = 0.0"),
        (lambda: curation.verified(0.5, 0.0, 0.0), "keep nothing"),
        (lambda: curation.verified(0.5, 1.1, 0.0), "keep_right = 1.1"),
        (lambda: curation.verified_and_refilled(0.5, 1.0, 0.0, -1.0), "refill = -1.0"),
        (lambda: curation.importance_resampled(MODEL, MODEL, 0.0, 1.0), "real_share = 0.0"),
        (lambda: curation.importance_resampled(MODEL, MODEL, 0.5, -1.0), "power = -1.0"),
    ],
)
def test_arguments_out_of_range_are_refused(call, words):
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=words):
        call()
