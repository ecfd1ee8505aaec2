"""Names for numbers: the results of a sweep by the axes of its population and the coordinates of its process."""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from collapse_jax.engine.axes import Population
from collapse_jax.engine.process import Process


def joined(pieces: list[dict[str, np.ndarray]], segments: int) -> dict[str, np.ndarray]:
    """Return the records of all members and steps, (member, step, ...), of pieces: so many segments of each chunk."""
    per_chunk = [pieces[i : i + segments] for i in range(0, len(pieces), segments)]
    return {
        name: np.concatenate([np.concatenate([piece[name] for piece in row], axis=1) for row in per_chunk])
        for name in pieces[0]
    }


def label(process: Process, population: Population, records: dict[str, np.ndarray]) -> xr.Dataset:
    """Return the records of all members and steps, (member, step, ...), with the axes and coordinates by name."""
    names = tuple(population.labels)
    variables = {
        name: (
            (*names, process.time, *process.dims.get(name, ())),
            values[:, : process.num_steps].reshape(*population.shape, process.num_steps, *values.shape[2:]),
        )
        for name, values in records.items()
    }
    coords: dict[str, Any] = {process.time: np.arange(process.num_steps), **process.coords, **population.labels}
    return xr.Dataset(variables, coords)


def check_coords(process: Process, population: Population, records: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """Raise ValueError for coordinates that don't fit the results: better now than after the run.

    `records` holds the shapes of one step's records.
    """
    taken = process.coords.keys() & {*population.labels, *records, "diverged"}
    if taken:
        raise ValueError(f"coords has {', '.join(sorted(taken))}, already the name of an axis or of a record")
    sizes = {process.time: process.num_steps} | dict(zip(population.labels, population.shape, strict=True))
    for name, entry in records.items():
        sizes |= zip(process.dims.get(name, ()), entry.shape, strict=True)
    try:
        lengths = xr.Dataset(coords=process.coords).sizes
    except ValueError as error:
        raise ValueError(f"coords don't fit each other: {error}") from error
    for name in process.coords:
        if name in sizes and xr.Dataset(coords=process.coords)[name].dims != (name,):
            raise ValueError(f"coords[{name!r}] must lie along {name!r}, as the results have an axis of that name")
    for dim, length in lengths.items():
        if length != sizes.get(str(dim)):
            raise ValueError(f"coords has length {length} along {dim!r}; the results have the lengths {sizes}")


def report_diverged(population: Population, dataset: xr.Dataset) -> None:
    """Warn of members whose state did not stay finite, by their labels and the step at which it was first seen."""
    diverged = dataset["diverged"].to_numpy().reshape(population.size, -1)
    bad = np.flatnonzero(diverged.any(axis=1))
    if bad.size:
        shown = "; ".join(f"{population.describe(int(m))} at step {int(diverged[m].argmax())}" for m in bad[:5])
        more = f" and {bad.size - 5} more" if bad.size > 5 else ""
        warnings.warn(
            f"{bad.size} of {population.size} members are no longer finite, see `diverged`: {shown}{more}", stacklevel=5
        )
