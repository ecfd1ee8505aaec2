"""What the checks of records share: claims that fail with a sentence, and how often something is traced."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.engine.process import Process
from collapse_jax.engine.sweep import sweep

Z = 5.0
"""Standard errors from which on a mean is not what it was predicted to be: by chance once in two million."""


def claim(holds: Any, found: str) -> None:
    """Raise AssertionError with what was found unless a claim holds."""
    if not holds:
        raise AssertionError(found)


def alike(found: Any, expected: Any, what: str, because: str) -> None:
    """Raise AssertionError, naming the largest difference, unless two arrays agree up to rounding."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    off = np.abs(found - expected) - (2e-4 * np.abs(expected) + 1e-5)
    # NaN, which no comparison holds for, is a difference.
    if off.size and not (off <= 0).all():
        at = np.unravel_index(int(np.nan_to_num(off, nan=np.inf).argmax()), off.shape)
        claim(False, f"{what} is {found[at]:g}, {because} it must be {expected[at]:g}")


def near(samples: Any, expected: float, what: str) -> None:
    """Raise AssertionError unless the mean of independent samples is as expected, to `Z` standard errors."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(ddof=1) / np.sqrt(samples.size)
    off = abs(samples.mean() - expected)
    # What doesn't vary is right to the rounding of float32.
    claim(
        off <= Z * error + 1e-5 * (1 + abs(expected)),
        f"{what} is {samples.mean():g} ± {error:g}, where {expected:g} was predicted",
    )


def counted(function: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    """Return the function, which then notes each call by Python, and so each trace of what is compiled."""

    def noted(*args: Any, **params: Any) -> Any:
        calls.append(1)
        return function(*args, **params)

    return noted


def runs_in_one_program(name: str, make: Callable[[list[int]], Process]) -> xr.Dataset:
    """Return the results of three members of the process that `make(calls)` returns, traced as one member is.

    `make` appends to `calls` where the record's function is called. Raises AssertionError where more members are traced
    more often, and where one is no longer finite.
    """
    counts, results = [], []
    for seeds in (1, 3):
        calls: list[int] = []
        process = make(calls)
        results.append(sweep(process, {"seed": range(seeds)}, progress=False))
        counts.append(len(calls))
    claim(
        counts[0] == counts[1],
        f"{name} is called {counts[0]} times to compile one member and {counts[1]} times for three: something in it "
        "changes from call to call, so that JAX compiles anew",
    )
    claim(not results[1]["diverged"].any(), f"{name} leads to a state that is not finite")
    return results[1]
