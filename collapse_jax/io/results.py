"""Results on disk: labelled arrays beside the configuration that made them, in a folder named after it."""

import dataclasses
import hashlib
import importlib.util
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.io.files import make_writable, write_atomically, write_json
from collapse_jax.packages import require

_RESULTS = "results.nc"
_CONFIG = "config.json"
_ENTRY = "entry.json"
_INDEX = "index.tsv"
_HDF5 = b"\x89HDF"
# The types in which netCDF 3 stores those that it lacks, the narrower first; an attribute tells the original type.
_STORED_AS = {"i": (np.int32, np.float64), "u": (np.int32, np.float64), "f": (np.float32,)}
_TYPE = "type_in_memory"


def folder(root: str | Path, experiment: str, config: Any, *, create: bool = True) -> Path:
    """Return <root>/<experiment>/<fingerprint of config>, by default created, with `config.json` in it.

    `config` is a dataclass of plain values and paths. Equal configurations share a folder, unequal ones never do.
    Raises TypeError for a value that JSON can't hold.
    """
    text = as_text(config)
    path = Path(root) / experiment / hashlib.sha256(text.encode()).hexdigest()[:12]
    if create and not (make_writable(path) / _CONFIG).exists():
        write_json(path / _CONFIG, json.loads(text))
    return path


@contextmanager
def nothing_left(directory: Path) -> Iterator[None]:
    """Remove a folder of results, and those above it, that were made within this context, if it raises before a file.

    `config.json` isn't counted as one: it is there before a run has begun.
    """
    made = [path for path in (directory, directory.parent, directory.parent.parent) if not path.exists()]
    try:
        yield
    except BaseException:
        if directory in made and not any(path.is_file() and path.name != _CONFIG for path in directory.rglob("*")):
            below = sorted((path for path in directory.rglob("*") if path.is_dir()), reverse=True)
            (directory / _CONFIG).unlink(missing_ok=True)
            for path in (*below, *made):
                with suppress(OSError):  # It isn't empty: another run has written there.
                    path.rmdir()
        raise


def enter(directory: Path, settings: Mapping[str, Any]) -> Path:
    """Enter a folder that `folder` returned into `index.tsv`, beside those of all experiments; return that file.

    It has a line a folder, by experiment and date: when its results were last saved (UTC), its path, and `settings`,
    by which it differs from a run without any. Several processes may enter at the same time. A line goes when its
    folder does, at the next entry.
    """
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_json(directory / _ENTRY, {"date": date, "settings": {name: str(one) for name, one in settings.items()}})
    root = directory.parent.parent
    index, written = root / _INDEX, ""
    # Whoever writes last has read all entries that were there before: what came in the meantime is written once more.
    while (lines := _index_lines(root)) != written:
        write_atomically(index, lambda temporary: temporary.write_text(lines, encoding="utf-8"))
        written = lines
    return index


def _index_lines(root: Path) -> str:
    rows = []
    for file in root.glob(f"*/*/{_ENTRY}"):
        with suppress(FileNotFoundError, ValueError):  # The folder is just being removed, or somebody else's.
            entry = json.loads(file.read_text())
            settings = " ".join(" ".join(f"{name}={value}".split()) for name, value in entry["settings"].items())
            rows.append((file.parent.parent.name, entry["date"], str(file.parent.relative_to(root)), settings))
    return "".join("\t".join(row) + "\n" for row in [("experiment", "date", "folder", "settings"), *sorted(rows)])


def as_text(config: Any) -> str:
    """Return a configuration, a dataclass of plain values and paths, as JSON: equal ones as equal texts.

    Raises TypeError for a value that JSON can't hold.
    """
    return json.dumps(dataclasses.asdict(config), sort_keys=True, default=_plain)


def save(dataset: xr.Dataset, directory: str | Path) -> Path:
    """Write a dataset, whole or not at all, to `directory` as netCDF, with its provenance as JSON; return the file.

    The file is netCDF 4, or netCDF 3 where the package h5netcdf is not installed. Raises ValueError for what netCDF 3
    can't hold then: whole numbers beyond 2^53, complex numbers, and axes of length 0.
    """
    directory = make_writable(Path(directory))
    path = directory / _RESULTS
    # Through memory: HDF5 that fails to flush to a full disk crashes the interpreter later, when its handles are freed.
    # The view is released here, since a buffer collected before its views complains.
    with _encoded(dataset) as content:
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    if "provenance" in dataset.attrs:
        write_json(directory / "provenance.json", json.loads(dataset.attrs["provenance"]))
    return path


def load(directory: str | Path) -> xr.Dataset:
    """Return the dataset saved in `directory`, in memory.

    Raises FileNotFoundError if there is none, ValueError for a damaged file, and ModuleNotFoundError for a netCDF 4
    file where the package h5netcdf is not installed.
    """
    path = Path(directory) / _RESULTS
    if not path.exists():
        raise FileNotFoundError(f"no results in {directory}: run the experiment first, without --plot-only")
    with path.open("rb") as file:
        is_hdf5 = file.read(len(_HDF5)) == _HDF5
    if is_hdf5:
        require("h5netcdf", f"reading {path}")
    try:
        if is_hdf5:
            return xr.load_dataset(path, engine="h5netcdf")
        # Through memory, because SciPy's reader would keep the file open as a memory map.
        return _each(_widen, xr.load_dataset(io.BytesIO(path.read_bytes()), engine="scipy"))
    except Exception as error:  # HDF5 and its readers raise whatever they stumble over.
        raise ValueError(f"{path} is damaged ({error}); remove it and run the experiment again") from error


def _encoded(dataset: xr.Dataset) -> memoryview:
    """Return the bytes of the newest kind of netCDF file that can be written here."""
    if importlib.util.find_spec("h5netcdf"):
        return dataset.to_netcdf(engine="h5netcdf")
    return _each(_narrow, dataset).to_netcdf(engine="scipy")


def _each(change: Callable[[Any, xr.Variable], xr.Variable], dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with each of its variables changed, coordinates too."""
    changed = {name: change(name, variable) for name, variable in dataset.variables.items()}
    coords = {name: changed.pop(name) for name in dataset.coords}
    return xr.Dataset(changed, coords, dataset.attrs)


def _narrow(name: Any, variable: xr.Variable) -> xr.Variable:
    """Return a variable in a type that netCDF 3 has, from which `_widen` gives the same numbers in the same type."""
    if not variable.size:
        raise ValueError(f"{name} is empty, which netCDF 3 can't hold; netCDF 4 can: pip install h5netcdf")
    if variable.dtype.kind not in "iufc" or variable.dtype in (np.int8, np.int16, np.int32, np.float32, np.float64):
        return variable
    for dtype in _STORED_AS.get(variable.dtype.kind, ()):
        if _holds(dtype, variable.values):
            attributes = {**variable.attrs, _TYPE: variable.dtype.name}
            return xr.Variable(variable.dims, variable.values.astype(dtype), attributes)
    raise ValueError(
        f"{name} holds {variable.dtype} numbers that netCDF 3 can't hold; netCDF 4 can: pip install h5netcdf"
    )


def _holds(dtype: Any, values: np.ndarray) -> bool:
    """Return whether a type holds such numbers exactly."""
    if values.dtype.kind == "f":
        return bool(np.can_cast(values.dtype, dtype))
    low, high = int(values.min()), int(values.max())
    largest = np.iinfo(dtype).max if np.dtype(dtype).kind == "i" else 2**53
    return -largest <= low and high <= largest


def _widen(name: Any, variable: xr.Variable) -> xr.Variable:
    """Return a variable in the type that it had before it was narrowed."""
    attributes = dict(variable.attrs)
    values = variable.values.astype(attributes.pop(_TYPE)) if _TYPE in attributes else variable.values
    return xr.Variable(variable.dims, values, attributes)


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a configuration holds plain values, not {value!r}")
