"""A population of generators that train on what they emit, as a process for `sweep`."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Hyper, Process
from collapse_jax.generative.family import Draw, Family, Params
from collapse_jax.generative.recursion import statistics
from collapse_jax.generative.recursion.emission import emit
from collapse_jax.generative.recursion.guards import guarded_family, guarded_record, guarded_selection
from collapse_jax.generative.recursion.merging import make_merging
from collapse_jax.generative.recursion.plan import Plan, make_pool_tables
from collapse_jax.generative.recursion.pool import training_set
from collapse_jax.generative.recursion.regimes import REAL
from collapse_jax.generative.recursion.resolving import (
    Dims,
    Inspect,
    Measure,
    as_params,
    carried_axes,
    hyperparameters,
    inspected_dims,
    make_decode,
    resolve_measure,
    resolve_truth,
    selected_dims,
)
from collapse_jax.generative.recursion.selecting import start_memory
from collapse_jax.generative.recursion.setting import Lineage, Setting
from collapse_jax.generative.recursion.training import train
from collapse_jax.generative.selection import Candidates, Selection

Way: TypeAlias = Literal["examples", "statistics"]
"""What a generation hands on to the next ones: its examples, or their sufficient statistics alone."""

# Timed on two cores, members one after the other: from 2000 samples on statistics take 1/3 to 1/50 of the time where a
# model has few parameters, but with 1000 categories they are no faster below some 6000; they compile a second longer.
_MANY = 2000
_MANY_A_PARAMETER = 8


@checked
def make_recursion(
    family: Family,
    plan: Plan,
    truth: Draw | Params | None = None,
    *,
    by: Way | None = None,
    initial: Draw | Params | None = None,
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

    A sweep runs the plan's regimes, sizes and ratios and the axes of the selections whole, unless it chooses; it may
    vary `seed`, the settings of the family's fit, the maps of the family named in `decoding` and the other parameters
    of the selections, each an axis of its own name. `truth` is what real examples are drawn from: a function (key, n)
    -> examples, or parameters of the family (by default the family's own truth); `initial`, if given, is what the fixed
    real set is drawn from instead, a biased start.

    `curate` selects among what a generation emits, `reweigh` among the examples it is trained on. With `respond` a
    generation answers the inputs of the real set anew instead of emitting inputs of its own (real prompts). Models
    start from scratch in every generation, or with `warm_start` from the generation before; with `growing_compute`
    the fit is repeated in proportion to the number of examples.

    `measure(key, params)` returns what is recorded of each generation's model, before decoding: by default the mean and
    the total variance of the family's `moments`. `inspect(key, examples, weights)` returns what is recorded, besides,
    of what each generation emits, after decoding and curation (weight 0: none was left). Selections may record
    something of their own. `dims` and `coords` name the axes of all of these. With several models an axis `model` comes
    first in what is measured. Members of fewer examples than the plan's largest are padded to it.

    A recursion runs `by` "examples", each generation's stored in a pool, or by "statistics", where the family has them:
    its sufficient statistics are drawn in the place of examples, with the same law but other random numbers, at a cost
    that doesn't depend on the number of samples. Selections, `inspect`, `respond`, `warm_start`, `growing_compute`,
    truths that are functions, several models, and regimes that draw a part of a source need examples. By default
    statistics are taken where nothing needs examples and a size of the plan is at least 2000 samples and 8 for each
    parameter of the truth: they are faster there, on a CPU.

    Raises ValueError for a decoding the family doesn't have, names that clash, options that don't fit the family, and
    statistics where examples are needed.
    """
    decoding = tuple(decoding)
    family, curate, reweigh = guarded_family(family), guarded_selection(curate), guarded_selection(reweigh)
    if inspect is not None:
        inspect = guarded_record("inspect", inspect)
    truth = family.truth if truth is None else truth
    draw_real = resolve_truth(family, truth)
    draw_initial = draw_real if initial is None else resolve_truth(family, initial, "initial")
    initial = truth if initial is None else initial
    _check_options(family, plan, reweigh, respond)
    hyper, ranges = hyperparameters(family, plan, decoding, (curate, reweigh))
    axes = carried_axes(plan, (curate, reweigh))
    decode = make_decode(family, decoding)
    of_examples = {"curate": curate, "reweigh": reweigh, "respond": respond, "warm_start": warm_start}
    of_examples |= {"growing_compute": growing_compute, "inspect": inspect}
    asked = [name for name, value in of_examples.items() if value]
    if _by_statistics(by, family, plan, {"truth": truth, "initial": initial}, asked):
        process = _process_by_statistics(family, plan, truth, initial, decode, measure, dims)
    else:
        tables = make_pool_tables(plan, keep_real=respond)
        flags = (respond, warm_start, growing_compute)
        setting = Setting(family, plan, tables, draw_real, draw_initial, decode, curate, reweigh, *flags)
        process = _process_by_examples(setting, hyper, measure, inspect, dims)
    generations = {"generation": np.arange(1, plan.generations + 1)}
    return process._replace(
        hyper=hyper,
        coords={**generations, **(coords or {})},
        axes=axes,
        time="generation",
        ranges=ranges,
        # The models of the last generation, before decoding; both kinds of lineage have them under this name.
        learned=lambda state: state.params,
    )


def _check_options(family: Family, plan: Plan, reweigh: Selection | None, respond: bool) -> None:
    """Raise ValueError for options that don't fit the family, the plan or each other."""
    if respond and family.respond is None:
        raise ValueError(f"respond needs a family that answers given inputs; {family.name!r} has no `respond`")
    if respond and plan.models > 1:
        raise ValueError(f"respond is for one model; this plan has {plan.models}")
    if reweigh is not None and reweigh.oversample > 1:
        raise ValueError(
            f"reweigh takes a selection that draws nothing; {reweigh.name!r} chooses among {reweigh.oversample} "
            "candidates for each example: use it as `curate`"
        )


def _by_statistics(
    by: Way | None, family: Family, plan: Plan, truths: dict[str, Params | Draw | None], asked: list[str]
) -> bool:
    """Return whether to run on statistics; `asked` names the options given that need examples.

    Raises ValueError where `by` asks for statistics and something needs examples.
    """
    reason = f"{', '.join(asked)} needs examples" if asked else statistics.obstacle(family, plan, truths)
    if by == "statistics" and reason:
        raise ValueError(f"by is 'statistics', which can't run this: {reason}; use by='examples'")
    if by is not None or reason:
        return by == "statistics"
    parameters = sum(np.size(leaf) for leaf in jax.tree.leaves(truths["truth"]))
    return max(plan.samples) >= max(_MANY, _MANY_A_PARAMETER * parameters)


def _process_by_statistics(
    family: Family,
    plan: Plan,
    truth: Params,
    initial: Params,
    decode: Callable[[Params, Hyper], Params],
    measure: Measure | None,
    dims: Dims | None,
) -> Process:
    assert family.statistics is not None
    truth, initial = as_params("truth", truth), as_params("initial", initial)
    measure, all_dims = resolve_measure(family, measure, dims, jax.eval_shape(lambda: truth), plan.models)
    setting = statistics.StatisticsSetting(family.statistics, make_merging(plan), truth, initial, decode, measure)
    first, step = partial(statistics.start, setting), partial(statistics.step, setting)
    return Process(first, step, plan.generations, dims=all_dims)


def _process_by_examples(
    setting: Setting, hyper: Hyper, measure: Measure | None, inspect: Inspect | None, dims: Dims | None
) -> Process:
    plan, start = setting.plan, partial(_start, setting)
    shapes = jax.eval_shape(start, jax.eval_shape(lambda: jax.random.key(0)), hyper)
    first = shapes.params
    if plan.models > 1:
        first = jax.eval_shape(lambda p: jax.tree.map(lambda leaf: leaf[0], p), first)
    measure, all_dims = resolve_measure(setting.family, measure, dims, first, plan.models)
    if inspect is not None:
        all_dims |= inspected_dims(inspect, setting.draw_real, setting.width, dims, all_dims)
    advance = partial(_advance, setting, measure, inspect)
    if any(one is not None and one.inspect is not None for one in (setting.curate, setting.reweigh)):
        selected = jax.eval_shape(lambda state, hyper: advance(state, hyper, jnp.int32(0))[2], shapes, hyper)
        all_dims |= selected_dims(selected, dims, all_dims, plan.models)

    def step(state: Lineage, hyper: Hyper, index: Int[Array, ""]) -> tuple[Lineage, Mapping[str, Array]]:
        state, record, selected = advance(state, hyper, index)
        return state, {**record, **selected}

    # A pool may hold a hundred thousand examples; what is wrong with them shows in the next model.
    return Process(
        start, step, plan.generations, dims=all_dims, watch=lambda state: (state.params, state.kept, state.memory)
    )


def _start(setting: Setting, key: Key[Array, ""], hyper: Hyper) -> Lineage:
    """Return a lineage before its first generation: the fixed real set in its slot, and untrained models."""
    tables, width = setting.tables, setting.width
    key, real_key, fresh_key, init_key = jax.random.split(key, 4)
    real = setting.draw_initial(real_key, width)
    examples = jax.tree.map(lambda leaf: jnp.zeros((tables.slots, *leaf.shape), leaf.dtype).at[REAL].set(leaf), real)
    lineage = Lineage(None, examples, jnp.ones((tables.slots, width)), key)
    first = training_set(setting, fresh_key, lineage, hyper, jnp.int32(0))
    if tables.subsamples:
        first = jax.tree.map(lambda leaf: leaf[: tables.drawn], first)
    params = setting.over_models(lambda key: setting.family.init(key, first.examples, first.weights), init_key)
    if not setting.learns:
        return lineage._replace(params=params)
    key, memory_key = jax.random.split(key)
    known = Candidates(real, jnp.ones(width), jnp.full(width, REAL, jnp.int32), jnp.zeros(width, jnp.int32))

    def memories(key: Key[Array, ""]) -> tuple[PyTree, PyTree]:
        curate_key, reweigh_key = jax.random.split(key)
        return (
            start_memory(curate_key, setting.curate, known, hyper),
            start_memory(reweigh_key, setting.reweigh, known, hyper),
        )

    return lineage._replace(params=params, key=key, memory=setting.over_models(memories, memory_key))


def _advance(
    setting: Setting, measure: Measure, inspect: Inspect | None, lineage: Lineage, hyper: Hyper, index: Int[Array, ""]
) -> tuple[Lineage, Mapping[str, Array], Mapping[str, Array]]:
    """Return the lineage after generation index + 1, what is measured and inspected, and what its selections record."""
    key, fresh_key, train_key, measure_key, emit_key, inspect_key = jax.random.split(lineage.key, 6)
    candidates = training_set(setting, fresh_key, lineage, hyper, index)
    curated, reweighed = lineage.memory
    params, reweighed, trained = setting.over_models(
        partial(train, setting, candidates, hyper, index), train_key, lineage.params, reweighed
    )
    lineage = lineage._replace(params=params, key=key)
    record = dict(setting.over_models(measure, measure_key, params))
    emitted = emit(setting, emit_key, lineage, curated, hyper, index)
    if inspect is not None:
        record |= inspect(inspect_key, emitted.examples, emitted.kept)
    slot = jnp.asarray(setting.tables.write)[index]
    examples = jax.tree.map(lambda old, new: old.at[slot].set(new, mode="drop"), lineage.examples, emitted.examples)
    kept = lineage.kept.at[slot].set(emitted.kept, mode="drop")
    lineage = lineage._replace(examples=examples, kept=kept, memory=(emitted.memory, reweighed))
    if clash := set(trained) & set(emitted.record):
        raise ValueError(f"curate and reweigh both record {', '.join(sorted(clash))}; give them different names")
    return lineage, record, {**trained, **emitted.record}
