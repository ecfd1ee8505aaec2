"""The optimum of a weighted program, over the box or over all real numbers, by Newton's method, and its certificate.

A small ridge that draws rewards to the centre makes the optimum unique, and is taken away step by step: of many optima
the one that it leads to is the nearest to the centre. Rewards at the ends of the box are held there while the gradient
pushes them on (projected Newton, Bertsekas 1982); at last Newton steps without a ridge take away what it left.
"""

import numpy as np
import scipy
from jaxtyping import Bool, Float

from collapse_jax.reward.laws.weighted_program import Matrix, Program, Rewards, WeightedProgram

_RIDGES = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
_FLAT = 1e-11  # A direction of less curvature, relative to the largest, is left where the ridge put it.
_MAX_STEPS = 200


def maximise(program: Program, n_items: int, *, bounded: bool) -> Rewards:
    """Return the rewards that maximise a concave program in [0, 1], or anywhere; the maximum must exist."""
    low, high = (0.0, 1.0) if bounded else (-np.inf, np.inf)
    rewards = np.full(n_items, program.centre)
    scale = float(np.abs(program.hessian(rewards)).max()) or float(np.abs(program.gradient(rewards)).max()) or 1.0
    for ridge in _RIDGES:
        rewards = _climb(program, rewards, ridge * scale, low, high)
    rewards = _polished(program, rewards, low, high)
    return rewards if program.centring else _centred(program, rewards, low, high)


def box_bound(program: Program, rewards: Rewards) -> float:
    """Return a bound on how much more any rewards in [0, 1] could reach: the tangent's, each 0 or 1 by its slope."""
    slope = program.gradient(rewards)
    return float((slope * ((slope > 0) - rewards)).sum())


def local_bound(program: WeightedProgram, rewards: Rewards) -> float:
    """Return the same for all real rewards, inf where none is found.

    Around the rewards, to a distance of `radius`, no pair's -U'' is below half of the least at nine gaps. So much
    curvature keeps the maximum within half of the gradient's Newton decrement, provided that it lies no further away.
    """
    slope, gaps = program.gradient(rewards), program.gaps(rewards)
    for radius in np.geomspace(1.0, 1e-8, 9):
        around = gaps + np.linspace(-2 * radius, 2 * radius, 9)[:, None, None]
        least = 0.5 * -program.function.curvature(np.where(program.weights > 0, around, 1.0)).max(0)
        inverse = np.linalg.pinv(program.curved(least), hermitian=True)
        decrement = float(slope @ inverse @ slope)
        # A flat direction needs no bound where nothing depends on it: the gradient has no part along it.
        within = 2 * np.sqrt(decrement * np.diagonal(inverse).max()) < radius
        left = np.abs(slope - program.curved(least) @ inverse @ slope).max() <= 1e-9 * np.abs(slope).max()
        if within and left:
            return 0.5 * decrement
    return np.inf


def _climb(program: Program, rewards: Rewards, ridge: float, low: float, high: float) -> Rewards:
    """Return the optimum with a ridge, from rewards near it."""

    def value(rewards: Rewards) -> float:
        return program.value(rewards) - 0.5 * ridge * float(np.square(rewards - program.centre).sum())

    def slope(rewards: Rewards) -> Rewards:
        return program.gradient(rewards) - ridge * (rewards - program.centre)

    now, gradient = value(rewards), slope(rewards)
    for _ in range(_MAX_STEPS):
        free = ~_held(rewards, gradient, low, high)
        size = float(np.abs(gradient[free]).max(initial=0.0))
        if not size:
            break
        step = np.zeros_like(rewards)
        hessian = program.hessian(rewards)[np.ix_(free, free)] + ridge * np.eye(int(free.sum()))
        step[free] = scipy.linalg.solve(hessian, gradient[free], assume_a="pos")
        length = 1.0
        if float(gradient @ step) <= 16 * np.finfo(float).eps * abs(now):
            return np.asarray(np.clip(rewards + step, low, high))  # values can't tell what is left to gain
        while True:
            trial = np.clip(rewards + length * step, low, high)
            then, turned = value(trial), slope(trial)
            if then > now + 1e-4 * float(gradient @ (trial - rewards)):
                break
            length *= 0.5
            if length < 1e-12:
                return rewards  # rounding is all that is left
        rewards, now, gradient = trial, then, turned
    return rewards


def _held(rewards: Rewards, gradient: Rewards, low: float, high: float) -> Bool[np.ndarray, " item"]:
    return ((rewards <= low) & (gradient <= 0)) | ((rewards >= high) & (gradient >= 0))


def _polished(program: Program, rewards: Rewards, low: float, high: float) -> Rewards:
    """Return the rewards after Newton steps without a ridge, along directions that are curved."""

    def pull(rewards: Rewards) -> Rewards:
        gradient = program.gradient(rewards)
        pulled: Rewards = np.where(_held(rewards, gradient, low, high), 0.0, gradient)
        return pulled

    now = pull(rewards)
    for _ in range(8):
        free = now != 0
        step = np.zeros_like(rewards)
        step[free] = _curved_step(program.hessian(rewards)[np.ix_(free, free)], now[free])
        trial = np.clip(rewards + step, low, high)
        then = pull(trial)
        if np.abs(then).sum() >= np.abs(now).sum():
            break
        rewards, now = trial, then
    return rewards


def _curved_step(hessian: Matrix, gradient: Rewards) -> Float[np.ndarray, " inside"]:
    if not gradient.size:
        return gradient
    values, vectors = np.linalg.eigh(hessian)
    curved = values > _FLAT * values.max(initial=0.0)
    return np.asarray(vectors[:, curved] @ ((vectors[:, curved].T @ gradient) / values[curved]))


def _centred(program: Program, rewards: Rewards, low: float, high: float) -> Rewards:
    """Return the rewards, those of items that are compared with each other shifted so that their mean is the centre.

    Nothing depends on the shift but whether they stay in the box.
    """
    count, group = scipy.sparse.csgraph.connected_components(program.compared, directed=False)
    rewards = rewards.copy()
    for one in range(count):
        own = rewards[group == one]
        rewards[group == one] += np.clip(program.centre - own.mean(), low - own.min(), high - own.max())
    return rewards
