"""Laws with one bad argument: what is predicted is finite, or refused by name."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

import collapse_jax as cj
from collapse_jax.generative import laws
from tests.fuzz.probes import Probe, of
from tests.fuzz.values import STRANGE

_P = np.array([0.5, 0.3, 0.2])
_REWARDS = np.array([1.0, 0.5, 0.0])
_SHARES = np.array([0.1, 0.4])
_KERNEL = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])


def probes() -> Sequence[Probe]:
    """Return the probes of all laws."""
    common = {"samples": 10, "generations": 3}
    plan = cj.make_plan(cj.REGIMES["accumulate"], 3, 10)
    schemes = cj.make_schemes({"a": cj.choose(cj.UTILITIES["linear"])})
    uniform = cj.limit_law(cj.UTILITIES["linear"])
    # Only this library makes these records: something else is put in their place, but their fields are left alone.
    whole = dict.fromkeys(("law", "schemes", "plan"), st.sampled_from(STRANGE))
    return [
        of(laws.absorption_time, samples=8),
        of(laws.accumulate_heterozygosity, truth=0.8, **common),
        of(laws.accumulate_survival, shares=_SHARES, **common)._replace(words={"shares": ["share"]}),
        of(laws.accumulate_variance_limit, samples=10),
        of(laws.best_of, cdf=np.array([0.5, 1.0]), choices=2, generations=2),
        of(laws.curated, model=_P, rewards=_REWARDS, choices=2),
        of(laws.curated_concentration, rewards=_REWARDS, choices=2),
        of(laws.curated_limit, model=_P, rewards=_REWARDS, generations=2),
        of(laws.curated_pair, good=0.5, gap=2.0),
        of(laws.curated_pair_fixed_point, real_good=0.5, emitted_share=0.5, gap=2.0),
        of(laws.disappearance_time, unbroken=np.array([[1.0], [0.5]])),
        of(laws.ecosystem_heterozygosity, truth=0.8, models=3, **common),
        of(laws.ecosystem_share_variance, shares=_SHARES, models=2, **common)._replace(words={"shares": ["share"]}),
        of(laws.ecosystem_survival, shares=_SHARES, models=2, **common)._replace(words={"shares": ["share"]}),
        of(laws.evolve_and_accumulate, seeds=np.array([4.0, 0.0, 1.0]), kernel=_KERNEL, picks=[4, 8])._replace(
            words={"seeds": ["kernel"]}
        ),
        of(laws.evolve_and_replace, seeds=_P, kernel=_KERNEL, generations=2)._replace(words={"seeds": ["kernel"]}),
        of(laws.forgetting_time, count=3, samples=20, quantile=0.5, longest=50)._replace(words={"samples": ["count"]}),
        of(laws.fresh_share_error, share=0.1, samples=100),
        of(laws.fresh_share_heterozygosity, truth=0.8, share=0.5, mixed=True, **common),
        of(laws.fresh_share_heterozygosity_limit, truth=0.8, share=0.5, samples=10, mixed=False),
        of(laws.fresh_share_survival, shares=_SHARES, real_share=0.5, **common)._replace(words={"shares": ["share"]}),
        of(laws.golden_weight, share=0.5),
        of(laws.heterozygosity, truth=_P),
        of(laws.importance_resampled, truth=_P, model=_P[::-1].copy(), real_share=0.5, power=1.0)._replace(
            words={"truth": ["model"], "model": ["truth"]}
        ),
        of(laws.importance_survival, shares=_SHARES, real_share=0.5, **common)._replace(words={"shares": ["share"]}),
        of(laws.iterate_decoding, decode=lambda p: p, start=_P, generations=2, truth=_P, share=0.5)._replace(
            words={"start": ["truth"]}
        ),
        of(laws.kernel_accumulate, bandwidth=0.5, generations=3, variance=1.0),
        of(laws.kernel_replace, bandwidth=0.5, generations=3, variance=1.0),
        of(laws.missing_mass, truth=_P, samples=3, drawn_from=_P)._replace(words={"truth": ["drawn_from"]}),
        of(laws.moment_law, counts=np.array([[0, 10, 0], [0, 5, 5]]), draws=np.array([10, 10]), bias=1.0)._replace(
            words={"counts": ["draws", "weights"], "draws": ["unbiased"]}
        ),
        of(laws.pooled_error, share=0.5),
        of(laws.ranked_quality, quality=_REWARDS, noise=0.5),
        of(laws.regression_accumulate, samples=23, dim=2, noise=1.0, generations=3)._replace(
            words={"dim": ["samples"]}
        ),
        of(laws.regression_accumulate_fresh, samples=23, dim=2, noise=1.0, generations=3)._replace(
            words={"dim": ["samples"]}
        ),
        of(laws.regression_replace, samples=23, dim=2, noise=1.0, generations=3)._replace(words={"dim": ["samples"]}),
        of(laws.replace_heterozygosity, truth=0.8, **common),
        of(laws.replace_log_determinant, samples=10, dim=3, generations=2)._replace(words={"dim": ["samples"]}),
        of(laws.replace_log_variance, **common),
        of(laws.replace_wasserstein, samples=[100, 50]),
        of(laws.replace_wasserstein_leading, samples=[100, 50]),
        of(laws.replayed_share_error, share=0.1, samples=100),
        of(laws.replayed_share_survival, shares=_SHARES, real_share=0.5, **common)._replace(
            words={"shares": ["share"]}
        ),
        of(laws.subsample_survival, shares=_SHARES, **common)._replace(words={"shares": ["share"]}),
        of(laws.survival_probability, share=0.125, samples=[10, 10]),
        of(laws.survivors, truth=_P, samples=[10, 10]),
        of(laws.temperature_fixed_points, categories=3, temperature=0.5, share=0.4, favoured=1),
        of(laws.tempered, model=_P, temperature=0.5),
        of(laws.token_edited, real=_P, model=_P[::-1].copy(), threshold=0.4),
        of(laws.top_k, model=_P, number=2),
        of(laws.top_p, model=_P, mass=0.7),
        of(laws.two_groups, share=0.5, kept=lambda q: q * (1 - q), **common),
        of(laws.verified, right=0.5, keep_right=0.9, keep_wrong=0.1),
        of(laws.verified_and_refilled, right=0.5, keep_right=0.9, keep_wrong=0.1, refill=1.0),
        of(laws.verified_gaussian, mean=0.0, variance=1.0, centre=1.0, width=1.0, generations=2),
        of(laws.weighted_error, weight=0.5, share=0.5),
        of(laws.weighted_fit_error, weight=0.5, real=50, synthetic=50),
        of(laws.zipf_missing_mass, exponent=2.0, samples=100),
        of(cj.finite_law, utility=cj.UTILITIES["linear"], n_items=4, pairs="all", centring=0.0),
        of(
            cj.reward.objective,
            utility=cj.UTILITIES["linear"],
            rewards=np.array([1.0, 0.5, 0.0]),
            pairs="all",
            centring=0.0,
        ),
        of(cj.reward.certified_gap, utility=cj.UTILITIES["linear"], rewards=np.array([1.0, 0.5, 0.0]), pairs="chain"),
        of(cj.limit_law, utility=cj.UTILITIES["linear"], closed_form=True),
        of(cj.predict_rewards, schemes=schemes, n_items=3, pairs="all", centring=0.0)._replace(strategies=whole),
        of(cj.reward.limit_values, schemes=schemes)._replace(strategies=whole),
        of(cj.reward.wasserstein_to_limit, rewards=np.array([0.0, 1.0]), law=uniform, points=16)._replace(
            strategies=whole
        ),
        of(cj.reward.quantile_distance, rewards=np.array([0.0, 1.0]), law=uniform)._replace(strategies=whole),
        of(cj.predict_moments, plan=plan, unbiased=False, bias=1.0)._replace(strategies=whole),
    ]
