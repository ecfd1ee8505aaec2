"""Meshes with a second axis: members whose state or whose batch is spread over devices are the same members."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from collapse_jax.engine.devices import make_mesh, spread, state_spec
from tests.walks import finish, spawn

SHARED = """
import json, sys, jax
jax.config.update("jax_num_cpu_devices", 8)
import jax.numpy as jnp, numpy as np, optax
import collapse_jax as cj
from collapse_jax.engine.devices import make_mesh, spread

rng = np.random.default_rng(0)
inputs, targets = (jnp.asarray(rng.normal(size=(64, n)), jnp.float32) for n in (32, 6))
optimiser = optax.adam(1e-2)

def init(key, hyper):
    weights = {"first": jax.random.normal(key, (32, 48)) / 6, "bias": jnp.zeros(5), "last": jnp.ones((48, 6)) / 48}
    return weights, optimiser.init(weights)

def step(state, hyper, index):
    weights, memory = state
    rows = jax.lax.dynamic_slice_in_dim(jnp.arange(64), index % 4 * 16, 16)
    x, y = spread((inputs[rows], targets[rows]))

    def loss(weights):
        return jnp.mean((jnp.tanh(x @ weights["first"]) @ weights["last"] - y) ** 2) + jnp.sum(weights["bias"] ** 2)

    value, gradient = jax.value_and_grad(loss)(weights)
    change, memory = optimiser.update(gradient, memory, weights)
    return (optax.apply_updates(weights, change), memory), {"loss": value}

process = cj.engine.Process(init, step, 6)
layouts = {"alone": {}, "model": {"model": 2}, "batch": {"batch": 4}, "both": {"batch": 2, "model": 2}}
for name, options in layouts.items():
    for lanes in (1, None):
        result = cj.sweep(
            process, {"seed": range(3)}, mesh=make_mesh(**options), vmap_members=lanes, segment=2, progress=False
        )
        found = json.loads(result.attrs["provenance"])
        print(json.dumps([name, lanes, found["mesh"], found["memory"]["predicted_bytes"],
                          json.loads(result.attrs["config"])["program_and_data"], result["loss"].values.tolist()]))

directory = sys.argv[1]

def half(self, position, *given):
    save(self, position, *given)
    if position == 2:
        raise SystemExit(0)

from collapse_jax.engine.checkpoint import Store
save, Store.save = Store.save, half
try:
    cj.sweep(process, {"seed": range(3)}, mesh=make_mesh(model=4), directory=directory, segment=2, progress=False)
except SystemExit:
    pass
Store.save = save
result = cj.sweep(process, {"seed": range(3)}, mesh=make_mesh(batch=8), directory=directory, segment=2, progress=False)
print(json.dumps(["resumed", 1, None, 0, "", result["loss"].values.tolist()]))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    lines = finish(spawn(SHARED, tmp_path_factory.mktemp("shared"))).splitlines()
    return {(name, lanes): rest for name, lanes, *rest in map(json.loads, lines)}


@pytest.mark.slow
def test_the_devices_are_laid_out_as_asked(found):
    assert found["alone", 1][0] == {"population": 8}
    assert found["model", 1][0] == {"population": 4, "model": 2}
    assert found["batch", 1][0] == {"population": 2, "batch": 4}
    assert found["both", 1][0] == {"population": 2, "batch": 2, "model": 2}


@pytest.mark.parametrize("name", ["model", "batch", "both", "resumed"])
def test_members_that_share_devices_are_the_same_up_to_rounding(found, name):
    expected = np.array(found["alone", 1][-1])
    assert np.ptp(expected, axis=0).min() > 1e-3  # members differ, and so do steps
    assert np.abs(np.diff(expected, axis=1)).min() > 1e-4
    for lanes in (1, None):
        if (name, lanes) in found:
            # Sums over devices add up in another order, which Adam's first steps amplify a little.
            np.testing.assert_allclose(found[name, lanes][-1], expected, rtol=1e-5)


def test_a_state_over_two_devices_takes_about_half_of_each(found):
    state = 4 * 3 * (32 * 48 + 48 * 6)  # weights and two moments, without the bias, which stays whole
    assert found["alone", 1][1] - found["model", 1][1] > 0.4 * state


def test_the_layout_is_no_part_of_what_is_computed(found):
    assert len({rest[2] for (name, _), rest in found.items() if name != "resumed"}) == 1


def test_the_longest_axis_that_the_devices_divide_is_cut():
    assert state_spec((32, 48), 2) == P(None, "model")
    assert state_spec((48, 32), 2) == P("model")
    assert state_spec((48, 31), 4) == P("model")
    assert state_spec((5, 7), 2) == P()
    assert state_spec((), 2) == P()
    assert state_spec((4, 4), 1) == P()


def test_meshes_that_the_devices_don_t_make_are_refused():
    unchecked = getattr(make_mesh, "__wrapped__", make_mesh)  # by the annotations' checker, which would refuse first
    for name in ("batch", "model"):
        for parts in (0, -1, 1.5, True, "2"):
            with pytest.raises(ValueError, match=f"{name} is {parts!r}; it must be a whole number from 1 on"):
                unchecked(**{name: parts})
    with pytest.raises(ValueError, match=f"batch=1 times model=7 must divide the {len(jax.devices())} devices"):
        make_mesh(model=7)


def test_examples_stay_as_they_are_without_a_batch_axis():
    assert spread((1, "x")) == (1, "x")
    assert "sharding" not in str(jax.make_jaxpr(spread)(np.ones(4)))


IMPORT = """
import importlib, pathlib, sys
import collapse_jax
sys.path.insert(0, sys.argv[1])
for path in pathlib.Path(sys.argv[1], "experiments").glob("*.py"):
    if not path.stem.startswith("torch_"):
        importlib.import_module(f"experiments.{path.stem}")
from jax._src import xla_bridge
print(bool(xla_bridge._backends))
"""


@pytest.mark.slow
def test_the_import_leaves_the_choice_of_devices_open():
    assert finish(spawn(IMPORT, Path(__file__).parents[1])) == "False\n"
