"""Laws of generative collapse: what recursions of generators must show, on the host in float64."""

from collapse_jax.generative.laws.categorical import (
    accumulate_heterozygosity,
    fresh_share_heterozygosity,
    fresh_share_heterozygosity_limit,
    heterozygosity,
    missing_mass,
    replace_heterozygosity,
    zipf_missing_mass,
)
from collapse_jax.generative.laws.curation import (
    best_of,
    curated,
    curated_limit,
    curated_pair,
    curated_pair_fixed_point,
    importance_resampled,
    verified,
    verified_and_refilled,
    verified_gaussian,
)
from collapse_jax.generative.laws.decoding import (
    FixedPoints,
    iterate_decoding,
    temperature_fixed_points,
    tempered,
    top_k,
    top_p,
)
from collapse_jax.generative.laws.density import kernel_accumulate, kernel_replace
from collapse_jax.generative.laws.ecosystem import EcosystemLaw, ecosystem_heterozygosity
from collapse_jax.generative.laws.editing import token_edited
from collapse_jax.generative.laws.evolution import evolve_and_accumulate, evolve_and_replace
from collapse_jax.generative.laws.gaussian import (
    accumulate_variance_limit,
    replace_log_determinant,
    replace_log_variance,
    replace_wasserstein,
    replace_wasserstein_leading,
)
from collapse_jax.generative.laws.group_shares import TwoGroupLaw, ecosystem_share_variance, two_groups
from collapse_jax.generative.laws.minorities import (
    DisappearanceTime,
    SurvivalLaw,
    accumulate_survival,
    disappearance_time,
    ecosystem_survival,
    fresh_share_survival,
    importance_survival,
    replayed_share_survival,
    resampled_share_survival,
    subsample_survival,
)
from collapse_jax.generative.laws.mixing import (
    fresh_share_error,
    golden_weight,
    pooled_error,
    replayed_share_error,
    resampled_share_error,
    weighted_error,
    weighted_fit_error,
)
from collapse_jax.generative.laws.moment_law import MomentLaw, moment_law
from collapse_jax.generative.laws.ranking import curated_concentration, ranked_quality
from collapse_jax.generative.laws.regression import (
    regression_accumulate,
    regression_accumulate_fresh,
    regression_replace,
)
from collapse_jax.generative.laws.survival import absorption_time, forgetting_time, survival_probability, survivors

__all__ = [
    "DisappearanceTime",
    "EcosystemLaw",
    "FixedPoints",
    "MomentLaw",
    "SurvivalLaw",
    "TwoGroupLaw",
    "absorption_time",
    "accumulate_heterozygosity",
    "accumulate_survival",
    "accumulate_variance_limit",
    "best_of",
    "curated",
    "curated_concentration",
    "curated_limit",
    "curated_pair",
    "curated_pair_fixed_point",
    "disappearance_time",
    "ecosystem_heterozygosity",
    "ecosystem_share_variance",
    "ecosystem_survival",
    "evolve_and_accumulate",
    "evolve_and_replace",
    "forgetting_time",
    "fresh_share_error",
    "fresh_share_heterozygosity",
    "fresh_share_heterozygosity_limit",
    "fresh_share_survival",
    "golden_weight",
    "heterozygosity",
    "importance_resampled",
    "importance_survival",
    "iterate_decoding",
    "kernel_accumulate",
    "kernel_replace",
    "missing_mass",
    "moment_law",
    "pooled_error",
    "ranked_quality",
    "regression_accumulate",
    "regression_accumulate_fresh",
    "regression_replace",
    "replace_heterozygosity",
    "replace_log_determinant",
    "replace_log_variance",
    "replace_wasserstein",
    "replace_wasserstein_leading",
    "replayed_share_error",
    "replayed_share_survival",
    "resampled_share_error",
    "resampled_share_survival",
    "subsample_survival",
    "survival_probability",
    "survivors",
    "temperature_fixed_points",
    "tempered",
    "token_edited",
    "top_k",
    "top_p",
    "two_groups",
    "verified",
    "verified_and_refilled",
    "verified_gaussian",
    "weighted_error",
    "weighted_fit_error",
    "zipf_missing_mass",
]
