"""The ranking objective and its certificate, against loops and against the exact law."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.reward.calculus import extend
from collapse_jax.reward.prompt_objective import make_objective, value_and_gap
from collapse_jax.reward.rankings import pair_indices

RNG = np.random.default_rng(1)


def utility(gap):
    return jnp.log(gap + 0.1)


@pytest.mark.parametrize("pairs", ["all", "chain", "star"])
@pytest.mark.parametrize("centring", [0.0, 0.7])
@pytest.mark.parametrize("items", [5, 3])
def test_objective_is_the_mean_over_pairs_of_present_items(pairs, centring, items):
    rewards = np.sort(RNG.uniform(size=5))[::-1]
    chosen = {
        "all": list(itertools.combinations(range(items), 2)),
        "chain": [(i, i + 1) for i in range(items - 1)],
        "star": [(0, i) for i in range(1, items)],
    }[pairs]
    want = np.mean(
        [np.log(rewards[i] - rewards[j] + 0.1) - centring * (rewards[i] + rewards[j] - 1) ** 2 for i, j in chosen]
    )
    objective = make_objective(utility, jnp.arange(5) < items, pairs=pairs, centring=centring)
    assert float(objective(jnp.array(rewards))) == pytest.approx(want, rel=1e-5)


def test_a_missing_item_has_no_say_and_no_gradient():
    objective = make_objective(extend(jnp.log, 0.0, 1e-3), jnp.array([True, True, False]))
    for last in (0.5, jnp.inf):
        value, slope = jax.value_and_grad(objective)(jnp.array([0.9, 0.4, last]))
        assert float(value) == pytest.approx(np.log(0.5), rel=1e-5)
        assert np.isfinite(slope).all()
        assert slope[2] == 0


@pytest.mark.parametrize("name", list(cj.UTILITIES))
def test_the_certificate_bounds_the_distance_to_the_exact_optimum(name):
    choice = cj.choose(cj.UTILITIES[name], min_gap=1e-3)
    with jax.enable_x64(True):
        objective = make_objective(extend(choice.fn, 0.0, 1e-3), jnp.ones(6, bool))
        law = cj.finite_law(choice, 6)
        for rewards in RNG.uniform(size=(20, 6)):  # in any order
            value, gap = value_and_gap(objective, jnp.array(rewards))
            assert float(law.value - value) <= float(gap) + 1e-12
    kinked = choice.shape.kinks.size > 0  # there jax.grad picks one of many supergradients, not the optimal one
    with jax.enable_x64(True):
        value, gap = value_and_gap(objective, jnp.array(law.rewards))
    assert float(value) == pytest.approx(law.value, abs=1e-8)
    assert kinked or float(gap) < 1e-7 * (1 + abs(float(value)))


def test_pairs_are_one_of_three():
    with pytest.raises(ValueError, match="pairs is 'ring'; it must be one of all, chain, star"):
        pair_indices.__wrapped__(4, "ring")
