"""Training a reward model on rankings, as a `Process`: a population of them is a sweep.

Every completion is encoded once; the pairs of a prompt are formed from its rewards.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Int, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import check_fields, checked
from collapse_jax.checks.unit_interval import outside
from collapse_jax.checks.user_functions import call
from collapse_jax.engine.axes import check_default_ranges
from collapse_jax.engine.devices import spread
from collapse_jax.engine.process import Axis, Hyper, Process
from collapse_jax.nets.accumulation import Total, count_parts, mean_gradient
from collapse_jax.reward.loss import RankingData, by_prompt, draw_batch, ranking_loss
from collapse_jax.reward.metrics import ranking_accuracy
from collapse_jax.reward.models import Model
from collapse_jax.reward.prompt_objective import value_and_gap
from collapse_jax.reward.rankings import (
    Labels,
    Pairs,
    Prefixes,
    Rankings,
    order_wins,
    pair_indices,
    prompt_coords,
    require_memberships,
    shares_of_types,
    strongest_labels,
)
from collapse_jax.reward.schemes import Schemes, resolve_rows, schemes_text
from collapse_jax.reward.two_sided import require_for_labels
from collapse_jax.reward.utilities import Choice

Optimizer = Callable[[Hyper], optax.GradientTransformation]


@dataclass(frozen=True)
class Training:
    """How a reward model is trained."""

    steps: int = 1000
    """Optimiser steps."""
    records: int = 20
    """Recorded steps, equally spaced; the number of optimiser steps is a multiple of it."""
    batch_size: int | None = None
    """Prompts a step, drawn without replacement, no more than there are: by default 32, or all if there are fewer."""
    pairs: Pairs = "all"
    """Which pairs of a prompt's completions count."""


class State(NamedTuple):
    """One member's parameters, optimiser state and source of batches."""

    params: PyTree
    optimizer: PyTree
    key: Key[Array, ""]


@checked
def adamw(steps: int, warmup: float = 0.1) -> Optimizer:
    """Return AdamW with a linear warm-up over a share `warmup` of `steps`, a cosine decay to 0 and a clipped norm.

    The hyperparameters learning_rate, weight_decay and clip come from the sweep. Raises ValueError for steps below 1
    and a `warmup` outside [0, 1).
    """
    numbers.whole("steps", steps, 1)
    numbers.within("warmup", warmup, 0.0, 1.0, ends="[)")

    def optimizer(hyper: Hyper) -> optax.GradientTransformation:
        schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, int(warmup * steps), steps)
        return optax.chain(
            optax.clip_by_global_norm(hyper["clip"]),
            optax.adamw(lambda count: hyper["learning_rate"] * schedule(count), weight_decay=hyper["weight_decay"]),
        )

    return optimizer


ADAMW_HYPER: Mapping[str, float] = {"learning_rate": 1e-2, "weight_decay": 0.01, "clip": 2.0}
_ENDLESS = float("inf")
_RANGES: Mapping[str, tuple[float, float]] = {
    # A negative one climbs the loss, whatever the optimiser.
    "learning_rate": (0.0, _ENDLESS),
    "weight_decay": (0.0, _ENDLESS),
    "centring": (0.0, _ENDLESS),
}
# No gradient is left of one that is clipped to 0.
_ADAMW_RANGES = {**_RANGES, "clip": (float(np.finfo(np.float32).tiny), _ENDLESS)}
_PROMPTS = 32


@checked
def make_training(
    rankings: Rankings,
    model: Model,
    schemes: Schemes,
    *,
    training: Training = Training(),
    test: Rankings | None = None,
    optimizer: Optimizer | None = None,
    hyper: Mapping[str, Any] = ADAMW_HYPER,
    folds: Int[np.ndarray, "fold prompt"] | None = None,
) -> Process:
    """Return the process that trains `model` on `rankings`; a sweep runs every scheme unless it chooses.

    Further axes: `centring`, the coefficient of a penalty (better + worse - 1)² a pair; every name of `hyper`, which
    `optimizer(hyper)` (by default `adamw`) reads; and the parameters of the utilities, as `schemes.parameters` names
    them: `{"gamma": [0.2, 0.5], "min_gap": 1e-3}` trains each scheme that has them with these values, which are
    examined like those of the schemes before anything is compiled; give them to `predict_rewards` too. Each record
    covers all prompts, those of `test` after those of `rankings` (coordinates `prompt_split`, `prompt_type` and
    `prompt_items`, the number of a prompt's items): `rewards` (prompt, item; NaN where there is no item), and per
    prompt `objective` and its certified `gap` (means over pairs; the gap NaN for a utility that isn't concave, and for
    rewards outside [0, 1] or of a model that isn't bounded, where no certificate holds) and `accuracy`, the share of
    pairs in order. The coordinates `trained_pairs`, `trained_schemes` (as text), `trained_centring` (unless swept),
    `trained_labels` (unless they are orders), `trained_types` (where they are memberships) and `trained_bounded` (where
    rewards are raw logits) say what laws must be for.

    Where rankings have wins or margins the objective is the mean of U(r_i - r_j - margin), weighted by the wins of i
    over j, and `accuracy` the share of wins that go to the larger reward. They are graded where a pair has wins both
    ways: utilities must then be two-sided, and are taken on both sides of gap 0 as they are.

    Rankings with memberships bring an axis `memberships`, which a sweep varies by `cj.engine.Axis(values, labels)`,
    the values (value, prompt, type) for all prompts, those of `test` last; rankings without any beside them are all of
    their type. `folds` bring an axis `fold`: each member is trained on the prompts alone whose places its row has.

    Raises ValueError for a training plan or test rankings that don't fit, tokens outside the vocabulary of the model, a
    learning rate, weight decay, clip or centring out of range, or memberships that don't sum to one, here or where a
    sweep varies them, folds that aren't places of prompts, a name of `hyper` that is taken, and for utilities or pairs
    that don't go with the labels.
    """
    _check(rankings, schemes, training, test)
    _check_folds(folds, rankings, training)
    all_rankings = [rankings, *([test] if test else [])]
    for one in all_rankings:
        require_tokens(model, one)
    model = _named(model, rankings.mask.shape[1])
    hyper = hyper if optimizer else {**ADAMW_HYPER, **hyper}
    ranges = _RANGES if optimizer else _ADAMW_RANGES
    if twice := sorted(set(schemes.parameters) & set(hyper)):
        raise ValueError(f"hyper has {', '.join(twice)}, which is a parameter of the schemes' utilities too; rename it")
    if taken := sorted({"memberships", "fold"} & set(hyper)):
        raise ValueError(f"hyper has {taken[0]}, which rankings with memberships and folds bring; rename it")
    labels = strongest_labels(all_rankings)
    require = partial(
        require_for_labels, labels=labels, pairs=training.pairs, deepest=max(map(largest_margin, all_rankings))
    )
    for choices in schemes.choices.values():
        require(choices)
    train, everything = on_device(rankings, labels=labels), on_device(*all_rankings, labels=labels)
    own = len(train.types) if folds is None else folds.shape[1]
    setting = _Setting(model, schemes, training, optimizer or adamw(training.steps), train, everything, labels, own)
    first = jax.tree.map(lambda leaf: leaf[0], schemes.axis.values)
    hyper = {"utility": first, "centring": 0.0, **hyper, **schemes.parameters}
    axes = {"utility": schemes.axis}
    if everything.memberships is not None:
        hyper["memberships"] = np.asarray(everything.memberships)
    if folds is not None:
        hyper["fold"], axes["fold"] = folds[0].astype(np.int32), Axis(folds.astype(np.int32))
    ranges = {name: bounds for name, bounds in ranges.items() if name in hyper and name not in schemes.parameters}
    check_default_ranges(hyper, ranges)
    return Process(
        partial(_init, setting),
        partial(_step, setting),
        num_steps=training.records,
        hyper=hyper,
        ranges=ranges,
        axes=axes,
        resolve=partial(_resolve, schemes, require),
        learned=lambda state: state.params,
        dims={"rewards": ("prompt", "item"), **dict.fromkeys(("objective", "gap", "accuracy"), ("prompt",))},
        coords={
            "step": setting.steps_a_record * np.arange(1, training.records + 1),
            **prompt_coords(*all_rankings),
            "item": np.arange(1, rankings.mask.shape[1] + 1),
            "trained_pairs": training.pairs,
            "trained_schemes": schemes_text(schemes),
            "trained_centring": float(hyper["centring"]),
            **({} if labels == "orders" else {"trained_labels": labels}),
            **({} if everything.memberships is None else {"trained_types": "memberships"}),
            **({} if model.bounded else {"trained_bounded": False}),
        },
    )


@dataclass(frozen=True)
class _Setting:
    """What all members of a training share; `everything` holds the test rankings after those to train on.

    Each member is trained on `own_prompts` of those.
    """

    model: Model
    schemes: Schemes
    training: Training
    optimizer: Optimizer
    train: RankingData
    everything: RankingData
    labels: Labels
    own_prompts: int

    @property
    def objective(self) -> dict[str, Any]:
        """What the objective depends on beside the data and the hyperparameters."""
        return {"pairs": self.training.pairs, "both_sides": self.labels == "graded"}

    @property
    def batch_size(self) -> int:
        return prompts_a_step(self.training, self.own_prompts)

    @property
    def steps_a_record(self) -> int:
        return self.training.steps // self.training.records


def _init(setting: _Setting, key: Key[Array, ""], hyper: Hyper) -> State:
    key, model_key = jax.random.split(key)
    params = setting.model.init(model_key, jax.tree.map(lambda leaf: leaf[:1], setting.train.features))
    return State(params, setting.optimizer(hyper).init(params), key)


def _step(setting: _Setting, state: State, hyper: Hyper, index: Int[Array, ""]) -> tuple[State, dict[str, Array]]:
    """Return the state after as many optimiser steps as there are to a record, and the record."""
    part = _part(setting, state.params, hyper)
    state = jax.lax.fori_loop(0, setting.steps_a_record, lambda _, state: _update(setting, state, hyper, part), state)
    return state, _record(setting, state.params, hyper, part)


def _part(setting: _Setting, params: PyTree, hyper: Hyper) -> int:
    """Return how many prompts of a batch are differentiated at once."""
    batch = jax.tree.map(lambda leaf: leaf[: setting.batch_size], setting.train)
    parts = count_parts(lambda params, batch: _loss(setting, params, hyper, batch)[0], params, batch)
    return len(batch.types) // parts


def _loss(setting: _Setting, params: PyTree, hyper: Hyper, batch: RankingData) -> Total:
    options = {**setting.objective, "centring": hyper["centring"]}
    mean = ranking_loss(setting.model, params, setting.schemes.branches, hyper["utility"], batch, **options)
    return len(batch.types) * mean, len(batch.types)


def _of_member(data: RankingData, hyper: Hyper) -> RankingData:
    """Return the prompts with the memberships that a member has, where prompts have any: those to train on first."""
    if data.memberships is None:
        return data
    return data._replace(memberships=hyper["memberships"][: len(data.types)])


def _update(setting: _Setting, state: State, hyper: Hyper, part: int) -> State:
    key, batch_key = jax.random.split(state.key)
    train = _of_member(setting.train, hyper)
    batch = spread(draw_batch(batch_key, train, setting.batch_size, hyper.get("fold")))
    parts = len(batch.types) // part
    slope = mean_gradient(lambda params, batch, _: _loss(setting, params, hyper, batch), state.params, batch, parts)
    updates, optimizer_state = setting.optimizer(hyper).update(slope, state.optimizer, state.params)
    return State(optax.apply_updates(state.params, updates), optimizer_state, key)


def _record(setting: _Setting, params: PyTree, hyper: Hyper, part: int) -> dict[str, Array]:
    """Return what is recorded of all prompts, read so many at once as a step of training reads."""
    everything, scheme = _of_member(setting.everything, hyper), hyper["utility"]
    rewards = jax.lax.map(partial(setting.model.apply, params), everything.features, batch_size=part)
    options = {**setting.objective, "centring": hyper["centring"], "bounded": setting.model.bounded}
    ordered = setting.labels == "orders" and setting.training.pairs != "plackett_luce"
    by_rewards = by_prompt(setting.schemes.branches, scheme, everything, **options)
    value, gap = by_rewards(partial(value_and_gap, ordered=ordered), rewards)
    recorded = jnp.where(everything.mask, rewards, jnp.nan)
    certified = _concave(jnp.asarray(scheme.concave), everything) & ~outside(recorded).any(1)
    return {
        "rewards": recorded,
        "objective": value,
        "gap": jnp.where(certified, gap, jnp.nan) if setting.model.bounded else jnp.full_like(gap, jnp.nan),
        "accuracy": jax.vmap(ranking_accuracy)(rewards, everything.mask, everything.wins),
    }


def _concave(by_type: Bool[Array, " type"], data: RankingData) -> Bool[Array, " prompt"]:
    """Return whether the utility of each prompt is concave: a mixture of concave ones is."""
    if data.memberships is None:
        return by_type[data.types]
    return (by_type[None] | (data.memberships == 0)).all(1)


def _resolve(schemes: Schemes, require: Callable[[Sequence[Choice]], None], hyper: Hyper) -> Hyper:
    """Return the hyperparameters with the utilities' own parameters written into the rows of the schemes."""
    if "memberships" in hyper:
        given = np.asarray(hyper["memberships"])
        require_memberships("memberships", given, given.shape[-2:])
    values = {name: hyper[name] for name in schemes.parameters}
    others = {name: value for name, value in hyper.items() if name not in schemes.parameters}
    return {**others, "utility": resolve_rows(schemes, hyper["utility"], values, require)}


def _named(model: Model, items: int) -> Model:
    """Return the model; while JAX traces, it raises ValueError for functions of another form than a model's."""

    def init(key: Key[Array, ""], features: PyTree) -> PyTree:
        return call("init of the model", model.init, key, features)

    def apply(params: PyTree, features: PyTree) -> Array:
        rewards: Array = call("apply of the model", model.apply, params, features)
        if jnp.shape(rewards)[-1:] != (items,):
            raise ValueError(f"apply of the model has rewards of shape {jnp.shape(rewards)}; the last axis is items")
        return rewards

    return Model(init, apply, bounded=model.bounded)


def largest_margin(rankings: Rankings) -> float:
    """Return the largest margin of a pair, 0 where there are none."""
    return 0.0 if rankings.margins is None else float(rankings.margins.max())


def on_device(*parts: Rankings, labels: Labels = "orders") -> RankingData:
    """Return rankings, one after the other, as device arrays, with wins and margins unless their labels are orders."""

    def join(*leaves: np.ndarray) -> Array:
        joined = np.concatenate(leaves)
        return jnp.asarray(joined, jnp.int32 if joined.dtype.kind == "i" else jnp.float32)

    wins, margins = (None, None) if labels == "orders" else _pair_labels(parts)
    soft = any(part.memberships is not None for part in parts)
    return RankingData(
        jax.tree.map(join, *(part.features for part in parts)),
        jnp.concatenate([jnp.asarray(part.mask) for part in parts]),
        jnp.concatenate([jnp.asarray(part.types) for part in parts]),
        wins,
        margins,
        join(*map(shares_of_types, parts)) if soft else None,
    )


def _pair_labels(parts: Sequence[Rankings]) -> tuple[Array, Array | None]:
    """Return wins, those of orders where a part has none, and margins, if any part has them."""
    wins = [order_wins(part.mask) if part.wins is None else part.wins for part in parts]
    zeros = [np.zeros_like(one) for one in wins]
    margins = [zero if part.margins is None else part.margins for zero, part in zip(zeros, parts, strict=True)]
    some = any(part.margins is not None for part in parts)
    joined = [jnp.asarray(np.concatenate(one), jnp.float32) for one in (wins, margins)]
    return joined[0], joined[1] if some else None


def check_training(training: Training) -> None:
    """Raise ValueError for numbers below 1 or not whole, and for unknown pairs."""
    check_fields("training", training)
    for name in ("steps", "records", "batch_size"):
        value = getattr(training, name)
        if value is not None and value < 1:
            raise ValueError(f"training.{name} is {value}; it must be at least 1")
    pair_indices(2, training.pairs)


def _check_folds(folds: np.ndarray | None, rankings: Rankings, training: Training) -> None:
    """Raise ValueError for places of no prompt, places that repeat, and batches larger than a fold."""
    if folds is None:
        return
    prompts = len(rankings.types)
    if ((folds < 0) | (folds >= prompts)).any() or (np.diff(np.sort(folds, 1), axis=1) == 0).any():
        raise ValueError(f"folds must have in each row places of prompts, from 0 to {prompts - 1}, none twice")
    prompts_a_step(training, folds.shape[1])


def prompts_a_step(training: Training, prompts: int) -> int:
    """Return the size of a batch of so many prompts; raises ValueError for one that asks for more than there are."""
    if training.batch_size is None:
        return min(_PROMPTS, prompts)
    if training.batch_size > prompts:
        raise ValueError(
            f"training.batch_size is {training.batch_size}; there are {prompts} prompts to train on, so it can be "
            f"{prompts} at most (by default all, up to {_PROMPTS})"
        )
    return training.batch_size


def require_tokens(model: Model, rankings: Rankings) -> None:
    """Raise ValueError for tokens in the rankings that are outside the vocabulary of a model that reads tokens."""
    if model.vocabulary is not None:
        features = rankings.features
        tokens = features.tokens if isinstance(features, Prefixes) else features
        numbers.tokens("features of the rankings", np.asarray(tokens), model.vocabulary, padding=True)


def _check(rankings: Rankings, schemes: Schemes, training: Training, test: Rankings | None) -> None:
    check_training(training)
    prompts_a_step(training, len(rankings.types))
    if training.steps % training.records:
        raise ValueError(f"training.steps is {training.steps}; it must be a multiple of records, {training.records}")
    if rankings.type_names != schemes.type_names:
        raise ValueError(
            f"rankings have the types {rankings.type_names}, the schemes are for {schemes.type_names}: give "
            "make_schemes and make_rankings the same type_names"
        )
    if test and (_shapes(test), test.type_names) != (_shapes(rankings), rankings.type_names):
        raise ValueError(
            f"test has features of shape {_shapes(test)} a prompt and types {test.type_names}; "
            f"rankings have {_shapes(rankings)} and {rankings.type_names}"
        )


def _shapes(rankings: Rankings) -> tuple[tuple[int, ...], ...]:
    return tuple(leaf.shape[1:] for leaf in jax.tree.leaves(rankings.features))
