"""The compiled program of a population: one trace of `init` and one of `step`, whatever its members and segments."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from collapse_jax.engine.axes import Population, keys_of
from collapse_jax.process import Process

POPULATION = "population"
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
            if jnp.issubdtype(jnp.asarray(const).dtype, jax.dtypes.prng_key):
                const = jax.random.key_data(const)
            array = np.asarray(const)
            sha.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
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


class Program(NamedTuple):
    """What runs one chunk of members: `init(hyper, seeds)`, then `advance(state, hyper, start)` a segment at a time.

    Arrays have a leading axis of members, padded to `width` and sharded over the mesh. `advance` donates the state and
    returns the next one, the records of the segment's steps and, for each step, whether the state was finite.
    """

    init: Callable[[PyTree, np.ndarray], PyTree]
    advance: Callable[[PyTree, PyTree, int], tuple[PyTree, dict[str, jax.Array], jax.Array]]
    place: Callable[[PyTree], PyTree]
    width: int
    records: dict[str, jax.ShapeDtypeStruct]
    digest: str
    compile: Callable[[], float]


def default_mesh() -> Mesh:
    """Return a mesh over all devices of all processes, along one axis of members."""
    return Mesh(np.array(jax.devices()), (POPULATION,))


def make_program(
    process: Process, population: Population, *, mesh: Mesh, width: int, segment: int, vmap_members: int | None
) -> Program:
    """Trace `process` for one member and return the program for chunks of `width` members.

    Raises ValueError where `step` doesn't return a state like the one it takes, or a record that `dims` doesn't fit,
    and for a mesh with other axes.
    """
    if mesh.axis_names != (POPULATION,):
        raise ValueError(f"mesh has the axes {mesh.axis_names}; it needs one, named {POPULATION!r}")
    hyper = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), population.hyper)
    key = jax.eval_shape(lambda: jax.random.key(0))
    index = jax.ShapeDtypeStruct((), np.int32)
    init = Traced.of(_without_weak_types(process.init), key, hyper)
    step = Traced.of(_without_weak_types(process.step), init.out, hyper, index)
    if not (isinstance(step.out, tuple) and len(step.out) == 2):
        raise ValueError("step must return a pair (state, record)")
    _check_state(init.out, step.out[0])
    _check_record(process, step.out[1], taken={*population.labels, process.time, "diverged"})

    def advance_member(consts: list[Any], start: Any, state: PyTree, hyper: PyTree) -> PyTree:
        def body(state: PyTree, index: Any) -> PyTree:
            # The last segment may reach past the last step: idle there rather than compile a shorter program. The
            # index is not batched, so this stays a branch and costs nothing.
            def idle(state: PyTree) -> PyTree:
                return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), step.out[1])

            state, record = jax.lax.cond(
                index < process.num_steps, lambda state: step.evaluate(consts, state, hyper, index), idle, state
            )
            return state, (record, _finite(state if process.watch is None else process.watch(state)))

        state, (records, finite) = jax.lax.scan(body, state, start + jnp.arange(segment, dtype=np.int32))
        return state, records, finite

    def over_members(fn: Callable[..., PyTree], *members: PyTree) -> PyTree:
        if vmap_members is None:
            return jax.vmap(fn)(*members)
        return jax.lax.map(lambda one: fn(*one), members, batch_size=None if vmap_members == 1 else vmap_members)

    sharded = partial(jax.shard_map, mesh=mesh, out_specs=P(POPULATION), check_vma=False)
    init_all = sharded(
        lambda consts, keys, hyper: over_members(partial(init.evaluate, consts), keys, hyper),
        in_specs=(P(), P(POPULATION), P(POPULATION)),
    )
    advance_all = sharded(
        lambda consts, start, state, hyper: over_members(partial(advance_member, consts, start), state, hyper),
        in_specs=(P(), P(), P(POPULATION), P(POPULATION)),
    )
    by_member, everywhere = NamedSharding(mesh, P(POPULATION)), NamedSharding(mesh, P())

    def batched(tree: PyTree, sharding: NamedSharding) -> PyTree:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((width, *leaf.shape), leaf.dtype, sharding=sharding), tree
        )

    compiled: dict[str, Any] = {}

    def compile_both() -> float:
        begin = time.perf_counter()
        compiled["init consts"], compiled["step consts"] = jax.device_put((init.consts, step.consts), everywhere)
        compiled["init"] = (
            jax.jit(init_all, out_shardings=by_member)
            .lower(compiled["init consts"], batched(key, by_member), batched(hyper, by_member))
            .compile()
        )
        compiled["step"] = (
            jax.jit(advance_all, donate_argnums=2, out_shardings=by_member)
            .lower(
                compiled["step consts"],
                jax.ShapeDtypeStruct((), np.int32, sharding=everywhere),
                batched(init.out, by_member),
                batched(hyper, by_member),
            )
            .compile()
        )
        return time.perf_counter() - begin

    return Program(
        init=lambda hyper, seeds: compiled["init"](
            compiled["init consts"], jax.device_put(keys_of(seeds), by_member), hyper
        ),
        advance=lambda state, hyper, start: compiled["step"](
            compiled["step consts"], jax.device_put(np.int32(start), everywhere), state, hyper
        ),
        place=lambda tree: jax.device_put(tree, by_member),
        width=width,
        records=dict(step.out[1]),
        digest=hashlib.sha256((init.digest() + step.digest()).encode()).hexdigest(),
        compile=compile_both,
    )


def _without_weak_types(fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Return `fn` with strongly typed array outputs: a Python number in a state would change type in the first step."""

    def strong(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        return (
            leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.extended) else jax.lax.convert_element_type(leaf, leaf.dtype)
        )

    return lambda *args: jax.tree.map(strong, fn(*args))


def _finite(state: PyTree) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
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
