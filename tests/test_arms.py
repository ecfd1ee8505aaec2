"""Arms of a sweep: the same members as the axes they stand for."""

import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj


def process():
    def step(state, hyper, index):
        state = state * hyper["rate"] + hyper["shift"]["x"]
        return state, {"value": state + hyper["other"]}

    return cj.engine.Process(
        lambda key, hyper: jnp.float32(1.0),
        step,
        num_steps=3,
        hyper={"rate": 1.0, "shift": {"x": 0.0}, "other": 5.0},
        ranges={"rate": (0.0, 2.0), "other": (0.0, 9.0)},
    )


def choosing():
    """Return the process with an axis of labels, whose value is added too."""
    one = process()

    def step(state, hyper, index):
        state, record = one.step(state, hyper, index)
        return state, {"value": record["value"] + hyper["which"]}

    axes = {"which": cj.engine.Axis(np.array([0.0, 7.0]), ["one", "two"])}
    return one._replace(step=step, hyper={**one.hyper, "which": 0.0}, axes=axes)


def test_each_arm_is_the_member_of_the_product_that_it_names():
    armed = cj.engine.with_arms(process(), {"a": {}, "b": {"rate": 2.0}, "c": {"rate": 0.5, "shift": {"x": 1.0}}})
    found = cj.sweep(armed, {"other": [0.0, 3.0]}, progress=False)["value"]
    assert list(found["arm"].to_numpy()) == ["a", "b", "c"]
    for arm, rate, shift in (("a", 1.0, 0.0), ("b", 2.0, 0.0), ("c", 0.5, 1.0)):
        axes = {"rate": [rate], "shift": cj.engine.Axis({"x": np.array([shift])}), "other": [0.0, 3.0]}
        alone = cj.sweep(process(), axes, progress=False)["value"].isel(rate=0, shift=0)
        np.testing.assert_array_equal(found.sel(arm=arm), alone)


def test_arms_take_the_place_of_the_axes_that_they_vary():
    axes = {"rate": cj.engine.Axis([0.5, 1.0]), "other": cj.engine.Axis([0.0, 3.0])}
    armed = cj.engine.with_arms(process()._replace(axes=axes), {"a": {}, "b": {"rate": 2.0}})
    whole = cj.sweep(armed, {"seed": 3}, progress=False)["value"]
    assert whole.dims == ("other", "arm", "seed", "step")
    named = cj.sweep(armed, {"arm": ["a", "b"], "seed": [3]}, progress=False)["value"]
    np.testing.assert_array_equal(whole, named.transpose(*whole.dims))
    np.testing.assert_array_equal(
        cj.sweep(armed, {"arm": "b", "seed": 3}, progress=False)["value"], whole.sel(arm=["b"])
    )


def test_an_arm_names_a_label_of_an_axis_that_the_process_carries():
    armed = cj.engine.with_arms(choosing(), {"a": {}, "b": {"which": "two"}, "c": {"which": "two", "rate": 2.0}})
    found = cj.sweep(armed, {"seed": 0}, progress=False)["value"]
    np.testing.assert_array_equal(found.isel(seed=0), [[6.0] * 3, [13.0] * 3, [14.0, 16.0, 20.0]])


def test_arms_of_arms_and_what_a_process_resolves_are_resolved_in_turn():
    def doubled(hyper):
        return {**hyper, "rate": 2.0 * hyper["rate"]}

    inner = cj.engine.with_arms(process()._replace(resolve=doubled), {"a": {}, "b": {"rate": 0.25, "other": 0.0}})
    outer = cj.engine.with_arms(inner, {"x": {"arm": "b"}, "y": {"arm": "a"}}, "outer")
    found = cj.sweep(outer, {"seed": 0}, progress=False)["value"]
    np.testing.assert_array_equal(found.isel(seed=0), [[0.5, 0.25, 0.125], [7.0, 9.0, 13.0]])


@pytest.mark.parametrize(
    ("arms", "name", "message"),
    [
        ({}, "arm", "arms is empty"),
        ({"a": {"speed": 1.0}}, "arm", "arms mention speed; this process has rate, shift, other, which"),
        ({"a": {"rate": 3.0}}, "arm", r"arm 'a' has rate = 3.0; it must lie in \[0, 2\]"),
        ({"a": {"rate": 1.0}}, "other", "name is 'other', which is a hyperparameter"),
        ({"a": {"rate": "fast"}}, "arm", "arms give rate the label 'fast'; the process carries no axis of that name"),
        ({"a": {"which": "old"}}, "arm", "axis 'which' has no label 'old'; this process has 'one', 'two'"),
    ],
)
def test_bad_arms_are_refused_by_name(arms, name, message):
    with pytest.raises(ValueError, match=message):
        cj.engine.with_arms(choosing(), arms, name)


def test_what_arms_do_not_mention_keeps_its_range():
    armed = cj.engine.with_arms(process(), {"a": {"rate": 1.0}})
    with pytest.raises(ValueError, match=r"axis 'other' has the value 10"):
        cj.sweep(armed, {"other": [10.0]}, progress=False)
