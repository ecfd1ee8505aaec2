"""What a recursion must come to, for every regime, size and real share of its plan."""

import numpy as np
import xarray as xr

from collapse_jax.checks.annotations import checked
from collapse_jax.generative.laws.moment_law import moment_law
from collapse_jax.generative.recursion.plan import Plan

__all__ = ()


@checked
def predict_moments(plan: Plan, *, unbiased: bool = False, bias: float = 1.0) -> xr.Dataset:
    """Return the exact expectations of the total variance and of the squared error of the mean, by generation.

    Both are in units of the true total variance, with the dimensions `regime`, `samples`, `ratio`, `generation`; for
    families that match moments, as in `moment_law`, which takes the rest of the arguments.

    Raises ValueError for an ecosystem of several models, and as `moment_law` does: a regime that draws from unequally
    weighted examples has no exact law.
    """
    if plan.models > 1:
        raise ValueError(f"predict_moments is for one model, this plan has {plan.models}: see ecosystem_heterozygosity")
    shape = (len(plan.regimes), len(plan.samples), len(plan.ratios), plan.generations)
    variance, mean_error = np.empty(shape), np.empty(shape)
    for i, j, k in np.ndindex(shape[:3]):
        one = plan.table[i][j][k]
        # A regime that keeps all that it counts draws nothing, and then its weights may be unequal.
        everything = (one.draws == one.counts.sum(axis=1)).all()
        draws = None if everything else one.draws
        law = moment_law(
            one.counts, among=one.among, draws=draws, weights=one.weights, unbiased=unbiased, bias=bias
        )
        variance[i, j, k], mean_error[i, j, k] = law.variance, law.mean_error
    over = ("regime", "samples", "ratio", "generation")
    return xr.Dataset(
        {"variance": (over, variance), "mean_error": (over, mean_error)},
        {
            "regime": [one.name for one in plan.regimes],
            "samples": list(plan.samples),
            "ratio": list(plan.ratios),
            "generation": np.arange(1, plan.generations + 1),
        },
    )
