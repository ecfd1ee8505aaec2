"""Which utilities labels of each kind can be trained and predicted with: those that mean something below gap 0 as well.

A ranking pays for gaps in (0, 1], and what a wrongly ordered pair gets is the tangent of `extend`. Graded labels weigh
both sides of a pair, so that the gap of one side is negative at the optimum itself: there the utility's own function
counts, which most utilities do not have.
"""

import functools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from collapse_jax.reward.calculus import HostFunction, on_host
from collapse_jax.reward.rankings import Labels, Pairs
from collapse_jax.reward.utilities import COMMON, UTILITIES, Choice, UtilityFn

_POINTS = 4001
_NEAR_ZERO = np.geomspace(1e-8, 1e-2, 49)


def require_for_labels(choices: Iterable[Choice], labels: Labels, pairs: Pairs, deepest: float = 0.0) -> None:
    """Raise ValueError for pairs that don't go with labels, or for a choice that can't be trained on them.

    `deepest` is the largest margin, by which gaps are below -1 at most.
    """
    if labels != "orders" and pairs != "all":
        raise ValueError(
            f"pairs is {pairs!r}, which is for complete orders; these rankings are {labels}: their wins and margins "
            "say which pairs count, so pairs must be 'all'"
        )
    for choice in choices:
        if pairs == "plackett_luce":
            require_log_probability(choice)
        elif labels == "graded":
            require_two_sided(choice, "graded labels weigh both sides of a pair", deepest)


def require_two_sided(choice: Choice, why: str, deepest: float = 0.0) -> None:
    """Raise ValueError unless U is to be taken as it is on [-1 - deepest, 1]; `why` begins the message.

    It must be declared as two-sided, have no `min_gap`, below which it would be another function, and with these
    parameters be finite, increasing and concave there, with the slopes that its jax.grad gives.
    """
    utility = choice.utility
    if not utility.two_sided:
        allowed = ", ".join(name for name, one in UTILITIES.items() if one.two_sided)
        raise ValueError(
            f"{why}, and {choice.label} is for gaps above 0 alone: choose one that is two-sided ({allowed}, or your "
            "own with two_sided=True)"
        )
    if choice.params["min_gap"]:
        raise ValueError(
            f"{why}, and below its min_gap {choice.label} is its own tangent: min_gap is {choice.params['min_gap']:g}; "
            "it must be 0 here"
        )
    if problem := _problem(utility.fn, tuple(choice.params.items()), deepest):
        raise ValueError(f"{why}, and {choice.label} is not {problem}")


def require_log_probability(choice: Choice) -> None:
    """Raise ValueError unless exp(U) is a probability whose log-odds are concave on [-1, 1], as those of log σ are.

    Then Plackett-Luce's objective is concave.
    """
    why = "Plackett-Luce takes U as the logarithm of a probability"
    require_two_sided(choice, why)
    function = on_both_sides(choice)
    gaps = _grid(0.0)
    value, slope = function.value(gaps), function.slope(gaps)
    if (value > 0).any():
        at = int(np.argmax(value > 0))
        raise ValueError(
            f"{why}, and {choice.label} is {value[at]:.4g} > 0 at gap {gaps[at]:.4g}: choose log_sigmoid or exponential"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = slope / -np.expm1(value)
    rise = np.diff(odds[np.isfinite(odds)]) > 1e-7 * np.nanmax(np.abs(odds[np.isfinite(odds)]))
    if rise.any():
        raise ValueError(f"{why}, and the log-odds of {choice.label} are not concave on [-1, 1]: no law is known")


def on_both_sides(choice: Choice) -> HostFunction:
    """Return U with its offset as it is, in float64, for any gaps."""
    return _on_host(choice.utility.fn, tuple(choice.params.items()))


# To compile a utility takes longer than the law of a few items, of which there is one for each prompt.
@functools.lru_cache(maxsize=64)
def _on_host(fn: UtilityFn, params: tuple[tuple[str, float], ...]) -> HostFunction:
    own = {name: value for name, value in params if name not in COMMON}
    return on_host(lambda gap: fn(gap, **own), dict(params)["offset"])


def _grid(deepest: float) -> Float[np.ndarray, " gap"]:
    return np.unique(np.concatenate([np.linspace(-1.0 - deepest, 1.0, _POINTS), -_NEAR_ZERO, [0.0], _NEAR_ZERO]))


@functools.lru_cache(maxsize=1024)
def _problem(fn: UtilityFn, params: tuple[tuple[str, float], ...], deepest: float) -> str:
    """Return what a function is not on [-1 - deepest, 1], with the gap where, or nothing."""
    function = _on_host(fn, params)
    gaps = _grid(deepest)
    with np.errstate(all="ignore"):
        value, slope = function.value(gaps), function.slope(gaps)
    for what, array in (("finite", value), ("differentiable", slope)):
        if not np.isfinite(array).all():
            return f"{what} at gap {gaps[int(np.argmin(np.isfinite(array)))]:.4g}"
    rounding = 64 * np.finfo(float).eps * np.abs(value).max() / np.diff(gaps)
    mean = np.diff(value) / np.diff(gaps)
    tolerance = 1e-8 * np.abs(slope).max() + rounding
    # The mean slope of a concave function lies between the slopes at both ends, and these fall.
    wrong = (mean > slope[:-1] + tolerance) | (mean < slope[1:] - tolerance)
    falling = slope < -1e-9 * np.abs(slope).max()
    for what, bad in (("concave and differentiable", wrong), ("increasing", falling)):
        if bad.any():
            return f"{what} on [{-1 - deepest:g}, 1]: at gap {gaps[int(np.argmax(bad))]:.4g} it fails"
    return ""
