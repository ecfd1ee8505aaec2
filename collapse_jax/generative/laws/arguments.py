"""Checks of the laws' arguments: a ValueError names the argument, its value and what is allowed."""

import math

import numpy as np
from jaxtyping import Float


def check_whole(name: str, value: float, low: int) -> None:
    """Raise ValueError unless the value is a whole number from `low` on."""
    if not (math.isfinite(value) and value == int(value) and value >= low):
        raise ValueError(f"{name} = {value} is not a whole number from {low} on")


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
