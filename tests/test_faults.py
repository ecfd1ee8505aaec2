"""The fault harness: nothing is lost in its small run, and it sees what it looks for."""

import json
import random
import subprocess
import sys

import numpy as np
import orbax.checkpoint as ocp
import pytest
import xarray as xr

from collapse_jax.io import results
from collapse_jax.io.files import write_json
from tests.faults import command as faults
from tests.faults.calls import LOST, Ended, problem, refusal, results_folder
from tests.faults.disk import DAMAGES, differences, half_written, kept, small_disk


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    config = faults.Config(progress=False, **faults.SMALL)
    return faults.run(config, tmp_path_factory.mktemp("faults"))


@pytest.mark.slow
def test_nothing_is_lost_in_the_small_run(dataset):
    assert json.loads(dataset.attrs["lost"]) == []
    assert int(dataset["trials"].sel(outcome=LOST).sum()) == 0


@pytest.mark.slow
def test_moments_are_hit_as_often_as_wanted(dataset):
    killed = [str(name).startswith("killed while") for name in dataset["moment"].to_numpy()]
    assert int(dataset["trials"][killed].sum()) >= faults.SMALL["kills"]
    hit = " ".join(str(name) for name in dataset["moment"].to_numpy())
    for fault in ("checkpoint", "record", "sweep.json", "results", "two runs", "Ctrl-C", "SIGTERM", "memory", "host"):
        assert fault in hit
    counts = [line.split() for line in faults.table(dataset).splitlines() if line.startswith("all ")]
    assert [words[1] for words in counts] == ["kills", "faults"]
    assert sum(int(words[2]) for words in counts) == int(dataset["trials"].sum())
    assert set(faults.draw(dataset)) == {"figure.png"}


@pytest.mark.slow
def test_importing_the_library_starts_no_backend():
    # Else `jax.distributed` can't be joined, the number of CPU devices can't be set, and no process can be forked.
    code = "import tests.faults.child; from jax._src import xla_bridge; print(len(xla_bridge._backends))"
    root = faults.Path(faults.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


@pytest.fixture
def finished(tmp_path):
    """Return a trial in which every kind of file lies that a run leaves, and all are whole."""
    folder = results_folder(tmp_path) / "fault" / "0"
    (folder / "records").mkdir(parents=True)
    numbers = np.random.default_rng(1).normal(size=500)
    data = xr.Dataset({"x": ("i", numbers)})
    results.save(data, folder)
    write_json(folder / "config.json", {"steps": list(range(50))})
    np.savez(folder / "records" / "segment-000001.npz", x=numbers)
    next(iter(faults.draw(_counted()).values())).savefig(folder / "figure.png")
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        checkpointer.save(folder / "checkpoints" / "3" / "default", args=ocp.args.StandardSave({"x": numbers}))
    assert half_written(tmp_path) == {}
    return tmp_path


def _counted():
    return xr.Dataset(
        {"trials": (("moment", "outcome"), [[3, 0, 1]])}, {"moment": ["a"], "outcome": list(faults.OUTCOMES)}
    )


@pytest.mark.parametrize("how", ["truncated", "emptied"])
@pytest.mark.parametrize("file", ["results.nc", "config.json", "segment-000001.npz", "figure.png", "manifest.ocdbt"])
def test_a_file_that_is_not_whole_is_found(finished, file, how):
    path = next(path for path in finished.rglob(file) if file != "manifest.ocdbt" or path.parent.name == "default")
    DAMAGES[how](path, random.Random(2))
    (found,) = half_written(finished)
    assert found.endswith("checkpoint 3" if file == "manifest.ocdbt" else file)
    ended = Ended(-9, "training", "", hung=False)
    assert problem(finished, ended).startswith("half-written after training")


def test_a_temporary_file_is_no_half_written_one(finished):
    (finished / "results" / ".results-abc.nc").write_bytes(b"half")
    assert half_written(finished) == {}


def test_one_bit_is_a_difference():
    ours = xr.Dataset({"x": ("i", np.array([1.0, np.nan])), "y": ("i", [1, 2])})
    assert differences(ours, ours.copy(deep=True)) == []
    other = ours.copy(deep=True)
    other["x"][0] = np.nextafter(1.0, 2.0)
    assert differences(other, ours) == ["x"]
    assert differences(ours.assign(y=ours["y"].astype(np.uint64)), ours) == ["y"]
    assert differences(ours.drop_vars("y"), ours) == ["y"]


@pytest.mark.parametrize(
    ("status", "words", "clear"),
    [
        (1, "x\nerror: could not write /a/b (File too large); it is left as it was\n", True),
        (1, "Traceback (most recent call last):\nMemoryError: give max_members=3\n", True),
        (1, "Traceback (most recent call last):\nKeyError: 'leaf-0001'\n", False),
        (1, "Traceback (most recent call last):\njax.errors.JaxRuntimeError: INTERNAL\n", False),
        (-6, "error: aborted", False),
        (0, "error: none", False),
        (1, "", False),
    ],
)
def test_a_clear_error_is_told_from_others(status, words, clear):
    assert bool(refusal(Ended(status, "training", words, hung=False))) == clear


def test_hangs_and_crashes_are_problems(tmp_path):
    results_folder(tmp_path).mkdir()
    assert problem(tmp_path, Ended(-9, "training", "", hung=True)) == "hung while training: "
    assert problem(tmp_path, Ended(-11, "training", "", hung=False)).startswith("crashed with signal 11")
    assert problem(tmp_path, Ended(-9, "training", "", hung=False)) == ""


def test_folders_are_kept_only_for_a_reason(tmp_path):
    with kept(tmp_path / "good") as (folder, _):
        assert folder.is_dir()
    assert not folder.exists()
    with kept(tmp_path / "bad") as (folder, keep):
        keep("other bits")
    assert (folder / "why.txt").read_text() == "other bits\n"


def test_a_small_disk_is_full_and_can_be_enlarged(tmp_path):
    with small_disk(tmp_path / "disk", 16) as resize:
        if resize is None:
            pytest.skip("mounting is not permitted here")
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "file").write_bytes(bytes(50_000))
        assert resize(100)
        (tmp_path / "disk" / "file").write_bytes(bytes(50_000))
    assert not (tmp_path / "disk" / "file").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kills": -1}, "kills is -1 and times 5; they must be at least 0"),
        ({"works": ()}, "works is empty"),
    ],
)
def test_bad_settings_are_told(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        faults.run(faults.Config(**options), tmp_path)
