"""Pools of seeds that are evolved: each picked member of kind i becomes one of kind j with probability K[i, j].

Rows of K sum to 1, or to less where an evolved member may be eliminated. Sources: Self-Instruct (Wang et al., arXiv
2212.10560), Evol-Instruct (Xu et al., arXiv 2304.12244).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


@checked
def evolve_and_accumulate(
    seeds: Float[np.ndarray, " kind"], kernel: Float[np.ndarray, "kind kind"], picks: Sequence[float]
) -> Float[np.ndarray, "generation kind"]:
    """Return the expected number of members of each kind in generations 0 (the seeds), 1, 2, …

    Generation t adds what becomes of n_t members that are picked uniformly from the pool. Exact for every pool size
    while nothing is eliminated; else the size of the pool is random, and this is the limit of a large pool.

    >>> evolve_and_accumulate(np.array([4.0, 0.0]), np.array([[0.5, 0.5], [0.0, 1.0]]), [4, 8])
    array([[4., 0.], [6., 2.], [9., 7.]])

    Raises ValueError for seeds or picks that are negative or not finite, no seeds, or a kernel that is not
    (sub)stochastic.
    """
    _check_kernel(kernel, len(seeds))
    if not (np.isfinite(seeds).all() and (seeds >= 0).all() and seeds.sum() > 0):
        raise ValueError(f"seeds = {seeds} are not finite non-negative numbers with a positive sum")
    pools = [seeds.astype(np.float64)]
    for number in picks:
        numbers.within("picks", number, 0, np.inf, ends="[)")
        pools.append(pools[-1] + number * (pools[-1] @ kernel) / pools[-1].sum())
    return np.stack(pools)


@checked
def evolve_and_replace(
    seeds: Float[np.ndarray, " kind"], kernel: Float[np.ndarray, "kind kind"], generations: int
) -> Float[np.ndarray, "generation kind"]:
    """Return the distribution over kinds in generations 0 … T, each made of the evolved members of the last alone.

    Exact for every pool size while nothing is eliminated; with elimination the limit of a large pool, that is K to the
    power of t, normalised, which tends to the quasi-stationary distribution.

    >>> evolve_and_replace(np.array([1.0, 0.0]), np.array([[0.4, 0.4], [0.0, 0.5]]), 1)
    array([[1. , 0. ], [0.5, 0.5]])

    Raises ValueError for seeds that are not a distribution, a kernel that is not (sub)stochastic, generations < 0, or
    where everything is eliminated.
    """
    _check_kernel(kernel, len(seeds))
    numbers.distribution("seeds", seeds)
    numbers.generations(generations, 0)
    pools = [seeds.astype(np.float64)]
    for generation in range(1, generations + 1):
        evolved = pools[-1] @ kernel
        if not evolved.sum() > 0:
            raise ValueError(f"kernel = {kernel.tolist()} eliminates everything in generation {generation}")
        pools.append(evolved / evolved.sum())
    return np.stack(pools)


def _check_kernel(kernel: Float[np.ndarray, "kind kind"], kinds: int) -> None:
    if kernel.shape != (kinds, kinds):
        raise ValueError(f"kernel of shape {kernel.shape} does not map {kinds} kinds of seeds to themselves")
    if not ((kernel >= 0).all() and (kernel.sum(1) <= 1 + 1e-9).all()):
        raise ValueError(f"kernel = {kernel.tolist()} is not (sub)stochastic: entries >= 0, rows that sum to 1 or less")
