"""The compiled program of a population: one trace of `init` and one of `step`, whatever its members and segments."""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from collapse_jax.checks.calling import call
from collapse_jax.engine.axes import Population
from collapse_jax.engine.devices import BATCH, MODEL, POPULATION, check_mesh, state_spec
from collapse_jax.engine.hosts import on_host, put
from collapse_jax.engine.process import Process

_STORABLE = "biufc"  # NumPy's own kinds: neither bfloat16 nor keys


class Traced(NamedTuple):
    """A function as its jaxpr: traced once, the arrays that it closes over kept apart to be passed in."""

    jaxpr: Any
    consts: list[Any]
    out: PyTree

    @classmethod
    def of(cls, fn: Callable[..., Any], *args: PyTree) -> "Traced":
        """Trace `fn` at the shapes of `args`."""
        closed, out = jax.make_jaxpr(fn, return_shape=True)(*args)
        return cls(closed.jaxpr, closed.consts, out)

    def evaluate(self, consts: list[Any], *args: PyTree) -> PyTree:
        """Evaluate on `args`, with `consts` in the place of the arrays closed over."""
        closed = jax.extend.core.ClosedJaxpr(self.jaxpr, consts)
        flat = jax.extend.core.jaxpr_as_fun(closed)(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(self.out), flat)

    def digest(self) -> str:
        """Return a hash of what is computed: the program's text and the arrays it closes over."""
        text = re.sub(r"0x[0-9a-f]+", "", self.jaxpr.pretty_print(source_info=False, use_color=False))
        sha = hashlib.sha256(text.encode())
        for const in (*self.consts, *_inner_consts(self.jaxpr)):
            if isinstance(const, jax.Array) and jnp.issubdtype(const.dtype, jax.dtypes.prng_key):
                const = jax.random.key_data(const)
            array = on_host(const)
            sha.update(f"{array.dtype}{array.shape}".encode())
            sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return sha.hexdigest()


def _inner_consts(jaxpr: Any) -> Iterator[Any]:
    """Yield the arrays that functions inside a jaxpr close over: a nested `jit` keeps its own."""
    for equation in jaxpr.eqns:
        for given in equation.params.values():
            for inner in given if isinstance(given, (tuple, list)) else (given,):
                if isinstance(inner, jax.extend.core.ClosedJaxpr):
                    yield from inner.consts
                    inner = inner.jaxpr
                if isinstance(inner, jax.extend.core.Jaxpr):
                    yield from _inner_consts(inner)


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
    """A process, traced: `compile(width)` makes it runnable for chunks of so many members, `lower(width)` stops before.

    `place_data()` puts the arrays that the process closes over on the devices, where they stay, and returns the bytes
    that they take of each. `member_bytes` is what a member needs on a device at the least, `record_bytes` what it adds
    to the results a step.
    """

    lower: Callable[[int], Lowered]
    compile: Callable[[int], Compiled]
    place_data: Callable[[], int]
    records: dict[str, jax.ShapeDtypeStruct]
    member_bytes: int
    record_bytes: int
    digest: str


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
    key = jax.eval_shape(lambda: jax.random.key(0))
    index = jax.ShapeDtypeStruct((), np.int32)

    def trace() -> tuple[Traced, Traced]:
        init = Traced.of(_without_weak_types(partial(call, "init of the process", process.init)), key, hyper)
        return init, Traced.of(
            _without_weak_types(partial(call, "step of the process", process.step)), init.out, hyper, index
        )

    init, step = trace()
    if not (isinstance(step.out, tuple) and len(step.out) == 2):
        raise ValueError("step must return a pair (state, record)")
    _check_state(init.out, step.out[0])
    _check_record(process, step.out[1], taken={*population.labels, process.time, "diverged"})
    digest = hashlib.sha256((init.digest() + step.digest()).encode()).hexdigest()
    if BATCH in mesh.axis_names:
        # Where examples are spread is part of the program, and no part of what it computes.
        with jax.sharding.use_abstract_mesh(_inside(mesh)):
            init, step = trace()
    parts = mesh.shape.get(MODEL, 1)
    specs = jax.tree.map(lambda leaf: state_spec(leaf.shape, parts), init.out)

    # One by one, a member's bits don't depend on how many there are. XLA would compile a step in another way if it
    # could join it with what surrounds it, or if a loop of one turn vanished: hence a branch, in a loop of two turns
    # or more.
    alone = vmap_members == 1
    # The last segment may reach past the last step: idle there rather than compile a shorter program.
    branches, turns = alone or process.num_steps % segment > 0, max(segment, 2) if alone else segment

    def advance_member(consts: list[Any], start: Any, state: PyTree, hyper: PyTree) -> PyTree:
        def running(state: PyTree, index: Any) -> PyTree:
            return step.evaluate(consts, state, hyper, index)

        # Records of steps that don't exist are zeros.
        def idle(state: PyTree, index: Any) -> PyTree:
            return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), step.out[1])

        def body(state: PyTree, index: Any) -> PyTree:
            if branches:
                # The index is not batched, so this stays a branch; it costs a copy of the state.
                last = jnp.minimum(start + segment, process.num_steps)
                state, record = jax.lax.cond(index < last, running, idle, state, index)
            else:
                state, record = running(state, index)
            return state, (
                record,
                _finite(state if process.watch is None else call("watch of the process", process.watch, state)),
            )

        state, (records, finite) = jax.lax.scan(body, state, start + jnp.arange(turns, dtype=np.int32))
        records, finite = jax.tree.map(lambda leaf: leaf[:segment], (records, finite))
        return state, records, finite

    def over_members(fn: Callable[..., PyTree], *members: PyTree) -> PyTree:
        if vmap_members is None:
            return jax.vmap(fn)(*members)
        return jax.lax.map(lambda one: fn(*one), members, batch_size=None if vmap_members == 1 else vmap_members)

    sharded = partial(
        jax.shard_map, mesh=mesh, out_specs=P(POPULATION), axis_names=frozenset({POPULATION}), check_vma=False
    )
    init_all = sharded(
        lambda consts, seeds, hyper: over_members(
            lambda seed, one: init.evaluate(consts, jax.random.key(seed), one), seeds, hyper
        ),
        in_specs=(P(), P(POPULATION), P(POPULATION)),
    )
    advance_all = sharded(
        lambda consts, start, state, hyper: over_members(partial(advance_member, consts, start), state, hyper),
        in_specs=(P(), P(), P(POPULATION), P(POPULATION)),
    )
    by_member, everywhere = NamedSharding(mesh, P(POPULATION)), NamedSharding(mesh, P())
    state_shardings = jax.tree.map(lambda spec: NamedSharding(mesh, P(POPULATION, *spec)), specs)

    @cache
    def placed() -> dict[int, jax.Array]:
        # Both functions close over the same data: one copy of it on the devices, for programs of any width.
        return {id(const): put(const, everywhere) for const in (*init.consts, *step.consts)}

    def data_bytes() -> int:
        return _bytes(list(placed().values()))

    def lower_for(width: int) -> Lowered:
        def batched(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((width, *leaf.shape), leaf.dtype, sharding=sharding)

        state = jax.tree.map(batched, init.out, state_shardings)
        hypers = jax.tree.map(lambda leaf: batched(leaf, by_member), hyper)
        seeds = jax.ShapeDtypeStruct((width,), np.uint32, sharding=by_member)
        start = jax.ShapeDtypeStruct((), np.int32, sharding=everywhere)
        init_consts, step_consts = (
            [jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=everywhere) for one in map(jax.typeof, traced.consts)]
            for traced in (init, step)
        )
        outputs = (state_shardings, by_member, by_member)
        return Lowered(
            jax.jit(init_all, out_shardings=state_shardings).lower(init_consts, seeds, hypers),
            jax.jit(advance_all, donate_argnums=2, out_shardings=outputs).lower(step_consts, start, state, hypers),
            state,
            options,
        )

    def compile_for(width: int) -> Compiled:
        init_consts, step_consts = ([placed()[id(const)] for const in traced.consts] for traced in (init, step))
        lowered = lower_for(width)
        run_init, run_step = lowered.compile()

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
                [(run_init, _bytes(init_consts)), (run_step, _bytes(step_consts))],
                data=data_bytes(),
            ),
        )

    record_bytes = 1 + _bytes(dict(step.out[1]))
    held = jax.tree.map(lambda leaf, spec: _bytes(leaf) // (parts if spec else 1), init.out, specs)
    return Program(
        lower=lower_for,
        compile=compile_for,
        place_data=data_bytes,
        records=dict(step.out[1]),
        member_bytes=sum(jax.tree.leaves(held)) + _bytes(hyper) + segment * record_bytes,
        record_bytes=record_bytes,
        digest=digest,
    )


def _inside(mesh: Mesh) -> jax.sharding.AbstractMesh:
    """Return the mesh as a member sees it, to whom the axis of members is out of reach."""
    types = [
        jax.sharding.AxisType.Manual if name == POPULATION else jax.sharding.AxisType.Auto for name in mesh.axis_names
    ]
    seen: jax.sharding.AbstractMesh = mesh.abstract_mesh.update(axis_types=tuple(types))
    return seen


def _bytes(tree: PyTree) -> int:
    def plain(leaf: Any) -> Any:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.eval_shape(jax.random.key_data, leaf) if is_key else leaf

    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in map(plain, jax.tree.leaves(tree)))


def _memory(programs: list[tuple[Any, int]], *, data: int) -> int | None:
    """Return what XLA planned for compiled programs, given with the bytes of the data that each takes, together `data`.

    In bytes of one device; None where a backend doesn't tell.
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


def _without_weak_types(fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Return `fn` with strongly typed array outputs: a Python number in a state would change type in the first step."""

    def strong(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        return (
            leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.extended) else jax.lax.convert_element_type(leaf, leaf.dtype)
        )

    return lambda *args: jax.tree.map(strong, fn(*args))


def _finite(state: PyTree) -> jax.Array:
    leaves = [leaf for leaf in map(jnp.asarray, jax.tree.leaves(state)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in leaves])) if leaves else jnp.array(True)


def _check_state(before: PyTree, after: PyTree) -> None:
    old_structure, new_structure = str(jax.tree.structure(before)), str(jax.tree.structure(after))
    if old_structure != new_structure:
        raise ValueError(
            f"step returns a state of structure {new_structure}, but init one of structure {old_structure}"
        )
    after_leaves = jax.tree.leaves(after)
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), after_leaves, strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise ValueError(
                f"step turns the state's leaf {jax.tree_util.keystr(path) or '(root)'} from {old.dtype}{old.shape} "
                f"into {new.dtype}{new.shape}; shapes and types must stay"
            )


def _check_record(process: Process, record: PyTree, taken: set[str]) -> None:
    if not (
        isinstance(record, dict)
        and all(isinstance(name, str) and hasattr(entry, "shape") for name, entry in record.items())
    ):
        raise ValueError("step must return its record as a flat dict of named arrays")
    own = {dim for name in record for dim in process.dims.get(name, ())}
    sizes: dict[str, int] = {}
    for name, entry in record.items():
        dims = process.dims.get(name, ())
        if name in taken | own:
            raise ValueError(f"record {name!r} has the name of an axis of the results; give it another one")
        if getattr(entry.dtype, "kind", "V") not in _STORABLE:
            raise ValueError(f"record {name!r} has the type {entry.dtype}, which can't be stored; convert it in step")
        if len(dims) != len(entry.shape) or len(set(dims)) < len(dims) or taken & set(dims):
            raise ValueError(
                f"record {name!r} has shape {entry.shape}, but its dims are {dims}: name each axis once, and none of "
                f"them {', '.join(sorted(taken))}"
            )
        for dim, size in zip(dims, entry.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(f"record {name!r} has length {size} along {dim!r}, another record has {sizes[dim]}")
