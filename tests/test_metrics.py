"""Distances and the metrics of collapse, against scipy and brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import collapse_jax as cj
from collapse_jax.metrics import kolmogorov_smirnov, mmd_squared, wasserstein
from collapse_jax.reward.metrics import (
    atom_masses,
    mmd_gap,
    prompt_distance,
    ranking_accuracy,
    reward_variance,
    separation,
    separation_by_pair,
    type_curves,
)

RNG = np.random.default_rng(0)
PAIRS = [
    (RNG.uniform(size=7), RNG.beta(2, 1, size=11)),
    (np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.5, 1.0, 1.0])),
    (np.round(RNG.uniform(size=20), 1), np.round(RNG.uniform(size=20), 1)),
]


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_wasserstein_is_scipys(x, y):
    assert float(wasserstein(jnp.array(x), jnp.array(y))) == pytest.approx(
        scipy.stats.wasserstein_distance(x, y), abs=1e-6
    )


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_kolmogorov_smirnov_is_scipys(x, y):
    want = scipy.stats.ks_2samp(x.astype("f4"), y.astype("f4"), method="asymp").statistic
    assert float(kolmogorov_smirnov(jnp.array(x), jnp.array(y))) == pytest.approx(want, abs=1e-6)


def test_distances_to_what_is_not_a_number_are_not_numbers():
    broken = jnp.array([jnp.nan, 1.0])
    assert np.isnan(kolmogorov_smirnov(broken, jnp.array([0.5])))
    assert np.isnan(wasserstein(broken, jnp.array([0.5])))


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_mmd_under_the_distance_kernel_is_the_energy_distance(x, y):
    got = float(mmd_squared(jnp.array(x), jnp.array(y), lambda t: -t))
    assert got == pytest.approx(scipy.stats.energy_distance(x, y) ** 2, abs=1e-6)


def test_accuracy_counts_valid_pairs_and_halves_ties():
    rewards, mask = jnp.array([0.9, 0.2, 0.5, 0.5, 0.7]), jnp.array([True, True, True, True, False])
    # Right: 9>2, 9>5, 9>5; wrong: 2<5 twice; tie: 5=5.
    assert float(ranking_accuracy(rewards, mask)) == pytest.approx(3.5 / 6)


def test_curves_and_separation_are_those_of_each_pair_of_types():
    rewards = jnp.array([[1.0, 0.5, 0.0], [0.8, 0.3, 0.0], [1.0, 1.0, 0.2], [0.5, 0.4, 0.3]])
    types = jnp.array([0, 0, 1, 3])
    curves = np.array([[0.9, 0.4, 0.0], [1.0, 1.0, 0.2], [np.nan] * 3, [0.5, 0.4, 0.3]])
    np.testing.assert_allclose(type_curves(rewards, types, 4), curves, atol=1e-6)
    first, second, third = (0.1 + 0.6 + 0.2) / 3, (0.4 + 0.0 + 0.3) / 3, (0.5 + 0.6 + 0.1) / 3
    pairs = [first, np.nan, second, np.nan, third, np.nan]  # (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)
    np.testing.assert_allclose(separation_by_pair(rewards, types, 4), pairs, atol=1e-6)
    assert float(separation(rewards, types, 4)) == pytest.approx((first + second + third) / 3)
    assert float(separation(rewards[:3], types[:3], 2)) == pytest.approx(first)


def test_one_type_has_no_pairs_and_no_separation():
    rewards, types = jnp.array([[1.0, 0.0], [0.8, 0.1]]), jnp.array([0, 0])
    assert separation_by_pair(rewards, types, 1).shape == (0,)
    assert np.isnan(separation(rewards, types, 1))
    assert np.isnan(separation(rewards, types, 2))
    with pytest.raises(ValueError, match="n_types is 0; it must be a whole number from 1 on"):
        separation(rewards, types, 0)


def test_an_item_that_only_some_prompts_have_has_no_mean():
    rewards = jnp.array([[1.0, 0.7, 0.3, 0.0], [1.0, 0.0, jnp.nan, jnp.nan], [1.0, 0.6, 0.4, 0.0]])
    curves = type_curves(rewards, jnp.array([0, 0, 1]), 2)
    assert np.isnan(curves[0]).tolist() == [False, False, True, True]
    assert np.isfinite(curves[1]).all()
    assert np.isnan(separation(rewards, jnp.array([0, 0, 1]), 2))


def test_prompt_distance_is_the_mean_over_all_pairs():
    rewards = RNG.uniform(size=(9, 5))
    want = np.mean([scipy.stats.wasserstein_distance(a, b) for a, b in itertools.combinations(rewards, 2)])
    assert float(prompt_distance(jnp.array(rewards))) == pytest.approx(want, rel=1e-5)


def test_atoms_and_variance():
    rewards = jnp.array([[0.0, 0.04, 0.5, 0.99], [0.2, 0.98, 1.0, jnp.nan]])
    np.testing.assert_allclose(atom_masses(rewards), [2 / 7, 3 / 7], rtol=1e-6)
    assert np.isnan(atom_masses(60 * rewards)).all()
    assert float(reward_variance(rewards[1])) == pytest.approx(np.var([0.2, 0.98, 1.0]), rel=1e-5)


@pytest.mark.parametrize("name", ["exponential", "log_sigmoid", "linear"])
def test_mmd_gap_is_the_squared_mmd_to_the_limit_law(name):
    record = cj.UTILITIES[name]
    law, shape = cj.limit_law(record), cj.choose(record).shape
    rewards = np.sort(RNG.uniform(size=6))[::-1]
    with jax.enable_x64(True):
        pairs = [float(record.fn(jnp.array(a - b), **record.defaults)) for a, b in itertools.combinations(rewards, 2)]
        levels = (np.arange(4000) + 0.5) / 4000
        mmd = mmd_squared(
            jnp.array(rewards), jnp.array(law.quantile(levels)), lambda t: -record.fn(t, **record.defaults)
        )
    gap = mmd_gap(np.array(np.mean(pairs)), 6, law.value, shape.value_at_zero)
    assert float(gap) == pytest.approx(float(mmd), abs=2e-6)  # the quantiles' midpoint rule
