"""How a generation is trained: what it draws of its training set, how that is weighed, and the fit."""

from collections.abc import Mapping

import jax
from jaxtyping import Array, Int, Key, PyTree

from collapse_jax.engine.process import Hyper
from collapse_jax.generative.family import Params
from collapse_jax.generative.recursion.selecting import select
from collapse_jax.generative.recursion.setting import Setting
from collapse_jax.generative.recursion.subsampling import subsample
from collapse_jax.generative.selection import Candidates


def train(
    setting: Setting,
    candidates: Candidates,
    hyper: Hyper,
    index: Int[Array, ""],
    key: Key[Array, ""],
    params: Params,
    memory: PyTree,
) -> tuple[Params, PyTree, Mapping[str, Array]]:
    """Return a model trained on its draw of the candidates, the next memory of `reweigh`, and what that records.

    `params` and `memory` are those of the generation before.
    """
    record: Mapping[str, Array] = {}
    draw_key, weigh_key, init_key, fit_key = jax.random.split(key, 4)
    if setting.tables.subsamples:
        draws = setting.at(setting.tables.draws, hyper, index)
        candidates = subsample(draw_key, candidates, draws, setting.tables.drawn)
    if setting.reweigh is not None:
        alive = candidates.weights > 0
        candidates, memory, record = select(weigh_key, setting.reweigh, candidates, candidates, memory, hyper)
        candidates = candidates._replace(weights=candidates.weights * alive)
    if not setting.warm_start:
        params = setting.family.init(init_key, candidates.examples, candidates.weights)
    return _fit(setting, fit_key, params, candidates, hyper, index), memory, record


def _fit(
    setting: Setting, key: Key[Array, ""], params: Params, candidates: Candidates, hyper: Hyper, index: Int[Array, ""]
) -> Params:
    """Return the family's fit, repeated in proportion to the number of examples if compute grows."""
    family = setting.family
    own = {name: hyper[name] for name in family.hyper}
    if not setting.growing_compute:
        return family.fit(key, params, candidates.examples, candidates.weights, **own)

    def again(number: Array, params: Params) -> Params:
        return family.fit(jax.random.fold_in(key, number), params, candidates.examples, candidates.weights, **own)

    return jax.lax.fori_loop(0, setting.at(setting.repeats, hyper, index), again, params)
