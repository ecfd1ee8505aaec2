"""The share of a group in the model: its moments where examples are selected by group, and in ecosystems."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked, require_numbers
from collapse_jax.generative.laws.binomial import binomial
from collapse_jax.generative.laws.ecosystem import ecosystem_heterozygosity


class TwoGroupLaw(NamedTuple):
    """The expected share of the group in model t, its variance, and P(it is in model t)."""

    share: Float[np.ndarray, " generation"]
    variance: Float[np.ndarray, " generation"]
    alive: Float[np.ndarray, " generation"]


@checked
def two_groups(
    share: float, kept: Callable[[Float[np.ndarray, " count"]], np.ndarray], samples: int, generations: int
) -> TwoGroupLaw:
    """Return the law of models 1 … T if examples are selected before they train, by their group alone.

    `kept` maps the group's share of what a model emits to its share of what is kept. Parts of the group that are
    selected alike keep their proportions in expectation: each has its part of the expected share.

    >>> two_groups(0.5, lambda q: q * (1 - q), 10, 3).share.round(4)
    array([0.5   , 0.225 , 0.1559])

    Raises ValueError for a share outside [0, 1], samples < 1, generations < 1, and a `kept` that returns shares
    outside [0, 1] or another number of them than it is given.
    """
    numbers.within("share", share, 0, 1)
    numbers.whole_value("samples", samples, 1)
    numbers.generations(generations)
    numbers.table("samples", samples + 1, samples + 1)
    shares = np.arange(samples + 1) / samples
    after = kept(shares)
    require_numbers("what `kept` returns", after, shares.shape)
    after = numbers.shares("kept", np.asarray(after))
    step = binomial(samples, after)
    counts, law = binomial(samples, np.array([share]))[0], []
    for _ in range(generations):
        # Sums of probabilities, which rounding may leave outside [0, 1].
        mean = float((counts @ shares).clip(0.0, 1.0))
        law.append((mean, float(counts @ (shares - mean) ** 2), 1 - min(float(counts[0]), 1.0)))
        counts = counts @ step
    return TwoGroupLaw(*np.array(law).T)


@checked
def ecosystem_share_variance(
    shares: Float[np.ndarray, " share"], models: int, samples: int, generations: int
) -> Float[np.ndarray, "generation share"]:
    """Return the variance of the group's share in G models together, of generations 1 … T, by coalescence.

    >>> ecosystem_share_variance(np.array([0.5]), 2, 10, 2)[:, 0].round(4)
    array([0.0187, 0.0358])

    Raises ValueError for shares outside (0, 1), models < 1, samples < 1, generations < 1.
    """
    found = []
    for share in shares:
        numbers.within("share", float(share), 0, 1, ends="()")
        apart = 2 * float(share) * (1 - float(share))
        law = ecosystem_heterozygosity(apart, models, samples, generations)
        # The chance that one alone of two draws from all models together is of the group; half of it in either order.
        together = (law.within + (models - 1) * law.across) / models
        found.append((apart - together) / 2)
    return np.stack(found, axis=1)
