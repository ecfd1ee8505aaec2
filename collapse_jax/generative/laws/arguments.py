"""Checks of the laws' arguments: a ValueError names the argument, its value and what is allowed."""

import math

import numpy as np
from jaxtyping import Float

_LARGEST = 10**9
_MOST_GENERATIONS = 10**6
_MOST_NUMBERS = 10**9


def check_whole(name: str, value: float, low: int, high: int = _LARGEST) -> None:
    """Raise ValueError unless the value is a whole number from `low` to `high`."""
    if not (math.isfinite(value) and value == int(value) and low <= value <= high):
        raise ValueError(f"{name} = {value} is not a whole number from {low} on (to {high:.0e} at most)")


def check_generations(value: float, low: int = 1) -> None:
    """Raise ValueError unless the value is a number of generations: whole, from `low` on, not beyond a million."""
    check_whole("generations", value, low, _MOST_GENERATIONS)


def check_table(name: str, rows: int, columns: int) -> None:
    """Raise ValueError if a table of the law, whose size `name` decides, has more than 10^9 numbers (8 GB)."""
    if rows * columns > _MOST_NUMBERS:
        raise ValueError(
            f"{name} is too large: it takes a table of {rows} x {columns} numbers, {_MOST_NUMBERS:.0e} at most"
        )


def check_within(name: str, value: float, low: float, high: float, *, ends: str = "[]") -> None:
    """Raise ValueError unless the value lies between the bounds; `ends` says which of them belong, as in "(]"."""
    above = value >= low if ends[0] == "[" else value > low
    below = value <= high if ends[1] == "]" else value < high
    if not (above and below):
        raise ValueError(f"{name} = {value} is outside {ends[0]}{low:g}, {high:g}{ends[1]}")


def check_distribution(name: str, probabilities: Float[np.ndarray, " category"]) -> None:
    """Raise ValueError unless the probabilities are non-negative and sum to 1 within 1e-9."""
    total = float(np.sum(probabilities))
    if not (np.all(probabilities >= 0) and abs(total - 1) <= 1e-9):
        raise ValueError(f"{name} = {probabilities} is not a distribution: non-negative, sum 1 (it is {total:g})")
