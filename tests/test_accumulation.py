"""Gradients of a mean, a part of the batch after the other: against the whole's closed form, and how many parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.nets.accumulation import count_parts, mean_gradient

RNG = np.random.default_rng(0)
X, Y, PARAMS = RNG.normal(size=(12, 3)), RNG.normal(size=12), RNG.normal(size=3)
# Parts of 6, 3 and 2 examples with unlike numbers of terms.
THERE = np.array([1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0], bool)


def total(params, batch, index):
    x, y, there = batch
    return jnp.where(there, jnp.square(x @ params - y), 0.0).sum() * (1.0 + index), there.sum()


@pytest.mark.parametrize("parts", [1, 2, 4, 6])
def test_the_gradient_is_that_of_the_mean_over_all_terms(parts):
    batch = (jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32), jnp.asarray(THERE))
    found = mean_gradient(total, jnp.asarray(PARAMS, jnp.float32), batch, parts)
    times = THERE * (1.0 + np.repeat(np.arange(parts), 12 // parts))
    np.testing.assert_allclose(found, 2.0 * X.T @ (times * (X @ PARAMS - Y)) / THERE.sum(), rtol=1e-4)


@pytest.mark.parametrize("parts", [1, 3])
def test_without_terms_there_is_no_slope(parts):
    batch = (jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32), jnp.zeros(12, bool))
    np.testing.assert_array_equal(mean_gradient(total, jnp.ones(3), batch, parts), 0.0)


# One number is stored an element for each of two sines, and 4 bytes a number: 8 bytes x rows x columns.
@pytest.mark.parametrize(
    ("rows", "columns", "size", "parts"),
    [
        (12, 1000, 1, 1),
        (12, 2**20, 1, 6),
        (12, 2**23, 1, 12),
        (12, 2**20, 2**19, 2),
        (7, 2**20, 1, 7),
    ],
)
def test_as_many_parts_as_keep_what_is_stored_small(rows, columns, size, parts):
    def loss(params, batch):
        return jnp.sin(jnp.sin(batch + params[:1][None])).sum()

    params, batch = jax.ShapeDtypeStruct((size,), jnp.float32), jax.ShapeDtypeStruct((rows, columns), jnp.float32)
    assert count_parts(loss, params, batch) == parts


def test_an_accelerator_takes_the_whole(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert count_parts(lambda params, batch: (params * batch).sum(), jnp.ones(()), jnp.zeros((4, 2**24))) == 1
