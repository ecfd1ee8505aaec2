"""The exact optimum: ties put to zero, pairs at a kink put exactly there, the rest solved for without a barrier."""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from collapse_jax.reward.laws.interior_point import Path, Point, central_path
from collapse_jax.reward.laws.ranking_program import RankingProgram, Shares, Slacks

_MAX_STEPS = 12


class Optimum(NamedTuple):
    """Slacks, the shares that pairs take of the drops at kinks, and a bound on the distance to the maximum."""

    slacks: Slacks
    shares: Shares
    gap: float


class _AtKinks(NamedTuple):
    """Pairs at a kink, grouped by the free slacks that they span: a group is one equation, gap = kink."""

    kink: Int[np.ndarray, " member"]
    pair: Int[np.ndarray, " member"]
    group: Int[np.ndarray, " member"]
    example: Int[np.ndarray, " group"]
    equations: Float[np.ndarray, "group free"]


def solve(program: RankingProgram) -> Optimum:
    """Return the optimum of a concave program: O(n³) time, some 20 to 60 Newton steps."""
    path, point = central_path(program)
    slacks = path.full(point.slacks)
    interior = Optimum(slacks, point.shares, program.gap_bound(slacks, point.shares))
    return min(interior, _finish(path, point), key=lambda optimum: optimum.gap)


def _finish(path: Path, point: Point) -> Optimum:
    program = path.program
    free, slacks = _untied(path, point)
    at_kink = (point.shares > point.below) & (1 - point.shares > point.above)
    shares = np.where(at_kink, point.shares, np.round(point.shares))
    kinks = _group(program, at_kink, free)
    constraints = np.vstack([np.ones((1, kinks.equations.shape[1])), kinks.equations])
    corner = np.zeros((len(constraints), len(constraints)))

    best = Optimum(slacks, shares, np.inf)
    for _ in range(_MAX_STEPS):
        gap = program.gaps(slacks)
        # At the optimum all free slacks have the same slope, near `level`. It is subtracted, so that the target is
        # small: where equations depend on one another, least squares then finds small prices.
        gradient = program.gradient(slacks, program.slopes(gap, shares))[free] / path.scale - point.level
        hessian = program.hessian(gap)[np.ix_(free, free)] / path.scale
        size = slacks[free]
        missing = np.concatenate(
            [[1 - slacks.sum()], program.kinks[kinks.kink[kinks.example], 0] - gap[kinks.pair[kinks.example]]]
        )
        weighted = constraints * size
        matrix = np.block([[size[:, None] * hessian * size, weighted.T], [weighted, corner]])
        target = np.concatenate([size * gradient, missing])
        # Where U is linear many steps are equally good. Least squares takes the shortest, so that rewards stay near
        # where the path led them, in the middle of all optima.
        solution = scipy.linalg.lstsq(matrix, target, cond=1e-15, lapack_driver="gelsy")[0]
        step, prices = solution[: size.size], solution[size.size :]
        slacks = slacks.copy()
        slacks[free] = size * (1 + step * min(1.0, 0.9 / max(1e-300, -step.min())))
        priced = _priced(path, kinks, shares, prices[1:])
        previous, current = best.gap, program.gap_bound(slacks, priced)
        if current < previous:
            best = Optimum(slacks, priced, current)
        if not current < 0.1 * previous:
            break
    return best


def _untied(path: Path, point: Point) -> tuple[Bool[np.ndarray, " slack"], Slacks]:
    """Return which slacks are free, and the slacks with exact zeros where rewards tie."""
    program, slacks = path.program, path.full(point.slacks)
    vanishing = slacks <= path.full(point.duals)
    tied = vanishing.copy()
    if np.isinf(program.slope_at_zero):
        # Neighbours that form a pair never tie where the slope at gap 0 is infinite: their slack is positive, however
        # small, and must not be put to zero.
        worse, better = program.ends
        tied[better[better == worse + 1]] = False
    slacks[tied] = 0.0
    return ~vanishing, slacks / slacks.sum()


def _group(
    program: RankingProgram, at_kink: Bool[np.ndarray, "kink pair"], free: Bool[np.ndarray, " slack"]
) -> _AtKinks:
    worse, better = program.ends
    count = np.concatenate([[0], free.cumsum()])
    first, last = count[worse + 1], count[better + 1]
    kink, pair = np.nonzero(at_kink & (last > first))
    spans, example, group = np.unique(
        np.stack([first[pair], last[pair], kink]), axis=1, return_index=True, return_inverse=True
    )
    order = np.arange(count[-1])
    equations = (order >= spans[0][:, None]) & (order < spans[1][:, None])
    return _AtKinks(kink, pair, group.reshape(-1), example, equations.astype(np.float64))


def _priced(path: Path, kinks: _AtKinks, shares: Shares, prices: Float[np.ndarray, " group"]) -> Shares:
    """Return shares by which slopes take up their equations' prices; shares move most that are far from 0 and 1."""
    if not kinks.kink.size:
        return shares
    members = kinks.kink, kinks.pair
    room = (shares * (1 - shares))[members]
    part = room / np.bincount(kinks.group, room)[kinks.group]
    moved = shares.copy()
    moved[members] += prices[kinks.group] * part / path.drops[kinks.kink, 0]
    return np.asarray(np.clip(moved, 0.0, 1.0))
