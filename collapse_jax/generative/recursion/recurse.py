"""A population of generators that train on what they emit, as a process for `sweep`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Hyper, Process
from collapse_jax.generative.family import Examples, Family, Params
from collapse_jax.generative.recursion.guards import guarded_family, guarded_record, guarded_selection
from collapse_jax.generative.recursion.options import (
    PLAN_AXES,
    Dims,
    Inspect,
    Measure,
    Truth,
    hyperparameters,
    inspected_dims,
    make_decode,
    resolve_measure,
    resolve_truth,
    selected_dims,
)
from collapse_jax.generative.recursion.plan import Plan, make_layout
from collapse_jax.generative.recursion.regimes import FRESH, REAL
from collapse_jax.generative.recursion.survival import keep, select, start_memory, subsample
from collapse_jax.generative.selection import Candidates, Selection


class State(NamedTuple):
    """A lineage: its models, and the pool of what is stored, slot by slot, with the weights it is kept by.

    `memory` is what the two selections of each model have learned, `curate` first; None where they don't learn.
    """

    params: Params
    examples: Examples
    kept: Float[Array, "slot width"]
    key: Key[Array, ""]
    memory: PyTree = None


@checked
def make_recursion(
    family: Family,
    plan: Plan,
    truth: Truth | Params | None = None,
    *,
    initial: Truth | Params | None = None,
    decoding: Iterable[str] = (),
    curate: Selection | None = None,
    reweigh: Selection | None = None,
    respond: bool = False,
    warm_start: bool = False,
    growing_compute: bool = False,
    measure: Measure | None = None,
    inspect: Inspect | None = None,
    dims: Dims | None = None,
    coords: Mapping[str, Any] | None = None,
) -> Process:
    """Return the process in which each generation of `family` is trained as the plan's regime says, then emits.

    Sweep it over `plan.axes` and `seed`, and over the settings of the family's fit, the maps of the family named in
    `decoding` and the parameters of the selections, each an axis of its own name. `truth` is what real examples are
    drawn from: a function (key, n) -> examples, or parameters of the family (by default the family's own truth);
    `initial`, if given, is what the fixed real set is drawn from instead, a biased start.

    `curate` selects among what a generation emits, `reweigh` among the examples it is trained on. With `respond` a
    generation answers the inputs of the real set anew instead of emitting inputs of its own (real prompts). Models
    start from scratch in every generation, or with `warm_start` from the generation before; with `growing_compute`
    the fit is repeated in proportion to the number of examples.

    `measure(key, params)` returns what is recorded of each generation's model, before decoding: by default the mean and
    the total variance of the family's `moments`. `inspect(key, examples, weights)` returns what is recorded, besides,
    of what each generation emits, after decoding and curation (weight 0: none was left). Selections may record
    something of their own. `dims` and `coords` name the axes of all of these. With several models an axis `model` comes
    first in what is measured. Members of fewer examples than the plan's largest are padded to it.

    Raises ValueError for a decoding the family doesn't have, names that clash, and options that don't fit the family.
    """
    decoding = tuple(decoding)
    family, curate, reweigh = guarded_family(family), guarded_selection(curate), guarded_selection(reweigh)
    if inspect is not None:
        inspect = guarded_record("inspect", inspect)
    draw_real = resolve_truth(family, truth)
    draw_initial = draw_real if initial is None else resolve_truth(family, initial, "initial")
    if respond and family.respond is None:
        raise ValueError(f"respond needs a family that answers given inputs; {family.name!r} has no `respond`")
    if respond and plan.models > 1:
        raise ValueError(f"respond is for one model; this plan has {plan.models}")
    if reweigh is not None and reweigh.oversample > 1:
        raise ValueError(
            f"reweigh takes a selection that draws nothing; {reweigh.name!r} chooses among {reweigh.oversample} "
            "candidates for each example: use it as `curate`"
        )
    hyper, ranges = hyperparameters(family, plan, decoding, (curate, reweigh))
    decode = make_decode(family, decoding)
    layout = make_layout(plan, keep_real=respond)
    per_model = -(-layout.width // plan.models)
    width = per_model * plan.models
    repeats = np.maximum(1, layout.draws // layout.draws[..., :1])
    tables = {"counts": layout.counts, "weights": layout.weights, "draws": layout.draws, "repeats": repeats}

    def at(name: str, hyper: Hyper, index: Int[Array, ""]) -> Array:
        return jnp.asarray(tables[name])[(*(hyper[axis] for axis in PLAN_AXES), index)]

    def pool_of(state: State, index: Int[Array, ""]) -> Candidates:
        """Return the stored sources that generation index + 1 may use."""
        occupant = jnp.asarray(layout.occupant)[index, :-1]
        return Candidates(
            jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), state.examples),
            jnp.where((occupant < plan.generations)[:, None], state.kept, 0.0).reshape(-1),
            jnp.repeat(occupant, width),
            jnp.tile(jnp.arange(width) % plan.models, layout.slots),
        )

    def training_set(key: Key[Array, ""], state: State, hyper: Hyper, index: Int[Array, ""]) -> Candidates:
        """Return all examples that may train generation index + 1, with the weights of its regime."""
        pool = pool_of(state, index)
        counts, weights = at("counts", hyper, index), at("weights", hyper, index)
        counted = (jnp.arange(width)[None] < counts[:-1, None]) * weights[:-1, None]
        pool = pool._replace(weights=pool.weights * counted.reshape(-1))
        if not layout.fresh:
            return pool
        real = Candidates(
            draw_real(key, layout.fresh),
            (jnp.arange(layout.fresh) < counts[-1]) * weights[-1],
            jnp.full(layout.fresh, FRESH, pool.generation.dtype),
            jnp.zeros(layout.fresh, pool.origin.dtype),
        )
        both: Candidates = jax.tree.map(lambda *parts: jnp.concatenate(parts), pool, real)
        return both

    def train(
        key: Key[Array, ""], params: Params, memory: PyTree, candidates: Candidates, hyper: Hyper, index: Array
    ) -> tuple[Params, PyTree, Mapping[str, Array]]:
        record: Mapping[str, Array] = {}
        draw_key, weigh_key, init_key, fit_key = jax.random.split(key, 4)
        if layout.subsamples:
            candidates = subsample(draw_key, candidates, at("draws", hyper, index), layout.drawn)
        if reweigh is not None:
            alive = candidates.weights > 0
            candidates, memory, record = select(weigh_key, reweigh, candidates, candidates, memory, hyper)
            candidates = candidates._replace(weights=candidates.weights * alive)
        if not warm_start:
            params = family.init(init_key, candidates.examples, candidates.weights)
        own = {name: hyper[name] for name in family.hyper}
        if not growing_compute:
            return family.fit(fit_key, params, candidates.examples, candidates.weights, **own), memory, record

        def again(number: Array, params: Params) -> Params:
            key = jax.random.fold_in(fit_key, number)
            return family.fit(key, params, candidates.examples, candidates.weights, **own)

        return jax.lax.fori_loop(0, at("repeats", hyper, index), again, params), memory, record

    def seen(state: State, hyper: Hyper, index: Int[Array, ""]) -> Candidates:
        """Return what else may train the generation after index + 1, for what that emits to be compared with."""
        later = jnp.minimum(index + 1, plan.generations - 1)
        pool = pool_of(state, later)
        counted = jnp.arange(width)[None] < at("counts", hyper, later)[:-1, None]
        # The slot that is about to be filled still holds something else.
        written = pool.generation <= index
        return pool._replace(weights=pool.weights * counted.reshape(-1) * written)

    def emit(
        key: Key[Array, ""], state: State, memory: PyTree, hyper: Hyper, index: Int[Array, ""]
    ) -> tuple[Examples, Array, PyTree, Mapping[str, Array]]:
        """Return what the models emit, in turn, the weights it is kept by, and what its curation learned, records."""
        times = curate.oversample if curate is not None else 1
        pool = seen(state, hyper, index)

        def one(
            key: Key[Array, ""], params: Params, memory: PyTree, model: Array
        ) -> tuple[Examples, Array, PyTree, Mapping[str, Array]]:
            sample_key, select_key = jax.random.split(key)
            if respond:
                assert family.respond is not None
                # Answers to one prompt stand together, so that a choice is among them.
                prompts = jax.tree.map(lambda leaf: jnp.repeat(leaf[REAL], times, axis=0), state.examples)
                examples = family.respond(sample_key, decode(params, hyper), prompts)
            else:
                examples = family.sample(sample_key, decode(params, hyper), per_model * times)
            if curate is None:
                return examples, jnp.ones(per_model), memory, {}
            number = per_model * times
            candidates = Candidates(
                examples, jnp.ones(number), jnp.full(number, index + 1), jnp.full(number, model, jnp.int32)
            )
            chosen, kept, selected = keep(
                select_key, curate, candidates, pool, memory, hyper, per_model, in_order=respond
            )
            return chosen, kept, selected.memory, selected.record

        if plan.models == 1:
            return one(key, state.params, memory, jnp.int32(0))
        *emitted, memory, record = over_models(one, key, state.params, memory, jnp.arange(plan.models))
        examples, kept = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1).reshape(width, *leaf.shape[2:]), emitted)
        return examples, kept, memory, record

    def over_models(fn: Callable[..., Any], key: Key[Array, ""], *trees: PyTree) -> Any:
        """Return fn(key, ...) of each model, stacked; of one model as it is."""
        if plan.models == 1:
            return fn(key, *trees)
        return jax.vmap(fn)(jax.random.split(key, plan.models), *trees)

    def start(key: Key[Array, ""], hyper: Hyper) -> State:
        key, real_key, fresh_key, init_key = jax.random.split(key, 4)
        real = draw_initial(real_key, width)
        examples = jax.tree.map(
            lambda leaf: jnp.zeros((layout.slots, *leaf.shape), leaf.dtype).at[REAL].set(leaf), real
        )
        state = State(None, examples, jnp.ones((layout.slots, width)), key)
        first = training_set(fresh_key, state, hyper, jnp.int32(0))
        if layout.subsamples:
            first = jax.tree.map(lambda leaf: leaf[: layout.drawn], first)
        params = over_models(lambda key: family.init(key, first.examples, first.weights), init_key)
        if not any(one is not None and one.start is not None for one in (curate, reweigh)):
            return state._replace(params=params)
        key, memory_key = jax.random.split(key)
        known = Candidates(real, jnp.ones(width), jnp.full(width, REAL, jnp.int32), jnp.zeros(width, jnp.int32))

        def memories(key: Key[Array, ""]) -> tuple[PyTree, PyTree]:
            curate_key, reweigh_key = jax.random.split(key)
            return start_memory(curate_key, curate, known, hyper), start_memory(reweigh_key, reweigh, known, hyper)

        return state._replace(params=params, key=key, memory=over_models(memories, memory_key))

    shapes = jax.eval_shape(start, jax.eval_shape(lambda: jax.random.key(0)), hyper).params
    one = shapes if plan.models == 1 else jax.eval_shape(lambda p: jax.tree.map(lambda leaf: leaf[0], p), shapes)
    recorded, all_dims = resolve_measure(family, measure, dims, one, plan.models)
    if inspect is not None:
        all_dims |= inspected_dims(inspect, draw_real, width, dims, all_dims)

    def advance(
        state: State, hyper: Hyper, index: Int[Array, ""]
    ) -> tuple[State, Mapping[str, Array], Mapping[str, Array]]:
        """Return the next state, what is measured and inspected of it, and what its selections record."""
        key, fresh_key, train_key, measure_key, emit_key, inspect_key = jax.random.split(state.key, 6)
        candidates = training_set(fresh_key, state, hyper, index)
        curated, reweighed = (None, None) if state.memory is None else state.memory
        params, reweighed, trained = over_models(
            lambda key, params, memory: train(key, params, memory, candidates, hyper, index),
            train_key,
            state.params,
            reweighed,
        )
        state = state._replace(params=params, key=key)
        record = dict(over_models(recorded, measure_key, params))
        examples, kept, curated, chosen = emit(emit_key, state, curated, hyper, index)
        if state.memory is not None:
            state = state._replace(memory=(curated, reweighed))
        if inspect is not None:
            record |= inspect(inspect_key, examples, kept)
        slot = jnp.asarray(layout.write)[index]
        pool = jax.tree.map(lambda old, new: old.at[slot].set(new, mode="drop"), state.examples, examples)
        state = state._replace(examples=pool, kept=state.kept.at[slot].set(kept, mode="drop"))
        if clash := set(trained) & set(chosen):
            raise ValueError(f"curate and reweigh both record {', '.join(sorted(clash))}; give them different names")
        return state, record, {**trained, **chosen}

    if any(one is not None and one.inspect is not None for one in (curate, reweigh)):
        initial_state = jax.eval_shape(start, jax.eval_shape(lambda: jax.random.key(0)), hyper)
        selected = jax.eval_shape(lambda state, hyper: advance(state, hyper, jnp.int32(0))[2], initial_state, hyper)
        all_dims |= selected_dims(selected, dims, all_dims, plan.models)

    def step(state: State, hyper: Hyper, index: Int[Array, ""]) -> tuple[State, Mapping[str, Array]]:
        state, record, selected = advance(state, hyper, index)
        return state, {**record, **selected}

    return Process(
        start,
        step,
        num_steps=plan.generations,
        hyper=hyper,
        dims=all_dims,
        coords={"generation": np.arange(1, plan.generations + 1), **(coords or {})},
        axes=plan.axes,
        time="generation",
        ranges=ranges,
        # A pool may hold a hundred thousand examples; what is wrong with them shows in the next model.
        watch=lambda state: (state.params, state.kept, state.memory),
    )
