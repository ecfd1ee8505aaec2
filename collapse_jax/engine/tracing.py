"""A process as JAX traces it: `init` and `step` of one member, once, and what is wrong with what they return."""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from collapse_jax.checks.user_functions import call
from collapse_jax.engine.hosts import on_host
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


def trace(process: Process, hyper: PyTree) -> tuple[Traced, Traced]:
    """Return `init` and `step` of a process as traced for one member, whose hyperparameters have the shapes `hyper`."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    index = jax.ShapeDtypeStruct((), np.int32)
    init = Traced.of(_without_weak_types(partial(call, "init of the process", process.init)), key, hyper)
    step = Traced.of(_without_weak_types(partial(call, "step of the process", process.step)), init.out, hyper, index)
    return init, step


def check_step(process: Process, init: Traced, step: Traced, taken: set[str]) -> None:
    """Raise ValueError where `step` doesn't return a state like the one of `init`, and a record that `dims` fits.

    `taken` are the names of the results' other axes and records.
    """
    if not (isinstance(step.out, tuple) and len(step.out) == 2):
        raise ValueError("step must return a pair (state, record)")
    _check_state(init.out, step.out[0])
    _check_record(process, step.out[1], taken)


def _without_weak_types(fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Return `fn` with strongly typed array outputs: a Python number in a state would change type in the first step."""

    def strong(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        return (
            leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.extended) else jax.lax.convert_element_type(leaf, leaf.dtype)
        )

    return lambda *args: jax.tree.map(strong, fn(*args))


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
