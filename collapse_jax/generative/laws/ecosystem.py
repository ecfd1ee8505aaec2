"""Several models that feed one shared pool: diversity within a model and across models, by coalescence."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


class EcosystemLaw(NamedTuple):
    """P(two draws differ), in expectation: of two draws from one model, and of one draw from each of two models."""

    within: Float[np.ndarray, " generation"]
    across: Float[np.ndarray, " generation"]


@checked
def ecosystem_heterozygosity(truth: float, models: int, samples: int, generations: int) -> EcosystemLaw:
    """Return both expected heterozygosities H of generations 1 … T; `truth` is the H of the true distribution.

    G models emit M examples each into a pool of GM, and each is refitted to M of them, drawn uniformly without
    replacement, independently of the others; generation 1 draws from GM real examples. Two draws from one model come
    from the same training example with probability 1/M, draws from two models with 1/(GM); two distinct examples of the
    pool have one author with probability (M-1)/(GM-1). The same holds for a Gaussian MLE in place of H: `within` is
    then the variance, `across` the mean variance plus half the squared distance of two means.

    >>> ecosystem_heterozygosity(0.8, 3, 10, 2).within.round(4)
    array([0.72  , 0.6811])

    Raises ValueError unless 0 < truth, models >= 1, samples >= 1, generations >= 1.
    """
    numbers.within("truth", truth, 0, np.inf, ends="()")
    numbers.whole_value("models", models, 1)
    numbers.whole_value("samples", samples, 1)
    numbers.generations(generations)
    pool = models * samples
    one_author = (samples - 1) / (pool - 1) if pool > 1 else 1.0
    within, across, distinct = [], [], truth
    for _ in range(generations):
        within.append((1 - 1 / samples) * distinct)
        across.append((1 - 1 / pool) * distinct)
        distinct = one_author * within[-1] + (1 - one_author) * across[-1]
    return EcosystemLaw(np.array(within), np.array(across))
