"""Damaged files, two runs in one directory, a clean stop: nothing wrong is gone on from, and the same bits come out."""

import asyncio
import gc
import importlib
import json
import os
import signal
import sys
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.engine import sweep
from collapse_jax.engine.checkpoint import Store
from collapse_jax.engine.checksum import checksum
from collapse_jax.engine.process import Process
from tests.walks import assert_same, spawn

OPTIONS = {"segment": 2, "max_members": 5, "progress": False}  # two chunks of five segments


def make_wide():
    """Return a process whose state is large enough to get a file of its own in a checkpoint."""

    def init(key, hyper):
        return jnp.sin(jnp.arange(500.0) + jax.random.key_data(key)[-1])

    def step(numbers, hyper, index):
        numbers = jnp.sin(numbers * hyper["rate"] + 1.0)
        return numbers, {"first": numbers[0], "last": numbers[-1]}

    return Process(init, step, 10, {"rate": 2.0})


AXES = {"rate": [2.0, 3.0, 4.0], "seed": range(3)}


@pytest.fixture(scope="module")
def expected():
    return sweep(make_wide(), AXES, **OPTIONS)


def interrupt(patch, position):
    """Let a sweep end as by a kill once the segment that ends at `position` is saved."""
    save = Store.save

    def interrupted(self, now, *given):
        save(self, now, *given)
        if now == position:
            raise SystemExit

    patch.setattr(Store, "save", interrupted)


@pytest.fixture
def begun(tmp_path):
    """Return a directory with four of five segments of the first chunk, of which the last two have checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(SystemExit):
            sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS)
    return tmp_path


def largest(directory):
    """Return the file of a checkpoint that holds the state's numbers."""
    return max((path for path in directory.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


DAMAGE = {"truncated": truncate, "emptied": empty, "one bit flipped": flip, "removed": lambda path: path.unlink()}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_gone_on_from(begun, saved, expected, damage):
    DAMAGE[damage](largest(begun / "checkpoints" / "4"))
    with pytest.warns(UserWarning, match=r"checkpoints/4 is damaged \(.+\); going on from one before it"):
        result = sweep(make_wide(), AXES, directory=begun, **OPTIONS)
    assert saved == list(range(4, 11))  # from 3, whose checkpoint is whole
    assert_same(result, expected)


def test_reads_that_orbax_leaves_waiting_never_complain_later(begun, expected, monkeypatch):
    serialization = importlib.import_module("orbax.checkpoint._src.serialization.serialization")
    read = serialization._read_shard

    async def slowly(**given):
        if given["new_shard_shape"] == (5,):  # the checksums, while the file of the numbers is found to be damaged
            await asyncio.sleep(0.5)
        return await read(**given)

    monkeypatch.setattr(serialization, "_read_shard", slowly)
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    truncate(largest(begun / "checkpoints" / "4"))
    with pytest.warns(UserWarning, match="checkpoints/4 is damaged"):
        result = sweep(make_wide(), AXES, directory=begun, **OPTIONS)
    gc.collect()
    assert not complaints
    assert_same(result, expected)


def test_without_any_whole_checkpoint_the_chunk_begins_again(begun, saved, expected):
    for position in ("3", "4"):
        flip(largest(begun / "checkpoints" / position))
    with pytest.warns(UserWarning, match="is damaged") as told:
        result = sweep(make_wide(), AXES, directory=begun, **OPTIONS)
    assert len(told) == 2
    assert saved == list(range(1, 11))
    assert_same(result, expected)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_records_are_told_and_computed_again(begun, saved, expected, damage):
    DAMAGE[damage](begun / "records" / "segment-000002.0-of-1.npz")
    with pytest.warns(UserWarning, match=r"segment-000002\.0-of-1\.npz are lost or damaged"):
        result = sweep(make_wide(), AXES, directory=begun, **OPTIONS)
    assert saved == list(range(1, 11))  # no checkpoint is as old as that
    assert_same(result, expected)


def test_damaged_records_of_a_finished_sweep_are_computed_again(tmp_path, saved, expected):
    sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS)
    saved.clear()
    flip(tmp_path / "records" / "segment-000008.0-of-1.npz")
    with pytest.warns(UserWarning, match="are lost or damaged"):
        assert_same(sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS), expected)
    assert saved == list(range(6, 11))  # the second chunk
    saved.clear()
    assert_same(sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS), expected)
    assert saved == []


@pytest.mark.parametrize("content", ["", "{", "[[1]]", '{"a": 1}', "[1, 2]", '[["a", "b"]]'])
def test_damaged_seconds_cost_no_result(begun, expected, content):
    (begun / "seconds.json").write_text(content)
    result = sweep(make_wide(), AXES, directory=begun, **OPTIONS)
    assert_same(result, expected)
    assert json.loads(result.attrs["provenance"])["calls"] == 1


@pytest.mark.parametrize("chunk", [None, 0, "5", 2.5, True])
def test_a_damaged_chunk_is_refused(begun, chunk):
    path = begun / "sweep.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chunk": chunk}))
    with pytest.raises(ValueError, match=r"its chunk is|gives the chunk"):
        sweep(make_wide(), AXES, directory=begun, segment=2, progress=False)


def test_chunks_are_those_that_the_directory_began_with(begun, saved, expected):
    result = sweep(make_wide(), AXES, directory=begun, segment=2, progress=False)  # without max_members
    assert saved == list(range(5, 11))
    assert_same(result, expected)


# A state's checksum.


def test_a_checksum_tells_every_bit_and_each_member_alone():
    rng = np.random.default_rng(0)
    state = {
        "float": rng.normal(size=(3, 5)).astype(np.float32),
        "half": rng.normal(size=(3, 2)).astype(np.float16),
        "whole": rng.integers(-100, 100, (3, 2, 2)).astype(np.int8),
        "bool": rng.random((3, 4)) < 0.5,
        "complex": (rng.normal(size=(3, 2)) + 1j).astype(np.complex64),
    }
    expected = np.asarray(checksum(state, 3))
    assert len(set(expected.tolist())) == 3
    for name, values in state.items():
        for bit in rng.integers(0, 8 * values[0].nbytes, 20):
            if values.dtype == bool:
                bit -= bit % 8
            changed = values.copy()
            changed[1].reshape(-1).view(np.uint8)[bit // 8] ^= 1 << (bit % 8)
            got = np.asarray(checksum(state | {name: changed}, 3))
            assert (got != expected).tolist() == [False, True, False], (name, bit)
    assert np.asarray(checksum((), 2)).tolist() == [0, 0]
    key = jax.random.split(jax.random.key(0), 3)
    assert len(set(np.asarray(checksum(key, 3)).tolist())) == 3


# Two runs.

HOLDING = """
import sys
from tests.test_sweep_damage import AXES, make_wide
from collapse_jax.engine import sweep
from collapse_jax.engine.checkpoint import Store
save = Store.save

def waiting(self, position, *given):
    save(self, position, *given)
    if position == 2:
        print("there", flush=True)
        sys.stdin.readline()

Store.save = waiting
sweep(make_wide(), AXES, directory=sys.argv[1], segment=2, max_members=5, progress=False)
"""


def test_the_second_of_two_runs_in_one_directory_is_refused_and_the_first_is_unharmed(tmp_path, expected):
    child = spawn(HOLDING, tmp_path)
    assert child.stdout.readline() == "there\n"
    with pytest.raises(OSError, match="is in use by another run; wait for its end, or give another directory") as told:
        sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS)
    assert str(tmp_path) in str(told.value)
    _, errors = child.communicate("\n", timeout=120)
    assert child.returncode == 0, errors[-2000:]
    assert_same(sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS), expected)


# Stops.


@pytest.fixture
def raising(monkeypatch):
    """Let the process get a signal while the third segment is saved."""

    def at(number):
        save = Store.save

        def signalled(self, position, *given):
            if position == 3:
                os.kill(os.getpid(), number)
            save(self, position, *given)

        monkeypatch.setattr(Store, "save", signalled)

    return at


def test_ctrl_c_lets_the_segment_be_saved_first(tmp_path, raising, expected, capsys):
    raising(signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS)
    assert "stopping once this segment is saved" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "save", lambda *given: pytest.fail("it begins again"))
        with pytest.raises(pytest.fail.Exception):
            sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS)


def test_a_schedulers_signal_does_too_and_reaches_its_own_handler(tmp_path, raising):
    raising(signal.SIGTERM)
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with pytest.raises(KeyboardInterrupt):
            sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    assert (tmp_path / "checkpoints" / "3").exists()


def test_a_second_ctrl_c_stops_at_once(tmp_path, monkeypatch):
    save = Store.save

    def impatient(self, position, *given):
        if position == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        save(self, position, *given)

    monkeypatch.setattr(Store, "save", impatient)
    with pytest.raises(KeyboardInterrupt):
        sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS)
    assert not (tmp_path / "checkpoints" / "3").exists()


def test_a_sweep_in_another_thread_leaves_signals_alone(tmp_path, expected):
    results, before = [], signal.getsignal(signal.SIGINT)

    def work():
        results.append(sweep(make_wide(), AXES, directory=tmp_path, **OPTIONS))

    with warnings.catch_warnings():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert signal.getsignal(signal.SIGINT) is before
    assert_same(results[0], expected)


def test_the_checkpoint_module_is_the_one_patched():
    assert importlib.import_module("collapse_jax.engine.run").Store is Store
