"""Distances, diversities and coverages, as pure jax.numpy functions of one member: batch them with `jax.vmap`.

NaN in any input gives NaN, never a number that looks like a measurement.
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
from collapse_jax.metrics.density import cell_masses, modes, tail_mass
from collapse_jax.metrics.gaussians import (
    frechet_distance,
    gaussian_kl_divergence,
    log_determinant_ratio,
    trace_ratio,
    wasserstein2,
)
from collapse_jax.metrics.samples import (
    PrecisionRecall,
    kolmogorov_smirnov,
    mmd_squared,
    nearest_distances,
    precision_recall,
    similarity_matrix,
    vendi_score,
    wasserstein,
)
from collapse_jax.metrics.tokens import ngram_entropy, perplexity

__all__ = [
    "PrecisionRecall",
    "cell_masses",
    "entropy",
    "frechet_distance",
    "gaussian_kl_divergence",
    "group_coverage",
    "group_error",
    "group_share",
    "heterozygosity",
    "kl_divergence",
    "kolmogorov_smirnov",
    "log_determinant_ratio",
    "missing_mass",
    "mmd_squared",
    "modes",
    "nearest_distances",
    "ngram_entropy",
    "off_support_mass",
    "perplexity",
    "precision_recall",
    "similarity_matrix",
    "survivors",
    "tail_coverage",
    "tail_mass",
    "total_variation",
    "trace_ratio",
    "vendi_score",
    "wasserstein",
    "wasserstein2",
    "zipf_slope",
]
