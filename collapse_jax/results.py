"""Results on disk: labelled arrays beside the configuration that made them, in a folder named after it."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import xarray as xr

from collapse_jax.files import make_writable, write_atomically, write_json

_RESULTS = "results.nc"


def folder(root: str | Path, experiment: str, config: Any, *, create: bool = True) -> Path:
    """Return <root>/<experiment>/<fingerprint of config>, by default created, with `config.json` in it.

    `config` is a dataclass of plain values and paths. Equal configurations share a folder, unequal ones never do.
    Raises TypeError for a value that JSON can't hold.
    """
    text = json.dumps(dataclasses.asdict(config), sort_keys=True, default=_plain)
    path = Path(root) / experiment / hashlib.sha256(text.encode()).hexdigest()[:12]
    if create and not (make_writable(path) / "config.json").exists():
        write_json(path / "config.json", json.loads(text))
    return path


def save(dataset: xr.Dataset, directory: str | Path) -> Path:
    """Write a dataset, whole or not at all, to `directory` as netCDF, with its provenance as JSON; return the file."""
    directory = make_writable(Path(directory))
    path = directory / _RESULTS
    # Through memory: HDF5 that fails to flush to a full disk crashes the interpreter later, when its handles are freed.
    # The view is released here, since a buffer collected before its views complains.
    with dataset.to_netcdf(engine="h5netcdf") as content:
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    if "provenance" in dataset.attrs:
        write_json(directory / "provenance.json", json.loads(dataset.attrs["provenance"]))
    return path


def load(directory: str | Path) -> xr.Dataset:
    """Return the dataset saved in `directory`, in memory.

    Raises FileNotFoundError if there is none, ValueError for a damaged file.
    """
    path = Path(directory) / _RESULTS
    if not path.exists():
        raise FileNotFoundError(f"no results in {directory}: run the experiment first, without --plot-only")
    try:
        return xr.load_dataset(path, engine="h5netcdf")
    except Exception as error:  # HDF5 and its readers raise whatever they stumble over.
        raise ValueError(f"{path} is damaged ({error}); remove it and run the experiment again") from error


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a configuration holds plain values, not {value!r}")
