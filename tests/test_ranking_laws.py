"""Laws of what a noisy ranking chooses, against simulation, closed forms and the exact map."""

import math

import numpy as np
import pytest

from collapse_jax.generative.laws.curation import curated
from collapse_jax.generative.laws.ranking import curated_concentration, ranked_quality

GRADED = np.linspace(1.0, 0.0, 6)
TIED = np.array([0.0, 1.0, 1.0, 0.0, 1.0])


@pytest.mark.parametrize("quality", [GRADED, TIED])
def test_the_quality_at_each_rank_is_that_of_simulated_rankings(quality):
    seen = quality + 0.3 * np.random.default_rng(0).normal(size=(40_000, len(quality)))
    found = quality[np.argsort(-seen, axis=1)]
    z = (found.mean(0) - ranked_quality(quality, 0.3)) / (found.std(0) / 200.0)
    assert np.abs(z).max() < 4, z


def test_of_two_the_better_is_first_with_the_probability_of_a_gaussian_difference():
    expected = 0.5 * (1.0 + math.erf(0.7 / 0.4 / 2.0))
    np.testing.assert_allclose(
        ranked_quality(np.array([0.0, 0.7]), 0.4), [0.7 * expected, 0.7 * (1 - expected)], rtol=1e-9
    )


def test_little_noise_sorts_and_much_noise_mixes():
    np.testing.assert_allclose(ranked_quality(TIED, 0.01), [1, 1, 1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(ranked_quality(TIED, 1e6), 0.6, atol=1e-5)


@pytest.mark.parametrize("choices", [2, 5])
def test_the_first_growth_of_concentration_is_that_of_the_map_for_small_rewards(choices):
    rewards = 1e-3 * np.array([1.0, 0.9, 0.3, 0.2, 0.0])
    chosen = curated(np.full(5, 0.2), rewards, choices)
    np.testing.assert_allclose(5 * (chosen**2).sum() - 1, curated_concentration(rewards, choices), rtol=3e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranked_quality(GRADED, 0.0), "noise = 0.0 is outside"),
        (lambda: ranked_quality(np.array([0.0, np.nan]), 0.1), "quality = .* is not finite"),
        (lambda: curated_concentration(GRADED, 0), "choices = 0 is not a whole number from 1 on"),
        (lambda: curated_concentration(np.array([np.inf]), 2), "rewards = .* are not finite"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
