"""What all lineages of a recursion share, and what one of them carries from generation to generation."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.engine.process import Hyper
from collapse_jax.generative.family import Draw, Examples, Family, Params
from collapse_jax.generative.recursion.plan import Plan, PoolTables
from collapse_jax.generative.recursion.resolving import PLAN_AXES
from collapse_jax.generative.selection import Selection


class Lineage(NamedTuple):
    """The state of one member: its models, and the pool of what is stored, slot by slot, with its weights.

    `kept` is the weight by which each stored example is kept, 0 where there is none. `memory` is what the two
    selections of each model have learned, `curate` first; an empty tuple where one has no memory.
    """

    params: Params
    examples: Examples
    kept: Float[Array, "slot width"]
    key: Key[Array, ""]
    memory: tuple[PyTree, PyTree] = ((), ())


@dataclasses.dataclass(frozen=True)
class Setting:
    """What `make_recursion` was asked for, resolved: the functions of a recursion are functions of this record.

    `draw_initial` draws the fixed real set, `draw_real` fresh real examples; `decode(params, hyper)` returns the model
    that emits. With `respond` a generation answers the inputs of the real set.
    """

    family: Family
    plan: Plan
    tables: PoolTables
    draw_real: Draw
    draw_initial: Draw
    decode: Callable[[Params, Hyper], Params]
    curate: Selection | None
    reweigh: Selection | None
    respond: bool
    warm_start: bool
    growing_compute: bool

    @property
    def per_model(self) -> int:
        """How many examples each model emits."""
        return -(-self.tables.width // self.plan.models)

    @property
    def width(self) -> int:
        """How many examples a source has room for: the models emit in turn, all of them as many."""
        return self.per_model * self.plan.models

    @property
    def learns(self) -> bool:
        """Whether a selection keeps a memory."""
        return any(one is not None and one.start is not None for one in (self.curate, self.reweigh))

    @functools.cached_property
    def repeats(self) -> Int[np.ndarray, "regime samples ratio generation"]:
        """How often the fit of a generation is repeated where compute grows with the number of examples."""
        repeats: np.ndarray = np.maximum(1, self.tables.draws // self.tables.draws[..., :1])
        return repeats

    def at(self, table: np.ndarray, hyper: Hyper, index: Int[Array, ""]) -> Array:
        """Return the entry of a table for the member's regime, size and share, and for generation index + 1."""
        return jnp.asarray(table)[(*(hyper[axis] for axis in PLAN_AXES), index)]

    def over_models(self, fn: Callable[..., Any], key: Key[Array, ""], *trees: PyTree) -> Any:
        """Return fn(key, ...) of each model, stacked along a first axis; of one model as it is."""
        if self.plan.models == 1:
            return fn(key, *trees)
        return jax.vmap(fn)(jax.random.split(key, self.plan.models), *trees)
