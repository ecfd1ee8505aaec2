"""Whether majorities run in a cycle, and how many comparisons a reward, which is an order, can then agree with.

A reward that agrees with every majority exists if and only if there is no cycle (Condorcet).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

__all__ = ()

MOST_SEARCHED = 12
"""Answers in one knot of cycles whose best order is searched for; of more, a bound is given."""


class Agreement(NamedTuple):
    """Whether there is a cycle, the most comparisons that an order agrees with, and whether some order reaches that."""

    cycle: bool
    most: int
    exact: bool


def agreement(counts: Int[np.ndarray, "item item"]) -> Agreement:
    """Return it for `counts`, at [i, j] the number of comparisons that i won against j.

    >>> agreement(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    Agreement(cycle=True, most=2, exact=True)
    """
    most = int(np.triu(np.maximum(counts, counts.T), 1).sum())
    if len(counts) == 2:
        return Agreement(False, most, True)
    majority = counts > counts.T
    order = np.argsort(majority.sum(0) - majority.sum(1), kind="stable")
    if not np.tril(majority[np.ix_(order, order)]).any():
        return Agreement(False, most, True)
    knots, exact = _knots(majority), True
    for items in knots:
        inside = counts[np.ix_(items, items)]
        lead = np.maximum(inside - inside.T, 0)
        if len(items) <= MOST_SEARCHED:
            most -= _least_lost(lead)
        else:
            # A cycle loses one of its majorities at least.
            most -= int(lead[lead > 0].min())
            exact = False
    return Agreement(bool(knots), most, exact)


def _knots(majority: Bool[np.ndarray, "item item"]) -> list[Int[np.ndarray, " member"]]:
    """Return the sets of items of which each beats every other one, itself or through others."""
    reaches = majority.astype(np.float32)
    for _ in range(len(majority).bit_length()):
        reaches = np.minimum(reaches + reaches @ reaches, 1.0)
    both = (reaches > 0) & (reaches > 0).T
    return [np.flatnonzero(row) for item, row in enumerate(both) if row.any() and row.argmax() == item]


def _least_lost(lead: Int[np.ndarray, "item item"]) -> int:
    """Return the least sum of leads that an order goes against, by what is best for every set of items put first."""
    n = len(lead)
    best = np.full(2**n, np.iinfo(np.int64).max)
    best[0] = 0
    members = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    # What an item loses that comes after a set of others: its leads over them.
    lost = members @ lead.T
    for chosen in range(1, 2**n):
        before = [(item, chosen ^ (1 << item)) for item in range(n) if chosen >> item & 1]
        best[chosen] = min(best[others] + lost[others, item] for item, others in before)
    return int(best[-1])
