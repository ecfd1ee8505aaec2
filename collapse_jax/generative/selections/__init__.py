"""Selections at hand, each a function of its parameters that returns a `Selection`."""

from collapse_jax.generative.selections.choice import best_of, curated, top_share
from collapse_jax.generative.selections.composition import alternatives, compose
from collapse_jax.generative.selections.correction import find_centres, self_correcting
from collapse_jax.generative.selections.detection import (
    calibrated_detector,
    empirical_detector,
    importance_resampled,
    learned_detector,
)
from collapse_jax.generative.selections.elimination import well_formed
from collapse_jax.generative.selections.learned import LearnedReward, by_reward
from collapse_jax.generative.selections.novelty import novel
from collapse_jax.generative.selections.verification import accepted, verified

__all__ = [
    "LearnedReward",
    "accepted",
    "alternatives",
    "best_of",
    "by_reward",
    "calibrated_detector",
    "compose",
    "curated",
    "empirical_detector",
    "find_centres",
    "importance_resampled",
    "learned_detector",
    "novel",
    "self_correcting",
    "top_share",
    "verified",
    "well_formed",
]
