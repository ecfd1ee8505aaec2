"""The programs of labels that say more than an order: value, gradient and Hessian by rewards, in any order, in float64.

Labels of pairs weigh both sides, so that nothing is known of the order of the best rewards: unlike the ranking program,
these are seen through the rewards themselves. Objectives are means, of pairs by weight or of stages.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float

from collapse_jax.reward.calculus import HostFunction
from collapse_jax.reward.rankings import Weights

Rewards = Float[np.ndarray, " item"]
Matrix = Float[np.ndarray, "item item"]
Stage = Float[np.ndarray, "..."]


@dataclass(frozen=True)
class WeightedProgram:
    """The mean of U(r_i - r_j - margin) - centring · (r_i + r_j - 2 centre)², by `weights` that add up to one."""

    function: HostFunction
    weights: Weights
    margins: Weights
    centring: float
    centre: float

    @property
    def compared(self) -> Bool[np.ndarray, "item item"]:
        """Which pairs have a weight on one side or both."""
        return (self.weights > 0) | (self.weights.T > 0)

    def gaps(self, rewards: Rewards) -> Matrix:
        """Return r_i - r_j - margin, and 1 where a pair has no weight."""
        return np.asarray(np.where(self.weights > 0, rewards[:, None] - rewards - self.margins, 1.0))

    def value(self, rewards: Rewards) -> float:
        """Return the objective."""
        penalty = self.centring * np.square(rewards[:, None] + rewards - 2 * self.centre)
        return float((self.weights * (self.function.value(self.gaps(rewards)) - penalty)).sum())

    def gradient(self, rewards: Rewards) -> Rewards:
        """Return the gradient."""
        pull = self.weights * self.function.slope(self.gaps(rewards))
        both = self.weights + self.weights.T
        push = 2 * self.centring * both * (rewards[:, None] + rewards - 2 * self.centre)
        return _without_rounding(np.concatenate([pull, -pull.T, -push], 1))

    def hessian(self, rewards: Rewards) -> Matrix:
        """Return minus the Hessian."""
        return self.curved(-self.function.curvature(self.gaps(rewards)))

    def curved(self, curvature: Matrix) -> Matrix:
        """Return minus the Hessian where -U'' at the pairs' gaps is `curvature`."""
        one_way = self.weights * np.maximum(curvature, 0.0)
        both, penalty = one_way + one_way.T, 2 * self.centring * (self.weights + self.weights.T)
        return np.asarray(np.diag((both + penalty).sum(1)) - both + penalty)


@dataclass(frozen=True)
class PlackettLuceProgram:
    """The mean over stages of -log(1 + Σ_l (1/p_kl - 1)), p = exp(U(r_k - r_l)), less the mean penalty of all pairs."""

    function: HostFunction
    n_items: int
    centring: float
    centre: float

    @property
    def compared(self) -> Bool[np.ndarray, "item item"]:
        """All pairs."""
        return ~np.eye(self.n_items, dtype=bool)

    def value(self, rewards: Rewards) -> float:
        """Return the objective."""
        stages = [np.logaddexp(0, scipy.special.logsumexp(-odds)) for odds, _, _ in self._stages(rewards)]
        return float(-np.mean(stages) - self.centring * np.square(self._centres(rewards)).mean())

    def gradient(self, rewards: Rewards) -> Rewards:
        """Return the gradient."""
        pulls = np.zeros((self.n_items, self.n_items))
        for stage, (odds, slope, _) in enumerate(self._stages(rewards)):
            pulls[stage, stage + 1 :] = self._shares(odds) * slope / (self.n_items - 1)
        centres = np.zeros_like(pulls)
        centres[self._pairs] = -2 * self.centring * self._centres(rewards) / len(self._pairs[0])
        return _without_rounding(np.concatenate([pulls, -pulls.T, centres, centres.T], 1))

    def hessian(self, rewards: Rewards) -> Matrix:
        """Return minus the Hessian."""
        total = np.zeros((self.n_items, self.n_items))
        for stage, (odds, slope, bend) in enumerate(self._stages(rewards)):
            share = self._shares(odds)
            pull = share * slope
            inner = np.diag(pull * slope - share * bend) - np.outer(pull, pull)
            total[stage, stage] += inner.sum()
            total[stage, stage + 1 :] -= inner.sum(0)
            total[stage + 1 :, stage] -= inner.sum(0)
            total[stage + 1 :, stage + 1 :] += inner
        penalty = 2 * self.centring * self.compared / len(self._pairs[0])
        return np.asarray(total / (self.n_items - 1)) + np.diag(penalty.sum(1)) + penalty

    @property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        better, worse = np.triu_indices(self.n_items, 1)
        return better, worse

    def _centres(self, rewards: Rewards) -> Float[np.ndarray, " pair"]:
        better, worse = self._pairs
        return np.asarray(rewards[better] + rewards[worse] - 2 * self.centre)

    def _stages(self, rewards: Rewards) -> list[tuple[Stage, Stage, Stage]]:
        """Return for each stage the log-odds of its item against each that comes after, and their two derivatives."""
        better, worse = self._pairs
        gap = rewards[better] - rewards[worse]
        value, slope, curvature = self.function.value(gap), self.function.slope(gap), self.function.curvature(gap)
        # Where p is 1 to the last bit, it is taken for the next smaller number.
        value = np.minimum(value, -np.finfo(float).tiny)
        odds = value - np.log(-np.expm1(value))
        rest = -np.expm1(value)
        steep = slope / rest
        bend = curvature / rest + steep**2 * np.exp(value)
        ends = np.arange(self.n_items - 1, 0, -1).cumsum()[:-1]
        return list(zip(*(np.split(one, ends) for one in (odds, steep, bend)), strict=True))

    def _shares(self, odds: Stage) -> Stage:
        """Return the probability that each of the others is chosen in the place of the stage's item."""
        return np.asarray(np.exp(-odds - np.logaddexp(0, scipy.special.logsumexp(-odds))))


Program = WeightedProgram | PlackettLuceProgram


def _without_rounding(terms: Float[np.ndarray, "item term"]) -> Rewards:
    """Return the sums of the rows, 0 where rounding alone may be left."""
    total = terms.sum(1)
    noise = 8 * np.finfo(float).eps * np.abs(terms).sum(1)
    return np.asarray(np.where(np.abs(total) <= noise, 0.0, total))
