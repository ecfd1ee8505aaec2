"""Decoding without sampling error: categorical models that emit infinitely many examples, and are fitted exactly.

p_0 is the first model; generation t+1 fits a share α of truth and 1 - α of what the decoded p_t emits.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked, require_numbers

Decode = Callable[[Float[np.ndarray, " category"]], Float[np.ndarray, " category"]]


@checked
def tempered(model: Float[np.ndarray, " category"], temperature: float) -> Float[np.ndarray, " category"]:
    """Return softmax(log p / T). Iterated t times, that is p^(1 / T^t), normalised.

    >>> tempered(np.array([0.8, 0.2]), 0.5).round(4)
    array([0.9412, 0.0588])

    Raises ValueError for what is not a distribution, or a temperature that is not positive.
    """
    numbers.distribution("model", model)
    numbers.within("temperature", temperature, 0, math.inf, ends="()")
    with np.errstate(divide="ignore"):
        return np.asarray(scipy.special.softmax(np.log(model) / temperature))


@checked
def top_k(model: Float[np.ndarray, " category"], number: int) -> Float[np.ndarray, " category"]:
    """Return the k most probable categories, normalised; of equal ones the first. Iterated, it changes nothing more.

    >>> top_k(np.array([0.5, 0.3, 0.2]), 2)
    array([0.625, 0.375, 0.   ])

    Raises ValueError for what is not a distribution, or a k that is not whole and at least 1.
    """
    numbers.distribution("model", model)
    numbers.whole_value("number", number, 1)
    kept = np.zeros_like(model)
    first = np.argsort(-model, stable=True)[:number]
    kept[first] = model[first]
    return np.asarray(kept / kept.sum())


@checked
def top_p(model: Float[np.ndarray, " category"], mass: float) -> Float[np.ndarray, " category"]:
    """Return the fewest most probable categories whose sum reaches the mass, normalised; of equal ones the first.

    Iterated it goes on cutting, as the smallest category kept is again less than 1 - mass of what was kept.

    >>> top_p(np.array([0.5, 0.3, 0.2]), 0.7)
    array([0.625, 0.375, 0.   ])

    Raises ValueError for what is not a distribution, or a mass outside (0, 1].
    """
    numbers.distribution("model", model)
    numbers.within("mass", mass, 0, 1, ends="(]")
    # A sum that equals the mass up to rounding reaches it.
    reached = np.cumsum(np.sort(model)[::-1]) >= mass * model.sum() - 1e-12
    return top_k(model, int(np.argmax(reached)) + 1)


@checked
def iterate_decoding(
    decode: Decode,
    start: Float[np.ndarray, " category"],
    generations: int,
    *,
    truth: Float[np.ndarray, " category"] | None = None,
    share: float = 0.0,
) -> Float[np.ndarray, "generation category"]:
    """Return models 0 (the start), 1, … T of p -> α truth + (1 - α) decode(p); the truth is the start by default.

    >>> iterate_decoding(lambda p: tempered(p, 0.5), np.array([0.8, 0.2]), 2).round(4)[:, 0]
    array([0.8   , 0.9412, 0.9961])

    Raises ValueError for a start or truth that is not a distribution, a share outside [0, 1], or generations < 0.
    """
    truth = start if truth is None else truth
    numbers.distribution("start", start)
    numbers.distribution("truth", truth)
    numbers.within("share", share, 0, 1)
    numbers.generations(generations, 0)
    models = [start.astype(np.float64)]
    for _ in range(generations):
        emitted = decode(models[-1])
        require_numbers("what `decode` returns", emitted, truth.shape)
        models.append(share * truth + (1 - share) * emitted)
    return np.stack(models)


class FixedPoints(NamedTuple):
    """Probabilities of a favoured category at the fixed points, ascending, and whether each is locally stable."""

    favoured: Float[np.ndarray, " point"]
    stable: Bool[np.ndarray, " point"]


@checked
def temperature_fixed_points(categories: int, temperature: float, share: float, *, favoured: int = 1) -> FixedPoints:
    """Return the fixed points of p -> α/K + (1-α) softmax(log p / T) where `favoured` categories share one probability.

    The other K - favoured categories share another. The truth is uniform; 1/K is always among the points, and is stable
    iff α > 1 - T. For T < 1 every fixed point has this form for some `favoured`, as 1/T > 1 makes p - c p^(1/T)
    concave. Stability is against all small perturbations, not only symmetric ones: |eigenvalues| < 1.

    >>> points = temperature_fixed_points(2, 0.5, 0.4)
    >>> points.favoured.round(4), points.stable
    (array([0.2764, 0.5   , 0.7236]), array([ True, False,  True]))

    Raises ValueError unless K >= 2, 1 <= favoured < K, T > 0, 0 < share <= 1.
    """
    numbers.whole_value("categories", categories, 2)
    numbers.within("favoured", favoured, 1, categories - 1)
    numbers.within("temperature", temperature, 0, math.inf, ends="()")
    numbers.within("share", share, 0, 1, ends="(]")
    rest = categories - favoured

    def excess(x: float) -> float:
        """Return the change of log odds x of one favoured against one other category."""
        # Beyond 700 nothing changes in float64, and soon after the exponential overflows.
        z = max(-700.0, min(x / temperature, 700.0))
        top, other = 1 / (favoured + rest * math.exp(-z)), 1 / (favoured * math.exp(z) + rest)
        return math.log(share / categories + (1 - share) * top) - math.log(share / categories + (1 - share) * other) - x

    # Both probabilities are at least α/K, so that log odds are at most log(K/α). The fixed point at 0 is known.
    bound = math.log(categories / share) + 1
    grid = np.concatenate([np.linspace(-bound, -1e-6, 4000), np.linspace(1e-6, bound, 4000)])
    values = [excess(x) for x in grid]
    roots = [0.0] + [
        scipy.optimize.brentq(excess, grid[i], grid[i + 1], xtol=1e-14)
        for i in range(len(grid) - 1)
        if grid[i] * grid[i + 1] > 0 and values[i] * values[i + 1] < 0
    ]
    odds = np.exp(np.sort(roots))
    points = odds / (favoured * odds + rest)
    return FixedPoints(points, np.array([_radius(p, favoured, rest, temperature, share) < 1 for p in points]))


def _radius(point: float, favoured: int, rest: int, temperature: float, share: float) -> float:
    """Return the largest |eigenvalue| of the map's derivative on perturbations that sum to 0."""
    p = np.concatenate([np.full(favoured, point), np.full(rest, (1 - favoured * point) / rest)])
    emitted = tempered(p / p.sum(), temperature)
    derivative = (1 - share) / temperature * (np.diag(emitted) - np.outer(emitted, emitted)) / p
    # Columns of the derivative sum to 0, so that its image is the perturbations that sum to 0.
    return float(np.max(np.abs(np.linalg.eigvals(derivative))))
