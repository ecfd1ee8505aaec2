"""The laws of prompts that are of several types, each by a share: those of the mixtures of the types' utilities.

The objective of such a prompt is the mean over types of S(r) under the type's utility, weighted by the prompt's shares:
S under U = Σ share · U of the type. A mixture follows its steepest utility: where slopes are as far apart as those of
-1/(t + .1) and t, one part in ten of the steep one takes eight items 64 % of the way to its law.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.reward.calculus import HostFunction, extend
from collapse_jax.reward.laws.finite_law import FiniteLaw, optimal_rewards
from collapse_jax.reward.laws.ranking_program import RankingProgram, Trained, as_trained, require_items
from collapse_jax.reward.rankings import (
    Pairs,
    Rankings,
    labels_of,
    pair_indices,
    prompt_coords,
    require_memberships,
    shares_of_types,
)
from collapse_jax.reward.schemes import Schemes, schemes_text, set_parameters
from collapse_jax.reward.shape import Shape, examine
from collapse_jax.reward.utilities import COMMON, Choice, Utility

Shares = tuple[float, ...]
_EXACT = 64  # As many different mixtures of two utilities are solved one by one, more are interpolated.
_DIGITS = 9
_NARROWEST = 2.0**-24


@checked
def predict_mixed(
    rankings: Rankings | Float[np.ndarray, "prompt type"],
    schemes: Schemes,
    *,
    test: Rankings | None = None,
    n_items: int | None = None,
    pairs: Pairs = "all",
    centring: float = 0.0,
    tolerance: float = 1e-4,
    **parameters: float,
) -> xr.Dataset:
    """Return the rewards that each prompt comes to by its memberships, (utility, prompt, item), best item first.

    They are those of the rankings and of `test`, whose types stand for memberships where there are none, or memberships
    alone, (prompt, type), beside `n_items`. `rewards` are NaN where there is no item; `value` is the optimal objective
    of a prompt, and `gap` its certified bound, NaN where none holds. `centring` and `parameters` are as in
    `predict_rewards`, one value each. The coordinate `types`, "memberships", keeps these laws from sweeps of types that
    were told.

    Equal mixtures are solved once. Of two utilities a mixture is one number: more than 64 of them are interpolated
    between laws that are solved. These are set closer until another one, halfway between two of them, changes no reward
    by more than half of `tolerance`: then no reward is wrong by more than the whole, unless it moves twice between two
    of them. The `gap` is that of the interpolated rewards, and holds without such a check.

    Raises ValueError as `predict_rewards` does, for labels that say more than orders and pairs of Plackett-Luce, for
    memberships alone without a number of items, rows that aren't shares which sum to one, as many as the schemes have
    types, and mixtures that are neither concave nor convex.
    """
    if pairs == "plackett_luce":
        raise ValueError("pairs is 'plackett_luce'; laws of mixtures are for means over pairs: all, chain or star")
    shares, coords = _prompts(rankings, test, n_items)
    require_memberships("memberships", shares, (len(shares), len(schemes.type_names)))
    numbers.within("tolerance", tolerance, 0.0, 1.0, ends="(]")
    counts = np.asarray(coords["prompt_items"][1])
    for one in np.unique(counts):
        require_items(int(one))
    varied = set_parameters(schemes, parameters)
    rows = [_of_scheme(own, shares, counts, pairs, centring, tolerance) for own in varied.choices.values()]
    rewards, value, gap = (np.stack(part) for part in zip(*rows, strict=True))
    over = ("utility", "prompt")
    return xr.Dataset(
        {"rewards": ((*over, "item"), rewards), "value": (over, value), "gap": (over, gap)},
        {
            "utility": list(schemes.choices),
            "item": np.arange(1, counts.max() + 1),
            **coords,
            "pairs": pairs,
            "types": "memberships",
            **schemes.parameters,
            **parameters,
            "centring": centring,
            "schemes": schemes_text(schemes, values=False),
        },
    )


def _prompts(
    rankings: Rankings | Float[np.ndarray, "prompt type"], test: Rankings | None, n_items: int | None
) -> tuple[Float[np.ndarray, "prompt type"], dict[str, tuple[str, Any]]]:
    """Return the memberships of prompts, and their coordinates, as a sweep has them."""
    if not isinstance(rankings, Rankings):
        if n_items is None or test is not None:
            raise ValueError("memberships alone need n_items, the number of items that each prompt has, and no test")
        return np.asarray(rankings, np.float64), {"prompt_items": ("prompt", np.full(len(rankings), n_items))}
    if n_items is not None:
        raise ValueError(f"n_items is {n_items}; rankings have their own numbers of items, so leave it out")
    parts = [rankings, *([test] if test else [])]
    for part in parts:
        if (labels := labels_of(part)) != "orders":
            raise ValueError(f"rankings have labels that are {labels}; laws of mixtures are for orders")
    return np.concatenate([shares_of_types(part) for part in parts]), prompt_coords(*parts)


def mixture(choices: Sequence[Choice], shares: Sequence[float]) -> Trained:
    """Return the mean of utilities as trained, weighted by shares that sum to one, as a utility of its own.

    Raises ValueError, as `choose` does, for one that is neither concave nor convex.
    """
    parts = [(share, as_trained(one, {})) for share, one in zip(shares, choices, strict=True) if share > 0]
    if len(parts) == 1:
        return parts[0][1]
    function = HostFunction(*(partial(_mean, [(share, one.function[at]) for share, one in parts]) for at in range(3)))
    name = " + ".join(f"{share:.4g} {one.choice.label}" for share, one in parts)

    def fn(gap: Array) -> Array:
        each = [extend(one.choice.fn, *(one.choice.params[name] for name in COMMON))(gap) for _, one in parts]
        return sum((share * value for (share, _), value in zip(parts, each, strict=True)), start=0.0 * gap)

    shapes = [(share, one.choice.shape) for share, one in parts]
    shape = _shape(shapes) if all(one.concave for _, one in shapes) else examine(f"mixture {name}", function)
    slope = sum(share * one.slope_at_zero for share, one in parts)
    return Trained(Choice(Utility(name, fn), dict(COMMON), shape), function, slope)


def _mean(parts: Sequence[tuple[float, Callable[[np.ndarray], np.ndarray]]], gap: np.ndarray) -> np.ndarray:
    return np.asarray(sum(share * function(gap) for share, function in parts))


def _shape(parts: Sequence[tuple[float, Shape]]) -> Shape:
    """Return the shape of a mixture of concave utilities: it has all their kinks."""
    kinks, place = np.unique(np.concatenate([one.kinks for _, one in parts]), return_inverse=True)
    drops = np.zeros(len(kinks))
    np.add.at(drops, place, np.concatenate([share * one.drops for share, one in parts]))
    at_zero, slope = (
        sum(share * getattr(one, f"{what}_at_zero") for share, one in parts) for what in ("value", "slope")
    )
    return Shape(True, all(one.convex for _, one in parts), kinks, drops, at_zero, slope)


def _of_scheme(
    choices: Sequence[Choice],
    shares: Float[np.ndarray, "prompt type"],
    counts: Int[np.ndarray, " prompt"],
    pairs: Pairs,
    centring: float,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rewards (prompt, item), values and gaps under one scheme."""
    distinct: list[Choice] = []
    places = []
    for choice in choices:
        same = [at for at, one in enumerate(distinct) if (one.utility, one.params) == (choice.utility, choice.params)]
        places.append(same[0] if same else len(distinct))
        distinct += [] if same else [choice]
    own = np.stack([shares[:, np.array(places) == at].sum(1) for at in range(len(distinct))], axis=1).round(_DIGITS)
    rewards = np.full((len(shares), counts.max()), np.nan)
    value, gap = np.empty(len(shares)), np.empty(len(shares))
    for number in np.unique(counts):
        rows, solve = counts == number, _Solver(distinct, int(number), pairs, centring)
        rewards[rows, :number], value[rows], gap[rows] = solve.all(own[rows], tolerance)
    return rewards, value, gap


class _Solver:
    """The laws of mixtures of some utilities for one number of items, each solved once."""

    def __init__(self, choices: Sequence[Choice], n_items: int, pairs: Pairs, centring: float) -> None:
        self.choices, self.n_items, self.pairs, self.centring = choices, n_items, pairs, centring
        self.law = cache(self._law)

    def _law(self, shares: Shares) -> FiniteLaw:
        return optimal_rewards(RankingProgram(mixture(self.choices, shares), self.n_items, self.pairs, self.centring))

    def all(
        self, shares: Float[np.ndarray, "prompt part"], tolerance: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rewards, values and gaps of prompts; more mixtures of two utilities than 64 are interpolated."""
        distinct, place = np.unique(shares, axis=0, return_inverse=True)
        if distinct.shape[1] == 2 and len(distinct) > _EXACT:
            found = self._interpolated(distinct[:, 1], tolerance)
        else:
            laws = [self.law(tuple(row)) for row in distinct.tolist()]
            found = [np.array([getattr(law, name) for law in laws]) for name in FiniteLaw._fields]
        rewards, value, gap = (part[place.reshape(-1)] for part in found)
        return rewards, value, gap

    def _interpolated(self, second: Float[np.ndarray, " mixture"], tolerance: float) -> list[np.ndarray]:
        """Return rewards, values and gaps at shares of the second of two utilities, between laws that are solved.

        The best value is the maximum over rewards of what is linear in the shares, hence convex in them: between two
        laws it lies below their chord, which bounds the gap of rewards that are interpolated.
        """
        nodes = self._nodes(float(second.min()), float(second.max()), tolerance)
        laws = [self._at(node) for node in nodes]
        items = np.array([law.rewards for law in laws]).T
        rewards = np.stack([np.interp(second, nodes, item) for item in items], axis=1)
        value = self._objectives(rewards, second)
        most = np.interp(second, nodes, [law.value + law.gap for law in laws])
        return [rewards, value, np.maximum(0.0, most - value)]

    def _nodes(self, low: float, high: float, tolerance: float) -> list[float]:
        """Return shares between which laws are interpolated: the last halving changed no reward by more."""
        edges = np.linspace(low, high, 9).tolist()
        nodes, cells = set(edges), list(itertools.pairwise(edges))
        while cells:
            left, right = cells.pop()
            middle = 0.5 * (left + right)
            nodes.add(middle)
            between = 0.5 * (self._at(left).rewards + self._at(right).rewards)
            if right - left > _NARROWEST and np.abs(self._at(middle).rewards - between).max() > 0.5 * tolerance:
                cells += [(left, middle), (middle, right)]
        return sorted(nodes)

    def _at(self, second: float) -> FiniteLaw:
        return self.law((1.0 - second, second))

    def _objectives(
        self, rewards: Float[np.ndarray, "mixture item"], second: Float[np.ndarray, " mixture"]
    ) -> Float[np.ndarray, " mixture"]:
        better, worse = (rewards[:, side] for side in pair_indices(self.n_items, self.pairs))
        gap = better - worse
        parts = [
            np.where(gap > 0, one.function.value(np.where(gap > 0, gap, 1.0)), one.choice.shape.value_at_zero).mean(1)
            for one in (as_trained(choice, {}) for choice in self.choices)
        ]
        penalty = self.centring * ((better + worse - 1.0) ** 2).mean(1)
        return np.asarray((1.0 - second) * parts[0] + second * parts[1] - penalty)
