"""Kills, full disks, sealed and foreign directories: what was saved stays, and a rerun ends in the same bits."""

import errno
import gc
import importlib
import json
import os
import random
import re
import resource
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from collapse_jax.engine import sweep
from collapse_jax.engine.checkpoint import Store
from collapse_jax.engine.process import Axis, Process
from tests.walks import (
    RATES,
    assert_same,
    finish,
    interrupted_at,
    listing,
    make_fit,
    make_walk,
    sealed_directory,
    spawn,
    walk_axes,
)

checkpoint = importlib.import_module("collapse_jax.engine.checkpoint")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Compile each program once for the whole module, its child processes included: reruns are what is tested."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("cache")),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield {name.upper(): str(value) for name, value in options.items()}
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def run(process, axes, directory=None, **options):
    return sweep(process, axes, directory=directory, progress=False, **options)


def run_until(position, process, axes, directory, **options):
    """Run a sweep that is interrupted once the segment that ends at `position` is saved."""
    with interrupted_at(position):
        run(process, axes, directory, **options)


# Kills.

SWEEP = {"segment": 2, "max_members": 5}  # two chunks of five segments

KILLED = """
import fnmatch, os, signal, sys
from tests.walks import make_walk, walk_axes
from collapse_jax.engine import sweep

directory, wanted, pattern, count = *sys.argv[1:4], int(sys.argv[4])

def kill(event, args):
    global count
    if event == wanted and isinstance(args[0], str) and fnmatch.fnmatch(args[0], f"{directory}/{pattern}"):
        count -= 1
        if not count:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
sweep(make_walk(), walk_axes(), directory=directory, segment=2, max_members=5, progress=False)
"""
KILLS = {  # what the sweep is about to do to which file, for the how manieth time; what a rerun goes on from
    "before the configuration is in place": ("os.rename", ".sweep-*.json", 1, 0),
    "in a record": ("os.rename", "records/.segment-000003.*", 1, 2),
    "between a record and its checkpoint": ("os.mkdir", "checkpoints/7*", 1, 6),
    "in a checkpoint": ("open", "checkpoints/7*", 5, 6),
    "at the end of a checkpoint": ("os.rename", "checkpoints/7*tmp", 2, 6),
    "in the removal of an older checkpoint": ("os.rmdir", "checkpoints/4", 1, 7),
}


@pytest.fixture(scope="module")
def uninterrupted(cache):
    return run(make_walk(), walk_axes(), **SWEEP)


@pytest.fixture(scope="module")
def killed(cache, tmp_path_factory):
    """Return a directory for each of KILLS, in which a child process killed itself; all ran side by side."""
    directories = {name: tmp_path_factory.mktemp("killed") for name in KILLS}
    waiting = list(KILLS.items())
    running = {}
    while waiting or running:
        while waiting and len(running) < 2:
            name, kill = waiting.pop()
            running[name] = spawn(KILLED, directories[name], *kill[:3], **cache)
        name, child = next(iter(running.items()))
        _, errors = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, f"not killed {name}: {errors[-2000:]}"
        del running[name]
    return directories


@pytest.mark.parametrize("kill", KILLS)
def test_a_killed_sweep_goes_on_and_ends_in_the_same_bits(killed, uninterrupted, saved, kill):
    directory, position = killed[kill], KILLS[kill][-1]
    result = run(make_walk(), walk_axes(), directory, **SWEEP)
    assert saved == list(range(position + 1, 11))  # resumed, not restarted
    assert_same(result, uninterrupted)
    saved.clear()
    assert_same(run(make_walk(), walk_axes(), directory, **SWEEP), uninterrupted)
    assert saved == []


SLOW = """
import sys
from tests.walks import make_walk, walk_axes
from collapse_jax.engine import sweep
from collapse_jax.engine.checkpoint import Store
save = Store.save

def telling(self, position, *given):
    save(self, position, *given)
    print(position, flush=True)

Store.save = telling
sweep(make_walk(30), walk_axes(), directory=sys.argv[1], segment=1, progress=False)
"""


@pytest.mark.slow
def test_a_sweep_killed_at_random_times_ends_in_the_same_bits(cache, tmp_path, saved):
    times = random.Random(5)
    told = 0
    for _ in range(2):
        child = spawn(SLOW, tmp_path, **cache)
        for _ in range(times.randint(2, 8)):
            told = int(child.stdout.readline())
        time.sleep(times.uniform(0, 0.1))
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
    assert told > 3  # the second child went on where the first one was
    result = run(make_walk(30), walk_axes(), tmp_path, segment=1)
    assert saved[0] > told
    assert saved[-1] == 30
    assert_same(result, run(make_walk(30), walk_axes(), segment=1))


@pytest.mark.slow
def test_a_sweep_may_be_interrupted_after_every_segment(tmp_path, saved, uninterrupted):
    for position in range(1, 10):
        run_until(position, make_walk(), walk_axes(), tmp_path, **SWEEP)
    assert_same(run(make_walk(), walk_axes(), tmp_path, **SWEEP), uninterrupted)
    assert saved == list(range(1, 11))


def test_a_finished_sweep_is_read_and_nothing_is_run(tmp_path, saved, uninterrupted):
    run(make_walk(), walk_axes(), tmp_path, **SWEEP)
    saved.clear()
    before = listing(tmp_path)
    again = run(make_walk(), walk_axes(), tmp_path, **SWEEP)
    assert_same(again, uninterrupted)
    assert saved == []
    assert json.loads(again.attrs["provenance"])["programs_compiled"] == 0
    assert listing(tmp_path / "records") == {
        name.removeprefix("records/"): file for name, file in before.items() if name.startswith("records/")
    }


ELSEWHERE = """
import sys, jax
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from tests.walks import make_walk, walk_axes
from collapse_jax.engine import sweep
result = sweep(make_walk(), walk_axes(), directory=sys.argv[1], segment=2, max_members=5, progress=False)
np.savez(sys.argv[2], **{name: values.to_numpy() for name, values in result.items()})
"""


@pytest.mark.slow
def test_a_sweep_started_on_one_device_ends_in_the_same_bits_on_eight(tmp_path, uninterrupted):
    run_until(7, make_walk(), walk_axes(), tmp_path / "sweep", **SWEEP)
    finish(spawn(ELSEWHERE, tmp_path / "sweep", tmp_path / "results.npz"))
    with np.load(tmp_path / "results.npz") as there:
        for name in uninterrupted:
            np.testing.assert_array_equal(there[name], uninterrupted[name], err_msg=name)


def make_state(state, change=lambda state: state) -> Process:
    """Return a process with a given state, which also counts; it records the count."""

    def step(pair, hyper, index):
        state, count = pair
        return (change(state), count + hyper["rate"]), {"count": count}

    return Process(lambda key, hyper: (state, 0.0), step, 4, {"rate": 0.5})


STATES = {
    "keys, integers, a named tuple": make_walk(4),
    "optimiser": make_fit(4),
    "bfloat16": make_state(jnp.full(3, 0.1, jnp.bfloat16), lambda state: state * 1.1),
    "another kind of key": make_state(jax.random.key(3, impl="rbg"), lambda key: jax.random.split(key)[0]),
    "nothing in places": make_state({"a": None, "b": [(), jnp.zeros((0, 2)), True]}),
    "half precision, integers": make_state((jnp.float16(0.1), np.int8(3)), lambda pair: (pair[0] * 3, pair[1] + 1)),
    "a Python number beside half precision": make_state(0.5, lambda state: state + jnp.float16(0.1)),
    "nothing at all": Process(lambda key, hyper: (), lambda state, hyper, i: (state, {"i": i * 2}), 4, {"rate": 0.5}),
}


@pytest.mark.parametrize("state", STATES)
def test_every_kind_of_state_survives(tmp_path, state, saved):
    process, axes = STATES[state], {"rate": [0.5, 0.25, 2.0]}
    run_until(2, process, axes, tmp_path, segment=1)
    result = run(process, axes, tmp_path, segment=1)
    assert saved == [1, 2, 3, 4]
    assert_same(result, run(process, axes, segment=1))


# Directories of others.

OTHERS = {
    "axis values": (make_walk(), walk_axes() | {"rate": [0.5, 0.9, 1.4]}, {}, "axes"),
    "labels": (make_walk(), walk_axes() | {"rate": RATES._replace(labels=["a", "b", "c"])}, {}, "axes"),
    "seeds": (make_walk(), {"rate": RATES, "seed": [0, 1, 3]}, {}, "axes"),
    "fewer axes": (make_walk(), {"rate": RATES}, {}, "axes"),
    "default of what is not swept": (
        make_walk()._replace(hyper=make_walk().hyper | {"shift": {"start": 1.0, "sides": np.zeros(2, np.int32)}}),
        walk_axes(),
        {},
        "values",
    ),
    "Python number closed over": (make_walk(scale=1.5), walk_axes(), {}, "program_and_data"),
    "array closed over": (make_walk(turn=np.eye(8, dtype=np.float32)), walk_axes(), {}, "program_and_data"),
    "more steps": (make_walk(12), walk_axes(), {}, "steps"),
    "segment": (make_walk(), walk_axes(), {"segment": 3}, "segment"),
    "chunk": (make_walk(), walk_axes(), {"max_members": 4}, "chunk"),
}


@pytest.fixture(scope="module")
def begun(cache, tmp_path_factory):
    directory = tmp_path_factory.mktemp("begun")
    run_until(3, make_walk(), walk_axes(), directory, **SWEEP)
    return directory


@pytest.mark.parametrize("other", OTHERS)
def test_a_directory_of_another_sweep_is_refused_and_untouched(begun, saved, other):
    process, axes, options, differs = OTHERS[other]
    before = listing(begun)
    with pytest.raises(ValueError, match=rf"holds another sweep: its {differs} is") as caught:
        run(process, axes, begun, **(SWEEP | options))
    assert str(begun) in str(caught.value)
    assert listing(begun) == before
    assert saved == []


@pytest.mark.parametrize("jitted", [False, True])
def test_one_entry_of_a_large_array_closed_over_makes_another_sweep(tmp_path, jitted):
    # The text of a program shows large arrays in part, and those inside a nested jit not at all.
    def process(entry):
        table = jnp.arange(5000.0).at[2500].set(entry)

        def look(index):
            return table[index]

        look = jax.jit(look) if jitted else look
        return make_state(())._replace(step=lambda state, hyper, index: (state, {"entry": look(index)}))

    run(process(1.0), {}, tmp_path)
    with pytest.raises(ValueError, match="its program_and_data is"):
        run(process(2.0), {}, tmp_path)


def test_another_version_of_jax_is_refused(begun, monkeypatch):
    monkeypatch.setattr(jax, "__version__", "0.0.1")
    with pytest.raises(ValueError, match=re.escape("this one's is 0.0.1")):
        run(make_walk(), walk_axes(), begun, **SWEEP)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("thesis.txt", "years of work", "is not empty and holds no sweep"),
        ("sweep.json", "{half", "is not readable as JSON"),
        ("sweep.json", "[]", "describes no sweep"),
        ("sweep.json", "{}", "holds another sweep"),
    ],
)
def test_a_directory_of_other_things_is_refused_and_untouched(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    before = listing(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        run(make_walk(), walk_axes(), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert listing(tmp_path) == before


# Disks.


def make_wide(record: int, state: int) -> Process:
    """Return a process whose records and states have as many numbers as given, which don't compress."""

    def init(key, hyper):
        return jnp.sin(jnp.arange(float(state)) * 1e3)

    def step(numbers, hyper, index):
        numbers = jnp.sin(numbers * 1e3 + hyper["rate"])
        return numbers, {"numbers": jnp.resize(numbers, record)}

    return Process(init, step, 4, {"rate": 1.0}, dims={"numbers": ("item",)})


def limit_files(patch, position, size):
    """Let no file grow beyond `size` bytes once the segment that ends at `position` is saved."""
    save, (_, hard) = Store.save, resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(self, now, *given):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size if now == position else hard, hard))
        try:
            save(self, now, *given)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    patch.setattr(Store, "save", limited)


def fill_disk(patch, position, _):
    """Let NumPy find no space for the records of the segment that ends at `position`."""
    savez, calls = np.savez, iter(range(1, 100))

    def full(file, **arrays):
        if next(calls) == position:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        savez(file, **arrays)

    patch.setattr(checkpoint.np, "savez", full)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax drops a failed future
@pytest.mark.parametrize(
    ("record", "state", "limit", "names"),
    [
        (10_000, 1, limit_files, "records/segment-000003.0-of-1.npz"),
        (1, 1, fill_disk, "records/segment-000003.0-of-1.npz"),
        (1, 40_000, limit_files, "the checkpoint at segment 3 under"),
    ],
    ids=["records too large", "disk full at the records", "checkpoint too large"],
)
def test_a_full_disk_is_told_and_a_rerun_with_room_goes_on(tmp_path, saved, record, state, limit, names):
    process, axes = make_wide(record, state), {"rate": [0.5, 1.5]}
    with pytest.MonkeyPatch.context() as patch:
        limit(patch, 3, 30_000)
        with pytest.raises(OSError, match="could not write") as caught:
            run(process, axes, tmp_path, segment=1)
    assert names in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    del caught
    gc.collect()
    assert saved == [1, 2]
    there = sorted(path.name for path in (tmp_path / "records").iterdir())
    assert [name for name in there if "000003" not in name] == [
        "segment-000001.0-of-1.npz",
        "segment-000002.0-of-1.npz",
    ]
    assert not any(name.startswith(".") for name in there)  # no half file stays on a full disk
    result = run(process, axes, tmp_path, segment=1)
    assert saved == [1, 2, 3, 4]
    assert_same(result, run(process, axes, segment=1))


def test_a_sealed_directory_is_told_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr(jax, "jit", lambda *args, **kwargs: pytest.fail("it compiles"))
    with sealed_directory() as directory:
        for path in (directory, directory / "below"):
            with pytest.raises(PermissionError, match="can't write to the directory") as caught:
                run(make_walk(), walk_axes(), path)
            assert str(path) in str(caught.value)
        assert list(directory.iterdir()) == []


def test_a_directory_below_a_file_is_told_before_anything_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "jit", lambda *args, **kwargs: pytest.fail("it compiles"))
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file" / "below", tmp_path / "file"):
        with pytest.raises(OSError, match="can't write to the directory") as caught:
            run(make_walk(), walk_axes(), path)
        assert str(path) in str(caught.value)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_relative_directory_is_one_too(tmp_path, monkeypatch, uninterrupted):
    monkeypatch.chdir(tmp_path)
    assert_same(run(make_walk(), walk_axes(), "here", **SWEEP), uninterrupted)
    assert (tmp_path / "here" / "sweep.json").exists()


def test_diverged_members_of_an_interrupted_sweep_are_still_flagged(tmp_path):
    process = make_state(jnp.float32(1), lambda state: state * 1e20)
    axes = {"rate": Axis([0.5, 1.0], ["a", "b"])}
    with pytest.warns(UserWarning, match="2 of 2 members") as whole:
        expected = run(process, axes, segment=1)
    run_until(3, process, axes, tmp_path, segment=1)
    with pytest.warns(UserWarning, match="2 of 2 members") as resumed:
        assert_same(run(process, axes, tmp_path, segment=1), expected)
    assert str(resumed[0].message) == str(whole[0].message)
