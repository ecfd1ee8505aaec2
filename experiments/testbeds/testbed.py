"""What mitigations are compared on: a family, real examples in groups, what is recorded of it, and the mitigations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from collapse_jax.generative import selections

CONTROL = "control"
CANDIDATES = 4
"""Candidates for each example, where some are chosen."""


class Testbed(NamedTuple):
    """A family with its truth and what is recorded of it.

    `measure` and `inspect` record `risk` (of held-out real examples, nats), `tail` (share of real examples that are
    known to the model), `diversity`, `drift`, `variance`, `off_support`, `modes` and, by `group`, `group_share`,
    `group_risk` and `group_coverage`. `dims`, `coords` and `options` go to the recursion too. `shares` are those of the
    groups among real examples, `training_passes` the forward passes that training costs for each example of a
    generation (a backward pass counts as two), `facts` what else is to be reported.
    """

    family: cj.generative.Family
    truth: Callable[..., Any]
    measure: Callable[..., Mapping[str, Array]]
    inspect: Callable[..., Mapping[str, Array]]
    dims: dict[str, tuple[str, ...]]
    coords: dict[str, Any]
    options: dict[str, Any]
    mitigations: dict[str, cj.Mitigation]
    shares: np.ndarray
    training_passes: float
    facts: dict[str, float]


class Senses(NamedTuple):
    """How examples of a testbed are graded: each function maps examples to one number or vector each.

    `quality` is the truth that an oracle knows, `correct` what a verifier checks, `evidence` what a detector looks at
    and `features` a novelty filter, with the `distance` of two of them below which one is a repetition. `learned` is a
    reward model of the quality.
    """

    quality: Callable[[Any], Array]
    correct: Callable[[Any], Array]
    evidence: Callable[[Any], Array]
    features: Callable[[Any], Array]
    distance: float
    learned: selections.LearnedReward


def make_mitigations(senses: Senses, answering: cj.generative.Family) -> dict[str, cj.Mitigation]:
    """Return the mitigations that every testbed has; `answering` is the family that answers real prompts."""
    replayed, fresh = (cj.REGIMES[f"real_fraction_{kind}"] for kind in ("replayed", "fresh"))
    half = cj.with_share(replayed, 0.5, "half replayed")
    detector = selections.learned_detector(senses.evidence, ridge=1e-2, folds=2)

    def by_learned_reward(refit: str) -> cj.Mitigation:
        defaults = {**senses.learned.defaults, "refit": cj.loop.REFITS.index(refit)}
        reward = senses.learned._replace(defaults=defaults)
        return cj.Mitigation(curate=selections.best_of(reward, CANDIDATES))

    verifier = selections.verified(senses.correct, oversample=CANDIDATES)
    novelty = selections.novel(
        lambda x, y: jnp.sqrt(jnp.sum((x - y) ** 2)),
        features=senses.features,
        threshold=senses.distance,
        oversample=CANDIDATES,
    )
    return {
        "replace": cj.Mitigation(),
        "tenth replayed": cj.Mitigation(cj.with_share(replayed, 0.1, "tenth replayed")),
        "tenth fresh": cj.Mitigation(cj.with_share(fresh, 0.1, "tenth fresh")),
        "half replayed": cj.Mitigation(half),
        "half fresh": cj.Mitigation(cj.with_share(fresh, 0.5, "half fresh")),
        "half, detector": cj.Mitigation(half, reweigh=selections.importance_resampled(detector)),
        "accumulate": cj.Mitigation(cj.REGIMES["accumulate"]),
        "subsample": cj.Mitigation(cj.REGIMES["accumulate_subsample"]),
        CONTROL: cj.Mitigation(cj.with_share(fresh, 1.0, CONTROL)),
        "real prompts": cj.Mitigation(respond=True, family=answering),
        "oracle": cj.Mitigation(curate=selections.best_of(senses.quality, CANDIDATES)),
        **{f"reward model, {refit}": by_learned_reward(refit) for refit in cj.loop.REFITS},
        "verified": cj.Mitigation(curate=verifier._replace(defaults={"right": 0.9, "wrong": 0.1})),
        "novel": cj.Mitigation(curate=novelty),
    }


def make_learned_reward(
    features: Callable[[Any], Array], spoil: Callable[[Array, Any], Sequence[Any]], quality: Callable[[Any], Array]
) -> selections.LearnedReward:
    """Return a reward model that learns to tell real examples from ever worse ones, `spoil(key, real)`, by features."""

    def read(examples: Any) -> tuple[Array, Array]:
        found = features(examples)
        return found, jnp.zeros(len(found), jnp.int32)

    def rank(key: Array, real: Any) -> cj.reward.RankingData:
        found = jnp.stack([features(one) for one in spoil(key, real)], axis=1)
        return cj.reward.RankingData(found, jnp.ones(found.shape[:2], bool), jnp.zeros(len(found), jnp.int32))

    return cj.loop.learned_reward(
        cj.mlp((64,)),
        cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], min_gap=1e-2)}, ("any",)),
        rank,
        read,
        answers=CANDIDATES,
        quality=lambda key, examples: quality(examples),
        training=cj.reward.Training(steps=200, records=1),
        refit_steps=20,
    )


def nearness(features: np.ndarray) -> float:
    """Return the 5 % quantile of the distances of real examples to their nearest other one."""
    norms = np.square(features).sum(axis=1)
    squares = norms[:, None] + norms[None] - 2.0 * features @ features.T
    np.fill_diagonal(squares, np.inf)
    return float(np.quantile(np.sqrt(np.maximum(squares.min(axis=1), 0.0)), 0.05))
