"""Distances, diversities and coverages, as pure jax.numpy functions of one member: batch them with `jax.vmap`.

NaN in any input gives NaN, never a number that looks like a measurement. A set's samples outside a `where` are left
out, whatever they hold, so that `by_group` measures subgroups with static shapes.
"""

from collapse_jax.metrics.categorical import (
    entropy,
    group_coverage,
    group_error,
    group_share,
    heterozygosity,
    kl_divergence,
    missing_mass,
    off_support_mass,
    survivors,
    tail_coverage,
    total_variation,
    zipf_slope,
)
from collapse_jax.metrics.classifier import classifier_agreement, fit_classifier
from collapse_jax.metrics.density import cell_masses, modes, tail_mass
from collapse_jax.metrics.drift import Drift, sample_frechet_distance, semantic_drift
from collapse_jax.metrics.embeddings import hashed_ngram_embedding
from collapse_jax.metrics.gaussians import (
    frechet_distance,
    gaussian_kl_divergence,
    log_determinant_ratio,
    trace_ratio,
    wasserstein2,
)
from collapse_jax.metrics.groups import by_group
from collapse_jax.metrics.lexical import distinct_n, ngram_entropy, repetition, self_bleu, type_token_ratio
from collapse_jax.metrics.minorities import ball_coverage, group_distance, group_misses
from collapse_jax.metrics.ngrams import ngram_frequencies
from collapse_jax.metrics.profile import collapse_profile
from collapse_jax.metrics.samples import (
    PrecisionRecall,
    cosine_similarities,
    gaussian_similarities,
    histogram,
    kolmogorov_smirnov,
    mmd_squared,
    nearest_distances,
    precision_recall,
    similarity_matrix,
    vendi_score,
    wasserstein,
)
from collapse_jax.metrics.tokens import perplexity, sequence_perplexities

__all__ = [
    "Drift",
    "PrecisionRecall",
    "ball_coverage",
    "by_group",
    "cell_masses",
    "classifier_agreement",
    "collapse_profile",
    "cosine_similarities",
    "distinct_n",
    "entropy",
    "fit_classifier",
    "frechet_distance",
    "gaussian_kl_divergence",
    "gaussian_similarities",
    "group_coverage",
    "group_distance",
    "group_error",
    "group_misses",
    "group_share",
    "hashed_ngram_embedding",
    "heterozygosity",
    "histogram",
    "kl_divergence",
    "kolmogorov_smirnov",
    "log_determinant_ratio",
    "missing_mass",
    "mmd_squared",
    "modes",
    "nearest_distances",
    "ngram_entropy",
    "ngram_frequencies",
    "off_support_mass",
    "perplexity",
    "precision_recall",
    "repetition",
    "sample_frechet_distance",
    "self_bleu",
    "semantic_drift",
    "sequence_perplexities",
    "similarity_matrix",
    "survivors",
    "tail_coverage",
    "tail_mass",
    "total_variation",
    "trace_ratio",
    "type_token_ratio",
    "vendi_score",
    "wasserstein",
    "wasserstein2",
    "zipf_slope",
]
