"""Sweeps compiled for an accelerator that is described rather than there, and what their programs say.

Import it after `experiments.benchmark.ahead` has prepared the environment: JAX reads it when it starts.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, SingleDeviceSharding

from collapse_jax.engine.devices import POPULATION
from collapse_jax.engine.memory import is_out_of_memory
from collapse_jax.engine.program import Program
from collapse_jax.engine.run import Layout, Run
from experiments.benchmark import hlo, hlo_text
from experiments.shared.programs import SWEEP, zeros


class Target(NamedTuple):
    """A kind of device: the name of its platform, what bounds its kernels, its memory in bytes, its description."""

    platform: str
    bounds: hlo.Device
    memory: int
    describe: Callable[[], Any]


class Reading(NamedTuple):
    """What the programs of one sweep, or one jitted function, say.

    `turns` and `kernels`, `bytes` and `seconds` are of the loop that the larger program is about, `whole` the seconds
    of all of it: a segment of a sweep. `memory` is planned on the device, in bytes, None where the compiler refused as
    it isn't enough. `scatters` and `loops` are hazards: floating-point numbers added up by atomic operations, and loops
    of unknown length, by the lines that ask for them.
    """

    name: str
    members: int
    compile_seconds: float
    turns: int | None
    kernels: int
    bytes: float
    seconds: float
    whole: float
    memory: int | None
    scatters: tuple[str, ...]
    loops: tuple[str, ...]


def _h100() -> Any:
    text = Path(__file__).with_name("h100.txtpb").read_text()
    return topologies.get_topology_desc("", platform="cuda", topology="1x1x1", target_config=text).devices[0]


def _v5e() -> Any:
    return topologies.get_topology_desc("v5e:2x2", platform="tpu").devices[0]


# A launch and the copy bandwidth seen on an H100. A TPU runs a program by itself, without launches.
TARGETS = {
    "h100": Target("gpu", hlo.Device(2.5e-6, 3e12), 80 * 10**9, _h100),
    "v5e": Target("tpu", hlo.Device(0.0, 819e9), 16 * 10**9, _v5e),
}


@contextmanager
def compiled_ahead(target: Target) -> Iterator[list[Reading]]:
    """Let sweeps compile for a target meanwhile, and return zeros; yield the list of their readings, which grows.

    A sweep goes the engine's own way up to where it would run: its mesh is one device of the target.
    """
    readings: list[Reading] = []
    mesh = Mesh(np.array([target.describe()]), (POPULATION,))

    def run(program: Program, layout: Layout, store: object, **_: Any) -> Run:
        lowered = program.lower(layout.members)
        readings.append(read("sweep", layout.members, lowered.compile, target))
        return zeros(program, layout)

    with (
        mock.patch.object(SWEEP, "make_mesh", return_value=mesh),
        mock.patch.object(SWEEP, "run_population", run),
        asked_as(target),
    ):
        yield readings


@contextmanager
def asked_as(target: Target) -> Iterator[None]:
    """Let `jax.default_backend()` name the target: code that asks would else take the way meant for a CPU."""
    with mock.patch.object(jax, "default_backend", return_value=target.platform):
        yield


def jitted_ahead(fn: Callable[..., Any], target: Target, readings: list[Reading]) -> Callable[..., Any]:
    """Return what stands for `jax.jit(fn)`: when called it compiles for a target, reads that, and returns zeros."""
    sharding = SingleDeviceSharding(target.describe())

    def call(*args: Any) -> Any:
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), args)
        lowered = jax.jit(fn, out_shardings=sharding).lower(*shapes)
        readings.append(read(getattr(fn, "__name__", "function"), 1, lambda: [lowered.compile()], target))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fn, *args))

    return call


def read(name: str, members: int, compile_all: Callable[[], Sequence[jax.stages.Compiled]], target: Target) -> Reading:
    """Compile the programs of a sweep for a target; return what they say."""
    begin = time.perf_counter()
    try:
        compiled = compile_all()
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        spent = time.perf_counter() - begin
        return Reading(name, members, spent, None, 0, np.inf, np.inf, np.inf, None, (), ())
    spent = time.perf_counter() - begin
    modules = [hlo_text.parse(one.as_text() or "") for one in compiled]
    largest = max(modules, key=lambda module: hlo.whole(module, target.bounds).kernels)
    turn = hlo.step(largest, target.bounds)
    return Reading(
        name,
        members,
        spent,
        turn.turns,
        int(turn.cost.kernels),
        turn.cost.bytes,
        turn.cost.seconds,
        hlo.whole(largest, target.bounds).seconds,
        max(_planned(one) for one in compiled),
        _places(modules, hlo.scatter_adds),
        _places(modules, hlo.unknown_loops),
    )


def _planned(compiled: jax.stages.Compiled) -> int:
    plan = compiled.memory_analysis()
    if plan is None:
        raise ValueError("the compiler doesn't tell what memory it planned")
    arguments, results = plan.argument_size_in_bytes, plan.output_size_in_bytes - plan.alias_size_in_bytes
    return int(arguments + results + plan.temp_size_in_bytes)


def _places(
    modules: list[hlo_text.Module], find: Callable[[hlo_text.Module], list[hlo_text.Instruction]]
) -> tuple[str, ...]:
    """Return the lines that ask for what is found, each once; an instruction's own name where it has none."""
    found = [one.source or f"({one.name})" for module in modules for one in find(module)]
    return tuple(dict.fromkeys(found))
