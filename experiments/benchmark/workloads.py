"""What `benchmark` times: a piece of work, its count of resources, and the ways of doing it, in units a second."""

import importlib
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

import collapse_jax as cj
from experiments.benchmark.roofline import Resources
from experiments.shared.launch import compiled_kept

LOOP, ONE_BY_ONE, POPULATION = "loop", "one by one, jitted", "population"
WAYS = (LOOP, ONE_BY_ONE, POPULATION)
_ENOUGH = 16


class Workload(NamedTuple):
    """A piece of work: members of a process, how many units each does, and what a unit takes.

    `loop` returns the units a second of the published codes' way, timed; None where that can't run. `vmap_members` as
    for `sweep`. `holds_back` says what keeps the population from the bound.
    """

    name: str
    unit: str
    process: cj.engine.Process
    members: int
    units: int
    takes: Resources
    loop: Callable[[], float] | None
    holds_back: str
    vmap_members: int | None = None


def ways(work: Workload) -> dict[str, Callable[[], float]]:
    """Return the ways of doing a piece of work, as units a second: timed anew at each call, without compilation."""
    few = min(work.members, _ENOUGH)

    @cache
    def compiled() -> Callable[[Array], Any]:
        member = jax.jit(lambda seed: whole_member(work.process, seed)).lower(jnp.uint32(0)).compile()
        jax.block_until_ready(member(jnp.uint32(0)))
        return member

    def one_by_one() -> float:
        member, seeds = compiled(), [jnp.uint32(seed) for seed in range(few)]
        begin = time.perf_counter()
        for seed in seeds:
            jax.block_until_ready(member(seed))
        return few * work.units / (time.perf_counter() - begin)

    def population() -> float:
        return work.members * work.units / run_seconds(work)

    found: dict[str, Callable[[], float]] = {} if work.loop is None else {LOOP: work.loop}
    return {**found, ONE_BY_ONE: one_by_one, POPULATION: population}


def whole_member(process: cj.engine.Process, seed: Array) -> Any:
    """Return the last state and all records of the member of a process with that seed."""
    hyper = jax.tree.map(jnp.asarray, process.hyper)
    return jax.lax.scan(
        lambda state, index: process.step(state, hyper, index),
        process.init(jax.random.key(seed), hyper),
        jnp.arange(process.num_steps, dtype=jnp.int32),
    )


def run_seconds(work: Workload) -> float:
    """Return the seconds that running the population takes, without compilation."""
    process = work.process
    swept = cj.sweep(
        process,
        {"seed": range(work.members)},
        segment=process.num_steps,
        vmap_members=work.vmap_members,
        progress=False,
    )
    return float(json.loads(swept.attrs["provenance"])["run_seconds"])


def process_of(work: Callable[..., Any], hyper: Mapping[str, Any] = MappingProxyType({})) -> cj.engine.Process:
    """Return the process of one step that does `work(key, **hyper)` and records the sum of all that it returns."""

    def step(state: Array, hyper: Any, index: Array) -> tuple[Array, dict[str, Array]]:
        key, own_key = jax.random.split(state)
        leaves = jax.tree.leaves(work(own_key, **hyper))
        return key, {"sum": sum((jnp.sum(leaf).astype(jnp.float32) for leaf in leaves), jnp.zeros(()))}

    return cj.engine.Process(lambda key, hyper: key, step, num_steps=1, hyper=dict(hyper))


def torch_loop(name: str, units: int, *arguments: Any, module: str = "torch_loops") -> Callable[[], float] | None:
    """Return the PyTorch loop of that name in units a second, from the seconds it returns; None without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    loops = importlib.import_module(f"experiments.benchmark.{module}")
    return lambda: units / getattr(loops, name)(*arguments)


@contextmanager
def compiled_once() -> Iterator[None]:
    """Keep compiled programs in a folder meanwhile: each repeat traces anew, but only the first compiles."""
    with tempfile.TemporaryDirectory() as folder, compiled_kept(Path(folder)):
        yield
