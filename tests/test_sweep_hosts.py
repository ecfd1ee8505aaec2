"""Several processes joined by jax.distributed: the same results, each writes its part, checkpoints change layouts."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.engine import sweep, train
from collapse_jax.io.results import load
from tests.test_sweep_damage import AXES, OPTIONS, largest, make_wide, truncate


@pytest.fixture(scope="module")
def expected():
    return sweep(make_wide(), AXES, **OPTIONS)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return the children's environment: what the first compiles, the others find."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]),
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture
def run(environment, tmp_path):
    """Return a function that runs a sweep over `count` processes and returns exit codes and what they wrote."""

    def start(count, devices, *, end_at=0, way="sweep"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        script = Path(__file__).parent / "hosts.py"
        arguments = [devices, tmp_path / "sweep", tmp_path / "result", end_at, way]
        children = [
            subprocess.Popen(
                [sys.executable, str(script), *map(str, (port, count, rank, *arguments))],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]
        told = [child.communicate(timeout=200) for child in children]
        return [child.returncode for child in children], told

    return start


def results(tmp_path, rank):
    with np.load(tmp_path / f"result-{rank}.npz") as archive:
        return dict(archive)


def assert_results(tmp_path, expected, count):
    for rank in range(count):
        found = results(tmp_path, rank)
        assert found.keys() == set(expected.data_vars)
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected[name], err_msg=f"{name} in process {rank}")


@pytest.mark.slow
def test_two_processes_compute_and_return_the_same_each_its_part(run, tmp_path, expected):
    codes, told = run(2, 2)
    assert codes == [0, 0], told
    assert_results(tmp_path, expected, 2)
    provenance = json.loads(told[0][0].splitlines()[-1])
    assert (provenance["processes"], provenance["mesh"]) == (2, {"population": 4})
    for part, members in ((0, [0, 1, 2, 3]), (1, [4])):  # five members on four devices, two each
        with np.load(tmp_path / "sweep" / "records" / f"segment-000003.{part}-of-2.npz") as archive:
            assert archive["members"].tolist() == members
            assert archive["record first"].shape == (len(members), 2)


@pytest.mark.slow
def test_two_processes_return_all_states_and_one_reads_what_they_kept(run, tmp_path, expected):
    codes, told = run(2, 2, way="train")
    assert codes == [0, 0], told
    assert_results(tmp_path, expected, 2)
    states = [np.load(tmp_path / f"result-states-{rank}.npy") for rank in range(2)]
    np.testing.assert_array_equal(states[0], states[1])
    np.testing.assert_array_equal(states[0][..., 0], expected["first"].isel(step=-1))
    np.testing.assert_array_equal(states[0][..., -1], expected["last"].isel(step=-1))
    kept = sorted((tmp_path / "sweep" / "finals").iterdir())
    assert [path.name for path in kept] == ["chunk-000001.npz", "chunk-000002.npz"]
    before = [path.stat().st_mtime_ns for path in kept]
    found = train(make_wide(), AXES, directory=tmp_path / "sweep", **OPTIONS).members
    np.testing.assert_array_equal(found.states, states[0])
    assert [path.stat().st_mtime_ns for path in kept] == before


@pytest.mark.slow
def test_a_sweep_begun_on_eight_devices_of_two_processes_ends_on_one_and_then_is_read_on_four(run, tmp_path, expected):
    codes, told = run(2, 4, end_at=3)
    assert codes == [9, 9], told
    # What the first process wrote: it holds four of the five members. The other process's file is as large, give or
    # take a few bytes, and three quarters of it are padding that nobody reads on one device.
    truncate(largest(tmp_path / "sweep" / "checkpoints" / "3" / "default" / "ocdbt.process_0"))
    codes, told = run(1, 1, end_at=7)
    assert codes == [9], told
    assert "checkpoints/3 is damaged" in told[0][1]
    codes, told = run(4, 1)
    assert codes == [0] * 4, told
    assert_results(tmp_path, expected, 4)


@pytest.mark.slow
def test_damage_that_one_process_finds_sends_all_to_the_checkpoint_before(run, tmp_path, expected):
    codes, told = run(2, 1, end_at=4)
    assert codes == [9, 9], told
    parts = [path for path in (tmp_path / "sweep" / "checkpoints" / "4").rglob("ocdbt.process_1/d/*") if path.is_file()]
    truncate(max(parts, key=lambda path: path.stat().st_size))
    codes, told = run(2, 1)
    assert codes == [0, 0], told
    assert all("checkpoints/4 is damaged" in errors for _, errors in told)
    assert_results(tmp_path, expected, 2)


@pytest.mark.slow
def test_what_the_first_process_refuses_all_refuse(run, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "thesis.txt").write_text("years of work")
    codes, told = run(2, 1)
    assert codes == [1, 1]
    assert "holds no sweep" in told[0][1]
    assert "another process of this run can't use the directory" in told[1][1]
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["thesis.txt"]


LAUNCHED = """
import sys
from dataclasses import dataclass
from experiments.shared.launch import Options, launch
import collapse_jax as cj
from tests.test_sweep_damage import AXES, make_wide

@dataclass(frozen=True)
class Config(Options):
    '''Nothing of its own.'''

launch(
    "launched", Config(), {},
    lambda config, directory: cj.sweep(make_wide(), AXES, directory=directory / "sweep", progress=False),
    lambda dataset: {},
    lambda dataset: f"{dataset.attrs['provenance']}",
    description="",
)
"""


@pytest.mark.slow
def test_a_script_joins_what_slurm_started_and_the_first_process_writes(environment, tmp_path, expected):
    children = []
    for rank in range(2):
        # What srun tells its processes; JAX takes the address of the first from it.
        slurm = {
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_NTASKS": "2",
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
        }
        root = str(Path(__file__).parents[1])
        children.append(
            subprocess.Popen(
                [sys.executable, "-c", LAUNCHED, "--distributed", "--results", str(tmp_path)],
                env={**environment, **slurm, "PYTHONPATH": os.pathsep.join([root, environment["PYTHONPATH"]])},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    told = [child.communicate(timeout=200) for child in children]
    assert [child.returncode for child in children] == [0, 0], told
    assert '"processes": 2' in told[0][0]
    assert "results:" not in told[1][0]
    (folder,) = (tmp_path / "launched").iterdir()
    found = load(folder)
    np.testing.assert_array_equal(found["first"], expected["first"])


@pytest.mark.slow
def test_what_looks_at_segments_stops_all_processes_and_they_go_on_together(run, tmp_path, expected):
    codes, told = run(2, 1, end_at=-2)
    assert codes == [1, 1], told
    assert "RuntimeError: enough" in told[0][1]
    assert "on_segment raised in the first process" in told[1][1]
    codes, told = run(2, 1)
    assert codes == [0, 0], told
    assert_results(tmp_path, expected, 2)
