"""What is chosen by a ranking: the quality that a noisy ranker puts at each rank, and the first loss of diversity."""

import math

import numpy as np
import scipy
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked

_DEVIATIONS = 8.5
_SPACING = 0.05


@checked
def ranked_quality(quality: Float[np.ndarray, " item"], noise: float) -> Float[np.ndarray, " rank"]:
    """Return the expected quality at each rank, best first, when items are ranked by quality + noise · N(0, 1).

    Given an item's own noise, its rank is a sum of independent comparisons; the trapezoidal sum integrates that noise
    out, accurate to 1e-9.

    >>> ranked_quality(np.array([1.0, 0.0]), 0.5).round(6)
    array([0.92135, 0.07865])

    Raises ValueError unless noise > 0, and for a quality that is not finite.
    """
    numbers.within("noise", noise, 0, math.inf, ends="()")
    if not np.isfinite(quality).all():
        raise ValueError(f"quality = {quality} is not finite")
    z = np.arange(-_DEVIATIONS, _DEVIATIONS + _SPACING / 2, _SPACING)
    density = np.exp(-(z**2) / 2)
    density /= density.sum()
    expected = np.zeros(len(quality))
    for i, own in enumerate(quality):
        above = np.zeros((len(z), len(quality)))  # the probability of so many others above
        above[:, 0] = 1.0
        for other in np.delete(quality, i):
            wins = scipy.special.ndtr((other - own) / noise - z)[:, None]
            above = above * (1 - wins) + np.pad(above, ((0, 0), (1, 0)))[:, :-1] * wins
        expected += own * (density @ above)
    return expected


@checked
def curated_concentration(rewards: Float[np.ndarray, " item"], choices: int) -> float:
    """Return by what share Σp² grows in the first generation of `curated`, from uniform p, for small rewards.

    (1 - 1/K)² Var r to leading order: the variance of the law of rewards says how fast diversity 1 - Σp² goes at first.

    >>> curated_concentration(np.array([1.0, 0.0]), 2)
    0.0625

    Raises ValueError for rewards that are not finite, or choices < 1.
    """
    numbers.whole_value("choices", choices, 1)
    if not np.isfinite(rewards).all():
        raise ValueError(f"rewards = {rewards} are not finite")
    return float((1 - 1 / choices) ** 2 * np.var(rewards))
