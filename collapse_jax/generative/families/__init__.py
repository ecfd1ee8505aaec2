"""Families of generators, each a function of its parameters that returns a `Family`."""

from collapse_jax.generative.families.categorical import categorical, zipf
from collapse_jax.generative.families.evolved import evolved
from collapse_jax.generative.families.flow import Flow, flow
from collapse_jax.generative.families.gaussian import gaussian
from collapse_jax.generative.families.histogram import histogram
from collapse_jax.generative.families.image_classes import LabelledImages
from collapse_jax.generative.families.instructions import InstructionSpace, instruction_space
from collapse_jax.generative.families.kde import ecdf, kde
from collapse_jax.generative.families.language_model import LanguageModel, language_model
from collapse_jax.generative.families.mixture import mixture
from collapse_jax.generative.families.ngram import ngram
from collapse_jax.generative.families.regression import logistic, regression
from collapse_jax.generative.families.rewriting import Rewriter, rewriting
from collapse_jax.generative.families.token_edited import Edited, token_edited
from collapse_jax.generative.families.vae import VAE, vae

__all__ = [
    "VAE",
    "Edited",
    "Flow",
    "InstructionSpace",
    "LabelledImages",
    "LanguageModel",
    "Rewriter",
    "categorical",
    "ecdf",
    "evolved",
    "flow",
    "gaussian",
    "histogram",
    "instruction_space",
    "kde",
    "language_model",
    "logistic",
    "mixture",
    "ngram",
    "regression",
    "rewriting",
    "token_edited",
    "vae",
    "zipf",
]
