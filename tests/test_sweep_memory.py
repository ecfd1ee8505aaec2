"""Memory is predicted before the run: chunks that fit are chosen, what can't fit is refused with what would."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.engine import memory, run, sweep
from collapse_jax.engine.process import Process
from tests.walks import assert_same, make_walk, walk_axes

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
    monkeypatch.setattr(memory, "fitting", lambda free, few, many: many[0] + 3)  # one that promises too much
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
    with pytest.raises(MemoryError, match=r"does not hold one member: .* cj\.engine\.make_mesh\(model=\.\.\.\)"):
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


MIB, GIB = 2**20, 2**30
# What programs were seen to need, by the members on a device: a language model of which 36 MiB are the least; members
# one after the other, which share what a step takes; a plan that hardly grows from the limit on, as XLA computes again
# what doesn't fit; one for which two members take less than twice one; a compiler that itself runs out.
PLANS = {
    "a network": lambda members: 100 * MIB + 2067 * MIB * members,
    "a loop": lambda members: 1400 * MIB + 8 * MIB * members,
    "computed again": lambda members: min(1000 * MIB * members, 57 * GIB + MIB * members),
    "bent": lambda members: 500 * MIB * members + 5 * MIB * members**2,
    "it runs out": lambda members: 900 * MIB * members if members < 50 else run._TOO_MUCH,
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("whole", [1, 7, 4096])
def test_few_programs_and_none_far_too_large_tell_how_many_members_fit(plan, whole):
    compiled, limit, least = {}, 55 * GIB, 8 * MIB

    def needed(members):
        assert members not in compiled or compiled[members] == PLANS[plan](members)
        return compiled.setdefault(members, PLANS[plan](members))

    def even(members):
        return -(-whole // -(-whole // members))

    found = memory.most_that_fit(needed, even, whole, limit, least=least, data=0)
    assert needed(found) <= limit
    # As many as equal chunks allow, but for a tenth.
    assert found >= 0.9 * even(max(n for n in range(1, whole + 1) if PLANS[plan](n) <= limit))
    assert len(compiled) <= 5
    assert max(compiled) <= 2 * found


def test_where_all_members_surely_fit_one_program_tells():
    asked = []
    needed = {1000: 30 * GIB, 2: 0}
    answer = memory.most_that_fit(
        lambda members: asked.append(members) or needed[members],
        lambda members: members,
        1000,
        50 * GIB,
        least=MIB // 4,
        data=20 * GIB,
    )
    assert (answer, asked) == (1000, [1000])


def test_one_member_alone_is_tried_where_two_do_not_fit():
    def most(limit, whole=8, data=0):
        return memory.most_that_fit({1: 10, 2: 40}.__getitem__, lambda n: n, whole, limit, least=1, data=data)

    assert [most(limit) for limit in (9, 10, 39)] == [0, 1, 1]
    assert most(9, whole=1) == 0
    assert most(10**9, whole=0) == 0


@pytest.fixture
def programs(monkeypatch):
    """Return the widths that sweeps compile, and a function that lets larger ones run out of memory."""
    module, widths, most = importlib.import_module("collapse_jax.engine.sweep"), [], [10**9]
    make_program = module.make_program

    def watched(*given, **options):
        program = make_program(*given, **options)

        def compile_for(width):
            widths.append(width)
            if width > most[0]:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
            return program.compile(width)

        return program._replace(compile=compile_for)

    monkeypatch.setattr(module, "make_program", watched)
    return widths, most


def test_no_program_far_larger_than_what_fits_is_compiled(monkeypatch, programs):
    widths, _ = programs
    limit(monkeypatch, 3_000_000, 10**9)
    found = provenance(sweep(make_large(), {"rate": np.linspace(0.5, 1.5, 200)}, progress=False))
    assert max(widths) <= 2 * found["memory"]["members"]
    assert found["programs_compiled"] == 2 * len(widths) <= 8


def test_a_number_that_surely_does_not_fit_is_refused_without_its_program(monkeypatch, programs):
    widths, _ = programs
    limit(monkeypatch, 3_000_000)
    with pytest.raises(MemoryError, match=r"needed, .* is there. Give max_members=\d+, which fits"):
        sweep(make_large(), {"seed": range(200)}, max_members=100, progress=False)
    assert max(widths) < 10


@pytest.mark.parametrize("most", [1, 3])
def test_memory_that_ends_in_the_compiler_means_fewer_members(expected, programs, most):
    widths, most_compiled = programs
    most_compiled[0] = most
    result = sweep(make_large(), AXES, progress=False)
    assert 1 <= provenance(result)["memory"]["members"] <= most
    assert widths[0] == 12  # it surely fitted
    assert_same(result, expected)
    with pytest.raises(MemoryError, match=f"more than there is to compile it .* Give max_members={most}, which fits"):
        sweep(make_large(), AXES, max_members=12, progress=False)
    most_compiled[0] = 0
    with pytest.raises(MemoryError, match="does not hold one member: more than there is to compile it"):
        sweep(make_large(), AXES, progress=False)


def test_other_troubles_of_the_compiler_are_told_as_they_are(monkeypatch):
    module = importlib.import_module("collapse_jax.engine.sweep")
    monkeypatch.setattr(module, "compiler_options", lambda platform, tuned: {"xla_of_tomorrow": True})
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_of_tomorrow"):
        sweep(make_walk(), {}, progress=False)


def test_devices_that_tell_their_memory_are_believed():
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 1000, "bytes_in_use": 200}

    class Mesh:
        local_devices = (Device(), Device())

    capacity = getattr(memory.capacity, "__wrapped__", memory.capacity)  # without the check of types
    assert capacity(Mesh(), results=10**15) == (760, 1000)  # a twentieth is left to fragments


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


def test_data_larger_than_a_device_are_refused(monkeypatch):
    def exhausted(value, sharding):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes")

    monkeypatch.setattr(importlib.import_module("collapse_jax.engine.program"), "put", exhausted)
    with pytest.raises(MemoryError, match="does not hold the arrays that the process closes over"):
        sweep(make_walk(), {}, progress=False)


def test_data_on_the_device_already_need_no_room_there(monkeypatch):
    table = jnp.zeros(NUMBERS)
    process = make_large()._replace(init=lambda key, hyper: table)
    predicted = provenance(sweep(process, {}, progress=False))["memory"]["predicted_bytes"]
    limit(monkeypatch, predicted - table.nbytes, 10**9)
    assert provenance(sweep(process, {"seed": range(2)}, progress=False))["memory"]["members"] == 1
    limit(monkeypatch, predicted - table.nbytes - 1, predicted - 1)
    with pytest.raises(MemoryError, match="does not hold one member"):
        sweep(process, {}, progress=False)


def test_a_walk_fits(monkeypatch):
    result = sweep(make_walk(), walk_axes(), progress=False)
    assert set(provenance(result)["memory"]) == {"predicted_bytes", "limit_bytes", "members"}
