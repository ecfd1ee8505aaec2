"""By how much one group of lineages lies above another, with an interval that only ranks decide.

The estimate is that of Hodges and Lehmann, its interval the inverse of Wilcoxon's tests: signed ranks where lineages
are paired, else rank sums (Mann and Whitney). Two properties make them fit for collapse, where Student's t has neither:

- A larger value in any lineage of the first group never lowers a bound, since each is an order statistic of averages
  or of differences that all rise with it. A t interval widens with an outlier, and can come to include 0 again.
- Where the groups are alike, a bound is on the wrong side as often as its `alpha` says or less, for any number of
  lineages and any distribution, heavy tails, skew and ties included.
"""

import functools
from typing import NamedTuple

import numpy as np
import scipy
import xarray as xr

__all__ = ()

EXACT = 50
"""Lineages a group up to which ranks have their exact distribution, and above which the normal approximation."""

BLOCK = 4_000_000
"""Averages or differences that are held at a time."""


class Shift(NamedTuple):
    """An estimate and its bounds, which are infinite where there are too few lineages for one."""

    value: xr.DataArray
    lower: xr.DataArray
    upper: xr.DataArray


def shift(
    population: xr.DataArray, control: xr.DataArray, *, paired: bool, alpha: float, alpha_upper: float | None = None
) -> Shift:
    """Return by how much `population` lies above `control`, over their dimension `seed`; NaN where any lineage is.

    `alpha` is the chance of each bound to be on the wrong side, `alpha_upper` that of the upper one where it differs.
    Pairs have the same place along `seed`. Lineages that are infinite in both groups are equal.
    """
    alphas = alpha, alpha if alpha_upper is None else alpha_upper
    sizes = population.sizes["seed"], control.sizes["seed"]
    ranks = [signed_rank(sizes[0], one) if paired else rank_sum(*sizes, one) for one in alphas]
    value, lower, upper = xr.apply_ufunc(
        functools.partial(_shift, paired=paired, ranks=ranks),
        population.drop_vars("seed", errors="ignore"),
        control.drop_vars("seed", errors="ignore").rename(seed="control_seed"),
        input_core_dims=[["seed"], ["control_seed"]],
        output_core_dims=[[], [], []],
    )
    return Shift(value, lower, upper)


@functools.cache
def signed_rank(lineages: int, alpha: float) -> int:
    """Return k: the k-th smallest average of two differences exceeds their centre with a chance of at most alpha.

    An average may be that of a difference with itself. 0 where not even the smallest one is as rare.
    """
    if lineages > EXACT:
        mean = lineages * (lineages + 1) / 4
        return _normal_rank(mean, mean * (2 * lineages + 1) / 6, alpha)
    chance = np.ones(1)
    for rank in range(1, lineages + 1):
        without = np.pad(chance, (0, rank))
        chance = (without + np.roll(without, rank)) / 2
    return _rank(chance, alpha)


@functools.cache
def rank_sum(lineages: int, others: int, alpha: float) -> int:
    """Return k: the k-th smallest difference between two groups exceeds their shift with a chance of at most alpha.

    0 where not even the smallest one is as rare.
    """
    if max(lineages, others) > EXACT:
        mean = lineages * others / 2
        return _normal_rank(mean, mean * (lineages + others + 1) / 6, alpha)
    # Of n lineages and m others the largest is a lineage with chance n / (n + m), and then exceeds all m.
    row = [np.ones(1)] * (others + 1)
    for n in range(1, lineages + 1):
        new = [np.ones(1)]
        for m in range(1, others + 1):
            of_lineages, of_others = np.pad(row[m], (m, 0)), np.pad(new[m - 1], (0, n))
            new.append((n * of_lineages + m * of_others) / (n + m))
        row = new
    return _rank(row[others], alpha)


def _rank(chance: np.ndarray, alpha: float) -> int:
    """Return how many of the smallest ranks together are no more likely than alpha, up to rounding."""
    return int(np.searchsorted(np.cumsum(chance), alpha * (1 + 1e-9), side="right"))


def _normal_rank(mean: float, variance: float, alpha: float) -> int:
    return max(0, int(np.floor(mean + scipy.stats.norm.ppf(alpha) * np.sqrt(variance))))


def _shift(
    population: np.ndarray, control: np.ndarray, *, paired: bool, ranks: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = np.broadcast_shapes(population.shape[:-1], control.shape[:-1])
    groups = [np.broadcast_to(one, (*shape, one.shape[-1])).reshape(-1, one.shape[-1]) for one in (population, control)]
    n, m = (one.shape[1] for one in groups)
    rows = max(1, BLOCK // (n * (n + 1) // 2 if paired else n * m))
    blocks = [
        _bounds(groups[0][start : start + rows], groups[1][start : start + rows], paired, ranks)
        for start in range(0, len(groups[0]), rows)
    ]
    value, lower, upper = (np.concatenate(one).reshape(shape) for one in zip(*blocks, strict=True))
    return value, lower, upper


def _bounds(
    population: np.ndarray, control: np.ndarray, paired: bool, ranks: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return estimate and bounds, a row at a time."""
    unknown = np.isnan(population).any(1) | np.isnan(control).any(1)
    if paired:
        apart = _no_nan(population - control)
        first, second = np.triu_indices(apart.shape[1])
        ordered = _no_nan((apart[:, first] + apart[:, second]) / 2)
    else:
        ordered = _no_nan(population[:, :, None] - control[:, None, :]).reshape(len(population), -1)
    ordered.sort(axis=1)
    middle = ordered.shape[1] // 2
    value = _no_nan((ordered[:, middle] + ordered[:, -1 - middle]) / 2)
    lower = ordered[:, ranks[0] - 1] if ranks[0] else np.full(len(ordered), -np.inf)
    upper = ordered[:, -ranks[1]] if ranks[1] else np.full(len(ordered), np.inf)
    value, lower, upper = (np.where(unknown, np.nan, one) for one in (value, lower, upper))
    return value, lower, upper


def _no_nan(values: np.ndarray) -> np.ndarray:
    """Return the values with 0 for what is not a number: the difference of two that are infinite alike."""
    return np.where(np.isnan(values), 0.0, values)
