"""The compiled program of a population: `init` and `step` over its members, a segment of steps at a time."""

import hashlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from collapse_jax.checks.user_functions import call
from collapse_jax.engine.axes import Population
from collapse_jax.engine.devices import BATCH, MODEL, POPULATION, check_mesh, state_spec
from collapse_jax.engine.hosts import put
from collapse_jax.engine.keys import in_data
from collapse_jax.engine.process import Process
from collapse_jax.engine.tracing import Traced, check_step, trace


class Lowered(NamedTuple):
    """The functions of `Compiled` before they are compiled, the shapes of a state, and the options of the compiler.

    No data is placed for them: the devices of the mesh may be described ones, which this machine doesn't have.
    """

    init: jax.stages.Lowered
    advance: jax.stages.Lowered
    state: PyTree
    options: dict[str, bool | str]

    def compile(self) -> tuple[jax.stages.Compiled, jax.stages.Compiled]:
        """Return `init` and `advance`, compiled."""
        return self.init.compile(self.options), self.advance.compile(self.options)


class Compiled(NamedTuple):
    """What runs chunks of `width` members: `init(members)`, then `advance(state, hyper, start)` a segment at a time.

    Arrays have a leading axis of members and are spread over the mesh. `place(members)` returns the hyperparameters
    and seeds of these members. `advance` donates the state and returns the next one, the records of the segment's steps
    and, for each step, whether the state was finite. `state` holds shapes, types and shardings, `by_member` the
    sharding of records. `memory` is the bytes that one device needs, None where XLA doesn't tell.
    """

    width: int
    place: Callable[[np.ndarray], tuple[PyTree, jax.Array]]
    init: Callable[[PyTree, jax.Array], PyTree]
    advance: Callable[[PyTree, PyTree, int], tuple[PyTree, dict[str, jax.Array], jax.Array]]
    state: PyTree
    by_member: NamedSharding
    memory: int | None


class Program(NamedTuple):
    """A traced process: `compile(width)` makes it runnable for chunks of `width` members, `lower(width)` only lowers.

    `place_data()` puts the arrays that the process closes over on the devices, where they stay, and returns the bytes
    that they take on each device. `state` holds the shapes and types of one member's state. `member_bytes` is the least
    that a member needs on a device, `record_bytes` what each of its steps adds to the results, and `state_bytes` what
    its final state does, where that is kept.
    """

    lower: Callable[[int], Lowered]
    compile: Callable[[int], Compiled]
    place_data: Callable[[], int]
    records: dict[str, jax.ShapeDtypeStruct]
    state: PyTree
    member_bytes: int
    record_bytes: int
    state_bytes: int
    digest: str


class _Work(NamedTuple):
    """What is compiled: the traced functions of one member, and how members and steps are laid out.

    `hyper` holds the shapes of one member's hyperparameters.
    """

    process: Process
    population: Population
    hyper: PyTree
    init: Traced
    step: Traced
    mesh: Mesh
    segment: int
    vmap_members: int | None

    @property
    def by_member(self) -> NamedSharding:
        """How arrays with a leading axis of members are spread."""
        return NamedSharding(self.mesh, P(POPULATION))

    @property
    def everywhere(self) -> NamedSharding:
        """How data are placed that every device holds whole."""
        return NamedSharding(self.mesh, P())

    @property
    def specs(self) -> PyTree:
        """How each leaf of one member's state is cut over the devices that share the member."""
        return jax.tree.map(lambda leaf: state_spec(leaf.shape, self.mesh.shape.get(MODEL, 1)), self.init.out)

    @property
    def state_shardings(self) -> PyTree:
        """How each leaf of the members' states is spread."""
        return jax.tree.map(lambda spec: NamedSharding(self.mesh, P(POPULATION, *spec)), self.specs)


def make_program(
    process: Process,
    population: Population,
    *,
    mesh: Mesh,
    segment: int,
    vmap_members: int | None,
    options: dict[str, bool | str],
) -> Program:
    """Trace `process` for one member. `options` are those of the compiler.

    Raises ValueError where `step` doesn't return a state like the one it takes, or a record that `dims` doesn't fit,
    and for a mesh with other axes.
    """
    check_mesh(mesh)
    hyper = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), population.hyper)
    init, step = trace(process, hyper)
    check_step(process, init, step, taken={*population.labels, process.time, "diverged"})
    digest = hashlib.sha256((init.digest() + step.digest()).encode()).hexdigest()
    if BATCH in mesh.axis_names:
        # Where examples are spread is part of the program, and no part of what it computes.
        with jax.sharding.use_abstract_mesh(_inside(mesh)):
            init, step = trace(process, hyper)
    work = _Work(process, population, hyper, init, step, mesh, segment, vmap_members)

    @cache
    def placed() -> dict[int, jax.Array]:
        # Both functions close over the same data: one copy of it on the devices, for programs of any width.
        return {id(const): put(const, work.everywhere) for const in (*init.consts, *step.consts)}

    record_bytes = 1 + _bytes(dict(step.out[1]))
    return Program(
        lower=partial(_lower, work, options),
        compile=lambda width: _compile(work, placed(), _lower(work, options, width), width),
        place_data=lambda: _bytes(list(placed().values())),
        records=dict(step.out[1]),
        state=init.out,
        member_bytes=_state_bytes(work) + _bytes(hyper) + segment * record_bytes,
        record_bytes=record_bytes,
        state_bytes=_bytes(init.out),
        digest=digest,
    )


def _init_all(work: _Work) -> Callable[[list[Any], PyTree, PyTree], PyTree]:
    """Return the function (consts, seeds, hyper) -> state of all members of a chunk."""

    def init_members(consts: list[Any], seeds: PyTree, hyper: PyTree) -> PyTree:
        return _over_members(
            work, lambda seed, one: work.init.evaluate(consts, jax.random.key(seed), one), seeds, hyper
        )

    return _sharded(work, init_members, (P(), P(POPULATION), P(POPULATION)))


def _advance_all(work: _Work) -> Callable[[list[Any], PyTree, PyTree, PyTree], PyTree]:
    """Return the function (consts, start, state, hyper) -> (state, records, finite) of all members of a chunk."""

    def advance_members(consts: list[Any], start: Any, state: PyTree, hyper: PyTree) -> PyTree:
        return _over_members(work, partial(_advance_member, work, consts, start), state, hyper)

    return _sharded(work, advance_members, (P(), P(), P(POPULATION), P(POPULATION)))


def _sharded(work: _Work, fn: Callable[..., PyTree], in_specs: tuple[P, ...]) -> Callable[..., PyTree]:
    return jax.shard_map(
        fn,
        mesh=work.mesh,
        in_specs=in_specs,
        out_specs=P(POPULATION),
        axis_names=frozenset({POPULATION}),
        check_vma=False,
    )


def _over_members(work: _Work, fn: Callable[..., PyTree], *members: PyTree) -> PyTree:
    """Map `fn` over the members of one device: all at once, or so many at a time."""
    if work.vmap_members is None:
        return jax.vmap(fn)(*members)
    batch = None if work.vmap_members == 1 else work.vmap_members
    return jax.lax.map(lambda one: fn(*one), members, batch_size=batch)


def _advance_member(work: _Work, consts: list[Any], start: Any, state: PyTree, hyper: PyTree) -> PyTree:
    """Return a member's state after a segment, the records of its steps, and whether each left the state finite."""
    segment, steps = work.segment, work.process.num_steps
    # One by one, a member's bits don't depend on how many there are. XLA would compile a step in another way if it
    # could join it with what surrounds it, or if a loop of one turn vanished: hence a branch, in a loop of two turns
    # or more.
    alone = work.vmap_members == 1
    # The last segment may reach past the last step: idle there rather than compile a shorter program.
    branches, turns = alone or steps % segment > 0, max(segment, 2) if alone else segment

    def running(state: PyTree, index: Any) -> PyTree:
        return work.step.evaluate(consts, state, hyper, index)

    # A step after the last one leaves the state as it is and records zeros, which are cut off later.
    def idle(state: PyTree, index: Any) -> PyTree:
        return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), work.step.out[1])

    def body(state: PyTree, index: Any) -> PyTree:
        if branches:
            # The index is not batched, so this stays a branch; it costs a copy of the state.
            last = jnp.minimum(start + segment, steps)
            state, record = jax.lax.cond(index < last, running, idle, state, index)
        else:
            state, record = running(state, index)
        return state, (record, _finite(_watched(work.process, state)))

    state, (records, finite) = jax.lax.scan(body, state, start + jnp.arange(turns, dtype=np.int32))
    records, finite = jax.tree.map(lambda leaf: leaf[:segment], (records, finite))
    return state, records, finite


def _watched(process: Process, state: PyTree) -> PyTree:
    return state if process.watch is None else call("watch of the process", process.watch, state)


def _finite(state: PyTree) -> jax.Array:
    leaves = [leaf for leaf in map(jnp.asarray, jax.tree.leaves(state)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in leaves])) if leaves else jnp.array(True)


def _lower(work: _Work, options: dict[str, bool | str], width: int) -> Lowered:
    """Return both functions for chunks of `width` members, lowered."""

    def batched(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((width, *leaf.shape), leaf.dtype, sharding=sharding)

    def shapes(consts: list[Any]) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=everywhere) for one in map(jax.typeof, consts)]

    by_member, everywhere, state_shardings = work.by_member, work.everywhere, work.state_shardings
    state = jax.tree.map(batched, work.init.out, state_shardings)
    hyper = jax.tree.map(lambda leaf: batched(leaf, by_member), work.hyper)
    seeds = jax.ShapeDtypeStruct((width,), np.uint32, sharding=by_member)
    start = jax.ShapeDtypeStruct((), np.int32, sharding=everywhere)
    init = jax.jit(_init_all(work), out_shardings=state_shardings)
    advance = jax.jit(_advance_all(work), donate_argnums=2, out_shardings=(state_shardings, by_member, by_member))
    return Lowered(
        init.lower(shapes(work.init.consts), seeds, hyper),
        advance.lower(shapes(work.step.consts), start, state, hyper),
        state,
        options,
    )


def _compile(work: _Work, placed: dict[int, jax.Array], lowered: Lowered, width: int) -> Compiled:
    """Return both functions compiled, with the data that they close over as `placed` on the devices, by identity."""
    init_consts, step_consts = ([placed[id(const)] for const in one.consts] for one in (work.init, work.step))
    run_init, run_step = lowered.compile()
    by_member, everywhere, population = work.by_member, work.everywhere, work.population

    def place(members: np.ndarray) -> tuple[PyTree, jax.Array]:
        hyper = jax.tree.map(lambda leaf: put(leaf[members], by_member), population.hyper)
        return hyper, put(population.seeds[members], by_member)

    return Compiled(
        width=width,
        place=place,
        init=lambda hyper, seeds: run_init(init_consts, seeds, hyper),
        advance=lambda state, hyper, start: run_step(step_consts, put(np.int32(start), everywhere), state, hyper),
        state=lowered.state,
        by_member=by_member,
        memory=_memory(
            [(run_init, _bytes(init_consts)), (run_step, _bytes(step_consts))], data=_bytes(list(placed.values()))
        ),
    )


def _inside(mesh: Mesh) -> jax.sharding.AbstractMesh:
    """Return the mesh as one member's trace may use it: the axis of members is not its to spread over."""
    types = [
        jax.sharding.AxisType.Manual if name == POPULATION else jax.sharding.AxisType.Auto for name in mesh.axis_names
    ]
    seen: jax.sharding.AbstractMesh = mesh.abstract_mesh.update(axis_types=tuple(types))
    return seen


def _state_bytes(work: _Work) -> int:
    """Return the bytes of one member's state on one of the devices that share it."""
    parts = work.mesh.shape.get(MODEL, 1)
    held = jax.tree.map(lambda leaf, spec: _bytes(leaf) // (parts if spec else 1), work.init.out, work.specs)
    return sum(jax.tree.leaves(held))


def _bytes(tree: PyTree) -> int:
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in map(in_data, jax.tree.leaves(tree)))


def _memory(programs: list[tuple[Any, int]], *, data: int) -> int | None:
    """Return the bytes of one device that the compiled programs need at most, None if the backend doesn't tell.

    Each program comes with the bytes of the closed-over data that it takes as arguments; `data` are the bytes of all
    closed-over data, which stay on the device whichever program runs.
    """
    plans = [(program.memory_analysis(), own) for program, own in programs]
    if not all(plan for plan, _ in plans):
        return None
    needed = [
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        - plan.alias_size_in_bytes
        + plan.temp_size_in_bytes
        - own
        for plan, own in plans
    ]
    return data + int(max(needed))
