"""The fused recursion: a family's sufficient statistics are drawn in the place of its examples, with the same law."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Hyper, Process
from collapse_jax.generative.family import Family, Params
from collapse_jax.generative.recursion.merging import make_merging
from collapse_jax.generative.recursion.plan import Plan
from collapse_jax.generative.recursion.regimes import FRESH, REAL
from collapse_jax.generative.recursion.resolving import (
    PLAN_AXES,
    Dims,
    Measure,
    as_params,
    hyperparameters,
    make_decode,
    resolve_measure,
    resolve_truth,
)


class State(NamedTuple):
    """A lineage: its model, and the statistics of every stored source, slot by slot."""

    params: Params
    statistics: PyTree
    key: Key[Array, ""]


@checked
def make_fused_recursion(
    family: Family,
    plan: Plan,
    truth: Params | None = None,
    *,
    initial: Params | None = None,
    decoding: Iterable[str] = (),
    measure: Measure | None = None,
    dims: Dims | None = None,
    coords: Mapping[str, Any] | None = None,
) -> Process:
    """Return the process of `make_recursion`, with sufficient statistics drawn in the place of examples.

    Its law is the same, its random numbers are not. The cost of a generation doesn't depend on the number of samples,
    and members of different sizes need no padding. Arguments as for `make_recursion`; `truth` and
    `initial` are parameters of the family (by default its own truth).

    Raises ValueError for a family without `statistics`, for what needs examples (a subsample of the pool, several
    models, a part of a source), and as `make_recursion` does.
    """
    decoding = tuple(decoding)
    if family.statistics is None:
        known = "families with sufficient statistics"
        raise ValueError(f"family {family.name!r} has no `statistics`; the fused recursion is for {known}")
    statistics = family.statistics
    truth = family.truth if truth is None else truth
    if truth is None or callable(truth):
        raise ValueError(f"truth is {truth!r}; the fused recursion needs parameters of family {family.name!r}")
    if callable(initial):
        raise ValueError(f"initial is {initial!r}; the fused recursion needs parameters of family {family.name!r}")
    truth = as_params("truth", truth)
    initial = truth if initial is None else as_params("initial", initial)
    for name, params in (("truth", truth), ("initial", initial)):
        resolve_truth(family, params, name)
    hyper, ranges = hyperparameters(family, plan, decoding, ())
    decode = make_decode(family, decoding)
    _check(plan)
    merging = make_merging(plan)
    has_fresh = bool(merging.weights[..., -1].any())

    def at(table: np.ndarray, hyper: Hyper, index: Int[Array, ""] | int) -> Array:
        return jnp.asarray(table)[(*(hyper[axis] for axis in PLAN_AXES), index)]

    def draw(key: Key[Array, ""], params: Params, hyper: Hyper, source: Int[Array, ""] | int) -> PyTree:
        # A source that nobody asks for holds one example, so that its statistics are finite.
        held = jnp.maximum(at(merging.held, hyper, source + 1), 1)
        return jax.tree.map(lambda leaf: leaf[None], statistics.draw(key, params, held))

    def merge(stored: PyTree, weights: Array) -> PyTree:
        if statistics.merge is not None:
            return statistics.merge(stored, weights)
        return jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1, precision="highest"), stored)

    def init(key: Key[Array, ""], hyper: Hyper) -> State:
        key, real_key = jax.random.split(key)
        real = draw(real_key, initial, hyper, REAL)
        stored = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (merging.slots, *leaf.shape[1:])), real)
        return State(truth, stored, key)

    def step(state: State, hyper: Hyper, index: Int[Array, ""]) -> tuple[State, Mapping[str, Array]]:
        key, fresh_key, measure_key, emit_key = jax.random.split(state.key, 4)
        weights, stored = at(merging.weights, hyper, index), state.statistics
        if has_fresh:
            stored = _append(stored, draw(fresh_key, truth, hyper, FRESH))
        params = statistics.fit(stored, weights if has_fresh else weights[:-1])
        # Nothing trains on what the last generation emits: its index is past the table's end, where JAX reads the last
        # column, and `merge` stores no part of it.
        stored = _append(state.statistics, draw(emit_key, decode(params, hyper), hyper, index + 1))
        stored = jax.vmap(lambda row: merge(stored, row))(jnp.asarray(merging.merge, float)[index])
        return State(params, stored, key), dict(recorded(measure_key, params))

    recorded, dims = resolve_measure(family, measure, dims, jax.eval_shape(lambda: truth), plan.models)
    return Process(
        init,
        step,
        num_steps=plan.generations,
        hyper=hyper,
        dims=dims,
        coords={"generation": np.arange(1, plan.generations + 1), **(coords or {})},
        axes=plan.axes,
        time="generation",
        ranges=ranges,
    )


def _append(stored: PyTree, new: PyTree) -> PyTree:
    return jax.tree.map(lambda one, other: jnp.concatenate([one, other]), stored, new)


def _check(plan: Plan) -> None:
    if plan.models > 1:
        raise ValueError(f"the fused recursion is for one model; this plan has {plan.models}: use make_recursion")
    for i, regime in enumerate(plan.regimes):
        for j, samples in enumerate(plan.samples):
            for k, ratio in enumerate(plan.ratios):
                one = plan.table[i][j][k]
                label = f"regime {regime.name!r} with samples={samples}, ratio={ratio:g}"
                if (one.draws < one.counts.sum(axis=1)).any():
                    raise ValueError(f"{label} draws a subset of the pool, which needs examples: use make_recursion")
                stored = one.counts[:, 1:]
                partial = np.argwhere((stored > 0) & (stored < stored.max(axis=0)[None]))
                if partial.size:
                    t, s = (int(n) for n in partial[0])
                    raise ValueError(
                        f"{label}: generation {t + 1} is trained on {stored[t, s]} of the {stored[:, s].max()} "
                        f"examples of source {s}; a part of a source needs examples: use make_recursion"
                    )
