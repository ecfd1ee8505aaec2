"""Generative collapse: regimes, families, selections, and the populations that recurse through them."""

from collapse_jax.generative import families, laws, selections
from collapse_jax.generative.decoding import Decoding
from collapse_jax.generative.family import FAMILIES, Family, MomentMatching, Moments, Statistics, Tokens
from collapse_jax.generative.fitting import Fitting, make_fit
from collapse_jax.generative.laws import MomentLaw, moment_law
from collapse_jax.generative.laws.prediction import predict_moments
from collapse_jax.generative.recursion.plan import Plan, make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import (
    FRESH,
    REAL,
    REGIMES,
    Regime,
    count_matrix,
    ecosystem,
    regime,
    sliding_window,
    weighted,
    with_share,
)
from collapse_jax.generative.recursion.resolving import resample
from collapse_jax.generative.saving import Generator, load_generator, make_generator, save_generator
from collapse_jax.generative.selection import Candidates, Selection

__all__ = [
    "FAMILIES",
    "FRESH",
    "REAL",
    "REGIMES",
    "Candidates",
    "Decoding",
    "Family",
    "Fitting",
    "Generator",
    "MomentLaw",
    "MomentMatching",
    "Moments",
    "Plan",
    "Regime",
    "Selection",
    "Statistics",
    "Tokens",
    "count_matrix",
    "ecosystem",
    "families",
    "laws",
    "load_generator",
    "make_fit",
    "make_generator",
    "make_plan",
    "make_recursion",
    "moment_law",
    "predict_moments",
    "regime",
    "resample",
    "save_generator",
    "selections",
    "sliding_window",
    "weighted",
    "with_share",
]
