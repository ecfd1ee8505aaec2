"""The binomial distribution as a table: how many of a number of draws are of a type, for each of several shares."""

import numpy as np
import scipy
from jaxtyping import Float

__all__ = ()


def binomial(draws: int, shares: Float[np.ndarray, " share"]) -> Float[np.ndarray, "share count"]:
    """Return the probabilities of 0 ... `draws` draws of a type, a row for each share in [0, 1] that it has."""
    # SciPy overflows for shares below 1e-307, and returns NaN for those that rounding put above 1.
    shares = np.where(shares < 1e-300, 0.0, shares).clip(0.0, 1.0)
    return np.asarray(scipy.stats.binom.pmf(np.arange(draws + 1)[None], draws, shares[:, None]))
