"""The recursion by statistics: those of a family's examples are drawn in the place of the examples, with the same law.

A generation's cost doesn't depend on the number of samples, and members of different sizes need no padding.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from collapse_jax.engine.process import Hyper, Record
from collapse_jax.generative.family import Draw, Family, Params, Statistics
from collapse_jax.generative.recursion.merging import Merging
from collapse_jax.generative.recursion.plan import Plan
from collapse_jax.generative.recursion.regimes import FRESH, REAL
from collapse_jax.generative.recursion.resolving import PLAN_AXES, Measure


def obstacle(family: Family, plan: Plan, truths: dict[str, Params | Draw | None]) -> str:
    """Return why a recursion needs examples, in words; empty if statistics will do.

    `truths` are what real examples are drawn from, by the name of the argument.
    """
    if family.statistics is None:
        return f"family {family.name!r} has no `statistics`"
    for name, truth in truths.items():
        if callable(truth):
            return f"{name} is {truth!r}; statistics are drawn from parameters of family {family.name!r}"
    if plan.models > 1:
        return f"statistics are for one model; this plan has {plan.models}"
    for i, regime in enumerate(plan.regimes):
        for j, samples in enumerate(plan.samples):
            for k, ratio in enumerate(plan.ratios):
                if found := _obstacle_of_rows(plan, i, j, k):
                    return f"regime {regime.name!r} with samples={samples}, ratio={ratio:g} {found}"
    return ""


def _obstacle_of_rows(plan: Plan, regime: int, samples: int, ratio: int) -> str:
    """Return why one regime needs examples, at one size and ratio of the plan."""
    one = plan.table[regime][samples][ratio]
    if (one.draws < one.counts.sum(axis=1)).any():
        return "draws a subset of the pool"
    if (one.counts < one.among).any():
        return "draws a subset of a source"
    stored = one.counts[:, 1:]
    in_part = np.argwhere((stored > 0) & (stored < stored.max(axis=0)[None]))
    if in_part.size:
        t, s = (int(n) for n in in_part[0])
        return f"in generation {t + 1} is trained on {stored[t, s]} of the {stored[:, s].max()} examples of source {s}"
    return ""


class StatisticsLineage(NamedTuple):
    """The state of one member: its model, and the statistics of what is stored, slot by slot."""

    params: Params
    statistics: PyTree
    key: Key[Array, ""]


@dataclasses.dataclass(frozen=True)
class StatisticsSetting:
    """What a recursion by statistics was asked for, resolved; its functions are functions of this record.

    The fixed real set is drawn from the parameters `initial`, fresh real examples from `truth`.
    """

    statistics: Statistics
    merging: Merging
    truth: Params
    initial: Params
    decode: Callable[[Params, Hyper], Params]
    measure: Measure

    @property
    def has_fresh(self) -> bool:
        """Whether any generation of the plan trains on fresh real examples."""
        return bool(self.merging.weights[..., -1].any())


def start(setting: StatisticsSetting, key: Key[Array, ""], hyper: Hyper) -> StatisticsLineage:
    """Return a lineage before its first generation: the statistics of the fixed real set, in all slots."""
    key, real_key = jax.random.split(key)
    real = _draw(setting, real_key, setting.initial, hyper, REAL)
    slots = setting.merging.slots
    stored = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (slots, *leaf.shape[1:])), real)
    return StatisticsLineage(setting.truth, stored, key)


def step(
    setting: StatisticsSetting, lineage: StatisticsLineage, hyper: Hyper, index: Int[Array, ""]
) -> tuple[StatisticsLineage, Record]:
    """Return the lineage after generation index + 1, and what is measured of its model."""
    key, fresh_key, measure_key, emit_key = jax.random.split(lineage.key, 4)
    params = _fit(setting, fresh_key, lineage.statistics, hyper, index)
    # Nothing trains on what the last generation emits: its index is past the table's end, where JAX reads the last
    # column, and `merge` stores no part of it.
    emitted = _draw(setting, emit_key, setting.decode(params, hyper), hyper, index + 1)
    stored = _append(lineage.statistics, emitted)
    stored = jax.vmap(partial(_merge, setting, stored))(jnp.asarray(setting.merging.merge, float)[index])
    return StatisticsLineage(params, stored, key), dict(setting.measure(measure_key, params))


def _at(table: np.ndarray, hyper: Hyper, index: Int[Array, ""] | int) -> Array:
    return jnp.asarray(table)[(*(hyper[axis] for axis in PLAN_AXES), index)]


def _draw(
    setting: StatisticsSetting, key: Key[Array, ""], params: Params, hyper: Hyper, source: Int[Array, ""] | int
) -> PyTree:
    """Return the statistics of all examples of a source, along a first axis of length one."""
    # A source that nobody asks for holds one example, so that its statistics are finite.
    held = jnp.maximum(_at(setting.merging.held, hyper, source + 1), 1)
    return jax.tree.map(lambda leaf: leaf[None], setting.statistics.draw(key, params, held))


def _fit(
    setting: StatisticsSetting, key: Key[Array, ""], stored: PyTree, hyper: Hyper, index: Int[Array, ""]
) -> Params:
    weights = _at(setting.merging.weights, hyper, index)
    if not setting.has_fresh:
        return setting.statistics.fit(stored, weights[:-1])
    return setting.statistics.fit(_append(stored, _draw(setting, key, setting.truth, hyper, FRESH)), weights)


def _merge(setting: StatisticsSetting, stored: PyTree, weights: Array) -> PyTree:
    """Return the statistics of the union of those sources whose weight is 1."""
    if setting.statistics.merge is not None:
        return setting.statistics.merge(stored, weights)
    return jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1, precision="highest"), stored)


def _append(stored: PyTree, new: PyTree) -> PyTree:
    return jax.tree.map(lambda one, other: jnp.concatenate([one, other]), stored, new)
