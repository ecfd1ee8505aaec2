"""How much work a second: one member, and the most members that fit, beside the same members one after another."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import collapse_jax as cj
from collapse_jax.engine.axes import make_population
from collapse_jax.engine.compiler import compiler_options
from collapse_jax.engine.memory import capacity, fitting, is_out_of_memory
from collapse_jax.engine.program import Compiled, Program, make_program
from experiments.benchmark.accelerator_report import ONE_BY_ONE
from experiments.benchmark.roofline import LIMITS, bound
from experiments.benchmark.stages import Row, Values, ceilings
from experiments.benchmark.stages.works import Work, works
from experiments.benchmark.workloads import Workload, whole_member

ONE, MOST = "P = 1", "most members"


def rows(small: bool, folder: Path) -> list[Row]:
    """Return two rows for each piece of work, and one for Kazdan's grid."""
    found = []
    for work in works(small):
        found.append(Row(f"{work.name}, {ONE}", work.seconds, partial(_one, work, folder, small)))
        found.append(Row(f"{work.name}, {MOST}", work.seconds, partial(_most, work, folder, small)))
    return [*found, Row("Kazdan's grid", 240.0, partial(_grid, folder, small))]


def _one(work: Work, folder: Path, small: bool) -> Values:
    """Return the rates of one member, as a population of one and as a jitted function."""
    given = work.make(1)
    found = _timed(work, given, program_of(given.process, 1, given.vmap_members), 1, folder, small)
    if work.dtype == "bfloat16":  # large: to compile it again would take the time of other rows
        return {**found, ONE_BY_ONE: found["a second"]}
    member = jax.jit(lambda seed: whole_member(given.process, seed)).lower(jnp.uint32(0)).compile()
    jax.block_until_ready(member(jnp.uint32(0)))
    alone = _rates(given.units, lambda: jax.block_until_ready(member(jnp.uint32(1))), small)
    return {**found, ONE_BY_ONE: alone}


def _most(work: Work, folder: Path, small: bool) -> Values:
    """Return the rates of the most members that fit, halved as often as the memory doesn't suffice."""
    given = work.make(work.most)
    program = program_of(given.process, work.most, given.vmap_members)
    results = given.process.num_steps * program.record_bytes * work.most
    fits = most_that_fit(program, work.few, capacity(cj.engine.make_mesh(), results)[0])
    members = max(min(fits, work.most), 1)
    ended = ""
    while True:
        try:
            # The units are those of many members: one alone would be given more steps.
            less = work.make(members)._replace(units=given.units)
            found = _timed(work, less, program, members, folder, small)
            break
        except jax.errors.JaxRuntimeError as error:
            if members == 1 or not is_out_of_memory(error):
                raise
        ended += f"out of memory with {members}; "
        members //= 2
    return {"fit, as predicted": float(fits), **found, **({"note": ended} if ended else {})}


def program_of(process: cj.engine.Process, members: int, vmap_members: int | None = None) -> Program:
    """Return the program that `sweep` would compile for a population, in one segment."""
    return make_program(
        process,
        make_population(process, {"seed": range(members)}),
        mesh=cj.engine.make_mesh(),
        segment=process.num_steps,
        vmap_members=(vmap_members or 1) if jax.default_backend() == "cpu" else None,
        options=compiler_options(jax.default_backend(), None),
    )


def most_that_fit(program: Program, few: tuple[int, int], free: int) -> int:
    """Return how many members fit `free` bytes a device, as `sweep` predicts it: from what XLA plans for a few."""
    parts = len(jax.devices())
    low, high = ((one, program.compile(one * parts).memory or 1) for one in few)
    return fitting(free, low, high) * parts


def _timed(work: Work, given: Workload, program: Program, members: int, folder: Path, small: bool) -> Values:
    """Return the rates of a population, their shares of what the device allows, and its memory."""
    begin = time.perf_counter()
    width = -(-members // len(jax.devices())) * len(jax.devices())
    compiled = program.compile(width)
    compile_seconds = time.perf_counter() - begin
    before = _peak()
    run(compiled, members)
    rates = _rates(members * given.units, lambda: run(compiled, members), small)
    peak = _peak()
    values: dict[str, str | float | list[float]] = {"members": float(members), "unit": given.unit, "a second": rates}
    machine = ceilings.read(folder, work.dtype)
    if machine is not None:
        binds, allowed = bound(given.takes, machine)
        values["share of its bound, %"] = [100 * rate / allowed for rate in rates]
        values["bound by"] = LIMITS[binds]
        if given.takes.operations:
            values["share of products (MFU), %"] = [
                100 * rate * given.takes.operations / machine.operations for rate in rates
            ]
    if compiled.memory is not None:
        values["predicted, MiB"] = compiled.memory / 2**20
    if peak > before:
        # The highest so far of this process: what a smaller row took isn't told.
        values["used at most, MiB"] = peak / 2**20
    return {**values, "compile seconds": compile_seconds}


def run(compiled: Compiled, members: int) -> Any:
    """Run a population from its beginning to its records, on the host."""
    hyper, seeds = compiled.place(np.minimum(np.arange(compiled.width), members - 1))
    _, records, finite = compiled.advance(compiled.init(hyper, seeds), hyper, 0)
    return jax.device_get((records, finite))


def _rates(units: float, work: Callable[[], Any], small: bool) -> list[float]:
    """Return units a second, of five repeats or of as many as take some seconds."""
    found: list[float] = []
    begin = time.perf_counter()
    while len(found) < 2 or (len(found) < 5 and time.perf_counter() - begin < (0.2 if small else 5.0)):
        start = time.perf_counter()
        work()
        found.append(units / (time.perf_counter() - start))
    return found


def _peak() -> int:
    return int((jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0))


def _grid(folder: Path, small: bool) -> Values:
    """Return the seconds of the whole grid of Kazdan et al., compilation and all."""
    from experiments import recursion_gaussian as grid

    config = grid.Config(progress=False)
    if small:
        config = replace(config, dims=(1,), samples=(10,), seeds=4, generations=4)
    begin = time.perf_counter()
    dataset = grid.run(config, folder / f"grid-{time.time_ns()}")
    seconds = time.perf_counter() - begin
    models = float(np.prod([dataset.sizes[axis] for axis in ("dim", "regime", "samples", "seed", "generation")]))
    return {"members": models / config.generations, "unit": "generations", "a second": [models / seconds]}
