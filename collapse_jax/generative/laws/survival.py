"""Which categories survive replace: the Binomial transition matrix of Wright and Fisher, exactly.

A category with share p among M examples has a Binomial(M, p) count in the next generation, whatever the others do.
Sources: Fisher, Proc. R. Soc. Edinb. 50 (1930); Wright, Genetics 16 (1931).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.laws.binomial import binomial


@checked
def survival_probability(
    share: float | Float[np.ndarray, " share"], samples: Sequence[int]
) -> Float[np.ndarray, "generation *share"]:
    """Return P(a category of true share p has a count > 0 in model t), t = 1, 2, …, fitted to M_1, M_2, … examples.

    Several shares have a column each. The expected share stays p all the while: a minority's mean share says nothing of
    its survival. Sizes up to a few thousand are practical: a step is a matrix of M_t x M_(t+1).

    >>> survival_probability(0.125, [50] * 3).round(4)
    array([0.9987, 0.985 , 0.9557])

    Raises ValueError unless 0 <= share <= 1, and sizes are whole and at least 1.
    """
    shares = np.atleast_1d(share)
    for one in shares:
        numbers.within("share", one, 0, 1)
    alive: Float[np.ndarray, "generation share"] = 1 - _lost(shares, samples)
    return alive if np.ndim(share) else alive[:, 0]


@checked
def survivors(truth: Float[np.ndarray, " category"], samples: Sequence[int]) -> Float[np.ndarray, " generation"]:
    """Return the expected number of categories with a count > 0 in models 1, 2, …, fitted to M_1, M_2, … examples.

    >>> survivors(np.full(8, 1 / 8), [50] * 40)[[0, 19, 39]].round(4)
    array([7.9899, 3.7983, 2.4101])

    Raises ValueError for what is not a distribution, or sizes that are not whole and at least 1.
    """
    numbers.distribution("truth", truth)
    shares, number = np.unique(truth, return_counts=True)
    return (1 - _lost(shares, samples)) @ number


@checked
def forgetting_time(count: int, samples: int, *, quantile: float = 0.5, longest: int = 100_000) -> float:
    """Return how many generations after a count of c among M the category is lost with the given probability.

    For 1 << c << M it is about 2 c / -log(quantile): proportional to the count (the mean time is not). It is inf where
    that probability is never reached, since the category becomes the only one with probability c/M, or not reached
    within `longest` generations.

    >>> [forgetting_time(c, 200) for c in (2, 4, 8)]
    [5.0, 11.0, 23.0]

    Raises ValueError unless 0 <= count <= samples, samples >= 1, 0 < quantile < 1, longest >= 1.
    """
    numbers.whole_value("samples", samples, 1)
    numbers.whole_value("count", count, 0)
    numbers.within("count", count, 0, samples)
    numbers.within("quantile", quantile, 0, 1, ends="()")
    numbers.whole_value("longest", longest, 1)
    if quantile >= 1 - count / samples:
        return 0.0 if count == 0 else math.inf
    matrix = _transition(samples, samples)
    distribution = np.eye(samples + 1)[count]
    for generation in range(longest + 1):
        if distribution[0] >= quantile:
            return float(generation)
        distribution = distribution @ matrix
    return math.inf


@checked
def absorption_time(samples: int) -> Float[np.ndarray, " count"]:
    """Return the mean number of generations until a category is lost or alone, for counts 0 … M now.

    For large M it is about -2M (p log p + (1-p) log(1-p)), p = c/M.

    >>> absorption_time(4).round(4)
    array([0.    , 3.6897, 4.5517, 3.6897, 0.    ])

    Raises ValueError for fewer than one sample.
    """
    numbers.whole_value("samples", samples, 1)
    inner = _transition(samples, samples)[1:-1, 1:-1]
    times = np.linalg.solve(np.eye(samples - 1) - inner, np.ones(samples - 1))
    return np.concatenate([[0.0], times, [0.0]])


def _lost(shares: Float[np.ndarray, " share"], samples: Sequence[int]) -> Float[np.ndarray, "generation share"]:
    """Return the probability of a count of 0 in each generation."""
    samples = list(samples)
    if not samples:
        raise ValueError("samples = [] has no generation; one size a generation is needed")
    for size in samples:
        numbers.whole_value("samples", size, 1)
    distribution = binomial(samples[0], shares)
    lost, matrix = [distribution[:, 0]], None
    for i in range(1, len(samples)):
        if matrix is None or samples[i - 1 : i + 1] != samples[i - 2 : i]:
            matrix = _transition(samples[i - 1], samples[i])
        distribution = distribution @ matrix
        lost.append(distribution[:, 0])
    # Sums of probabilities, which rounding may leave above 1.
    return np.stack(lost).clip(0.0, 1.0)


def _transition(before: int, after: int) -> Float[np.ndarray, "before after"]:
    numbers.table("samples", before + 1, after + 1)
    shares = np.arange(before + 1) / before
    return binomial(after, shares)
