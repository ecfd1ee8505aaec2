"""What a generation emits, after decoding and curation."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.engine.process import Hyper
from collapse_jax.generative.family import Examples, Params
from collapse_jax.generative.recursion.pool import seen_by_next
from collapse_jax.generative.recursion.regimes import REAL
from collapse_jax.generative.recursion.selecting import keep
from collapse_jax.generative.recursion.setting import Lineage, Setting
from collapse_jax.generative.selection import Candidates


class Emitted(NamedTuple):
    """Examples and the weights they are kept by (0: none was left), the next memory of `curate`, and its records."""

    examples: Examples
    kept: Float[Array, " n"]
    memory: PyTree
    record: Mapping[str, Array]


def emit(
    setting: Setting, key: Key[Array, ""], lineage: Lineage, memory: PyTree, hyper: Hyper, index: Int[Array, ""]
) -> Emitted:
    """Return what the models of generation index + 1 emit, in turn: the first of each, the second of each, ..."""
    models, width = setting.plan.models, setting.width
    pool = seen_by_next(setting, lineage, hyper, index)

    def one(key: Key[Array, ""], params: Params, memory: PyTree, model: Array) -> Emitted:
        return _emit_one(setting, lineage.examples, pool, hyper, index, key, params, memory, model)

    if models == 1:
        return one(key, lineage.params, memory, jnp.int32(0))
    emitted: Emitted = setting.over_models(one, key, lineage.params, memory, jnp.arange(models))
    examples, kept = jax.tree.map(
        lambda leaf: jnp.swapaxes(leaf, 0, 1).reshape(width, *leaf.shape[2:]), (emitted.examples, emitted.kept)
    )
    return emitted._replace(examples=examples, kept=kept)


def _emit_one(
    setting: Setting,
    stored: Examples,
    pool: Candidates,
    hyper: Hyper,
    index: Int[Array, ""],
    key: Key[Array, ""],
    params: Params,
    memory: PyTree,
    model: Array,
) -> Emitted:
    """Return what one model emits: `per_model` examples, chosen by `curate` among candidates if it is there."""
    curate, per_model = setting.curate, setting.per_model
    times = curate.oversample if curate is not None else 1
    sample_key, select_key = jax.random.split(key)
    params = setting.decode(params, hyper)
    if setting.respond:
        assert setting.family.respond is not None
        # Answers to one prompt stand together, so that a choice is among them.
        prompts = jax.tree.map(lambda leaf: jnp.repeat(leaf[REAL], times, axis=0), stored)
        examples = setting.family.respond(sample_key, params, prompts)
    else:
        examples = setting.family.sample(sample_key, params, per_model * times)
    if curate is None:
        return Emitted(examples, jnp.ones(per_model), memory, {})
    number = per_model * times
    candidates = Candidates(examples, jnp.ones(number), jnp.full(number, index + 1), jnp.full(number, model, jnp.int32))
    chosen, kept, selected = keep(
        select_key, curate, candidates, pool, memory, hyper, per_model, in_order=setting.respond
    )
    return Emitted(chosen, kept, selected.memory, selected.record)
