"""Decoding maps against brute force in NumPy, and in a recursion against the threshold that they imply."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative.decoding import keep_top_k, keep_top_p, of_probabilities, temper
from collapse_jax.generative.families.categorical import categorical
from collapse_jax.generative.recursion.plan import make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import REGIMES

RNG = np.random.default_rng(0)
MODELS = {
    "random": RNG.dirichlet(np.ones(9)),
    "dead": np.array([0.0, 0.4, 0.0, 0.1, 0.5, 0.0]),
    "ties": np.array([0.125, 0.25, 0.125, 0.25, 0.125, 0.125]),
    "certain": np.array([0.0, 1.0, 0.0]),
    "tail": np.array([0.7, 0.3 - 1e-9, 1e-9 / 2, 1e-9 / 2]),
}
# In float64 the maps are a handful of roundings from the formula.
EXACT = {"rtol": 1e-12, "atol": 1e-15}


def brute_top_k(p, k):
    best = sorted(range(len(p)), key=lambda i: (-p[i], i))[: int(k)]
    q = np.array([p[i] if i in best else 0.0 for i in range(len(p))])
    return q / q.sum()


def brute_top_p(p, mass):
    q, total = np.zeros(len(p)), 0.0
    for i in sorted(range(len(p)), key=lambda i: (-p[i], i)):
        if total >= mass:
            break
        q[i] = p[i]
        total += p[i]
    return q / q.sum()


@pytest.mark.parametrize("p", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 2.0, 100.0])
def test_temperature_is_a_power(p, temperature):
    want = np.where(p > 0, p, 1.0) ** (1 / temperature) * (p > 0)
    with jax.enable_x64():
        np.testing.assert_allclose(temper(jnp.array(p), temperature), want / want.sum(), **EXACT)


@pytest.mark.parametrize("p", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("k", [1, 2, 3, 5, 100])
def test_top_k_keeps_the_k_most_probable_ties_by_index(p, k):
    with jax.enable_x64():
        np.testing.assert_allclose(keep_top_k(jnp.array(p), float(k)), brute_top_k(p, k), **EXACT)


@pytest.mark.parametrize("p", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("mass", [1e-6, 0.25, 0.4, 0.5, 0.501, 0.75, 0.9, 1.0])
def test_top_p_keeps_the_fewest_that_reach_the_mass(p, mass):
    with jax.enable_x64():
        np.testing.assert_allclose(keep_top_p(jnp.array(p), mass), brute_top_p(p, mass), **EXACT)


@pytest.mark.parametrize(("mass", "kept"), [(0.5, 1), (0.5001, 2), (0.75, 2), (0.76, 3), (0.875, 3), (1.0, 4)])
def test_top_p_at_the_boundaries_in_single_precision(mass, kept):
    q = keep_top_p(jnp.array([0.125, 0.5, 0.125, 0.25]), mass)
    assert int((q > 0).sum()) == kept


@pytest.mark.parametrize("p", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p"])
def test_neutral_changes_nothing_and_the_dead_stay_dead(p, name):
    decoding = of_probabilities(len(p))[name]
    p = jnp.array(p)
    # Renormalising is the only rounding.
    np.testing.assert_allclose(decoding.apply(p, decoding.neutral), p, rtol=1e-6)
    for value in (decoding.low, decoding.neutral, 0.3, 3.0, min(decoding.high, 1e6)):
        q = decoding.apply(p, value)
        assert float(q.sum()) == pytest.approx(1.0, abs=1e-6)
        assert not (q[p == 0] != 0).any()


def test_the_coldest_temperature_is_greedy_and_shares_between_ties():
    low = of_probabilities(3)["temperature"].low
    np.testing.assert_array_equal(temper(jnp.array([0.4, 0.2, 0.4]), low), np.array([0.5, 0.0, 0.5], np.float32))


@pytest.mark.slow
def test_rows_are_decoded_one_by_one():
    p = RNG.dirichlet(np.ones(5), size=(2, 3)).astype(np.float32)
    for name, decoding in of_probabilities(5).items():
        value = {"temperature": 0.5, "top_k": 2.0, "top_p": 0.6}[name]
        rows = np.stack([[decoding.apply(jnp.array(row), value) for row in block] for block in p])
        np.testing.assert_allclose(decoding.apply(jnp.array(p), value), rows, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.0), ("top_k", 0.0), ("top_p", 0.0), ("top_p", 1.1)])
def test_values_out_of_range_are_refused(name, value):
    process = make_recursion(categorical(4), make_plan(REGIMES["replace"], 2, 5), decoding=[name])
    with pytest.raises(ValueError, match=name):
        cj.sweep(process, {name: [value], "seed": [0]}, progress=False)


@pytest.mark.slow
def test_a_fresh_share_above_one_minus_temperature_holds_the_uniform_truth():
    """A deviation grows by (1-α)/T a generation: below α = 1 - T two tokens part, above it they stay together."""
    temperature, samples, seeds, times = 0.5, 1000, 100, 40
    plan = make_plan(REGIMES["real_fraction_fresh"], times, samples, [0.2, 0.8])
    process = make_recursion(categorical(2, exponent=0.0), plan, decoding=["temperature"])
    axes = {"ratio": plan.axes["ratio"], "temperature": [temperature], "seed": range(seeds)}
    dataset = cj.sweep(process, axes, progress=False)
    last = dataset["mean"].isel(temperature=0, dim=0, generation=-1).transpose("ratio", "seed").values.astype(float)
    # Unstable: |p - 1/2| at the other root of p = α/2 + (1-α) p²/(p² + (1-p)²), up to curvature/M, far below 0.005.
    p = 0.9
    for _ in range(500):
        p = 0.1 + 0.8 * p**2 / (p**2 + (1 - p) ** 2)
    assert np.abs(np.abs(last[0] - 0.5).mean() - (p - 0.5)) < 0.005
    # Stable: the stationary variance of the linear map with factor (1-α)/T and noise 1/(4M).
    squares = (last[1] - 0.5) ** 2
    want = 0.25 / samples / (1 - (0.2 / temperature) ** 2)
    assert abs(squares.mean() - want) < 4 * squares.std(ddof=1) / np.sqrt(seeds)
