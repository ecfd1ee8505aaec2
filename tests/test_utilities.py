"""Utilities: the table, one's own, what is refused and where, and the extension below the smallest gap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.reward.calculus import extend, on_host
from collapse_jax.reward.shape import examine


@pytest.fixture
def table():
    """Restore the open table after a test that adds to it."""
    before = dict(cj.UTILITIES._records)
    yield cj.UTILITIES
    cj.UTILITIES._records.clear()
    cj.UTILITIES._records.update(before)


@pytest.mark.parametrize("name", list(cj.UTILITIES))
def test_every_utility_of_the_table_passes_its_examination(name):
    choice = cj.choose(cj.UTILITIES[name])
    assert choice.shape.concave
    assert choice.label == name


@pytest.mark.parametrize("name", list(cj.UTILITIES))
@pytest.mark.parametrize("offset", [0.0, 0.02])
def test_host_slopes_and_curvatures_are_those_of_central_differences(name, offset):
    choice = cj.choose(cj.UTILITIES[name])
    host = on_host(choice.fn, offset)
    t, h = np.linspace(0.06, 0.9, 37) + 1e-3 / 7, 1e-5
    np.testing.assert_allclose(host.slope(t), (host.value(t + h) - host.value(t - h)) / (2 * h), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        host.curvature(t), (host.slope(t + h) - host.slope(t - h)) / (2 * h), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("fn", [jnp.log, lambda t: -1 / t, jnp.sqrt, lambda t: jnp.minimum(t, 0.3)])
def test_the_extension_is_once_differentiable_concave_and_never_sees_a_negative_gap(fn):
    def guarded(gap):
        return jnp.where(gap < 0.0099, jnp.nan, fn(jnp.where(gap < 0.0099, 1.0, gap)))

    extended = extend(guarded, 0.0, 0.01)
    gaps = jnp.linspace(-1.0, 1.0, 2001)
    value, slope = jax.vmap(jax.value_and_grad(extended))(gaps)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
    assert (np.diff(slope) <= 1e-4 * np.abs(slope[:-1])).all()
    below = np.asarray(gaps) < 0.01
    np.testing.assert_allclose(slope[below], jax.grad(fn)(jnp.array(0.01)), rtol=1e-5)
    np.testing.assert_allclose(value[~below], fn(gaps[~below]), rtol=1e-6)


def test_ones_own_utility_is_a_record_in_the_table(table):
    @cj.utility(source="a reviewer")
    def arctan(gap, *, steepness=5.0):
        return jnp.arctan(steepness * gap)

    assert table["arctan"] is arctan
    assert arctan.defaults == {"steepness": 5.0}
    assert cj.choose(arctan, steepness=2, offset=0.1).label == "arctan(steepness=2, offset=0.1)"
    with pytest.raises(ValueError, match="'arctan' exists already"):
        cj.utility(arctan.fn)
    assert cj.utility(overwrite=True)(arctan.fn) is table["arctan"]


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda t: jnp.log(t - 0.25), r"not finite on \(0, 1\]: at gap 1e-08 its value is nan"),
        (lambda t: 1 / (t - 0.5), r"not finite on \(0, 1\]: at gap 0.5 "),
        (lambda t: -t, "not increasing .* at gap 1e-08 its slope is -1"),
        (lambda t: t * 0 + 1.0, "not increasing"),
        (lambda t: t - t**2, "not increasing .* at gap 0.5005"),
        (lambda t: jnp.where(t > 0.5, t + 1, t), "not differentiable .* around gap 0.5 "),
        (lambda t: jnp.round(4 * t), "not differentiable .* around gap 0.125"),
        (jax.lax.stop_gradient, "not differentiable"),
        (lambda t: 3 * t**2 - 2 * t**3, "neither concave nor convex .* rises at gap .* falls at"),
        (lambda t: t if t > 0.5 else 2 * t, "can't be traced by JAX"),
        (lambda t: np.log(t), "can't be traced by JAX"),
        (lambda t: jnp.stack([t, t]), r"can't be traced .* it returns ShapeDtypeStruct\(shape=\(2,\)"),
        (lambda t: jnp.floor(t).astype(int), "can't be traced"),
    ],
)
def test_a_bad_function_is_refused_with_the_point_where_it_fails(fn, message, table):
    known = len(table)
    with pytest.raises(ValueError, match=message):
        cj.utility(name="mine")(fn)
    assert len(table) == known


@pytest.mark.parametrize("steepness", [5.0, 18.0, 50.0, 1000.0])
def test_a_plateau_in_float64_is_neither_convex_nor_a_kink(steepness):
    shape = examine("mine", on_host(lambda t: jnp.tanh(steepness * t)))
    assert (shape.concave, shape.convex) == (True, False)
    assert shape.kinks.size == 0


def finite_law_of_eight(utility, **params):
    return cj.finite_law.__wrapped__(utility, 8, **params)


def objective_of_eight(utility, **params):
    return cj.reward.objective.__wrapped__(utility, np.linspace(1, 0, 8), **params)


def gap_of_eight(utility, **params):
    return cj.reward.certified_gap.__wrapped__(utility, np.linspace(1, 0, 8), **params)


LAWS = [finite_law_of_eight, objective_of_eight, gap_of_eight, cj.limit_law.__wrapped__, cj.reward.closed_form]


@pytest.mark.parametrize("call", [cj.choose, *LAWS])
def test_what_is_no_utility_is_named(call):
    # Past the type checker, which would refuse the string first.
    with pytest.raises(Exception, match="utility") as caught:
        getattr(call, "__wrapped__", call)("log")
    assert "record such as" in str(caught.value) or "type" in str(caught.value)


@pytest.mark.parametrize("call", LAWS)
@pytest.mark.parametrize(
    ("name", "params"),
    [("power", {"gamma": 0.3}), ("log", {"offset": 0.2}), ("log_sigmoid", {"scale": 0.5, "min_gap": 0.1})],
)
def test_laws_take_a_choice_as_they_take_a_utility_with_parameters(call, name, params):
    utility = cj.UTILITIES[name]
    ours, theirs = call(cj.choose(utility, **params)), call(utility, **params)

    def shown(law):
        if hasattr(law, "quantile"):
            return law.quantile(np.linspace(0, 1, 9)).tolist(), law.value
        return (law.rewards.tolist(), law.value) if hasattr(law, "rewards") else law

    assert shown(ours) == shown(theirs)


def test_the_objective_of_reward_is_a_function():
    # A module of the same name once stood in its place.
    assert cj.reward.objective(cj.UTILITIES["linear"], np.array([1.0, 0.0])) == 1.0


@pytest.mark.parametrize("call", LAWS)
def test_parameters_beside_a_choice_are_an_error_that_names_them(call):
    with pytest.raises(ValueError, match=r"offset can't be set beside the choice 'power\(gamma=0.3\)'"):
        call(cj.choose(cj.UTILITIES["power"], gamma=0.3), offset=0.1)


def test_a_choice_is_not_chosen_from_again():
    with pytest.raises(Exception, match="utility") as caught:
        cj.choose(cj.choose(cj.UTILITIES["log"]))
    assert "record such as" in str(caught.value) or "type" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("log", {"gama": 1.0}, "utility 'log' has no parameter 'gama'; it takes offset, min_gap"),
        ("power", {"gamma": float("nan")}, "parameter gamma of utility 'power' is nan"),
        ("power", {"gamma": -1.0}, "utility 'power' with gamma=-1, .* is not increasing"),
        ("log", {"min_gap": -0.1}, "min_gap .* must lie in"),
        ("log", {"offset": -0.1}, "not finite"),
        ("quadratic", {"offset": 0.1}, "not increasing .* at gap 0.9005"),
        ("smoothed_log_sigmoid", {"scale": 0.3}, "not increasing"),
    ],
)
def test_bad_parameters_are_refused(name, params, message):
    with pytest.raises(ValueError, match=message):
        cj.choose(cj.UTILITIES[name], **params)


def test_parameters_of_ones_own_need_numbers_and_names_of_their_own():
    for name in ("offset", "centring"):
        with pytest.raises(ValueError, match=f"must not define {name!r}"):
            exec(f"cj.utility(lambda gap, {name}=1.0: gap)", {"cj": cj})
    with pytest.raises(ValueError, match=r"'slope' of utility .* needs a number"):
        cj.utility(lambda gap, slope: gap)


def test_kinks_are_found_where_they_are():
    kinks = (0.3, 1 / 3**0.5)
    shape = examine("mine", on_host(lambda t: jnp.minimum(t, kinks[0]) + jnp.minimum(t, kinks[1]) + jnp.log1p(t)))
    np.testing.assert_allclose(shape.kinks, kinks, atol=1e-12)
    np.testing.assert_allclose(shape.drops, [1.0, 1.0], atol=1e-9)


@pytest.mark.parametrize(
    ("fn", "value", "slope"),
    [
        (jnp.log, -np.inf, np.inf),
        (jnp.sqrt, 0.0, np.inf),
        (lambda t: t - t * jnp.log(t), 0.0, np.inf),
        (lambda t: jnp.log(t + 1e-9), np.log(1e-9), 1e9),
        (lambda t: jnp.log1p(1000 * t), 0.0, 1000.0),
        (jnp.tanh, 0.0, 1.0),
    ],
)
def test_limits_at_zero(fn, value, slope):
    shape = examine("mine", on_host(fn))
    assert shape.value_at_zero == pytest.approx(value, abs=1e-12)
    assert shape.slope_at_zero == pytest.approx(slope, rel=1e-6)


def test_a_convex_utility_is_allowed_and_known_as_such():
    shape = cj.choose(cj.UTILITIES["power"], gamma=2.0).shape
    assert shape.convex
    assert not shape.concave
