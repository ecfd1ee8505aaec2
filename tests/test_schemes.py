"""Schemes: utilities as data, one switch for all of them, and no NaN from the branch that was not meant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.reward.schemes import Row, apply_utility

GAPS = jnp.array([-0.7, -1e-3, 0.0, 1e-4, 1e-3, 0.02, 0.3, 0.85])


def choices():
    return {name: cj.choose(record, min_gap=1e-3) for name, record in cj.UTILITIES.items()}


def row_of(schemes: cj.reward.Schemes, label: str) -> tuple[jax.Array, jax.Array]:
    """Return index and parameters of a scheme for its first type of prompt."""
    row, at = schemes.axis.values, schemes.axis.labels.index(label)
    return jnp.asarray(row.branch[at, 0]), jnp.asarray(row.params[at, 0])


def expected(choice: cj.reward.Choice, gaps: np.ndarray) -> np.ndarray:
    """U(gap + offset) above min_gap; below, the line through it with a slope by finite differences, in float64."""
    offset, edge = choice.params["offset"], choice.params["min_gap"]
    own = {k: v for k, v in choice.params.items() if k not in ("offset", "min_gap")}
    with jax.enable_x64(True):
        fn = lambda gap: np.asarray(choice.utility.fn(jnp.asarray(gap + offset, jnp.float64), **own))  # noqa: E731
        h = 1e-7 * (edge + offset)
        slope = (fn(np.float64(edge + h)) - fn(np.float64(edge - h))) / (2 * h)
        return np.where(gaps >= edge, fn(np.maximum(gaps, edge)), fn(np.float64(edge)) + slope * (gaps - edge))


@pytest.mark.parametrize("name", list(cj.UTILITIES))
def test_a_row_of_the_switch_is_the_utility_with_its_tangent(name):
    schemes = cj.make_schemes(choices(), ("all",))
    got = apply_utility(schemes.branches, *row_of(schemes, name), GAPS)
    want = expected(choices()[name], np.asarray(GAPS, np.float64))
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)  # float32


@pytest.mark.parametrize("name", list(cj.UTILITIES))
def test_gradients_under_vmap_are_finite_and_those_of_the_meant_branch(name):
    schemes = cj.make_schemes(choices(), ("all",))
    row = jax.tree.map(jnp.asarray, schemes.axis.values)
    rows = len(schemes.axis.labels)

    def value(index, params, gap):
        return apply_utility(schemes.branches, index, params, gap)

    def total(gaps):  # as a loss: the gradient of the batched switch, not a batch of gradients
        return jax.vmap(jax.vmap(value, (None, None, 0)))(row.branch[:, 0], row.params[:, 0], gaps).sum()

    slopes = jax.grad(total)(jnp.tile(GAPS, (rows, 1)))
    assert slopes.shape == (rows, len(GAPS))
    assert np.isfinite(slopes).all()
    assert (slopes >= 0).all()
    at = schemes.axis.labels.index(name)
    alone = jax.vmap(jax.grad(value, 2), (None, None, 0))(row.branch[at, 0], row.params[at, 0], GAPS)
    np.testing.assert_allclose(slopes[at], alone, rtol=1e-5)


def test_a_prompt_aware_scheme_is_another_row_of_the_same_array():
    linear, inverse = cj.choose(cj.UTILITIES["linear"]), cj.choose(cj.UTILITIES["inverse_power"], offset=0.1)
    schemes = cj.make_schemes({"fixed": linear, "aware": {"closed": linear, "open": inverse}}, ("open", "closed"))
    assert isinstance(schemes.axis.values, Row)
    np.testing.assert_array_equal(schemes.axis.values.branch, [[0, 0], [1, 0]])
    assert schemes.choices["aware"] == (inverse, linear)


def test_names_of_types_are_those_of_the_first_scheme_that_has_several():
    linear, inverse = cj.choose(cj.UTILITIES["linear"]), cj.choose(cj.UTILITIES["inverse_power"], offset=0.1)
    aware = {"poem": inverse, "proof": linear, "sum": linear}
    schemes = cj.make_schemes({"fixed": linear, "aware": aware, "other": dict(reversed(aware.items()))})
    assert schemes.type_names == ("poem", "proof", "sum")
    assert schemes.choices["other"] == schemes.choices["aware"] == (inverse, linear, linear)
    assert cj.make_schemes({"fixed": linear}).type_names == ("all",)


def test_parameters_vary_along_the_axis():
    log_sigmoid = cj.UTILITIES["log_sigmoid"]
    schemes = cj.make_schemes({f"{s}": cj.choose(log_sigmoid, scale=s) for s in (0.1, 0.5)}, ("all",))
    assert len(schemes.branches) == 1
    for scale in (0.1, 0.5):
        got = apply_utility(schemes.branches, *row_of(schemes, f"{scale}"), jnp.array(0.3))
        assert float(got) == pytest.approx(float(jax.nn.log_sigmoid(0.3 / scale)), rel=1e-5)


def test_parameters_go_by_name_by_type_or_not_at_all():
    power, linear = cj.UTILITIES["power"], cj.UTILITIES["linear"]
    edge = {"min_gap": 1e-3}
    one = cj.choose(power, gamma=0.2, **edge)
    shared = cj.make_schemes({"a": one, "b": {"open": cj.choose(linear, **edge), "closed": one}})
    assert shared.parameters == {"offset": 0.0, "min_gap": 1e-3, "gamma": 0.2}
    typed = cj.make_schemes({"aware": {"open": one, "closed": cj.choose(power, gamma=0.8, **edge)}})
    assert typed.parameters == {"offset": 0.0, "min_gap": 1e-3, "open.gamma": 0.2, "closed.gamma": 0.8}
    # Two schemes with different values for one type: what a single value would stand for can't be told.
    neither = cj.make_schemes({"a": one, "b": cj.choose(power, gamma=0.8, **edge)})
    assert neither.parameters == {"offset": 0.0, "min_gap": 1e-3}


UNLIKE = {"first": "ab", "mine": "ac"}


@pytest.mark.parametrize(
    ("schemes", "message"),
    [
        (lambda: {}, "schemes is empty"),
        (
            lambda: {name: dict.fromkeys(types, cj.choose(cj.UTILITIES["linear"])) for name, types in UNLIKE.items()},
            "scheme 'mine' is for the types a, c; prompts are a, b",
        ),
        (lambda: {"mine": cj.choose(cj.UTILITIES["log"])}, "infinite slope at gap 0"),
    ],
)
def test_bad_schemes_are_refused(schemes, message):
    with pytest.raises(ValueError, match=message):
        cj.make_schemes(schemes())
