"""Final states of a population by their labels: the bits of a plain loop, kept on disk, computed again where lost."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine import sweep, train
from collapse_jax.engine.process import Process
from tests.test_sweep_damage import DAMAGE
from tests.test_sweep_faults import KILLED, SWEEP, cache, make_state  # noqa: F401 - `cache` is a fixture
from tests.walks import RATES, assert_same, finish, interrupted_at, make_fit, make_walk, spawn, walk_axes

pytestmark = pytest.mark.usefixtures("cache")


def plain(states):
    """Return the leaves as NumPy arrays, keys as their data."""
    return [
        np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
        for leaf in jax.tree.leaves(states)
    ]


def assert_same_states(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(plain(ours), plain(theirs), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def trained(cache):  # noqa: F811
    return train(make_walk(), walk_axes(), progress=False, **SWEEP)


def test_final_states_are_those_of_a_plain_loop_in_every_chunk(trained):
    process = make_walk()
    step = jax.jit(process.step)
    for rate, label in enumerate(RATES.labels):
        for seed in range(3):
            hyper = {**process.hyper, "rate": jnp.float32(RATES.values[rate])}
            state = process.init(jax.random.key(seed), hyper)
            for index in range(process.num_steps):
                state, _ = step(state, hyper, jnp.int32(index))
            found = trained.members.sel(rate=label, seed=seed).state
            np.testing.assert_allclose(found.place, state.place, rtol=1e-5, atol=1e-6)
            assert (jax.random.key_data(found.key) == jax.random.key_data(state.key)).all()
            assert (found.count, found.count.dtype) == (10, np.int32)


def test_records_have_the_bits_of_sweep_and_states_those_of_the_last_record(trained):
    assert_same(trained.records, sweep(make_walk(), walk_axes(), progress=False, **SWEEP))
    np.testing.assert_array_equal(trained.members.states.place, trained.records["place"].isel(step=-1))


@pytest.mark.parametrize("options", [{"max_members": 9}, {"max_members": 2, "segment": 3}, {"segment": 10}])
def test_no_chunk_and_no_segment_changes_a_bit(trained, options):
    again = train(make_walk(), walk_axes(), progress=False, **{"segment": 2, **options})
    assert_same_states(again.members.states, trained.members.states)


def test_members_side_by_side_are_those_one_by_one_up_to_rounding(trained):
    again = train(make_walk(), walk_axes(), vmap_members=9, progress=False)
    np.testing.assert_allclose(again.members.states.place, trained.members.states.place, rtol=1e-3, atol=1e-4)


def test_members_are_chosen_by_label(trained):
    members = trained.members
    assert len(members) == 9
    assert members.states.place.shape == (3, 3, 8)
    assert isinstance(members.states.place, np.ndarray)
    one = members.sel(rate="fast", seed=1)
    assert (len(one), dict(one.labels)) == (1, {"rate": "fast", "seed": 1})
    np.testing.assert_array_equal(one.state.place, members.states.place[2, 1])
    several = members.sel(seed=[2, 0])
    assert list(several.axes) == ["rate", "seed"]
    np.testing.assert_array_equal(several.states.place, members.states.place[:, [2, 0]])
    assert [dict(each.labels) for each in several][:3] == [
        {"rate": "slow", "seed": 2},
        {"rate": "slow", "seed": 0},
        {"rate": "middle", "seed": 2},
    ]
    assert sum(len(each) for each in members) == 9
    # Labels are those of the axes, whatever equal number chose them.
    chosen = members.sel(rate=np.str_("fast"), seed=jnp.float32(1))
    assert [type(label) for label in chosen.labels.values()] == [str, int]
    assert list(members.sel(seed=jnp.array([2, 1])).axes["seed"]) == [2, 1]
    assert repr(members.sel(seed=1)) == "<3 members: rate slow, middle, fast; seed=1>"


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda members: members.sel(rates="slow"), "no axis 'rates'.*these members have rate, seed"),
        (
            lambda members: members.sel(rate="swift"),
            "axis 'rate' has no label 'swift'; it has 'slow', 'middle', 'fast'",
        ),
        (lambda members: members.sel(seed=[0, 7]), "axis 'seed' has no label 7; it has 0, 1, 2"),
        (lambda members: members.sel(rate=["slow", 0]), "axis 'rate' has no label 0; it has 'slow'"),
        (lambda members: members.sel(seed=[]), "no label of the axis 'seed' is given; it has 0, 1, 2"),
        (lambda members: members.sel(seed=0).sel(seed=0), "no axis 'seed'.*these members have rate"),
        (lambda members: members.sel(seed=0).state, "there are 3 members, rate slow, middle, fast; seed=0: choose one"),
    ],
)
def test_what_there_is_not_is_named(trained, choose, message):
    with pytest.raises(ValueError, match=message):
        choose(trained.members)


def test_what_is_learned_is_a_part_of_the_state():
    process = make_walk(2)._replace(learned=lambda state: {"place": state.place})
    found = train(process, {"seed": range(2)}, progress=False).members
    assert found.learned.keys() == {"place"}
    np.testing.assert_array_equal(found.sel(seed=1).learned["place"], found.states.place[1])


def test_a_wrong_learned_is_told_before_anything_runs(tmp_path):
    process = make_walk(2)._replace(learned=lambda state: None)
    with pytest.raises(ValueError, match="learned of the process returns None"):
        train(process, {}, directory=tmp_path / "none", progress=False)
    assert not (tmp_path / "none").exists()


def test_a_number_alone_keeps_its_axis_and_no_axes_are_one_member():
    assert train(make_walk(1), {"seed": 4}, progress=False).members.axes["seed"].tolist() == [4]
    alone = train(make_walk(1), {}, progress=False).members
    assert (len(alone), alone.state.place.shape, len(list(alone))) == (1, (8,), 1)
    assert repr(alone) == "<1 members: no labels>"


# On disk.


def test_a_finished_training_is_read_and_nothing_is_run(tmp_path, trained, saved):
    train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    saved.clear()
    again = train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    assert saved == []
    assert_same_states(again.members.states, trained.members.states)
    assert_same(sweep(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP), trained.records)
    assert saved == []


def test_a_directory_of_sweep_has_no_states_and_is_run_again_from_its_checkpoints(tmp_path, trained, saved):
    sweep(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    saved.clear()
    with pytest.warns(UserWarning, match=r"chunk-000001\.npz are missing or damaged.*computed again"):
        again = train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    assert saved == list(range(1, 11))  # what was of the first chunk is gone, once the second has checkpoints
    assert_same_states(again.members.states, trained.members.states)
    assert_same(again.records, trained.records)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_states_are_told_and_computed_again_from_the_last_checkpoint(tmp_path, trained, saved, damage):
    train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    saved.clear()
    DAMAGE[damage](tmp_path / "finals" / "chunk-000002.npz")
    with pytest.warns(UserWarning, match=r"chunk-000002\.npz are missing or damaged"):
        again = train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    assert saved == [10]
    assert_same_states(again.members.states, trained.members.states)


def test_damaged_records_are_computed_again_with_the_states_after_them(tmp_path, trained, saved):
    train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    saved.clear()
    DAMAGE["truncated"](tmp_path / "records" / "segment-000009.0-of-1.npz")
    with pytest.warns(UserWarning, match=r"segment-000009\.0-of-1\.npz are lost or damaged"):
        again = train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    assert saved == [9, 10]
    assert_same_states(again.members.states, trained.members.states)
    assert_same(again.records, trained.records)


@pytest.mark.parametrize("position", [4, 5, 6])
def test_an_interrupted_training_goes_on_to_the_same_states(tmp_path, trained, saved, position):
    with interrupted_at(position):
        train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    assert saved == list(range(1, 11))
    assert_same_states(again.members.states, trained.members.states)


KILLS = {  # as in test_sweep_faults: event, file, for the how manieth time; what a rerun goes on from
    "in the states of a chunk": ("os.rename", "finals/.chunk-000001*", 1, 4),
    "between states and their records": ("os.rename", "records/.segment-000005.*", 1, 4),
    "in the last states": ("os.rename", "finals/.chunk-000002*", 1, 9),
}


@pytest.mark.slow
@pytest.mark.parametrize("kill", KILLS)
def test_a_killed_training_goes_on_to_the_same_states(tmp_path, trained, saved, kill):
    child = spawn(KILLED.replace("sweep", "train"), tmp_path, *KILLS[kill][:3])
    _, errors = child.communicate(timeout=120)
    assert child.returncode < 0, errors
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = train(make_walk(), walk_axes(), directory=tmp_path, progress=False, **SWEEP)
    assert saved == list(range(KILLS[kill][3] + 1, 11))
    assert_same_states(again.members.states, trained.members.states)


STATES = {
    "bfloat16": make_state(jnp.full(3, 0.1, jnp.bfloat16), lambda state: state * 1.1),
    "one number of bfloat16": make_state(jnp.bfloat16(0.1), lambda state: state * 1.1),
    "another kind of key": make_state(jax.random.key(3, impl="rbg"), lambda key: jax.random.split(key)[0]),
    "nothing in places": make_state({"a": None, "b": [(), jnp.zeros((0, 2)), True]}),
    "half precision, integers": make_state((jnp.float16(0.1), np.int8(3)), lambda pair: (pair[0] * 3, pair[1] + 1)),
    "nothing at all": Process(lambda key, hyper: (), lambda state, hyper, i: (state, {"i": i * 2}), 2, {"rate": 0.5}),
}


@pytest.mark.parametrize("state", STATES)
def test_every_kind_of_state_is_kept(tmp_path, state, saved):
    process, axes = STATES[state], {"rate": [0.5, 2.0]}
    first = train(process, axes, directory=tmp_path, progress=False).members
    saved.clear()
    again = train(process, axes, directory=tmp_path, progress=False).members
    assert saved == []
    assert_same_states(again.states, first.states)
    assert_same_states(again.sel(rate=2.0).state, first.sel(rate=2.0).state)


def test_states_count_towards_what_the_host_holds(monkeypatch):
    asked = []
    run = cj.engine.sweep.__module__.replace("sweep", "run")
    capacity = __import__(run, fromlist=["capacity"]).capacity
    monkeypatch.setattr(f"{run}.capacity", lambda mesh, results: asked.append(results) or capacity(mesh, results))
    sweep(make_walk(2), {"seed": range(3)}, progress=False)
    train(make_walk(2), {"seed": range(3)}, progress=False)
    assert asked[1] - asked[0] == 3 * (8 * 4 + 4 + 8)  # place, count, and a key of two words


DEVICES = """
import sys, jax
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from collapse_jax.engine import make_mesh, train
from tests.walks import make_fit
for model in (1, 2):
    found = train(make_fit(), {"seed": range(5)}, mesh=make_mesh(model=model), progress=False).members
    np.save(f"{sys.argv[1]}/{model}.npy", found.states[0]["linear"])
"""


@pytest.mark.slow
def test_states_spread_over_devices_are_gathered(tmp_path):
    finish(spawn(DEVICES, tmp_path))
    expected = train(make_fit(), {"seed": range(5)}, progress=False).members.states[0]["linear"]
    for model in (1, 2):
        np.testing.assert_allclose(np.load(tmp_path / f"{model}.npy"), expected, rtol=1e-5)
