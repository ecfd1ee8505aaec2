"""How experiments print what they measured over several seeds."""

from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.plotting.bands import ANY, Support, around, median_band


def interval(
    values: xr.DataArray, mean: str = ".3f", error: str = ".3f", *, support: Support = ANY, errors: float = 2.0
) -> str:
    """Return the mean over seeds ± so many standard errors, in these formats; NaN where a seed's value is NaN.

    What can't take every value has its interval on the scale of its `support`, as in figures, with both its arms:
    "0.010 +0.020 -0.007".
    """
    middle, seeds = values.mean(skipna=False), values.size
    spread = errors * values.std(ddof=1, skipna=False) / seeds**0.5 if seeds > 1 else middle * np.nan
    if support == ANY:
        return f"{float(middle):{mean}} ± {float(spread):{error}}"
    low, high = around(middle, spread, support)
    # Rounding can put a mean beyond its own interval.
    above, below = (float(arm.clip(0)) for arm in (high - middle, middle - low))
    return f"{float(middle):{mean}} +{above:{error}} -{below:{error}}"


def deviation(values: xr.DataArray, law: xr.DataArray) -> xr.DataArray:
    """Return z: by how many standard errors the means over seeds are above the law."""
    z: xr.DataArray = (values.mean("seed") - law) / (values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"]))
    return z


def span(values: Any, form: str = ".3f") -> str:
    """Return the least and the greatest of some numbers in a format, once where they read alike."""
    low, high = (format(float(one), form) for one in (np.min(values), np.max(values)))
    return low if low == high else f"{low} to {high}"


def median_interval(values: xr.DataArray) -> str:
    """Return the median over seeds, and in brackets its interval of 95 %, or all seeds where these are fewer than six.

    Numbers have three digits. A mean ± two standard errors says little of six heavy-tailed ones: one rules both.
    """
    middle, lower, upper = (f"{float(f'{float(one):.3g}'):g}" for one in median_band(values))
    return f"{middle} ({lower} to {upper})"
