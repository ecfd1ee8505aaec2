"""The rewards that one prompt's labels lead to: weights of both sides of its pairs, or Plackett-Luce, or raw logits."""

import functools

import numpy as np
import scipy
from jaxtyping import Bool, Int

from collapse_jax.reward.calculus import HostFunction, extend, on_host
from collapse_jax.reward.laws.ranking_program import MOST_CENTRING, require_items
from collapse_jax.reward.laws.weighted_optimum import box_bound, local_bound, maximise
from collapse_jax.reward.laws.weighted_program import PlackettLuceProgram, Rewards, WeightedProgram
from collapse_jax.reward.rankings import Pairs, Weights, pair_indices
from collapse_jax.reward.two_sided import on_both_sides, require_log_probability, require_two_sided
from collapse_jax.reward.utilities import COMMON, Choice, UtilityFn

_FAR = 1e12
_INSTEAD = "give centring > 0, graded labels (a way of wins from every item to every other), or bounded=True"

Optimum = tuple[Rewards, float, float]
"""Rewards, the objective, and a bound on how much more any could reach."""


def weighted_law(
    choice: Choice,
    weights: Weights,
    margins: Weights | None = None,
    *,
    centring: float = 0.0,
    bounded: bool = True,
    both_sides: bool | None = None,
) -> Optimum:
    """Return the best rewards for the weights of pairs; where many are, those nearest to the centre.

    U is taken on both sides of gap 0 as it is where the weights are `both_sides` (by default where a pair has both),
    and of logits wherever it can be, else continued by its tangent. Raises ValueError as `finite_law` does.
    """
    weights, margins = _checked(weights, margins)
    if both_sides is None:
        both_sides = bool(((weights > 0) & (weights.T > 0)).any())
    function = _function(choice, both_sides or (not bounded and choice.utility.two_sided), float(margins.max()))
    centre = 0.5 if bounded else 0.0
    program = WeightedProgram(function, weights / weights.sum(), margins, _centring(centring), centre)
    if not bounded:
        _require_maximum(program, choice)
    rewards = maximise(program, len(weights), bounded=bounded)
    bound = box_bound(program, rewards) if bounded else local_bound(program, rewards)
    return rewards, program.value(rewards), bound


def plackett_luce_law(choice: Choice, n_items: int, *, centring: float = 0.0, bounded: bool = True) -> Optimum:
    """Return the best rewards for Plackett-Luce; of logits without a bound, which is NaN."""
    program = plackett_luce_program(choice, n_items, centring=centring, bounded=bounded)
    if not bounded and (n_items < 3 or not centring):
        raise ValueError(_no_maximum(choice, "orders of more than two items need centring > 0, two have none"))
    rewards = maximise(program, n_items, bounded=bounded)
    return rewards, program.value(rewards), box_bound(program, rewards) if bounded else np.nan


def plackett_luce_program(
    choice: Choice, n_items: int, *, centring: float = 0.0, bounded: bool = True
) -> PlackettLuceProgram:
    """Return the program of Plackett-Luce; raises ValueError for a utility that it can't be formed with."""
    require_items(n_items)
    require_log_probability(choice)
    return PlackettLuceProgram(on_both_sides(choice), n_items, _centring(centring), 0.5 if bounded else 0.0)


def order_weights(n_items: int, pairs: Pairs) -> Weights:
    """Return the weights that orders stand for: 1 for the better over the worse of each of the pairs."""
    weights = np.zeros((n_items, n_items))
    weights[pair_indices(n_items, pairs)] = 1.0
    return weights


def _checked(weights: Weights, margins: Weights | None) -> tuple[Weights, Weights]:
    weights = np.asarray(weights, np.float64)
    margins = np.zeros_like(weights) if margins is None else np.asarray(margins, np.float64)
    for name, given in (("weights", weights), ("margins", margins)):
        bad = given[~(np.isfinite(given) & (given >= 0))]
        if bad.size:
            raise ValueError(f"{name} have {bad[0]:g}; they must be finite numbers >= 0")
    if not weights.any():
        raise ValueError("weights are all 0; at least one pair must have some")
    if (own := np.diagonal(weights)).any():
        raise ValueError(f"weights have {own[own > 0][0]:g} on the diagonal, of an item over itself; it must be 0")
    require_items(len(weights))
    return weights, margins


def _centring(centring: float) -> float:
    if not 0.0 <= centring <= MOST_CENTRING:
        raise ValueError(f"centring is {centring}; it must be a number from 0 to {MOST_CENTRING:.0e}")
    return float(centring)


def _function(choice: Choice, both_sides: bool, deepest: float) -> HostFunction:
    """Return U as labels of pairs are trained with, in float64 at any gap."""
    shape = choice.shape
    if shape.kinks.size or not (shape.concave and shape.bounded):
        what = f"a kink at gap {shape.kinks[0]:g}" if shape.kinks.size else "an infinite slope at gap 0"
        raise ValueError(
            f"{choice.label} {f'has {what}' if shape.concave else 'is convex'}: no law of weights is known for it"
        )
    if both_sides:
        require_two_sided(choice, "labels of both sides of a pair and logits take U below gap 0", deepest)
        return on_both_sides(choice)
    return _extended(choice.utility.fn, tuple(choice.params.items()))


@functools.lru_cache(maxsize=64)
def _extended(fn: UtilityFn, params: tuple[tuple[str, float], ...]) -> HostFunction:
    """Return U as it is trained on orders: extended at gap 0 too, which `on_host` leaves as it is."""
    own = {name: value for name, value in params if name not in COMMON}
    common = [dict(params)[name] for name in COMMON]
    return on_host(extend(lambda gap: fn(gap, **own), *common))


def _require_maximum(program: WeightedProgram, choice: Choice) -> None:
    """Raise ValueError unless no way to infinity raises the objective of logits for ever, or leaves it as it is.

    Along a way d it changes at last by the slopes of U far out. Where U is at last flat, d may not be lowered by any
    win: in each group of compared items every one must be reached from every other by wins (Ford, 1957), or, where
    centring holds all but d_i = -d_j for every pair, wins must go both ways between the two sides, if there are two.
    """
    slope = float(program.function.slope(np.array(_FAR))) / float(program.function.slope(np.array(0.0)))
    if slope < -1e-9:
        return
    flat, wins = slope < 1e-9, program.weights > 0
    if not (flat or program.centring):
        raise ValueError(_no_maximum(choice, "its slope is above 0 at any gap: give centring > 0, or bounded=True"))
    count, group = scipy.sparse.csgraph.connected_components(wins, directed=False)
    for one in range(count):
        own = wins[np.ix_(group == one, group == one)]
        if not (_held_by_centring(own, flat) if program.centring else _strongly_connected(own)):
            why = f"orders alone drive logits to infinity: {_INSTEAD}"
            if program.centring:
                why = "centring holds the sum of a pair and not its gap, and these wins go one way between two sides"
            raise ValueError(_no_maximum(choice, why))


def groups_of(weights: Weights) -> Int[np.ndarray, " item"]:
    """Return the number of each item's group, between whose items comparisons lead, whoever wins."""
    return np.asarray(scipy.sparse.csgraph.connected_components(weights > 0, directed=False)[1])


def _strongly_connected(wins: Bool[np.ndarray, "item item"]) -> bool:
    return bool(scipy.sparse.csgraph.connected_components(wins, connection="strong")[0] == 1)


def _held_by_centring(wins: Bool[np.ndarray, "item item"], flat: bool) -> bool:
    """Return whether compared items can't be put on two sides, or, with U flat far out, wins go both ways between."""
    compared = wins | wins.T
    order = scipy.sparse.csgraph.breadth_first_order(compared, 0, directed=False)
    side = np.zeros(len(wins), int)
    for item in order[0][1:]:
        side[item] = 1 - side[order[1][item]]
    two_sides = not (compared & (side[:, None] == side)).any()
    upward, downward = wins[np.ix_(side == 0, side == 1)].any(), wins[np.ix_(side == 1, side == 0)].any()
    return len(wins) == 1 or not two_sides or bool(flat and upward and downward)


def _no_maximum(choice: Choice, why: str) -> str:
    return f"logits have no optimum under {choice.label}: {why}"
