"""The path through the interior of the ranking program's simplex of slacks to its maximum, for a concave utility.

Primal-dual interior point method (Boyd, Vandenberghe, Convex Optimization, 11.7), with steps relative to the slacks, so
that slacks of 1e-18 and of 1 are solved for alike. A kink is a saddle, -drop · max(0, x) = min of -drop · s · x over a
share s in [0, 1]: split x = above - below, both positive, and follow above · (1 - s) = below · s → 0 with the rest.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from collapse_jax.reward.laws.ranking_program import RankingProgram, Shares, Slacks

_LEAST_BARRIER = 1e-16
_MAX_STEPS = 300


class Point(NamedTuple):
    """Slacks (inner ones only, without centring) and shares, with their multipliers; the objective is scaled."""

    slacks: Slacks
    duals: Slacks
    level: float
    above: Shares
    below: Shares
    shares: Shares

    def moved(self, step: "Point", length: float) -> "Point":
        """Return this point plus length · step."""
        return Point(
            self.slacks + length * step.slacks,
            self.duals + length * step.duals,
            self.level + length * step.level,
            self.above + length * step.above,
            self.below + length * step.below,
            self.shares + length * step.shares,
        )

    def length(self, step: "Point") -> float:
        """Return the largest part of a step, at most 1, after which all that must be positive still is."""
        pairs = (
            (self.slacks, step.slacks),
            (self.duals, step.duals),
            (self.above, step.above),
            (self.below, step.below),
            (self.shares, step.shares),
            (1 - self.shares, -step.shares),
        )
        fall = max(-float((change / value).min(initial=0.0)) for value, change in pairs)
        return 0.99 / fall if fall > 0.99 else 1.0


@dataclass(frozen=True)
class Path:
    """The conditions that hold along the central path."""

    program: RankingProgram
    scale: float

    @property
    def used(self) -> slice:
        """The slacks that may be positive: without centring, rewards spread over all of [0, 1] never lose anything."""
        return slice(None) if self.program.centring else slice(1, -1)

    @property
    def drops(self) -> Float[np.ndarray, "kink 1"]:
        """The scaled drops of the slope at kinks."""
        return self.program.drops / self.scale

    def full(self, inner: Float[np.ndarray, " used"]) -> Slacks:
        """Return all slacks, zero where they are not used."""
        slacks = np.zeros(self.program.n_items + 1)
        slacks[self.used] = inner
        return slacks

    def dual_residual(self, point: Point) -> Slacks:
        """Return the gradient of the Lagrangian."""
        slacks = self.full(point.slacks)
        gradient = self.program.gradient(slacks, self.program.slopes(self.program.gaps(slacks), point.shares))
        return np.asarray(point.level - gradient[self.used] / self.scale - point.duals)

    def errors(self, point: Point, weighted_residual: Slacks, barrier: float) -> Float[np.ndarray, " error"]:
        """Return by how much each condition fails, all in units of the barrier."""
        products = (
            weighted_residual,
            point.slacks * point.duals - barrier,
            self.drops * point.above * (1 - point.shares) - barrier,
            self.drops * point.below * point.shares - barrier,
        )
        return np.concatenate([product.ravel() for product in products])

    def step(self, point: Point, residual: Slacks, barrier: float) -> Point:
        """Return the Newton step towards the point of the path at this barrier, given the dual residual."""
        slacks, duals, _, above, below, shares = point
        gap = self.program.gaps(self.full(slacks))
        give = above / (1 - shares) + below / shares
        above_error = barrier / self.drops / (1 - shares) - above
        below_error = barrier / self.drops / shares - below
        fixed = (gap - self.program.kinks - above + below - above_error + below_error) / give
        residual = residual + self.program.around((self.drops * fixed).sum(0))[self.used]
        hessian = self.program.hessian(gap, (self.program.drops / give).sum(0))[self.used, self.used] / self.scale

        matrix = slacks[:, None] * hessian * slacks
        target = barrier - slacks * (residual + duals)
        relative, level = _bordered_solve(matrix, slacks * duals, target, slacks)
        change = relative * slacks
        share_change = fixed + self.program.gaps(self.full(change)) / give
        return Point(
            change,
            barrier / slacks - duals - duals * relative,
            level,
            above_error + above / (1 - shares) * share_change,
            below_error - below / shares * share_change,
            share_change,
        )


def central_path(program: RankingProgram) -> tuple[Path, Point]:
    """Return the path of a concave utility, and the point at which it, or rounding, ends."""
    path, point = _start(program)
    residual = path.dual_residual(point)
    barrier = float(point.slacks[0])
    for _ in range(_MAX_STEPS):
        error = path.errors(point, point.slacks * residual, barrier)
        while np.abs(error).max() < 0.5 * barrier:
            if barrier <= _LEAST_BARRIER:
                return path, point
            barrier = max(_LEAST_BARRIER, min(0.1 * barrier, barrier**1.3))
            error = path.errors(point, point.slacks * residual, barrier)
        step = path.step(point, residual, barrier)
        length = point.length(step)
        while True:
            trial = point.moved(step, length)
            residual = path.dual_residual(trial)
            trial_error = path.errors(trial, point.slacks * residual, barrier)
            if np.linalg.norm(trial_error) <= (1 - 0.01 * length) * np.linalg.norm(error):
                break
            length *= 0.5
            if length < 1e-9:
                return path, point  # rounding is all that is left
        point = trial._replace(slacks=trial.slacks / trial.slacks.sum())
    return path, point


def _start(program: RankingProgram) -> tuple[Path, Point]:
    """Return equispaced rewards with every multiplier near one, and the scale of the objective there."""
    unscaled = Path(program, 1.0)
    size = program.n_items + 1 if program.centring else program.n_items - 1
    slacks = np.full(size, 1 / size)
    beyond = program.gaps(unscaled.full(slacks)) - program.kinks
    above = np.maximum(beyond, 0) + 1.0
    point = Point(slacks, np.ones(size), 2.0, above, above - beyond, np.full_like(above, 0.5))
    bare = point._replace(duals=np.zeros(size), level=0.0)
    # Where U is flat to the last bit the scale is 0, and any rewards are as good as any others.
    scale = float(np.abs(unscaled.dual_residual(bare)).max()) or 1.0
    return Path(program, scale), point


def _bordered_solve(
    matrix: Float[np.ndarray, "slack slack"], diagonal: Slacks, target: Slacks, border: Slacks
) -> tuple[Slacks, float]:
    """Return x and y with (matrix + diagonal) x + border · y = target and border · x = 0."""
    diagonal = np.diagonal(matrix) + diagonal
    ridge = 0.0
    while True:
        np.fill_diagonal(matrix, diagonal * (1 + ridge))
        try:
            factor = scipy.linalg.cho_factor(matrix, lower=True)
            break
        except scipy.linalg.LinAlgError:
            ridge = max(1e-15, 10 * ridge)
    free, uniform = scipy.linalg.cho_solve(factor, np.stack([target, border], 1)).T
    multiplier = float(border @ free / (border @ uniform))
    return free - multiplier * uniform, multiplier
