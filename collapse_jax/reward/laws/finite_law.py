"""The rewards that n items collapse to: the exact optimum of the ranking objective, with a certificate.

A reward model that can fit every prompt by itself gives all of them the same rewards, those that maximise

    S(r) = mean of U(r_i - r_j) - centring · (r_i + r_j - 1)²    over pairs, i better than j, 1 >= r_1 >= … >= r_n >= 0,

with U as trained: `offset` included, and continued by its tangent below `min_gap`. Labels that say more than an order
have a law for each prompt, of their own weights, and may not collapse at all: `labelled_law`.

Source: Song, Cai, Lee, Su, Reward Collapse in Aligning Large Language Models, arXiv 2305.17608, theorem 1.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from collapse_jax.checks.annotations import checked
from collapse_jax.checks.unit_interval import require_inside
from collapse_jax.reward.laws.exact_optimum import solve
from collapse_jax.reward.laws.labelled_law import (
    order_weights,
    plackett_luce_law,
    plackett_luce_program,
    weighted_law,
)
from collapse_jax.reward.laws.ranking_program import RankingProgram, Slacks, as_trained
from collapse_jax.reward.laws.weighted_optimum import box_bound
from collapse_jax.reward.rankings import Pairs, Weights
from collapse_jax.reward.utilities import Choice, Utility, as_choice

Rewards = Float[np.ndarray, " item"]

_TOLERANCE = 1e-9


class FiniteLaw(NamedTuple):
    """Optimal rewards of n items, best item first, their objective, and how much a better one could gain at most.

    `value` is the objective S, a mean over pairs: the energies of limit laws are means too, of all n² pairs of points,
    so that they compare with (1 - 1/n) value + U(0)/n. `gap` bounds max S - value.
    """

    rewards: Rewards
    value: float
    gap: float

    def __repr__(self) -> str:
        shown = np.array2string(self.rewards, precision=4, threshold=8, edgeitems=3, separator=", ")
        return f"FiniteLaw(rewards={shown}, value={self.value:.10g}, gap={self.gap:.1g})"


@checked
def finite_law(
    utility: Utility | Choice,
    n_items: int,
    *,
    pairs: Pairs = "all",
    centring: float = 0.0,
    weights: Weights | None = None,
    margins: Weights | None = None,
    bounded: bool = True,
    **params: float,
) -> FiniteLaw:
    """Return the optimal rewards of n items in [0, 1], best item first.

    `pairs`: "all", "chain" (neighbours), "star" (the best against each of the rest) or "plackett_luce" (in stages, the
    best against all others, the next against those that are left, ...). `centring` >= 0 weights a penalty that draws
    the centre of each pair to ½. `params` are the utility's, `offset` and `min_gap`; a `Choice` has them already.

    `weights` are those of one prompt's labels: at [i, j] >= 0 that of "i beats j", a probability and its complement for
    instance, 0 both ways for a pair that was not compared. `margins`, at [i, j], are taken from the gaps r_i - r_j.
    Rewards are then those of these items, in the order of the weights. Where a pair has weight on both sides U is taken
    on both sides of gap 0 as it is, and must be two-sided, as log σ is: within reach of [0, 1], the rewards for log
    σ(t/s) and the probabilities σ(θ_i - θ_j) are s θ but for a shift. Of many optima the law is the nearest to ½.

    Not `bounded`, it is the law of raw logits, of mean 0 where nothing depends on the shift, and with the penalty
    centring · (r_i + r_j)². Orders alone have none, since they drive logits to infinity: they need centring, and more
    than two items. Or labels are graded, so that wins lead from every item to every other.

    Rewards are right to about 1e-12 where U is strictly concave, and ties are exact. Where optima are many, as for
    U = t and odd n, they are symmetric about ½ (middle reward ½). A convex U has two points, ⌊n/2⌋ ones and the rest
    zeros, optimal by U(t) <= (1-t) U(0) + t U(1); no certificate holds for it, and its gap is nan. Else `gap` holds up
    to rounding, some 1e-14 of S; it is that of rewards before they are rounded to float64. Takes O(n³) time: a few
    seconds for n = 512.

    Raises ValueError for `n_items` below 2, unknown `pairs`, a negative `centring`, as `choose` does, for a convex U
    with centring where two points aren't known to be optimal, for weights and margins of another shape, with `pairs`
    other than "all", or that a utility has no law for (one-sided, kinked, convex, or of infinite slope at gap 0), and
    where logits have no optimum, with what to give.

    >>> from collapse_jax.reward.utilities import UTILITIES
    >>> finite_law(UTILITIES["log"], 4)  # doctest: +ELLIPSIS
    FiniteLaw(rewards=[1.    , 0.7236, 0.2764, 0.    ], value=-0.6705991302, gap=...)
    """
    labelled = _labelled(as_choice(utility, params), n_items, pairs, centring, weights, margins, bounded)
    if labelled is not None:
        return labelled
    return optimal_rewards(RankingProgram(as_trained(utility, params), n_items, pairs, centring))


def optimal_rewards(program: RankingProgram) -> FiniteLaw:
    """Return the law of a program, as `finite_law` describes it."""
    if program.pairs == "star":
        # One item at 1 and the others at 0 is best for each pair by itself: gap 1, centred.
        return _two_points(program, ones=1, gap=0.0)
    if not program.trained.choice.shape.concave:
        law = _two_points(program, ones=program.n_items // 2, gap=np.nan)
        gap = program.two_point_gap_bound(_slacks(law.rewards))
        if gap / program.n_pairs > _TOLERANCE * (1 + abs(law.value)):
            raise ValueError(
                f"utility {program.trained.choice.label!r} is convex and centring is {program.centring:g}: two points "
                "are then not known to be optimal, and nothing else is"
            )
        return law
    optimum = solve(program)
    # Reflection r -> 1 - r maps optima onto optima, hence so does the mean with the reflected.
    slacks = 0.5 * (optimum.slacks + optimum.slacks[::-1])
    value, gap = program.objective(slacks), program.gap_bound(slacks, optimum.shares)
    return FiniteLaw(_symmetric(slacks), value / program.n_pairs, gap / program.n_pairs)


def _labelled(
    choice: Choice,
    n_items: int,
    pairs: Pairs,
    centring: float,
    weights: Weights | None,
    margins: Weights | None,
    bounded: bool,
) -> FiniteLaw | None:
    """Return the law of one prompt's labels, of stages or of logits; None for the orders of rewards in [0, 1]."""
    for name, given in (("weights", weights), ("margins", margins)):
        if given is not None and (np.shape(given) != (n_items, n_items) or pairs != "all"):
            raise ValueError(
                f"{name} have the shape {np.shape(given)} beside n_items = {n_items} and pairs = {pairs!r}; they need "
                "(n_items, n_items), and pairs 'all', since they say which pairs count"
            )
    if pairs == "plackett_luce":
        return FiniteLaw(*plackett_luce_law(choice, n_items, centring=centring, bounded=bounded))
    if weights is None and margins is None and bounded:
        return None
    weights = order_weights(n_items, pairs) if weights is None else weights
    return FiniteLaw(*weighted_law(choice, weights, margins, centring=centring, bounded=bounded))


@checked
def objective(
    utility: Utility | Choice, rewards: Rewards, *, pairs: Pairs = "all", centring: float = 0.0, **params: float
) -> float:
    """Return the objective S, a mean over pairs, of rewards in [0, 1], best item first.

    Items are in order of rank, their rewards need not be: a wrongly ordered pair has a negative gap, where U goes on by
    its tangent at 0 (at `min_gap` if that is positive), and S is -inf if that is vertical.

    Raises ValueError as `finite_law` does, and for rewards that aren't numbers in [0, 1].
    """
    if pairs == "plackett_luce":
        rewards = _inside(rewards)
        return plackett_luce_program(as_choice(utility, params), len(rewards), centring=centring).value(rewards)
    program = _program(utility, rewards, pairs, centring, params)
    return program.objective(_slacks(rewards)) / program.n_pairs


@checked
def certified_gap(
    utility: Utility | Choice, rewards: Rewards, *, pairs: Pairs = "all", centring: float = 0.0, **params: float
) -> float:
    """Return a bound on max S - S(rewards) for any rewards in [0, 1], best item first.

    Items are in order of rank, their rewards need not be. For a concave U it is max(0, max_k Σ_{i<=k} g_i) - g·r, with
    g a supergradient of S: no optimum is searched for, and at the optimum it is zero, up to the resolution of float64
    rewards near 1 (for √t at n = 512, 1e-5 of S). Where g doesn't exist or isn't unique (ties with an infinite slope,
    kinks) it is the value of `finite_law` plus its own gap, less S. The bound is inf if S is -inf, and nan for a convex
    U. For "plackett_luce" the bound is Σ_i max(g_i (1 - r_i), -g_i r_i), over all rewards in [0, 1]. Raises ValueError
    as `objective` and `finite_law` do.
    """
    if pairs == "plackett_luce":
        rewards = _inside(rewards)
        return box_bound(plackett_luce_program(as_choice(utility, params), len(rewards), centring=centring), rewards)
    program = _program(utility, rewards, pairs, centring, params)
    slacks = _slacks(rewards)
    if program.trained.choice.shape.concave and not program.kinks.size:
        bound = program.gap_bound(slacks, np.zeros((0, len(program.ends[0]))))
        if np.isfinite(bound):
            return bound / program.n_pairs
    law = finite_law(as_choice(utility, params), len(rewards), pairs=pairs, centring=centring)
    return float(np.maximum(0.0, law.value + law.gap - program.objective(slacks) / program.n_pairs))


def _program(
    utility: Utility | Choice, rewards: Rewards, pairs: Pairs, centring: float, params: dict[str, float]
) -> RankingProgram:
    return RankingProgram(as_trained(utility, params), len(_inside(rewards)), pairs, centring)


def _inside(rewards: Rewards) -> Rewards:
    require_inside("rewards", np.asarray(rewards))
    return np.asarray(rewards, np.float64)


def _slacks(rewards: Rewards) -> Slacks:
    # The solver counts items from the worst, so that rewards are cumulative sums of slacks.
    return np.diff(np.asarray(rewards, np.float64)[::-1], prepend=0.0, append=1.0)


def _symmetric(slacks: Slacks) -> Rewards:
    n = slacks.size - 1
    # Half of the slacks add up to a half, or more by rounding: the middle items would then stand in the wrong order.
    lower = np.minimum(slacks[:-1].cumsum()[: n // 2], 0.5)
    return np.concatenate([1 - lower, [0.5] * (n % 2), lower[::-1]])


def _two_points(program: RankingProgram, ones: int, gap: float) -> FiniteLaw:
    rewards = np.repeat([1.0, 0.0], [ones, program.n_items - ones])
    return FiniteLaw(rewards, program.objective(_slacks(rewards)) / program.n_pairs, gap)
