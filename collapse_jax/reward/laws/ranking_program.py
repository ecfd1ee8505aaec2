"""The program whose optimum collapsed rewards reach, seen through the slacks between neighbouring rewards.

Rewards r_1 ≤ … ≤ r_n in [0, 1] become n + 1 nonnegative slacks that sum to one: d_0 = r_1, d_k = r_{k+1} - r_k,
d_n = 1 - r_n. The gap of a pair is the sum of the slacks between its items, and the objective's derivatives by slacks
are sums, over the pairs around a slack, of terms of one sign: both keep their relative accuracy where slacks are 1e-50.

A kink of U is kept apart from its smooth part: U = base - Σ drop · max(0, x), x = t - kink. A pair at a kink may take
any `share` in [0, 1] of the drop in its slope. Elsewhere a share costs drop · (max(0, x) - share · x) >= 0 in the
bound, so that the bound holds for any shares.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Array, Float, Int

from collapse_jax.checks import numbers
from collapse_jax.reward.calculus import HostFunction, on_host
from collapse_jax.reward.rankings import Pairs
from collapse_jax.reward.utilities import Choice, Utility, as_choice, choose

Slacks = Float[np.ndarray, " slack"]
Gaps = Float[np.ndarray, " pair"]
Shares = Float[np.ndarray, "kink pair"]

# From 1e18 on the equations for two items hold infinities; long before it the penalty alone decides.
MOST_CENTRING = 1e12
_OF_PAIRS = ("all", "chain", "star")  # Plackett-Luce's stages are another program.
_TINY = 1e-300
_MOST_ITEMS = 10_000
_OFF_KINK = 4e-13  # a kink is known to half of the 13th decimal


class Trained(NamedTuple):
    """A utility as trained: the examined choice; value, slope and curvature on the host; the slope at 0 from above."""

    choice: Choice
    function: HostFunction
    slope_at_zero: float


def require_items(n_items: int) -> None:
    """Raise ValueError unless it is a whole number from 2 to 10,000: time grows with its cube."""
    if not numbers.is_whole(n_items) or not 2 <= n_items <= _MOST_ITEMS:
        raise ValueError(f"n_items is {n_items}; it must be an integer >= 2, at most {_MOST_ITEMS} (see limit_law)")


def as_trained(utility: Utility | Choice, params: Mapping[str, float]) -> Trained:
    """Return the choice, or the utility with these parameters, as trained; raises ValueError as `as_choice` does."""
    choice = as_choice(utility, params)
    own = choice.utility
    return _as_trained(own.name, own.fn, tuple(own.defaults.items()), tuple(choice.params.items()))


# Examining and compiling a utility takes longer than the optimum of a few items.
@lru_cache(maxsize=64)
def _as_trained(
    name: str, fn: Callable[..., Array], defaults: tuple[tuple[str, float], ...], params: tuple[tuple[str, float], ...]
) -> Trained:
    choice = choose(Utility(name, fn, dict(defaults)), **dict(params))
    function = on_host(choice.fn, choice.params["offset"], choice.params["min_gap"])
    slope = choice.shape.slope_at_zero
    with np.errstate(all="ignore"):
        nearer = float(function.slope(np.array(_TINY)))
    return Trained(choice, function, nearer if np.isfinite(slope) and np.isclose(nearer, slope, rtol=0.02) else slope)


@dataclass(frozen=True)
class RankingProgram:
    """Maximise the sum of U over pairs minus centring · Σ (r_i + r_j - 1)², U extended below gap 0 by its tangent."""

    trained: Trained
    n_items: int
    pairs: str
    centring: float

    def __post_init__(self) -> None:
        require_items(self.n_items)
        if self.pairs not in _OF_PAIRS:
            raise ValueError(f"unknown pairs {self.pairs!r}; allowed: {', '.join(get_args(Pairs))}")
        if not 0.0 <= self.centring <= MOST_CENTRING:
            raise ValueError(f"centring is {self.centring}; it must be a number from 0 to {MOST_CENTRING:.0e}")

    @cached_property
    def ends(self) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
        """The worse and the better item of every pair, items counted from the worst."""
        n = self.n_items
        if self.pairs == "all":
            worse, better = np.triu_indices(n, 1)
        elif self.pairs == "chain":
            worse, better = np.arange(n - 1), np.arange(1, n)
        else:
            worse, better = np.arange(n - 1), np.full(n - 1, n - 1)
        return worse, better

    @property
    def n_pairs(self) -> int:
        """The number of pairs. The laws divide by it: here objectives are sums over pairs, there they are means."""
        return len(self.ends[0])

    @property
    def slope_at_zero(self) -> float:
        """The slope's limit at gap 0 from above, inf where it is unbounded."""
        return self.trained.slope_at_zero

    @property
    def kinks(self) -> Float[np.ndarray, "kink 1"]:
        """The gaps at which U has a kink, as a column."""
        return self.trained.choice.shape.kinks[:, None]

    @property
    def drops(self) -> Float[np.ndarray, "kink 1"]:
        """By how much the slope drops at each kink, as a column."""
        return self.trained.choice.shape.drops[:, None]

    def gaps(self, slacks: Slacks) -> Gaps:
        """Return every pair's gap."""
        worse, better = self.ends
        sums = np.triu(np.broadcast_to(slacks, (slacks.size, slacks.size))).cumsum(1)
        return np.asarray(sums[worse + 1, better])

    def objective(self, slacks: Slacks) -> float:
        """Return the objective, -inf where a tie costs infinitely much."""
        gap = self.gaps(slacks)
        positive, wrong = gap > 0, gap < 0
        value = np.where(
            positive, self.trained.function.value(np.where(positive, gap, 1.0)), self.trained.choice.shape.value_at_zero
        )
        value[wrong] += self.slope_at_zero * gap[wrong]
        return float(value.sum() - self.centring * np.square(self._pair_centres(slacks)).sum())

    def slopes(self, gap: Gaps, shares: Shares) -> Gaps:
        """Return dU/dt of every pair, the given share of each drop included."""
        positive = gap > 0
        smooth = self._off_kinks(np.where(positive, gap, 1.0))
        base = np.where(positive, self.trained.function.slope(smooth), self.slope_at_zero)
        beyond = positive & (smooth > self.kinks)
        return np.asarray(base + (self.drops * (beyond - shares)).sum(0))

    def around(self, weight: Gaps) -> Slacks:
        """Return for each slack the weight of the pairs around it."""
        return np.asarray(np.triu(self._placed(weight).cumsum(0)).sum(1))

    def gradient(self, slacks: Slacks, slopes: Gaps) -> Slacks:
        """Return dS/d(slack): the values of S's linear part at the simplex's vertices, rewards 0…01…1, n ones first."""
        gradient = self.around(slopes)
        if self.centring:
            centre = self._pair_centres(slacks)
            by_item = sum(np.bincount(end, centre, self.n_items) for end in self.ends)
            gradient[:-1] -= 2 * self.centring * np.asarray(by_item)[::-1].cumsum()[::-1]
        return np.asarray(gradient)

    def hessian(self, gap: Gaps, kink_curvature: Gaps | float = 0.0) -> Float[np.ndarray, "slack slack"]:
        """Return minus the Hessian by slacks; `kink_curvature` is what smoothed kinks add to -U''."""
        positive = gap > 0
        curvature = self.trained.function.curvature(self._off_kinks(np.where(positive, gap, 1.0)))
        weight = np.where(positive, -curvature, 0.0) + kink_curvature
        # At [k, l], k <= l: the weight of the pairs around both slacks. C order, so that both sums run along memory.
        around = self._placed(np.maximum(weight, 0.0)).cumsum(0)[:, ::-1].copy().cumsum(1)[:, ::-1]
        hessian = np.triu(around) + np.triu(around, 1).T
        if self.centring:
            worse, better = self.ends
            adjacency = np.zeros_like(hessian)
            adjacency[worse, better] = adjacency[better, worse] = 2 * self.centring
            adjacency += np.diag(adjacency.sum(1))
            hessian += adjacency[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1]
        return np.asarray(hessian)

    def gap_bound(self, slacks: Slacks, shares: Shares) -> float:
        """Return a bound on how far the objective is below its maximum: concave U, any real slacks, any shares."""
        gap = self.gaps(slacks)
        slopes = self.slopes(gap, shares)
        if not np.isfinite(slopes).all():
            return np.inf
        gradient = self.gradient(slacks, slopes)
        beyond = gap - self.kinks
        # Slacks sum to one: for ascending rewards every term is >= 0, and none cancels another.
        loss = slacks @ (gradient.max() - gradient) + (self.drops * (np.maximum(beyond, 0) - shares * beyond)).sum()
        return max(0.0, float(loss))

    def two_point_gap_bound(self, slacks: Slacks) -> float:
        """Return the same for a convex U at rewards 0 and 1: U meets its chord there, and exceeds it nowhere."""
        rise = float(self.trained.function.value(np.array(1.0))) - self.trained.choice.shape.value_at_zero
        gradient = self.gradient(slacks, np.full(self.ends[0].shape, rise))
        return float(slacks @ (gradient.max() - gradient))

    def _off_kinks(self, gap: Gaps) -> Gaps:
        for kink in self.trained.choice.shape.kinks:
            gap = np.where(np.abs(gap - kink) < _OFF_KINK, kink + _OFF_KINK, gap)
        return gap

    def _pair_centres(self, slacks: Slacks) -> Gaps:
        rewards = slacks.cumsum()[:-1]
        worse, better = self.ends
        return np.asarray(rewards[worse] + rewards[better] - 1)

    def _placed(self, weight: Gaps) -> Float[np.ndarray, "slack slack"]:
        """Return the pairs' weights at [first slack inside the pair, last]."""
        worse, better = self.ends
        matrix = np.zeros((self.n_items + 1, self.n_items + 1))
        matrix[worse + 1, better] = weight
        return matrix
