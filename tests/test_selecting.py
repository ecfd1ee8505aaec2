"""Draws without replacement, against enumeration: who trains, and who is kept."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.generative.recursion.selecting import keep
from collapse_jax.generative.recursion.subsampling import subsample
from collapse_jax.generative.selection import Candidates, Selection

REPLICAS = 20_000


def candidates_of(examples, weights=None):
    n = len(jax.tree.leaves(examples)[0])
    weights = jnp.ones(n) if weights is None else jnp.asarray(weights, float)
    return Candidates(examples, weights, jnp.ones(n, jnp.int32), jnp.arange(n, dtype=jnp.int32))


def weighing(weights, oversample=2, **options):
    return Selection(
        "given", lambda key, candidates, pool, memory: jnp.asarray(weights, float), oversample=oversample, **options
    )


def replicate(fn, replicas=REPLICAS):
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(fn))(jax.random.split(jax.random.key(0), replicas)))


def z_of(samples, want):
    """Return the z-scores of means over the first axis; where nothing varies the mean must be exact."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    gap = samples.mean(axis=0) - want
    return np.where(error > 0, gap / np.where(error > 0, error, 1.0), np.where(np.abs(gap) < 1e-9, 0.0, np.inf))


@pytest.mark.parametrize(("draws", "size"), [(1, 3), (2, 3), (3, 4), (4, 6)])
def test_subsample_is_uniform_without_replacement_among_the_living(draws, size):
    weights = [1.0, 0.0, 0.5, 2.0, 0.0, 1.0]
    living = np.flatnonzero(weights)
    candidates = candidates_of(jnp.arange(6) * 10, weights)
    chosen = replicate(lambda key: subsample(key, candidates, jnp.int32(draws), size))
    assert chosen.examples.shape == (REPLICAS, size)
    taken = chosen.weights > 0
    np.testing.assert_array_equal(taken.sum(axis=1), draws)
    # Each brings its own weight, and its fields with it.
    np.testing.assert_array_equal(chosen.weights[taken], np.array(weights, np.float32)[chosen.origin[taken]])
    np.testing.assert_array_equal(chosen.examples, chosen.origin * 10)
    included = np.zeros((REPLICAS, 6))
    for place in range(size):
        included[np.arange(REPLICAS), chosen.origin[:, place]] += taken[:, place]
    assert included.max() == 1
    want = np.where(np.isin(np.arange(6), living), draws / 4, 0.0)
    assert np.abs(z_of(included, want)).max() < 4
    for i, j in itertools.combinations(living, 2):
        assert np.abs(z_of(included[:, i] * included[:, j], draws * (draws - 1) / 12)) < 4


def test_subsample_of_more_than_live_takes_all_that_live():
    candidates = candidates_of(jnp.arange(4), [0.0, 1.0, 0.0, 1.0])
    chosen = replicate(lambda key: subsample(key, candidates, jnp.int32(3), 3), 50)
    np.testing.assert_array_equal(chosen.weights.sum(axis=1), 2.0)
    assert set(chosen.examples[chosen.weights > 0]) == {1, 3}


def in_turn(weights, size):
    """Return the probabilities of ordered draws in proportion to what is left."""
    law = {}
    for order in itertools.permutations(range(len(weights)), size):
        left, p = float(sum(weights)), 1.0
        for i in order:
            p, left = p * weights[i] / left, left - weights[i]
        law[order] = p
    return law


@pytest.mark.parametrize("weights", [[1.0, 2.0, 4.0, 0.0], [0.1, 0.1, 0.1, 0.7], [1e-20, 3e-20, 0.0, 6e-20]])
def test_keep_draws_in_proportion_to_the_weights(weights):
    candidates = candidates_of(jnp.arange(4))
    examples, kept = replicate(lambda key: keep(key, weighing(weights), candidates, candidates, (), {}, 2)[:2])
    np.testing.assert_array_equal(kept, 1.0)
    for order, p in in_turn(weights, 2).items():
        assert np.abs(z_of((examples == np.array(order)).all(axis=1).astype(float), p)) < 4, order


@pytest.mark.parametrize("alive", range(5))
def test_the_dead_are_never_kept_however_few_remain(alive):
    weights = jnp.where(jnp.arange(8) % 2 == 1, jnp.arange(8.0) < 2 * alive, 0.0)
    candidates = candidates_of(jnp.arange(8))
    examples, kept = replicate(lambda key: keep(key, weighing(weights), candidates, candidates, (), {}, 4)[:2], 200)
    np.testing.assert_array_equal(kept, np.arange(4)[None] < np.full((200, 1), alive))
    assert (examples[kept > 0] % 2 == 1).all()


def test_without_oversampling_nothing_is_drawn():
    candidates = candidates_of({"x": jnp.arange(4.0)})
    given = [0.3, 0.0, 2.0, 1.0]
    examples, kept, _ = keep(jax.random.key(0), weighing(given, oversample=1), candidates, candidates, (), {}, 4)
    np.testing.assert_array_equal(examples["x"], np.arange(4.0))
    np.testing.assert_array_equal(kept, np.array(given, np.float32))


def test_values_are_corrected_before_they_are_weighed_with_the_parameters_of_the_selection():
    selection = Selection(
        "shift",
        lambda key, candidates, pool, memory, shift: candidates.examples,
        defaults={"shift": 0.0},
        correct=lambda examples, pool, shift: examples + shift + pool.examples,
    )
    candidates = candidates_of(jnp.arange(3.0))
    pool = candidates_of(jnp.full(3, 10.0))
    examples, kept, _ = keep(jax.random.key(0), selection, candidates, pool, (), {"shift": 0.5, "other": 9.0}, 3)
    np.testing.assert_array_equal(examples, np.array([10.5, 11.5, 12.5], np.float32))
    np.testing.assert_array_equal(kept, examples)
