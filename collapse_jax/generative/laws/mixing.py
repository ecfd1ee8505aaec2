"""Stationary errors of models that mix fresh or replayed real examples with those of their predecessor.

Each generation fits n_real real examples and n_synthetic ones that the generation before emitted.
"""

import math

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


@checked
def golden_weight(share: float) -> float:
    """Return the weight w* = (√(k² + 4k) - k) / 2 of the real estimate that minimises `weighted_error`.

    `share` is that of the real among all examples, n_real / (n_real + n_synthetic), and k = share / (1 - share) their
    odds; at a share of one half the weight is the inverse golden ratio.

    >>> round(golden_weight(0.5), 6)
    0.618034

    Raises ValueError unless 0 <= share <= 1. Source: He, Xu, Cheng, arXiv 2502.18049.
    """
    numbers.within("share", share, 0, 1)
    # The conjugate of the published form, which cancels for large k; k = 0 has a weight of 0.
    return 2 / (1 + math.sqrt(1 + 4 * (1 - share) / share)) if share else 0.0


@checked
def weighted_error(weight: float, share: float) -> float:
    """Return the stationary E |θ_t - θ|², in units of σ²/n_real, of θ_t = w θ̂(fresh real) + (1-w) θ̂(emitted).

    The emitted examples scatter with the known σ² about θ_(t-1); `share` is n_real / (n_real + n_synthetic). The least
    value, taken at w = `golden_weight(share)`, is that weight itself.

    >>> round(weighted_error(0.5, 0.5), 6)
    0.666667

    Raises ValueError unless 0 < w <= 1 and 0 < share < 1. Source: He, Xu, Cheng, arXiv 2502.18049.
    """
    numbers.within("weight", weight, 0, 1, ends="(]")
    numbers.within("share", share, 0, 1, ends="()")
    odds = share / (1 - share)
    return (weight**2 + odds * (1 - weight) ** 2) / (weight * (2 - weight))


@checked
def pooled_error(share: float) -> float:
    """Return `weighted_error` of plain pooling, where the weight is the share of real examples: 1 / (2 - share).

    >>> round(pooled_error(0.5), 6)
    0.666667

    Raises ValueError unless 0 < share < 1. Source: He, Xu, Cheng, arXiv 2502.18049.
    """
    numbers.within("share", share, 0, 1, ends="()")
    return 1 / (2 - share)


@checked
def weighted_fit_error(weight: float, real: int, synthetic: int) -> float:
    """Return `weighted_error` with an emitted variance that is fitted too (MLE, moments of the weighted examples).

    In units of the true variance. What the mean drifts is missing from the fitted variance, so that the error is
    smaller than `weighted_error` / n_real; the two agree as n_synthetic grows.

    >>> round(weighted_fit_error(0.5, 50, 50), 6)
    0.013245

    Raises ValueError unless 0 < w <= 1 and both sizes are whole and at least 1.
    """
    numbers.within("weight", weight, 0, 1, ends="(]")
    numbers.whole_value("real", real, 1)
    numbers.whole_value("synthetic", synthetic, 1)
    kept = (1 - weight) ** 2
    return (weight**2 / real + kept / synthetic) / (1 - kept + kept / synthetic)


@checked
def fresh_share_error(share: float, samples: int) -> float:
    """Return the stationary E (μ̂ - μ)² = 1 / (M (1 - (1-α)²) + 1 - α) of MLE fits to αM fresh and (1-α)M emitted.

    In units of the true variance; exact, the smaller variance of what is emitted included. As in the regimes, αM is the
    nearest whole number of examples.

    >>> round(fresh_share_error(0.1, 100), 6)
    0.050251

    Raises ValueError unless 0 < share <= 1 and M is whole and at least 1, and for a share below 1 that is nearest to
    none or to all of M examples. Source: Alemohammad et al., arXiv 2307.01850.
    """
    share = _whole_share(share, samples)
    return 1 / (samples * (1 - (1 - share) ** 2) + 1 - share)


@checked
def replayed_share_error(share: float, samples: int) -> float:
    """Return `fresh_share_error` if the same αM real examples are replayed: larger by 3 - 2α, exactly, for every M.

    >>> round(replayed_share_error(0.1, 100), 6)
    0.140704

    Raises ValueError as `fresh_share_error` does.
    """
    return (3 - 2 * _whole_share(share, samples)) * fresh_share_error(share, samples)


@checked
def resampled_share_error(share: float, samples: int) -> float:
    """Return `fresh_share_error` if αM of the same M real examples are drawn anew each generation.

    Larger by 1 + 2α(1-α), exactly, for every M: between fresh examples and the same αM ones replayed. The model's mean
    has the covariance σ²/M with that of the real set, which is what a draw of it shares with all earlier draws.

    >>> round(resampled_share_error(0.1, 100), 6)
    0.059296

    Raises ValueError as `fresh_share_error` does.
    """
    share = _whole_share(share, samples)
    return (1 + 2 * share * (1 - share)) * fresh_share_error(share, samples)


def _whole_share(share: float, samples: int) -> float:
    """Return the share of the nearest whole number of examples."""
    numbers.within("share", share, 0, 1, ends="(]")
    numbers.whole_value("samples", samples, 1)
    return numbers.part("share", share, int(samples)) / samples
