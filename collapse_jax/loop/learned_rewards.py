"""Where the halves meet: a reward model, trained on rankings, that chooses what a generator trains on."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.checks.hints import holds_numbers
from collapse_jax.engine.devices import spread
from collapse_jax.engine.process import Axis
from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates
from collapse_jax.generative.selections.learned import LearnedReward
from collapse_jax.reward.loss import RankingData, draw_batch, ranking_loss
from collapse_jax.reward.models import Model
from collapse_jax.reward.rankings import Labels, Rankings, labels_of
from collapse_jax.reward.schemes import Schemes
from collapse_jax.reward.training import (
    ADAMW_HYPER,
    Training,
    adamw,
    check_training,
    largest_margin,
    on_device,
    prompts_a_step,
    require_tokens,
)
from collapse_jax.reward.two_sided import require_for_labels

REFITS = ("frozen", "own choice", "true quality")
"""Labels of the axis `refit`: trained once; in each generation on its own choices too; or on candidates by quality."""


@runtime_checkable
class Read(Protocol):
    """What a reward model sees of examples."""

    def __call__(self, examples: Examples, /) -> tuple[PyTree, Int[Array, " n"]]:
        """Return the features that the model reads, one completion an example, and each one's type of prompt."""


@runtime_checkable
class Rank(Protocol):
    """Rankings of the real set."""

    def __call__(self, key: Key[Array, ""], examples: Examples, /) -> RankingData:
        """Return rankings, best first, for a model to be trained on when a lineage begins."""


@runtime_checkable
class Quality(Protocol):
    """The true quality of examples, or a noisy view of it: what rankings are made by."""

    def __call__(self, key: Key[Array, ""], examples: Examples, /) -> Float[Array, " n"]:
        """Return one number an example, the higher the better."""


@checked
def learned_reward(
    model: Model,
    schemes: Schemes,
    rankings: Rankings | Rank,
    read: Read,
    *,
    answers: int,
    quality: Quality | None = None,
    training: Training = Training(steps=500, records=1),
    refit_steps: int = 50,
) -> LearnedReward:
    """Return the scores of examples by a reward model, which is trained on rankings when a lineage begins.

    Give it to `selections.curated`, `best_of` or `top_share`. A sweep runs two axes unless it chooses by label:
    `utility`, the schemes, and `refit` (`REFITS`). A model is "frozen", or trained on for `refit_steps` in every
    generation, on the candidates in groups of `answers` (those to one prompt): ranked by itself, what was chosen above
    the rest ("own choice"), or by `quality(key, examples)`, if that is given ("true quality").
    `rankings` are given ones, or a function (key, real examples) -> `RankingData` that makes them, by `rank_answers`
    for one; `read(examples)` returns the features of each example and its type of prompt. Models are trained by `adamw`
    with its default hyperparameters.

    Raises ValueError for `answers` below 2, steps below 1, rankings of other types than the schemes', with tokens
    outside the vocabulary of the model or with labels that the utilities can't be trained on, and when the recursion is
    made, for features of another shape than those of the rankings, and a batch of more prompts than there are.
    """
    numbers.whole("answers", answers, 2)
    numbers.whole("refit_steps", refit_steps, 1)
    check_training(training)
    if isinstance(rankings, Rankings) and rankings.type_names != schemes.type_names:
        raise ValueError(
            f"rankings have the types {rankings.type_names}, the schemes are for {schemes.type_names}: give "
            "make_schemes and make_rankings the same type_names"
        )
    if isinstance(rankings, Rankings):
        require_tokens(model, rankings)
        prompts_a_step(training, len(rankings.types))
    labels: Labels = labels_of(rankings) if isinstance(rankings, Rankings) else "orders"
    deepest = largest_margin(rankings) if isinstance(rankings, Rankings) else 0.0
    for choices in schemes.choices.values():
        require_for_labels(choices, labels, training.pairs, deepest)
    data = on_device(rankings, labels=labels) if isinstance(rankings, Rankings) else rankings
    graded = labels == "graded"
    setting = _Setting(model, schemes, data, graded, read, answers, quality, training, refit_steps)
    ways = REFITS if quality is not None else REFITS[:2]
    return LearnedReward(
        partial(_start, setting),
        partial(_score, setting),
        partial(_learn, setting),
        defaults={"utility": jax.tree.map(lambda leaf: leaf[0], schemes.axis.values), "refit": 0},
        ranges={"refit": (0, len(ways) - 1)},
        axes={"utility": schemes.axis, "refit": Axis(np.arange(len(ways), dtype=np.int32), ways)},
    )


@dataclass(frozen=True)
class _Setting:
    """The arguments of `learned_reward`, with given rankings on the device."""

    model: Model
    schemes: Schemes
    rankings: RankingData | Rank
    graded: bool
    read: Read
    answers: int
    quality: Quality | None
    training: Training
    refit_steps: int


def _start(setting: _Setting, key: Key[Array, ""], real: Candidates, **params: Any) -> PyTree:
    """Return a model trained on the rankings."""
    rank_key, init_key, fit_key = jax.random.split(key, 3)
    given = setting.rankings
    data = given if isinstance(given, RankingData) else given(rank_key, real.examples)
    prompts_a_step(setting.training, len(data.types))
    _check_features(data, jax.eval_shape(setting.read, real.examples)[0])
    initial = setting.model.init(init_key, jax.tree.map(lambda leaf: leaf[:1], data.features))
    return _fit(setting, fit_key, initial, data, params["utility"], setting.training.steps, both_sides=setting.graded)


def _score(setting: _Setting, memory: PyTree, examples: Examples) -> Float[Array, " n"]:
    features, _ = setting.read(examples)
    return setting.model.apply(memory, jax.tree.map(lambda leaf: leaf[:, None], features))[:, 0]


def _learn(
    setting: _Setting, key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
) -> PyTree:
    """Return the model, refitted as `refit` says."""
    fit_key, quality_key = jax.random.split(key)
    if len(candidates.weights) % setting.answers:
        raise ValueError(f"{len(candidates.weights)} candidates can't be ranked in groups of {setting.answers}")

    def refit(order: Float[Array, " n"]) -> PyTree:
        data = rank_answers(*setting.read(candidates.examples), order, setting.answers)
        return _fit(setting, fit_key, memory, data, params["utility"], setting.refit_steps)

    def by_choice() -> PyTree:
        # Whatever was chosen comes before all else, also where a link of one's own has scores outside [0, 1].
        scores = _score(setting, memory, candidates.examples)
        ahead = jnp.maximum(2.0, 1.0 + jnp.nanmax(scores) - jnp.nanmin(scores))
        return refit(scores + ahead * (candidates.weights > 0))

    branches = [lambda: memory, by_choice]
    if (quality := setting.quality) is not None:
        branches.append(lambda: refit(quality(quality_key, candidates.examples)))
    return jax.lax.switch(params["refit"], branches)


def _fit(
    setting: _Setting,
    key: Key[Array, ""],
    params: PyTree,
    data: RankingData,
    utility: Any,
    steps: int,
    *,
    both_sides: bool = False,
) -> PyTree:
    """Return the parameters after so many steps of training on rankings under a row of the schemes."""
    optimizer, training = adamw(steps)(ADAMW_HYPER), setting.training
    size = training.batch_size or prompts_a_step(training, len(data.types))

    def step(_: Array, carry: tuple[PyTree, PyTree, Array]) -> tuple[PyTree, PyTree, Array]:
        params, state, key = carry
        key, batch_key = jax.random.split(key)
        batch = spread(draw_batch(batch_key, data, size))

        def loss(params: PyTree) -> Array:
            options: dict[str, Any] = {"pairs": training.pairs, "both_sides": both_sides}
            return ranking_loss(setting.model, params, setting.schemes.branches, utility, batch, **options)

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state, key

    fitted: PyTree = jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params), key))[0]
    return fitted


@checked
def rank_answers(features: PyTree, types: Int[Array, " n"], order: Float[Array, " n"], answers: int) -> RankingData:
    """Return the rankings of consecutive groups of answers, those to one prompt, the highest of `order` first.

    Raises ValueError for `answers` below 2 or that don't divide the number of examples, and for features of another.
    """
    numbers.whole("answers", answers, 2)
    if len(order) % answers:
        raise ValueError(f"answers is {answers}; {len(order)} examples can't be ranked in groups of so many")
    for leaf in jax.tree.leaves(features):
        if np.shape(leaf)[:1] != order.shape or not hasattr(leaf, "dtype") or not holds_numbers(leaf):
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise ValueError(
                f"features have an array of shape {np.shape(leaf)} and type {kind}; they need numbers, along a first "
                f"axis for each of {len(order)} examples"
            )
        if not isinstance(leaf, jax.core.Tracer) and not np.isfinite(leaf).all():
            raise ValueError("features have a value that is not finite")
    best_first = jnp.argsort(-order.reshape(-1, answers), axis=1)

    def sort(leaf: Array) -> Array:
        grouped = leaf.reshape(-1, answers, *leaf.shape[1:])
        return jnp.take_along_axis(grouped, best_first.reshape(*best_first.shape, *[1] * (leaf.ndim - 1)), axis=1)

    return RankingData(jax.tree.map(sort, features), jnp.ones(best_first.shape, bool), types.reshape(-1, answers)[:, 0])


def _check_features(data: RankingData, read: PyTree) -> None:
    """Raise ValueError unless what is read of an example is what the rankings have of a completion."""
    ranked = jax.tree.map(lambda leaf: (leaf.shape[2:], leaf.dtype.kind), data.features)
    found = jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype.kind), read)
    if ranked != found:
        raise ValueError(
            f"read returns features of shape and kind {found} an example; the reward model is trained on rankings "
            f"whose completions have {ranked}"
        )
