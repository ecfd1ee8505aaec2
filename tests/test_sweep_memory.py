"""Memory is predicted before the run: chunks that fit are chosen, what can't fit is refused with what would."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from walks import assert_same, make_walk, walk_axes

from collapse_jax.engine import memory, run, sweep
from collapse_jax.process import Process

NUMBERS = 100_000


def make_large(record=1):
    """Return a process whose state takes .4 MB a member."""

    def step(state, hyper, index):
        state = jnp.sin(state + hyper["rate"])
        return state, {"some": state[:record]}

    return Process(lambda key, hyper: jnp.arange(float(NUMBERS)), step, 4, {"rate": 1.0}, dims={"some": ("item",)})


AXES = {"rate": np.linspace(0.5, 1.5, 12)}


def limit(monkeypatch, free, total=None):
    monkeypatch.setattr(run, "capacity", lambda mesh, results: (free, total or free))


def provenance(result):
    return json.loads(result.attrs["provenance"])


@pytest.fixture(scope="module")
def expected():
    return sweep(make_large(), AXES, progress=False)


def test_the_prediction_is_what_the_state_takes(expected):
    found = provenance(expected)["memory"]
    members = -(-12 // len(jax.devices()))
    state = 4 * NUMBERS * members
    # In and out share the donated state; a loop over members holds one more copy of all, and a few of one member.
    assert state < found["predicted_bytes"] < 2 * state + 4 * 4 * NUMBERS
    assert found["members"] == members
    assert found["limit_bytes"] > 2**30


@pytest.mark.parametrize("members", [1, 2, 5])
def test_as_many_members_run_at_once_as_fit(monkeypatch, expected, members):
    large = {n: provenance(sweep(make_large(), AXES, max_members=n, progress=False))["memory"] for n in (members, 12)}
    free = large[members]["predicted_bytes"] + 1000
    assert free < large[12]["predicted_bytes"]
    limit(monkeypatch, free, 10**9)
    result = sweep(make_large(), AXES, progress=False)
    assert provenance(result)["memory"]["predicted_bytes"] <= free
    assert provenance(result)["memory"]["members"] == -(-12 // -(-12 // members))  # equal chunks
    assert_same(result, expected)


def test_a_limit_between_two_sizes_is_kept_by_measuring_again(monkeypatch):
    monkeypatch.setattr(run, "fitting", lambda free, few, many: many[0] - 1)  # one that promises too much
    limit(monkeypatch, 3_000_000, 10**9)
    result = sweep(make_large(), AXES, progress=False)
    assert provenance(result)["memory"]["predicted_bytes"] <= 3_000_000


def test_too_many_members_are_refused_with_the_number_that_fits(monkeypatch):
    limit(monkeypatch, 3_000_000)
    with pytest.raises(MemoryError, match=r"does not hold so many members at once: .* Give max_members=\d+") as told:
        sweep(make_large(), AXES, max_members=12, progress=False)
    fits = int(str(told.value).partition("max_members=")[2].partition(",")[0])
    assert sweep(make_large(), AXES, max_members=fits, progress=False).sizes["rate"] == 12


def test_a_member_that_fits_nowhere_is_refused_with_the_way_out(monkeypatch):
    limit(monkeypatch, 300_000)
    with pytest.raises(MemoryError, match=r"does not hold one member: .* cj\.make_mesh\(model=\.\.\.\)"):
        sweep(make_large(), AXES, progress=False)


def test_records_beyond_the_hosts_memory_are_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr(jax, "jit", lambda *args, **kwargs: pytest.fail("it compiles"))
    process = make_large(NUMBERS)._replace(num_steps=10**9)
    with pytest.raises(MemoryError, match=r"the records of 12 members take .* GiB, more than the host has"):
        sweep(process, AXES, progress=False)


def test_a_device_that_runs_out_is_told(monkeypatch):
    def exhausted(*args):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes")

    monkeypatch.setattr(run, "_advance", exhausted)
    with pytest.raises(MemoryError, match=r"it ran out\. Give max_members=6, which fits"):
        sweep(make_large(), AXES, progress=False)

    def broken(*args):
        raise jax.errors.JaxRuntimeError("INTERNAL: another trouble")

    monkeypatch.setattr(run, "_advance", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="another trouble"):
        sweep(make_large(), AXES, progress=False)


def test_a_directory_keeps_the_chunk_that_its_machine_chose(monkeypatch, tmp_path):
    limit(monkeypatch, 3_000_000, 10**9)
    first = sweep(make_large(), AXES, directory=tmp_path, progress=False)
    chunk = json.loads(first.attrs["config"])["chunk"]
    assert chunk < 12
    limit(monkeypatch, 10**9)
    assert json.loads(sweep(make_large(), AXES, directory=tmp_path, progress=False).attrs["config"])["chunk"] == chunk


def test_fitting_members():
    assert memory.fitting(100, (1, 20), (11, 120)) == 9  # ten bytes each, and ten besides
    assert memory.fitting(20, (1, 20), (11, 120)) == 1
    assert memory.fitting(19, (1, 20), (11, 120)) == 0
    assert memory.fitting(-100, (1, 20), (11, 120)) == 0


def test_devices_that_tell_their_memory_are_believed():
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 1000, "bytes_in_use": 200}

    class Mesh:
        local_devices = (Device(), Device())

    capacity = getattr(memory.capacity, "__wrapped__", memory.capacity)  # without the check of types
    assert capacity(Mesh(), results=10**15) == (720, 1000)  # a tenth is left to fragments


def test_data_that_init_and_step_share_is_on_the_devices_once():
    data = np.ones((1000, 1000), np.float32)
    process = Process(
        lambda key, hyper: jnp.asarray(data)[0, 0] * hyper["rate"],
        lambda state, hyper, index: (state + jnp.asarray(data)[index, 0], {}),
        4,
        {"rate": 1.0},
    )
    shared = jnp.asarray(data)
    together = process._replace(
        init=lambda key, hyper: shared[0, 0] * hyper["rate"],
        step=lambda state, hyper, index: (state + shared[index, 0], {"state": state}),
    )
    assert provenance(sweep(together, {}, progress=False))["memory"]["predicted_bytes"] < 1.2 * data.nbytes


def test_a_walk_fits(monkeypatch):
    result = sweep(make_walk(), walk_axes(), progress=False)
    assert set(provenance(result)["memory"]) == {"predicted_bytes", "limit_bytes", "members"}
