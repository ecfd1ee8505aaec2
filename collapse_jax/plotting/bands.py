"""Where a quantity lies over seeds: a line and its band, on the quantity's own scale.

A mean ± two standard errors leaves the values that a quantity can take: a variance below 0, a share above 1. Bands are
therefore two standard errors on the logarithm of what is bounded on one side and on the logit of what is bounded on
both (to first order, by the delta method), and end where the quantity does. Where values are large beside their
standard error, the band is the usual one.
"""

from typing import NamedTuple

import numpy as np
import scipy
import xarray as xr

__all__ = ["POSITIVE", "SHARE"]

Support = tuple[float, float]
"""The least and the largest value that a quantity can take, infinite where there is none."""

ANY: Support = (-np.inf, np.inf)
_ROUNDING = 1e-6
POSITIVE: Support = (0.0, np.inf)
SHARE: Support = (0.0, 1.0)


class Band(NamedTuple):
    """A line over seeds and what surrounds it, lower <= middle <= upper."""

    middle: xr.DataArray
    lower: xr.DataArray
    upper: xr.DataArray


def mean_band(values: xr.DataArray, support: Support = ANY) -> Band:
    """Return means over `seed` and two standard errors either way, on the scale of the support.

    Seeds that are NaN are left out; where fewer than two are left, there is a mean without a band.
    """
    mean, seeds = values.mean("seed"), values.count("seed")
    error = 2 * values.std("seed", ddof=1) / np.sqrt(seeds)
    return Band(mean, *around(mean, error, support))


def around(mean: xr.DataArray, error: xr.DataArray, support: Support) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the ends of an interval that is `mean` ± `error` to first order, and within the support.

    A mean at the end of its support, or beyond it by rounding, has an interval of that one point. Raises ValueError for
    a mean beyond that: the support is then none.
    """
    if support == ANY:
        return mean - error, mean + error
    low, high = support
    inside = mean.clip(low, high)
    if (abs(mean - inside) > _ROUNDING * (1.0 + abs(mean))).any():
        worst = float(mean.max() if (mean > inside).any() else mean.min())
        raise ValueError(f"support is {support}; there is a mean of {worst:.4g}, which it leaves out")
    below, above = inside - low, high - inside
    # The slope of the logit, that of the logarithm where one of the two is infinite.
    scaled = error * (1 / below + 1 / above)
    factor = xr.apply_ufunc(np.exp, scaled.where((below > 0) & (above > 0), 0.0 * error))
    if np.isinf(high):
        return low + below / factor, low + below * factor
    if np.isinf(low):
        return high - above * factor, high - above / factor
    return (
        low + (high - low) * below / (below + above * factor),
        low + (high - low) * below / (below + above / factor),
    )


def median_band(values: xr.DataArray) -> Band:
    """Return medians over `seed` with their interval of at least 95 %, for values whose mean a few seeds would rule.

    Bounds are the seeds' own values, by the binomial law of how many lie below the median. Fewer than six seeds have no
    such interval: there the bounds are the least and the largest of them. Seeds that are NaN are left out.
    """
    ordered = np.sort(values.transpose(..., "seed").to_numpy(), axis=-1)
    count = (~np.isnan(ordered)).sum(-1)
    chances = [scipy.stats.binom.cdf(np.arange(n + 1), n, 0.5) for n in range(values.sizes["seed"] + 1)]
    outside = np.array([max(0, int((chance <= 0.025).sum()) - 1) for chance in chances])[count]
    middle = values.median("seed")
    lower, upper = (
        middle.copy(data=np.take_along_axis(ordered, place[..., None].clip(0), -1)[..., 0])
        for place in (outside, count - 1 - outside)
    )
    return Band(middle, lower, upper)
