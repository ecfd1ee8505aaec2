"""The pool of a lineage: which of the stored sources, and how much of them, a generation may use."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from collapse_jax.engine.process import Hyper
from collapse_jax.generative.recursion.regimes import FRESH
from collapse_jax.generative.recursion.setting import Lineage, Setting
from collapse_jax.generative.selection import Candidates


def stored(setting: Setting, lineage: Lineage, index: Int[Array, ""]) -> Candidates:
    """Return the stored sources that generation index + 1 may use, in one row, with the weights they are kept by."""
    occupant = jnp.asarray(setting.tables.occupant)[index, :-1]
    width, slots = setting.width, setting.tables.slots
    return Candidates(
        jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), lineage.examples),
        jnp.where((occupant < setting.plan.generations)[:, None], lineage.kept, 0.0).reshape(-1),
        jnp.repeat(occupant, width),
        jnp.tile(jnp.arange(width) % setting.plan.models, slots),
    )


def training_set(
    setting: Setting, key: Key[Array, ""], lineage: Lineage, hyper: Hyper, index: Int[Array, ""]
) -> Candidates:
    """Return all examples that may train generation index + 1, with the weights of its regime; fresh ones come last."""
    tables = setting.tables
    pool = stored(setting, lineage, index)
    counts, weights = setting.at(tables.counts, hyper, index), setting.at(tables.weights, hyper, index)
    counted = jnp.arange(setting.width)[None] < counts[:-1, None]
    if tables.drawn_slots.size:
        key, draw_key = jax.random.split(key)
        counted = _draw_anew(setting, draw_key, counted, hyper, index)
    pool = pool._replace(weights=pool.weights * (counted * weights[:-1, None]).reshape(-1))
    if not tables.fresh:
        return pool
    real = Candidates(
        setting.draw_real(key, tables.fresh),
        (jnp.arange(tables.fresh) < counts[-1]) * weights[-1],
        jnp.full(tables.fresh, FRESH, pool.generation.dtype),
        jnp.zeros(tables.fresh, pool.origin.dtype),
    )
    both: Candidates = jax.tree.map(lambda *parts: jnp.concatenate(parts), pool, real)
    return both


def _draw_anew(
    setting: Setting, key: Key[Array, ""], counted: Bool[Array, "slot width"], hyper: Hyper, index: Int[Array, ""]
) -> Bool[Array, "slot width"]:
    """Return which examples are counted if as many are drawn of those slots whose regime draws among more of them."""
    tables, slots = setting.tables, setting.tables.drawn_slots
    counts, among = (setting.at(one, hyper, index)[slots] for one in (tables.counts, tables.among))
    order = jax.random.uniform(key, (len(slots), setting.width))
    # Those that may not be drawn come last; where all that may be are counted, it is these.
    order = jnp.where(jnp.arange(setting.width)[None] < among[:, None], order, jnp.inf)
    rank = jnp.argsort(jnp.argsort(order, axis=1), axis=1)
    return counted.at[slots].set(rank < counts[:, None])


def seen_by_next(setting: Setting, lineage: Lineage, hyper: Hyper, index: Int[Array, ""]) -> Candidates:
    """Return what else may train the generation after index + 1, for what that emits to be compared with."""
    later = jnp.minimum(index + 1, setting.plan.generations - 1)
    pool = stored(setting, lineage, later)
    among = setting.at(setting.tables.among, hyper, later)
    counted = jnp.arange(setting.width)[None] < among[:-1, None]
    # The slot that is about to be filled still holds something else.
    written = pool.generation <= index
    return pool._replace(weights=pool.weights * counted.reshape(-1) * written)
