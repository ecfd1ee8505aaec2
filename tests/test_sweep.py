"""The engine: every member is the one that its labels name, whatever the layout, in one trace and two programs."""

import collections
import datetime
import importlib
import importlib.metadata
import json
import platform
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from collapse_jax.engine import sweep
from collapse_jax.engine.process import Axis, Process
from tests.walks import RATES, assert_same, finish, loop, make_fit, make_walk, spawn, walk_axes

SHIFTS = Axis({"start": np.array([0.0, 2.0]), "sides": np.array([[0, 0], [3, -1]])}, ["none", "wide"])


def run(process, axes, **options):
    return sweep(process, axes, progress=False, **options)


@pytest.fixture(scope="module")
def reference():
    """All members of a walk, in one chunk, one after the other."""
    return run(make_walk(), walk_axes())


# What the results are.


def test_every_member_is_the_one_that_its_labels_name():
    process, axes = make_walk(), {"shift": SHIFTS, "rate": RATES, "seed": [4, 0]}
    result, expected = run(process, axes), loop(process, axes)
    own = {"place": ("coordinate",)}
    for name, values in expected.items():
        assert result[name].dims == ("shift", "rate", "seed", "step", *own.get(name, ()))
        # The loop compiles a step by itself, so that other products are fused: an ulp or two a step, and the walk
        # contracts. Counts and indices are exact.
        np.testing.assert_allclose(result[name], values, rtol=2e-5, atol=2e-6, err_msg=name)
    member = result.sel(shift="wide", rate="slow", seed=0)
    np.testing.assert_allclose(member["place"], expected["place"][1, 0, 1], rtol=2e-5, atol=2e-6)
    assert np.abs(expected["place"][1, 0, 1] - expected["place"][0, 0, 1]).max() > 1  # the members do differ
    assert result["positive"].dtype == bool
    assert result["count"].to_numpy()[0, 0, 0].tolist() == list(range(10))


def test_training_by_adam_is_what_a_plain_loop_computes():
    process, axes = make_fit(), {"rate": [0.01, 0.1], "seed": range(2)}
    # Adam divides by the root of a tiny second moment, which amplifies rounding.
    np.testing.assert_allclose(run(process, axes)["loss"], loop(process, axes)["loss"], rtol=1e-4)


def test_labels_and_coordinates():
    process = make_walk(4)._replace(
        time="generation",
        coords={
            "generation": [10, 20, 30, 40],
            "coordinate": list("abcdefgh"),
            "half": ("coordinate", ["left"] * 4 + ["right"] * 4),
        },
    )
    result = run(process, {"rate": RATES, "seed": [3, 1]})
    assert dict(result.sizes) == {"rate": 3, "seed": 2, "generation": 4, "coordinate": 8}
    assert result["rate"].to_numpy().tolist() == ["slow", "middle", "fast"]
    assert result["seed"].to_numpy().tolist() == [3, 1]
    index = result["index"].sel(rate="slow", seed=1)
    assert index.sel(generation=30) == 2
    assert result["place"].sel(coordinate="c").dims == ("rate", "seed", "generation")
    assert result["half"].dims == ("coordinate",)


def test_a_single_member_has_no_dimension_of_members(reference):
    result = run(make_walk()._replace(hyper=make_walk().hyper | {"rate": 0.9}), {})
    assert result["place"].dims == ("step", "coordinate")
    np.testing.assert_array_equal(result["place"], reference["place"].sel(rate="middle", seed=0))


def test_members_that_differ_in_another_axis_share_their_randomness(reference):
    noise = reference["noise"].to_numpy()
    for rate in range(1, 3):
        np.testing.assert_array_equal(noise[rate], noise[0])
    assert len(np.unique(noise[0])) == noise[0].size  # and members of other seeds don't
    swapped = run(make_walk(), {"seed": [1, 2], "rate": RATES})  # whatever the order of the axes, or the other seeds
    np.testing.assert_array_equal(swapped["noise"].to_numpy()[:, 0], noise[0, 1:])


# The layout changes nothing.


@pytest.mark.parametrize(
    "options",
    [
        {"segment": 4},  # the last segment reaches past the last step
        {"segment": 5, "max_members": 1},
        {"segment": 3, "max_members": 4},  # and the last chunk past the last member
        {"segment": 1000, "max_members": 1000},
    ],
    ids=str,
)
def test_segments_and_chunks_change_no_bit(reference, options):
    result = run(make_walk(), walk_axes(), **options)
    assert_same(result, reference)
    assert result["index"].to_numpy()[0, 0].tolist() == list(range(10))


@pytest.mark.parametrize(("segment", "branches"), [(4, True), (5, False), (10, False), (None, False)])
def test_side_by_side_only_a_segment_that_does_not_divide_the_steps_costs_a_branch(tmp_path, segment, branches):
    jax.config.update("jax_dump_ir_to", str(tmp_path))
    try:
        run(make_walk(), walk_axes(), segment=segment, vmap_members=3)
    finally:
        jax.config.update("jax_dump_ir_to", None)
    programs = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert any("stablehlo.while" in text for text in programs)
    assert any("stablehlo.case" in text for text in programs) is branches


def test_the_default_segment_is_a_twentieth_of_the_steps_or_a_little_more_that_divides_them():
    default = importlib.import_module("collapse_jax.engine.sweep")._default_segment
    assert [default(steps) for steps in (1, 7, 20, 40, 1000)] == [1, 1, 1, 2, 50]
    assert [default(steps) for steps in (21, 50, 150, 1001)] == [3, 5, 10, 77]
    assert [default(steps) for steps in (23, 101)] == [2, 6]  # nothing divides these


@pytest.mark.parametrize("segment", [1, 4])
@pytest.mark.parametrize("make", [make_walk, make_fit])
def test_a_member_alone_equals_itself_in_a_population_bit_for_bit(make, segment):
    axes = {"rate": [0.5, 0.9, 1.3], "seed": range(3)}
    together = run(make(), axes, segment=segment)
    for rate, seed in ((0.5, 2), (1.3, 0)):
        # One of few turns of one member is where XLA would dissolve the loops.
        alone = run(make(), {"rate": [rate], "seed": [seed]}, segment=segment)
        assert_same(alone, together.sel(rate=[rate], seed=[seed]))


@pytest.mark.parametrize("together", [2, 16])
def test_members_side_by_side_agree_up_to_rounding(reference, together):
    # Batched products add up in another order: a few ulps of numbers below 4, which ten steps may amplify by the
    # slopes along the way. A wrong member or step is off by more than 0.1.
    result = run(make_walk(), walk_axes(), vmap_members=together)
    np.testing.assert_allclose(result["place"], reference["place"], atol=1e-4)
    np.testing.assert_array_equal(result["count"], reference["count"])
    assert json.loads(result.attrs["provenance"])["vmap_members"] == together


def test_a_mesh_can_be_given(reference):
    mesh = Mesh(np.array(jax.devices()[:1]), ("population",))
    assert_same(run(make_walk(), walk_axes(), mesh=mesh), reference)


DEVICES = """
import sys, jax
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from jax.sharding import Mesh
from tests.walks import make_walk, walk_axes
from collapse_jax.engine import sweep
assert len(jax.devices()) == 8
half = Mesh(np.array(jax.devices()[4:7]), ("population",))
for i, options in enumerate([{}, {"max_members": 5, "segment": 4}, {"mesh": half}]):
    result = sweep(make_walk(), walk_axes(), progress=False, **options)
    np.savez(f"{sys.argv[1]}/{i}.npz", **{name: values.to_numpy() for name, values in result.items()})
    print(result.attrs["provenance"])
"""


@pytest.mark.slow
def test_eight_devices_change_no_bit(tmp_path, reference):
    printed = finish(spawn(DEVICES, tmp_path))  # 9 members: neither they nor chunks of 5 fill 8 or 3 devices evenly
    devices = [len(json.loads(line)["devices"]) for line in printed.splitlines()]
    assert devices == [8, 8, 3]
    for i in range(3):
        with np.load(tmp_path / f"{i}.npz") as there:
            assert set(there) == set(reference)
            for name in there:
                np.testing.assert_array_equal(there[name], reference[name], err_msg=name)


# One trace, two programs.


def _count_compilations(compiled: collections.Counter):
    def listen(event, duration, **context):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled[context.get("fun_name")] += 1

    return listen


@pytest.mark.parametrize("options", [{}, {"max_members": 4, "segment": 4}], ids=str)
def test_one_trace_and_two_programs_for_all_members_segments_and_chunks(options):
    traces = collections.Counter()
    walk = make_walk()

    @chex.assert_max_traces(n=1)
    def init(key, hyper):
        traces["init"] += 1
        return walk.init(key, hyper)

    @chex.assert_max_traces(n=1)
    def step(state, hyper, index):
        traces["step"] += 1
        return walk.step(state, hyper, index)

    axes = walk_axes()
    chex.clear_trace_counter()
    run(walk, axes, **options)  # so that the small operations around the programs are compiled by now
    compiled = collections.Counter()
    listen = _count_compilations(compiled)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        result = run(walk._replace(init=init, step=step), axes, **options)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert traces == {"init": 1, "step": 1}
    assert compiled.total() == 2, compiled
    assert json.loads(result.attrs["provenance"])["programs_compiled"] == compiled.total()


def test_a_large_array_that_step_closes_over_is_an_argument_of_the_program(tmp_path, monkeypatch):
    table = jnp.arange(200_000.0)
    walk = make_walk(3)
    process = walk._replace(
        step=lambda state, hyper, index: (state, {"entry": table[index] + hyper["rate"]}),
        init=lambda key, hyper: table[:2],
    )
    jax.config.update("jax_dump_ir_to", str(tmp_path))
    try:
        result = run(process, {"rate": [0.0, 1.0]})
    finally:
        jax.config.update("jax_dump_ir_to", None)
    np.testing.assert_array_equal(result["entry"], [[0, 1, 2], [1, 2, 3]])
    programs = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert programs
    assert max(programs) < table.nbytes / 4  # baked in, a program would be larger than the array


def test_the_default_on_a_cpu_is_one_member_after_the_other(reference):
    if jax.default_backend() != "cpu":
        pytest.skip("accelerators run all members side by side")
    assert json.loads(reference.attrs["provenance"])["vmap_members"] == 1


# What goes wrong in one member stays there.


def make_exploding() -> Process:
    """Return a process whose state is no longer finite after step `fuse`, for good; its integers never matter."""

    def step(state, hyper, index):
        place, count = state
        place = jnp.where(index == hyper["fuse"], hyper["rate"] / (place * 0), jnp.sin(place) + 1)
        return (place, count + 1), {"place": place, "count": count}

    return Process(
        lambda key, hyper: (jax.random.key_data(key)[1] * 0.1, 0), step, num_steps=6, hyper={"fuse": 100, "rate": 1.0}
    )


@pytest.mark.parametrize("options", [{}, {"segment": 4, "max_members": 4, "vmap_members": 2}], ids=str)
def test_a_member_that_diverges_is_flagged_and_named_and_its_neighbours_do_not_change(options):
    process = make_exploding()
    with pytest.warns(UserWarning, match="no longer finite") as caught:
        result = run(process, {"fuse": Axis([100, 2, 0], ["never", "late", "soon"]), "seed": [8, 9]}, **options)
    (warning,) = caught
    message = str(warning.message)
    assert message.startswith("4 of 6 members are no longer finite")
    for member in ("fuse=late, seed=8 at step 2", "fuse=late, seed=9 at step 2", "fuse=soon, seed=9 at step 0"):
        assert member in message
    assert "never" not in message
    expected = np.arange(6) >= np.array([100, 2, 0])[:, None]
    np.testing.assert_array_equal(result["diverged"], np.stack([expected] * 2, axis=1))
    np.testing.assert_array_equal(~np.isfinite(result["place"]), result["diverged"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        healthy = run(process, {"fuse": [100], "seed": [8, 9]}, **options)
    np.testing.assert_array_equal(result["place"].sel(fuse="never"), healthy["place"][0])
    assert not healthy["diverged"].any()


def test_many_diverged_members_are_counted_and_only_the_first_ones_named():
    with pytest.warns(UserWarning, match="12 of 12 members") as caught:
        run(make_exploding(), {"fuse": [1], "seed": range(12)})
    message = str(caught[0].message)
    assert message.count("seed=") == 5
    assert message.endswith("and 7 more")


# What is told.


def test_provenance_is_there_and_true():
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    result = run(make_walk(), walk_axes(), max_members=4, segment=3)
    provenance = json.loads(result.attrs["provenance"])
    assert {name: provenance[name] for name in ("members", "chunks", "segments")} == {
        "members": 9,
        "chunks": 3,
        "segments": 4,
    }
    assert provenance["versions"]["jax"] == jax.__version__
    assert all(importlib.metadata.version(name) == version for name, version in provenance["versions"].items())
    assert provenance["python"] == platform.python_version()
    assert provenance["devices"] == [device.device_kind for device in jax.devices()]
    assert provenance["compile_seconds"] > 0
    assert provenance["run_seconds"] > 0
    finished = datetime.datetime.fromisoformat(provenance["finished"])
    assert before <= finished <= datetime.datetime.now(datetime.UTC)
    config = json.loads(result.attrs["config"])
    assert (config["steps"], config["segment"], config["chunk"]) == (10, 3, 3)


def test_the_progress_bar_moves_and_can_be_silent(capsys):
    sweep(make_walk(4), walk_axes(), segment=1, max_members=5)
    shown = capsys.readouterr().err
    assert "compiling:   0%" in shown
    assert "9 members" in shown
    assert "8/8" in shown
    sweep(make_walk(4), walk_axes(), progress=False)
    assert capsys.readouterr() == ("", "")


FINGERPRINT = """
import flax.linen as nn, jax, jax.numpy as jnp, optax
from collapse_jax.engine import sweep
from collapse_jax.engine.process import Process

class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(nn.relu(nn.Dense(4, name="first")(x)))
        return nn.Dense(1, name="last")(nn.Dropout(0.1, deterministic=True)(x))

network, optimiser = Network(), optax.inject_hyperparams(optax.adamw)(1e-3)
inputs = jnp.linspace(-1, 1, 6).reshape(3, 2)

def init(key, hyper):
    weights = network.init(key, inputs)
    return weights, optimiser.init(weights)

def step(state, hyper, index):
    weights, memory = state
    memory.hyperparams["learning_rate"] = hyper["rate"]
    loss, gradient = jax.value_and_grad(lambda weights: jnp.mean(network.apply(weights, inputs) ** 2))(weights)
    change, memory = optimiser.update(gradient, memory, weights)
    return (optax.apply_updates(weights, change), memory), {"loss": loss}

print(sweep(Process(init, step, 2, {"rate": 1e-3}), {"seed": range(2)}, progress=False).attrs["config"])
"""


@pytest.mark.slow
def test_the_fingerprint_of_a_training_step_does_not_depend_on_the_process():
    children = [spawn(FINGERPRINT, PYTHONHASHSEED=seed) for seed in ("1", "77")]
    first, second = (json.loads(finish(child)) for child in children)
    assert first == second
    assert len(first["program_and_data"]) == 64


OF_NUMPY = """
import sys
import numpy as np
import collapse_jax as cj
from tests.walks import make_walk, walk_axes
numbers = {"segment": 5, "max_members": 4, "vmap_members": 1}
for kind in (int, np.int64):  # the second call must find the sweep of the first
    given = {name: kind(value) for name, value in numbers.items()}
    print(cj.sweep(make_walk(), walk_axes(), directory=sys.argv[1], progress=False, **given)["place"].sum().item())
plan = cj.make_plan(cj.REGIMES["replace"], np.int64(2), np.int64(10))
print(cj.sweep(cj.make_recursion(cj.families.gaussian(), plan), {"seed": 0}, progress=False).sizes["generation"])
"""


@pytest.mark.slow
def test_whole_numbers_of_numpy_go_on_as_those_of_python(tmp_path):
    # In a process without the tests' type checker, which is stricter about them than the library is.
    first, again, generations = finish(spawn(OF_NUMPY, tmp_path / "sweep")).split()
    assert (first, generations) == (again, "2")
