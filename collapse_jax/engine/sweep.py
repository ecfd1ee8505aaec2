"""The engine: a process and named axes in, one compiled and resumable program, labelled results out."""

import hashlib
import importlib.metadata
import json
import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh
from tqdm.std import tqdm

from collapse_jax.engine.axes import Population, make_population
from collapse_jax.engine.checkpoint import Store
from collapse_jax.engine.program import Program, default_mesh, make_program
from collapse_jax.process import Process

_SEGMENTS = 20


def sweep(
    process: Process,
    axes: Mapping[str, Any],
    *,
    directory: str | Path | None = None,
    mesh: Mesh | None = None,
    segment: int | None = None,
    max_members: int | None = None,
    vmap_members: int | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Return the records of every member of a population: the product of `axes`, run as one compiled program.

    `axes` maps names of `process.hyper`, or "seed", to sequences of numbers or to `Axis` records. Members with equal
    seeds share their randomness and compare pairwise. The result has the dimensions of `axes` and the time axis of the
    process (and `diverged`: true from the step on where a member's state is not finite); its attributes tell what ran,
    where, and for how long.

    With a `directory`, the sweep is saved after every `segment` steps (by default a twentieth of all); called again
    after a kill it goes on there and ends bit for bit like an uninterrupted run with the same devices. `max_members`
    bounds how many members are in memory: more run in equal chunks of the same program. On each device of `mesh` (by
    default all there are) `vmap_members` members run side by side (by default all on an accelerator, one after the
    other on a CPU, where activations then stay in the cache and results don't depend on the layout at all).

    Raises ValueError, before anything is compiled or written, for axes that don't fit the process, a bad number, or a
    directory that holds another sweep; OSError for a directory that can't be written. Warns of members that diverged.
    """
    for name, value in (("segment", segment), ("max_members", max_members), ("vmap_members", vmap_members)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 on")
    if not isinstance(process.num_steps, int) or process.num_steps < 1:
        raise ValueError(f"the process has num_steps {process.num_steps!r}; it must be a whole number from 1 on")
    if jax.process_count() > 1:
        raise NotImplementedError(f"sweep runs in one process so far; here are {jax.process_count()}")
    population = make_population(process, axes)
    mesh = mesh or default_mesh()
    segment = min(segment or -(-process.num_steps // _SEGMENTS), process.num_steps)
    segments = -(-process.num_steps // segment)
    # Chunks of one size: a last one that is nearly empty would cost as much as a full one.
    chunk = -(-population.size // -(-population.size // min(max_members or population.size, population.size)))
    if vmap_members is None and mesh.devices.flat[0].platform == "cpu":
        vmap_members = 1

    width = -(-chunk // mesh.size) * mesh.size
    program = make_program(process, population, mesh=mesh, width=width, segment=segment, vmap_members=vmap_members)
    _check_coords(process, population, program)
    config = {
        "axes": {name: labels.tolist() for name, labels in population.labels.items()},
        "steps": process.num_steps,
        "segment": segment,
        "chunk": chunk,
        "vmap_members": vmap_members or "all",
        "platform": mesh.devices.flat[0].platform,
        "jax": jax.__version__,
        "values": _digest(population),
        "program_and_data": program.digest,
    }
    store = Store(Path(directory), config) if directory is not None else None
    try:
        run = _Run(program, population, chunk, segments, segment, store, progress)
        pieces = list(run.pieces())
        compile_seconds, run_seconds, calls = run.compile_seconds, run.run_seconds, 1
        if store:
            compile_seconds, run_seconds, calls = store.add_seconds(compile_seconds, run_seconds)
    finally:
        if store:
            store.close()
    per_chunk = [pieces[i : i + segments] for i in range(0, len(pieces), segments)]
    records = {
        name: np.concatenate([np.concatenate([piece[name] for piece in row], axis=1) for row in per_chunk])
        for name in pieces[0]
    }
    dataset = _label(process, population, records)
    dataset.attrs = {
        "config": json.dumps(config),
        "provenance": json.dumps(
            {
                "members": population.size,
                "chunks": len(per_chunk),
                "segments": segments,
                "vmap_members": vmap_members or "all",
                "programs_compiled": 2 if run.compile_seconds else 0,
                "calls": calls,
                "compile_seconds": round(compile_seconds, 3),
                "run_seconds": round(run_seconds, 3),
                "devices": [device.device_kind for device in mesh.devices.flat],
                "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "xarray")},
                "python": platform.python_version(),
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
        ),
    }
    _report_diverged(population, dataset)
    return dataset


class _Run:
    """The loop over chunks and segments, resumed where the store left off."""

    def __init__(
        self,
        program: Program,
        population: Population,
        chunk: int,
        segments: int,
        segment: int,
        store: Store | None,
        progress: bool,
    ) -> None:
        self.program, self.population, self.store = program, population, store
        self.chunk, self.segments, self.segment = chunk, segments, segment
        self.progress = progress
        self.compile_seconds = self.run_seconds = 0.0

    def pieces(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the records of every segment, chunk by chunk, as (member, step, ...) arrays of real members."""
        starts = range(0, self.population.size, self.chunk)
        done = self.store.position() if self.store else 0
        total = len(starts) * self.segments
        if self.store:
            for position in range(1, done + 1):
                yield self.store.records(position)
        if done == total:
            return
        with tqdm(total=total, initial=done, unit="segment", disable=not self.progress, desc="compiling") as bar:
            bar.refresh()
            self.compile_seconds = self.program.compile()
            bar.set_description(f"{self.population.size} members")
            begin = time.perf_counter()
            for number, start in enumerate(starts):
                if (number + 1) * self.segments > done:
                    for piece in self._chunk(start, number * self.segments, done):
                        yield piece
                        bar.update()
            self.run_seconds = time.perf_counter() - begin

    def _chunk(self, start: int, offset: int, done: int) -> Iterator[dict[str, np.ndarray]]:
        members = np.minimum(np.arange(start, start + self.program.width), self.population.size - 1)
        real = min(self.chunk, self.population.size - start)
        hyper = self.program.place(jax.tree.map(lambda leaf: leaf[members], self.population.hyper))
        state = self.program.init(hyper, self.population.seeds[members])
        first = max(done - offset, 0)
        if first and self.store:
            saved = self.store.restore(done, jax.tree.map(lambda leaf: leaf[:real], state))
            pad = np.minimum(np.arange(self.program.width), real - 1)
            state = self.program.place(jax.tree.map(lambda leaf: leaf[pad], saved))
        for index in range(first, self.segments):
            state, records, finite = self.program.advance(state, hyper, index * self.segment)
            piece = {name: np.asarray(values)[:real] for name, values in records.items()}
            piece["diverged"] = ~np.asarray(finite)[:real]
            if self.store:
                # Nobody goes on from the last segment of a chunk: its records are all that is kept.
                last = index + 1 == self.segments
                kept = () if last else jax.tree.map(lambda leaf: leaf[:real], state)
                self.store.save(offset + index + 1, piece, kept)
            yield piece


def _digest(population: Population) -> str:
    sha = hashlib.sha256(repr({name: labels.tolist() for name, labels in population.labels.items()}).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path((population.hyper, population.seeds)):
        sha.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return sha.hexdigest()


def _label(process: Process, population: Population, records: dict[str, np.ndarray]) -> xr.Dataset:
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


def _check_coords(process: Process, population: Population, program: Program) -> None:
    """Raise ValueError for coordinates that don't fit the results of `program`: better now than after the run."""
    taken = process.coords.keys() & {*population.labels, *program.records, "diverged"}
    if taken:
        raise ValueError(f"coords has {', '.join(sorted(taken))}, already the name of an axis or of a record")
    sizes = {process.time: process.num_steps} | dict(zip(population.labels, population.shape, strict=True))
    for name, entry in program.records.items():
        sizes |= zip(process.dims.get(name, ()), entry.shape, strict=True)
    try:
        lengths = xr.Dataset(coords=process.coords).sizes
    except ValueError as error:
        raise ValueError(f"coords don't fit each other: {error}") from error
    for dim, length in lengths.items():
        if length != sizes.get(str(dim)):
            raise ValueError(f"coords has length {length} along {dim!r}; the results have the lengths {sizes}")


def _report_diverged(population: Population, dataset: xr.Dataset) -> None:
    diverged = dataset["diverged"].to_numpy().reshape(population.size, -1)
    bad = np.flatnonzero(diverged.any(axis=1))
    if bad.size:
        shown = "; ".join(f"{population.describe(int(m))} at step {int(diverged[m].argmax())}" for m in bad[:5])
        more = f" and {bad.size - 5} more" if bad.size > 5 else ""
        warnings.warn(
            f"{bad.size} of {population.size} members are no longer finite, see `diverged`: {shown}{more}", stacklevel=3
        )
