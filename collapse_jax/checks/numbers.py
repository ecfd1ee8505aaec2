"""What numbers and functions among the arguments must be: a ValueError names the argument, its value and the allowed.

Bounds that rounding can overstep are checked with a tolerance, so that no function refuses what another one returned.
"""

import math
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Float, Shaped

_ROUNDING = 1e-9
_MOST = 10**9
_MOST_GENERATIONS = 10**6


def whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise ValueError unless `value` is a whole number (True and False are none) from `low` on, or to `high`.

    >>> whole("bins", 3.5, 1)
    Traceback (most recent call last):
    ...
    ValueError: bins is 3.5; it must be a whole number from 1 on
    """
    if not is_whole(value) or value < low or (high is not None and value > high):
        allowed = f"from {low} on" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} is {value!r}; it must be a whole number {allowed}")


def is_whole(value: Any) -> TypeGuard[int]:
    """Return whether a value is a whole number, Python's or NumPy's; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Return whether a value is one finite real number; True and False are none."""
    return isinstance(value, Real | np.floating) and not isinstance(value, bool) and math.isfinite(value)


def share(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a number in [0, 1]."""
    if not is_finite(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is {value!r}; it must be a share in [0, 1]")


def part(name: str, value: float, size: int) -> int:
    """Return how many of `size` examples a share is, the nearest whole number: the one rule wherever a share is taken.

    Raises ValueError for a share above 0 that is nearest to none of them, or one below 1 that is nearest to all: what
    is then run would be something else than was asked for.

    >>> part("ratio", 0.1, 25)
    2
    >>> part("ratio", 0.004, 100)
    Traceback (most recent call last):
    ...
    ValueError: ratio is 0.004, which rounds to none of 100 examples; give it as 0, or take from 1/100 to 99/100
    """
    number = round(value * size)
    some, not_all = value > _ROUNDING, value < 1.0 - _ROUNDING
    if (some and number == 0) or (not_all and number == size):
        end, all_or_none = (1, "all") if number else (0, "none")
        allowed = f"take from 1/{size} to {size - 1}/{size}" if size > 1 else "take more examples"
        raise ValueError(
            f"{name} is {value:g}, which rounds to {all_or_none} of {size} examples; give it as {end}, or {allowed}"
        )
    return number


def function(name: str, value: Any) -> None:
    """Raise ValueError unless `value` can be called."""
    if not callable(value):
        raise ValueError(f"{name} is {value!r}; it must be a function")


def whole_value(name: str, value: float, low: int, high: int = _MOST) -> None:
    """Raise ValueError unless the value of a number is whole and from `low` to `high`: a law takes 3.0 as well as 3."""
    if not (math.isfinite(value) and value == int(value) and low <= value <= high):
        raise ValueError(f"{name} = {value} is not a whole number from {low} on (to {high:.0e} at most)")


def generations(value: float, low: int = 1) -> None:
    """Raise ValueError unless the value is a number of generations: whole, from `low` on, not beyond a million."""
    whole_value("generations", value, low, _MOST_GENERATIONS)


def table(name: str, rows: int, columns: int) -> None:
    """Raise ValueError if a table of the law, whose size `name` decides, has more than 10^9 numbers (8 GB)."""
    if rows * columns > _MOST:
        raise ValueError(f"{name} is too large: it takes a table of {rows} x {columns} numbers, {_MOST:.0e} at most")


def within(name: str, value: float, low: float, high: float, *, ends: str = "[]") -> None:
    """Raise ValueError unless the value lies between the bounds; `ends` says which of them belong, as in "(]"."""
    above = value >= low if ends[0] == "[" else value > low
    below = value <= high if ends[1] == "]" else value < high
    if not (above and below):
        raise ValueError(f"{name} = {value} is outside {ends[0]}{low:g}, {high:g}{ends[1]}")


def distribution(name: str, probabilities: Float[np.ndarray, " category"]) -> None:
    """Raise ValueError unless the probabilities are non-negative and sum to 1 within 1e-9."""
    total = float(np.sum(probabilities))
    if not (np.all(probabilities >= 0) and abs(total - 1) <= _ROUNDING):
        raise ValueError(f"{name} = {probabilities} is not a distribution: non-negative, sum 1 (it is {total:g})")


def tokens(name: str, values: Shaped[np.ndarray, "..."], vocabulary: int, *, padding: bool) -> None:
    """Raise ValueError unless all are tokens, whole numbers from 0 on below `vocabulary`, or below 0 for `padding`.

    >>> tokens("truth", np.array([[0, 300]]), 257, padding=True)
    Traceback (most recent call last):
    ...
    ValueError: truth has the token 300; the vocabulary is 257, tokens 0 to 256, and -1 for padding
    """
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} has numbers of type {values.dtype}; tokens are whole numbers")
    outside = (values >= vocabulary) | ((values < 0) & (not padding))
    if outside.any():
        allowed = f"tokens 0 to {vocabulary - 1}" + (", and -1 for padding" if padding else ", without padding")
        raise ValueError(f"{name} has the token {values[outside][0]}; the vocabulary is {vocabulary}, {allowed}")


def shares(name: str, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return the values clipped to [0, 1]; raises ValueError where one is further outside than sums may be, 1e-9."""
    if not ((values >= -_ROUNDING) & (values <= 1 + _ROUNDING)).all():
        raise ValueError(f"{name} = {values.tolist()} is not a share in [0, 1] for each of {values.size}")
    return np.asarray(np.clip(values, 0.0, 1.0))
