"""Results on disk: the same labelled arrays come back, and a folder stands for a configuration."""

import dataclasses
import json
import resource
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

from collapse_jax.engine import sweep
from collapse_jax.io import results
from tests.walks import make_walk, walk_axes


@dataclasses.dataclass(frozen=True)
class Part:
    depth: int = 2


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = 100
    rate: float = 0.1
    utilities: tuple[str, ...] = ("log", "linear")
    part: Part = Part()


@pytest.fixture
def dataset():
    return xr.Dataset(
        {
            "loss": (("utility", "seed"), np.arange(6.0, dtype=np.float32).reshape(2, 3)),
            "diverged": (("utility", "seed"), np.array([[True, False, False], [False, True, True]])),
            "count": (("seed",), np.array([1, 2, 3], np.int32)),
            "gap": (("seed",), np.array([np.nan, np.inf, -0.0])),
        },
        {"utility": ["log", "σ"], "seed": [3, 5, 8], "kind": ("seed", ["a", "b", "c"])},
        {"provenance": json.dumps({"members": 6}), "note": "kept"},
    )


def test_save_and_load_give_back_the_same_arrays_labels_and_attributes(tmp_path, dataset):
    path = results.save(dataset, tmp_path / "new" / "folder")
    assert path.parent == tmp_path / "new" / "folder"
    again = results.load(tmp_path / "new" / "folder")
    xr.testing.assert_identical(again, dataset)
    for name in dataset.data_vars:
        assert again[name].dtype == dataset[name].dtype, name
    assert again["loss"].sel(utility="σ", seed=5) == 4
    assert json.loads((path.parent / "provenance.json").read_text()) == {"members": 6}
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["provenance.json", "results.nc"]


# What netCDF 3 has no type for, and what it might change: each as a variable and as a coordinate.
VALUES = {
    "bool": np.array([True, False]),
    "int8": np.array([-1, 2], np.int8),
    "int32": np.array([1, -(2**31)], np.int32),
    "int64": np.array([1, 2]),
    "large": np.array([1, 2**53]),
    "negative": np.array([-(2**40), 2]),
    "uint8": np.array([0, 255], np.uint8),
    "uint32": np.array([0, 2**32 - 1], np.uint32),
    "uint64": np.array([0, 2**53], np.uint64),
    "float16": np.array([0.1, 65504], np.float16),
    "float32": np.array([0.1, np.inf], np.float32),
    "float64": np.array([-0.0, 0.1]),
    "text": np.array(["σ, longer", ""]),
    "time": np.array(["2020-01-01", "2026-11-28T01:02:03"], "datetime64[ns]"),
}


@pytest.fixture
def without_h5netcdf(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5netcdf", None)


@pytest.mark.usefixtures("without_h5netcdf")
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_without_h5netcdf_the_same_numbers_come_back_in_the_same_type(tmp_path, values):
    coords = {"label": ("x", values), "scalar": values[1]}
    if values.dtype != np.float16:  # of which pandas has no index
        coords["x"] = values
    dataset = xr.Dataset({"variable": ("x", values, {"note": "kept"})}, coords, {"n": 2})
    results.save(dataset, tmp_path)
    again = results.load(tmp_path)
    xr.testing.assert_identical(again, dataset)
    for name in dataset.variables:
        if values.dtype.kind != "U":
            assert again[name].dtype == dataset[name].dtype, name


@pytest.mark.usefixtures("without_h5netcdf")
def test_without_h5netcdf_results_are_saved_and_loaded(tmp_path, dataset):
    swept = sweep(make_walk(3), walk_axes(2), progress=False)
    for number, one in enumerate((dataset, swept)):
        for _ in range(2):
            path = results.save(one, tmp_path / str(number))
            again = results.load(path.parent)
            xr.testing.assert_identical(again, one)
            one = again
        assert path.read_bytes()[:3] == b"CDF"


@pytest.mark.usefixtures("without_h5netcdf")
@pytest.mark.parametrize("values", [[2**53 + 1], [-(2**53) - 1], [1j], []])
def test_without_h5netcdf_what_would_change_is_refused(tmp_path, values):
    with pytest.raises(ValueError, match=r"count .*netCDF 3 can't hold; .* pip install h5netcdf"):
        results.save(xr.Dataset({"count": ("x", np.array(values))}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_either_kind_of_file_is_read_where_h5netcdf_is_installed(tmp_path, dataset, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "h5netcdf", None)
        results.save(dataset, tmp_path)
    xr.testing.assert_identical(results.load(tmp_path), dataset)


def test_a_netcdf_4_file_names_the_package_that_reads_it(tmp_path, dataset, monkeypatch):
    path = results.save(dataset, tmp_path)
    assert path.read_bytes()[1:4] == b"HDF"
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package h5netcdf, .* pip install h5netcdf"):
        results.load(tmp_path)


def test_what_a_sweep_returns_can_be_saved_again_and_again(tmp_path):
    dataset = sweep(make_walk(3), walk_axes(2), progress=False)
    for _ in range(2):
        results.save(dataset, tmp_path)
        dataset = results.load(tmp_path)
    assert json.loads((tmp_path / "provenance.json").read_text())["members"] == 6
    assert dataset["positive"].dtype == bool
    assert dataset["place"].sel(rate="fast", seed=1).dims == ("step", "coordinate")


def test_loaded_results_outlive_their_file(tmp_path, dataset):
    path = results.save(dataset, tmp_path)
    again = results.load(tmp_path)
    path.unlink()
    xr.testing.assert_identical(again, dataset)


def test_missing_results_are_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        results.load(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_a_full_disk_leaves_the_old_results_and_names_the_file(tmp_path, dataset):
    path = results.save(dataset, tmp_path)
    larger = dataset.assign(big=(("utility", "seed", "item"), np.ones((2, 3, 50_000))))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="could not write") as caught:
            results.save(larger, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in str(caught.value)
    xr.testing.assert_identical(results.load(tmp_path), dataset)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["provenance.json", "results.nc"]
    results.save(larger, tmp_path)
    xr.testing.assert_identical(results.load(tmp_path), larger)


def test_equal_configurations_share_a_folder_and_others_do_not(tmp_path):
    configs = [
        Config(),
        Config(steps=200),
        Config(rate=0.2),
        Config(rate=np.nextafter(0.1, 1)),
        Config(utilities=("linear", "log")),
        Config(part=Part(3)),
    ]
    folders = [results.folder(tmp_path, "study", config) for config in configs]
    assert len(set(folders)) == len(configs)
    assert [results.folder(str(tmp_path), "study", dataclasses.replace(config)) for config in configs] == folders
    assert results.folder(tmp_path, "other", Config()) != folders[0]
    assert all(path.parent == tmp_path / "study" for path in folders)


def test_a_folder_says_what_it_stands_for(tmp_path):
    path = results.folder(tmp_path, "study", Config())
    content = json.loads((path / "config.json").read_text())
    assert content == {"steps": 100, "rate": 0.1, "utilities": ["log", "linear"], "part": {"depth": 2}}


def test_of_several_that_enter_at_once_none_is_lost(tmp_path):
    folders = [results.folder(tmp_path, f"study-{i % 3}", Config(steps=i)) for i in range(12)]
    with ThreadPoolExecutor(12) as pool:
        files = list(pool.map(lambda folder: results.enter(folder, {"steps": folder.name}), folders))
    assert set(files) == {tmp_path / "index.tsv"}
    _, *lines = (tmp_path / "index.tsv").read_text().splitlines()
    assert sorted(line.split("\t")[2] for line in lines) == sorted(str(path.relative_to(tmp_path)) for path in folders)
    assert lines == sorted(lines)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["index.tsv"]


def test_an_entry_that_comes_while_the_index_is_written_is_not_lost(tmp_path, monkeypatch):
    first, second = (results.folder(tmp_path, "study", Config(steps=steps)) for steps in (1, 2))
    write = results.write_atomically

    def write_late(path, fill):
        # Another process enters its own, whole, between our reading of the entries and our writing of the index.
        monkeypatch.setattr(results, "write_atomically", write)
        results.enter(second, {"steps": 2})
        write(path, fill)

    monkeypatch.setattr(results, "write_atomically", write_late)
    results.enter(first, {"steps": 1})
    _, *lines = (tmp_path / "index.tsv").read_text().splitlines()
    assert sorted(line.split("\t")[3] for line in lines) == ["steps=1", "steps=2"]
