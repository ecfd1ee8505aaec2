"""What the laws must know of a utility before they predict anything: is it finite, increasing, differentiable, concave?

A function is examined where it is trained, on gaps in (0, 1], by its float64 values and derivatives on a grid that is
dense at both scales, linear and logarithmic. Doubtful cells are bisected until they are either cleared or convicted, so
that a jump, a dead gradient or a kink is told from a steep but smooth stretch.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from collapse_jax.reward.calculus import HostFunction

_GRID = np.unique(np.concatenate([np.geomspace(1e-8, 1.0, 321), np.linspace(0.0, 1.0, 2001)[1:]]))
_NEAR_ZERO = np.array([1e-16, 1e-12])
_BISECTIONS = 40


class Shape(NamedTuple):
    """The examined shape of a utility on (0, 1]; a linear one is both concave and convex.

    `kinks` are the gaps where the slope drops by a jump, `drops` by how much. `value_at_zero` and `slope_at_zero` are
    limits from above: -inf and inf where U or its slope has a singularity.
    """

    concave: bool
    convex: bool
    kinks: Float[np.ndarray, " kink"]
    drops: Float[np.ndarray, " kink"]
    value_at_zero: float
    slope_at_zero: float

    @property
    def bounded(self) -> bool:
        """Whether the slope at gap 0 is finite: then the law has atoms at 0 and 1."""
        return bool(np.isfinite(self.slope_at_zero))


def examine(label: str, function: HostFunction) -> Shape:
    """Return the shape of a utility; `label` names it in errors.

    Raises ValueError, with the gap where it fails, for a function that is not finite, not increasing or not
    differentiable on (0, 1] (kinks are fine, jumps and wrong gradients are not), or whose curvature changes sign:
    nothing is known of the rewards that such a utility leads to.
    """
    with np.errstate(all="ignore"):
        value, slope = function.value(_GRID), function.slope(_GRID)
        for quantity, array in (("finite", value), ("differentiable", slope)):
            if not np.isfinite(array).all():
                at = int(np.argmin(np.isfinite(array)))
                what = "value" if quantity == "finite" else "slope"
                raise ValueError(
                    f"{label} is not {quantity} on (0, 1]: at gap {_GRID[at]:.6g} its {what} is {array[at]}"
                )
        _refuse_jumps(label, function, value, slope)
        _refuse_decrease(label, value, slope)
        limits = _limits_at_zero(function)
        noise = _noise(value, slope, bounded=bool(np.isfinite(limits[1])))
        rise, fall = _slope_changes(slope, noise)
        if rise is not None and fall is not None:
            raise ValueError(
                f"{label} is neither concave nor convex on (0, 1]: its slope rises at gap {_GRID[rise]:.6g} and falls "
                f"at gap {_GRID[fall]:.6g}; no law is known for such a utility"
            )
        kinks, drops = _kinks(function, slope, noise) if rise is None else (np.zeros(0), np.zeros(0))
        return Shape(rise is None, fall is None, kinks, drops, *limits)


def _refuse_jumps(label: str, function: HostFunction, value: np.ndarray, slope: np.ndarray) -> None:
    """A mean slope lies between slopes taken on the way; where it does not, U jumps or jax.grad errs."""
    # Far out on a steep utility's plateau, gradients underflow before values do.
    negligible = 1e-9 * np.abs(value[-1] - value[_GRID.searchsorted(1e-3)])

    def excess(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        inner = function.slope(np.linspace(left, right, 5))
        rise = function.value(right) - function.value(left)
        rounding = 8 * np.finfo(float).eps * np.maximum(np.abs(function.value(left)), np.abs(function.value(right)))
        mean = rise / (right - left)
        tolerance = 1e-3 * (np.abs(mean) + np.abs(inner).max(0)) + rounding / (right - left) + negligible
        difference: np.ndarray = np.maximum(mean - inner.max(0), inner.min(0) - mean) - tolerance
        return difference

    left, right = _GRID[:-1], _GRID[1:]
    suspect = excess(left, right) > 0
    left, right = left[suspect], right[suspect]
    for _ in range(_BISECTIONS):
        if left.size == 0:
            return
        middle = 0.5 * (left + right)
        lower = excess(left, middle) > excess(middle, right)
        left, right = np.where(lower, left, middle), np.where(lower, middle, right)
        keep = excess(left, right) > 0
        if (right - left < 1e-7 * right)[keep].any():
            at = float(right[keep][0])
            raise ValueError(
                f"{label} is not differentiable on (0, 1]: around gap {at:.6g} it changes at a rate that its jax.grad "
                f"({float(function.slope(np.array(at))):.6g}) does not give (a jump, rounding, or a stopped gradient)"
            )
        left, right = left[keep], right[keep]


def _refuse_decrease(label: str, value: np.ndarray, slope: np.ndarray) -> None:
    falling = slope < -1e-9 * np.median(np.abs(slope))
    if falling.any() or not value[-1] > value[0]:
        at = int(np.argmax(falling)) if falling.any() else len(_GRID) - 1
        raise ValueError(f"{label} is not increasing on (0, 1]: at gap {_GRID[at]:.6g} its slope is {slope[at]:.6g}")


def _noise(value: np.ndarray, slope: np.ndarray, bounded: bool) -> float:
    """Return what rounding can add to a slope: on the plateau of tanh(20 t) it is all there is."""
    typical = max(np.median(np.abs(slope)), value[-1] - value[_GRID.searchsorted(0.01)])
    return float(1e-10 * typical + (64 * np.finfo(float).eps * slope.max() if bounded else 0.0))


def _slope_changes(slope: np.ndarray, noise: float) -> tuple[int | None, int | None]:
    """Return where the slope rises most and where it falls most, None where it never does."""
    change = np.diff(slope)
    tolerance = 1e-8 * np.maximum(np.abs(slope[:-1]), np.abs(slope[1:])) + noise
    rise, fall = change > tolerance, change < -tolerance
    return (
        int(np.argmax(np.where(rise, change, 0))) if rise.any() else None,
        int(np.argmax(np.where(fall, -change, 0))) if fall.any() else None,
    )


def _kinks(function: HostFunction, slope: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    curvature = np.abs(function.curvature(_GRID))
    width, drop = np.diff(_GRID), -np.diff(slope)
    floor = 1e-6 * np.maximum(np.abs(slope[:-1]), np.median(np.abs(slope))) + 1e3 * noise
    suspect = drop > 4 * width * np.maximum(curvature[:-1], curvature[1:]) + floor
    left, right, floor = _GRID[:-1][suspect], _GRID[1:][suspect], floor[suspect]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (left + right)
        lower = function.slope(left) - function.slope(middle) > function.slope(middle) - function.slope(right)
        left, right = np.where(lower, left, middle), np.where(lower, middle, right)
    # A kink may sit on a grid point or on a midpoint of the bisection, where jax.grad gives a slope of its own: look
    # from just outside the last cell.
    left, right = left - 4e-15, right + 4e-15
    drop = function.slope(left) - function.slope(right)
    real = drop > floor
    points, first = np.unique(np.round(0.5 * (left + right)[real], 13), return_index=True)
    inside = (points > 0) & (points < 1)
    return points[inside], drop[real][first][inside]


def _limits_at_zero(function: HostFunction) -> tuple[float, float]:
    slopes = function.slope(_NEAR_ZERO)
    # Four decades nearer to 0, a bounded slope has settled; t^γ has grown by 10^(4(1-γ)), even log(1/t) by a third.
    bounded = slopes[0] <= 1.01 * slopes[1]
    value = float(function.value(np.array(0.0)))
    if not np.isfinite(value):
        # 0 · log 0 and its like: a finite limit that float arithmetic misses at the point itself.
        near = function.value(np.array([1e-300, 1e-150, 1e-75]))
        settled = np.isfinite(near).all() and abs(near[0] - near[1]) <= 1e-9 * (1 + abs(near[1]))
        value = float(near[0]) if settled else -np.inf
    return value, float(slopes[0]) if bounded else np.inf
