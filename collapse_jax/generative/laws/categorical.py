"""Heterozygosity H = 1 - Σ p² and missing mass of categorical models that are refitted to samples of themselves.

H is the probability that two draws differ. It obeys the recursion of the variance of a Gaussian MLE.
"""

import math

import numpy as np
import scipy
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


@checked
def heterozygosity(truth: Float[np.ndarray, " category"]) -> float:
    """Return H = 1 - Σ p².

    >>> heterozygosity(np.full(4, 0.25))
    0.75

    Raises ValueError for what is not a distribution.
    """
    numbers.distribution("truth", truth)
    # Rounding may put it below 0 where one category has all the mass.
    return max(0.0, float(1 - truth @ truth))


@checked
def replace_heterozygosity(truth: float, samples: int, generations: int) -> Float[np.ndarray, " generation"]:
    """Return E H of models 1 … T under replace: H (1 - 1/M)^t, `truth` being the H of the true distribution.

    >>> replace_heterozygosity(0.8, 10, 2)
    array([0.72 , 0.648])

    Raises ValueError unless 0 <= truth < 1, samples >= 1, generations >= 1. Source: Wright, Genetics 16 (1931).
    """
    _check(truth, samples, generations)
    return truth * (1 - 1 / samples) ** np.arange(1.0, generations + 1)


@checked
def accumulate_heterozygosity(truth: float, samples: int, generations: int) -> Float[np.ndarray, " generation"]:
    """Return E H of models 1 … T under accumulate: H Π (1 - 1 / (M i²)).

    >>> accumulate_heterozygosity(0.8, 10, 2)
    array([0.72 , 0.702])

    Raises ValueError unless 0 <= truth < 1, samples >= 1, generations >= 1.
    """
    _check(truth, samples, generations)
    return truth * np.cumprod(1 - 1 / (samples * np.arange(1.0, generations + 1) ** 2))


@checked
def fresh_share_heterozygosity(
    truth: float, share: float, samples: int, generations: int, *, mixed: bool = False
) -> Float[np.ndarray, " generation"]:
    """Return E H of models 1 … T: model 1 fits M real examples, later ones αM fresh and (1-α)M emitted examples.

    As in the regimes, αM is the nearest whole number. `mixed` instead draws all M from the mixture of truth and model,
    so that the number of fresh ones is random.

    >>> fresh_share_heterozygosity(0.8, 0.5, 10, 2)
    array([0.72 , 0.704])
    >>> fresh_share_heterozygosity(0.8, 0.5, 10, 2, mixed=True)
    array([0.72 , 0.702])

    Raises ValueError unless 0 <= truth < 1, 0 <= share <= 1, samples >= 1, generations >= 1, and without `mixed` for a
    share strictly between 0 and 1 that is nearest to none or to all of M examples.
    """
    _check(truth, samples, generations)
    numbers.within("share", share, 0, 1)
    drift = truth / samples * np.ones(generations)
    for t in range(1, generations):
        drift[t] = drift[0] + _kept(share, samples, mixed) * drift[t - 1]
    # In the end all of H has drifted away, and rounding may put what is left below 0.
    return np.maximum(truth - drift, 0.0)


@checked
def fresh_share_heterozygosity_limit(truth: float, share: float, samples: int, *, mixed: bool = False) -> float:
    """Return what `fresh_share_heterozygosity` tends to as T -> ∞.

    That is H (1 - 1 / (M (1 - (1-α)²) + 1 - α)), or with `mixed` the same with (1-α)² for the last 1 - α.

    >>> round(fresh_share_heterozygosity_limit(0.8, 0.5, 10), 6)
    0.7

    Raises ValueError unless 0 <= truth < 1, 0 <= share <= 1, samples >= 1, and as `fresh_share_heterozygosity` does.
    """
    _check(truth, samples, 1)
    numbers.within("share", share, 0, 1)
    return max(0.0, truth - truth / samples / (1 - _kept(share, samples, mixed)))


@checked
def missing_mass(
    truth: Float[np.ndarray, " category"],
    samples: int,
    *,
    drawn_from: Float[np.ndarray, " category"] | None = None,
) -> float:
    """Return the expected true probability of what M draws have not shown, Σ p (1-q)^M.

    The draws are from q, by default the truth p itself; what q cuts off is missing for every M, which makes a plateau.

    >>> missing_mass(np.full(4, 0.25), 1)
    0.75

    Raises ValueError for what is not a distribution, or samples < 0.
    """
    numbers.distribution("truth", truth)
    drawn_from = truth if drawn_from is None else drawn_from
    numbers.distribution("drawn_from", drawn_from)
    numbers.whole_value("samples", samples, 0)
    # A category of probability 1 has log1p(-1) = -inf, and contributes nothing unless M = 0.
    with np.errstate(divide="ignore"):
        unseen = np.exp(samples * np.log1p(-np.minimum(drawn_from, 1))) if samples else np.ones(len(truth))
    return min(float(truth @ unseen), 1.0)


@checked
def zipf_missing_mass(exponent: float, samples: int) -> float:
    """Return the missing mass of p_i ∝ i^-β, i = 1, 2, … without end, for many samples.

    It is (1/β) ζ(β)^(-1/β) Γ(1 - 1/β) M^-(1 - 1/β) to leading order.

    >>> round(zipf_missing_mass(2.0, 10_000), 6)
    0.00691

    Raises ValueError unless exponent > 1 and samples >= 1. Source: Dohmatob et al., arXiv 2402.07043.
    """
    numbers.within("exponent", exponent, 1, math.inf, ends="()")
    numbers.whole_value("samples", samples, 1)
    slope = 1 - 1 / exponent
    return float(
        scipy.special.zeta(exponent) ** (-1 / exponent) * scipy.special.gamma(slope) / exponent * samples**-slope
    )


def _kept(share: float, samples: int, mixed: bool) -> float:
    """Return how much of the squared drift is left after a generation."""
    if not mixed:
        share = numbers.part("share", share, int(samples)) / samples
    return (1 - share) ** 2 - (1 - share) ** (2 if mixed else 1) / samples


def _check(truth: float, samples: int, generations: int) -> None:
    numbers.within("truth", truth, 0, 1, ends="[)")
    numbers.whole_value("samples", samples, 1)
    numbers.generations(generations)
