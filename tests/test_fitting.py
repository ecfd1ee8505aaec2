"""The fit by gradient steps: who is visited how often, and where it ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.generative import Fitting, make_fit
from collapse_jax.generative.fitting import visits


@pytest.mark.parametrize(("weights", "number"), [([1, 1, 1, 1, 1], 10), ([0, 3, 1, 0, 2], 12), ([0.2, 0.1, 0.7], 10)])
def test_an_example_is_visited_in_proportion_to_its_weight(weights, number):
    visited = visits(jax.random.key(0), jnp.asarray(weights, float), jnp.int32(number), 16)[:number]
    counts = np.bincount(np.asarray(visited), minlength=len(weights))
    due = number * np.asarray(weights) / np.sum(weights)
    assert (np.abs(counts - due) < 1).all()
    assert (counts[due == 0] == 0).all()
    assert (np.diff(np.asarray(visited)) < 0).any()


def test_what_follows_the_visits_asked_for_has_a_weight_too():
    visited = visits(jax.random.key(1), jnp.array([0.0, 1.0, 0.0]), jnp.int32(3), 8)
    assert set(np.asarray(visited).tolist()) == {1}


X = jax.random.normal(jax.random.key(3), (24, 3))
Y = X @ jnp.array([1.0, -2.0, 0.5]) + 0.3 * jax.random.normal(jax.random.key(4), (24,))


def loss(params, key, batch):
    x, y = batch
    return jnp.square(x @ params - y).sum(), len(y)


def test_it_ends_at_weighted_least_squares():
    weights = jnp.asarray(np.arange(24) % 3, float)
    fit = make_fit(loss, Fitting(steps=600, batch_size=24, learning_rate=0.1, weight_decay=0.0))
    found = jax.jit(fit)(jax.random.key(0), jnp.zeros(3), (X, Y), weights)
    root = np.sqrt(np.asarray(weights))
    exact = np.linalg.lstsq(root[:, None] * np.asarray(X), root * np.asarray(Y), rcond=None)[0]
    # Batches of 24 visits hold each example its due times, up to one: what is left is a last step's noise.
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_a_weight_of_two_trains_like_two_examples():
    fit = jax.jit(make_fit(loss, Fitting(steps=7, batch_size=4)))
    weights = jnp.asarray(np.arange(24) % 3, float)
    times = np.arange(24) % 3
    once = fit(jax.random.key(0), jnp.zeros(3), (X, Y), weights)
    repeated = (jnp.repeat(X, times, axis=0), jnp.repeat(Y, times))
    np.testing.assert_array_equal(once, fit(jax.random.key(0), jnp.zeros(3), repeated, jnp.ones(24)))


def test_without_any_weight_there_is_no_model():
    fit = make_fit(loss, Fitting(steps=2, batch_size=4))
    assert np.isnan(fit(jax.random.key(0), jnp.zeros(3), (X, Y), jnp.zeros(24))).all()


def test_a_batch_in_parts_gives_the_same_steps():
    # Adam doesn't feel the size of a gradient, but a clip between the sizes of right and wrong sums does.
    whole, parts = (
        make_fit(loss, Fitting(steps=5, batch_size=8, learning_rate=0.1, clip=6.0, accumulate=n))(
            jax.random.key(0), jnp.zeros(3), (X, Y), jnp.ones(24)
        )
        for n in (1, 4)
    )
    np.testing.assert_allclose(whole, parts, rtol=1e-5)


def test_learning_rate_and_steps_are_data():
    fit = make_fit(loss, Fitting(steps=20, batch_size=8))
    found = jax.vmap(
        lambda rate, steps: fit(jax.random.key(0), jnp.zeros(3), (X, Y), jnp.ones(24), learning_rate=rate, steps=steps)
    )(jnp.array([0.01, 0.01, 0.0, 0.02]), jnp.array([20, 0, 20, 20]))
    moved = np.abs(np.asarray(found)).max(axis=1)
    assert moved[1] == moved[2] == 0
    assert 0 < moved[0] < moved[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be a whole number from 1 on"),
        ({"batch_size": 32, "accumulate": 3}, "accumulate is 3; it must divide batch_size, 32"),
        ({"warmup": 1.0}, r"warmup is 1.0; it must lie in \[0, 1\)"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be finite and above 0"),
        ({"clip": float("nan")}, "clip is nan; it must be finite and above 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; it must be finite and 0 or more"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Fitting(**arguments)
