"""Sums over what shares an index: each way of a platform against the others, and the gradient of a lookup."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.numerics import indexing

RNG = np.random.default_rng(0)
WAYS = {
    name: jax.jit(way, static_argnames="size")
    for name, way in {
        "scatter": indexing._by_scatter,
        "comparing": indexing._by_comparing,
        "sorting": indexing._by_sorting,
    }.items()
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("number", "size", "shape"), [(40, 7, ()), (1, 3, ()), (9, 2000, ()), (40, 7, (3,))])
def test_every_way_adds_up_what_shares_an_index(way, number, size, shape):
    # Whole numbers: every order of adding them gives the same bits.
    values, index = RNG.integers(-9, 9, size=(number, *shape)), RNG.integers(size + 2, size=number)
    want = np.zeros((size + 2, *shape))
    np.add.at(want, index, values)
    found = WAYS[way](jnp.asarray(values, jnp.float32), jnp.asarray(index, jnp.int32), size=size)
    np.testing.assert_array_equal(found, want[:size])


@pytest.mark.parametrize("way", WAYS)
def test_what_is_added_is_not_rounded_before(way):
    values = jnp.asarray(RNG.uniform(size=(100, 2)), jnp.float32)
    index = jnp.asarray(RNG.integers(5, size=100), jnp.int32)
    want = np.zeros((5, 2))
    np.add.at(want, np.asarray(index), np.asarray(values, np.float64))
    np.testing.assert_allclose(
        jax.vmap(lambda v, i: WAYS[way](v, i, size=5))(values[None], index[None])[0], want, rtol=1e-6
    )


def test_few_segments_are_compared_and_many_sorted_on_a_gpu():
    def lowered(size):
        traced = jax.jit(lambda v, i: indexing.segment_sum(v, i, size)).trace(jnp.ones(8), jnp.zeros(8, jnp.int32))
        return traced.lower(lowering_platforms=("cuda",)).as_text()

    assert "stablehlo.sort" not in lowered(indexing._COMPARED)
    assert "stablehlo.sort" in lowered(indexing._COMPARED + 1)


def test_a_lookup_is_exact_and_its_gradient_is_the_sum_over_its_places():
    table = jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32)
    index, slope = jnp.array([[1, 5], [1, 0]]), jnp.asarray(RNG.normal(size=(2, 2, 3)), jnp.float32)
    found, pull = jax.vjp(lambda table: indexing.lookup(table, index), table)
    np.testing.assert_array_equal(found, np.asarray(table)[np.asarray(index)])
    want = jax.vjp(lambda table: table[index], table)[1](slope)[0]
    np.testing.assert_allclose(pull(slope)[0], want, rtol=1e-6)


def test_beyond_the_table_there_is_no_number():
    assert np.isnan(indexing.lookup(jnp.ones((2, 3)), jnp.array([2]))).all()
