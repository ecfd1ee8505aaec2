"""Rewards outside [0, 1], where no law of rewards holds: one rule, and one sentence that says what to do.

Laws and certificates are for rewards in [0, 1]. A function that takes rewards to compare them with a law refuses others
(`require_inside`). Where the comparison is one quantity among several, as in a sweep's records or in a summary, it is
NaN, and a warning says so (`sentence`).
"""

from typing import Any

import numpy as np
from jaxtyping import Float

_ROUNDING = 1e-6  # A link in float32 may overstep its bounds by so much.


def outside(rewards: Any) -> Any:
    """Return elementwise whether a reward is outside [0, 1]; NaN, where there is none, isn't. Any kind of array."""
    return (rewards < -_ROUNDING) | (rewards > 1.0 + _ROUNDING)


def sentence(name: str, rewards: Float[np.ndarray, "..."]) -> str:
    """Return what to say of rewards of which some are outside [0, 1]."""
    return (
        f"{name} reach from {np.nanmin(rewards):.4g} to {np.nanmax(rewards):.4g}, and laws hold for rewards in [0, 1]: "
        "bring scores there by one increasing map for all prompts, as jax.nn.sigmoid (the default link of models) or "
        "(scores - lowest) / (highest - lowest)"
    )


def require_inside(name: str, rewards: Float[np.ndarray, "..."]) -> None:
    """Raise ValueError for rewards that are not finite numbers in [0, 1]."""
    if not np.isfinite(rewards).all():
        raise ValueError(f"{name} = {rewards} are not all finite")
    if outside(rewards).any():
        raise ValueError(sentence(name, rewards))
