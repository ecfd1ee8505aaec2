"""The engine: a process and named axes in, one compiled and resumable program, labelled results out."""

import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh
from jaxtyping import PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.checks.user_functions import call
from collapse_jax.engine.axes import Population, make_population
from collapse_jax.engine.checkpoint import Store
from collapse_jax.engine.compiler import compiler_options
from collapse_jax.engine.devices import make_mesh
from collapse_jax.engine.labelling import check_coords, joined, label, report_diverged
from collapse_jax.engine.process import Process
from collapse_jax.engine.program import make_program
from collapse_jax.engine.run import Layout, Run, run_population
from collapse_jax.engine.watching import OnSegment, make_report

_SEGMENTS = 20
_TUNED = ".tuned"  # hidden, as it is there before `sweep.json`


class Options(NamedTuple):
    """The options of `sweep`, which say how it runs."""

    directory: str | Path | None
    mesh: Mesh | None
    segment: int | None
    max_members: int | None
    vmap_members: int | None
    progress: bool
    on_segment: OnSegment | None


class Swept(NamedTuple):
    """What a sweep comes to: labelled records, the population, and the final states of each chunk if asked for."""

    records: xr.Dataset
    population: Population
    finals: list[PyTree] | None


@checked
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
    on_segment: OnSegment | None = None,
) -> xr.Dataset:
    """Return the records of every member of a population: the product of all axes, run as one compiled program.

    `axes` maps names of `process.hyper`, or "seed", to numbers, to sequences of them or to `Axis` records; a number
    alone, as in `{"seed": 3}`, is a dimension of length one. The axes that the process carries (`process.axes`, e.g.
    the regimes of a plan) are swept whole unless `axes` names them, with the labels to run:
    `{"regime": ["replace"], "samples": 100}`. Members with equal seeds share their randomness and compare pairwise. The
    result has the dimensions of the carried axes that `axes` doesn't name (if they have several values), then those of
    `axes`, then the time axis of the process; beside the records it has `diverged`, true from the step on where a
    member's state is not finite. Its attributes tell what ran, where, and for how long.

    With a `directory`, the sweep is saved after every `segment` steps (by default a twentieth of all, or up to a tenth
    to divide them); called again after a kill it goes on there and ends in the bits of an uninterrupted run: on as many
    devices of the same kind, and on another number of them if members run one by one and each on one device (otherwise
    up to rounding). Devices of another kind round differently and are refused. A GPU is told to add in one order, and
    the directory keeps which kernels it chose; without one, runs may choose others and agree up to rounding. Ctrl-C and
    SIGTERM let the segment end and be saved. `max_members` bounds how many members are in memory: more run in equal
    chunks of the same program; by default as many as fit the devices.

    `on_segment(segment)` is called with the labelled records of every finished segment (`cj.engine.Segment`), outside
    the compiled program, once what there is to save of it is saved; a sweep that goes on hands out first what its
    directory has. If it raises, the sweep stops there. The logger `collapse_jax` tells of every segment, too, at the
    level INFO.

    `mesh` is `cj.engine.make_mesh()` by default, all devices of all processes; in several processes, each calls `sweep`
    with the same arguments, writes its part to the common directory and gets the whole result. On each device
    `vmap_members` members run side by side (by default all on an accelerator, one after the other on a CPU, where
    activations then stay in the cache, and a member has the same bits alone and in any population, chunk and number of
    devices).

    Raises ValueError, before anything is compiled or written, for axes that don't fit the process, a bad number, or a
    directory that holds another sweep; OSError for a directory that can't be written or is in use by another run;
    MemoryError, naming what fits, for a population that the devices can't hold. Warns of members that diverged, and of
    damaged files, whose content is computed again.
    """
    options = Options(
        directory=directory,
        mesh=mesh,
        segment=segment,
        max_members=max_members,
        vmap_members=vmap_members,
        progress=progress,
        on_segment=on_segment,
    )
    return run_sweep(process, axes, options, finals=False).records


def run_sweep(process: Process, axes: Mapping[str, Any], options: Options, *, finals: bool) -> Swept:
    """Return what a sweep with the options of `sweep` comes to, with its members' final states if `finals`."""
    directory, mesh, segment = options.directory, options.mesh, options.segment
    max_members, vmap_members = options.max_members, options.vmap_members
    for name, value in (("segment", segment), ("max_members", max_members), ("vmap_members", vmap_members)):
        if value is not None:
            numbers.whole(name, value, 1)
    # NumPy's whole numbers are taken too, but what describes a sweep on disk holds Python's.
    max_members, vmap_members = (None if one is None else int(one) for one in (max_members, vmap_members))
    if not isinstance(process.num_steps, int) or process.num_steps < 1:
        raise ValueError(f"the process has num_steps {process.num_steps!r}; it must be a whole number from 1 on")
    population = make_population(process, axes)
    mesh = mesh or make_mesh()
    segment = min(int(segment or _default_segment(process.num_steps)), process.num_steps)
    if vmap_members is None and mesh.devices.flat[0].platform == "cpu":
        vmap_members = 1
    tuned = Path(directory).absolute() / _TUNED if directory is not None else None
    compiler = compiler_options(mesh.devices.flat[0].platform, tuned)
    program = make_program(process, population, mesh=mesh, segment=segment, vmap_members=vmap_members, options=compiler)
    check_coords(process, population, program.records)
    if finals and process.learned is not None:
        # Before the run: what is wrong with it would else be said when the work is done.
        jax.eval_shape(partial(call, "learned of the process", process.learned), program.state)
    layout = Layout(population.size, process.num_steps, segment, mesh)
    report = make_report(process, population, layout, options.on_segment)
    config = {
        "axes": {name: labels.tolist() for name, labels in population.labels.items()},
        "steps": process.num_steps,
        "segment": segment,
        "vmap_members": vmap_members or "all",
        "platform": _platform(mesh),
        "jax": jax.__version__,
        "values": _digest(population),
        "program_and_data": program.digest,
    }
    store = Store(Path(directory), config) if directory is not None else None
    try:
        run = run_population(
            program,
            layout,
            store,
            max_members=max_members,
            finals=finals,
            progress=options.progress,
            report=report,
        )
    finally:
        if store:
            store.close()
    dataset = label(process, population, joined(run.pieces, layout.segments))
    dataset.attrs = {
        "config": json.dumps(config | {"chunk": run.chunk}),
        "provenance": json.dumps(_provenance(run, layout, vmap_members)),
    }
    report_diverged(population, dataset)
    return Swept(dataset, population, run.finals)


def _default_segment(steps: int) -> int:
    """Return a twentieth of the steps, or more, up to a tenth, if that divides them: no segment is then cut short."""
    least = -(-steps // _SEGMENTS)
    return next((segment for segment in range(least, 2 * least + 1) if steps % segment == 0), least)


def _platform(mesh: Mesh) -> str:
    """Return what the bits of a result depend on: the platform, and the kind of its devices if there are several."""
    platform = mesh.devices.flat[0].platform
    kinds = {device.device_kind for device in mesh.devices.flat} - {platform}
    return " ".join([platform, *sorted(kinds)])


def _provenance(run: Run, layout: Layout, vmap_members: int | None) -> dict[str, Any]:
    return {
        "members": layout.members,
        "chunks": len(run.pieces) // layout.segments,
        "segments": layout.segments,
        "vmap_members": vmap_members or "all",
        "programs_compiled": run.programs_compiled,
        "calls": run.calls,
        "compile_seconds": round(run.compile_seconds, 3),
        "run_seconds": round(run.run_seconds, 3),
        "memory": run.memory,
        "devices": [device.device_kind for device in layout.mesh.devices.flat],
        "processes": jax.process_count(),
        "mesh": dict(layout.mesh.shape),
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "xarray")},
        "python": platform.python_version(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _digest(population: Population) -> str:
    sha = hashlib.sha256(repr({name: labels.tolist() for name, labels in population.labels.items()}).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path((population.hyper, population.seeds)):
        sha.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return sha.hexdigest()
