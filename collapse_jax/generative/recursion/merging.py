"""Which sources have the same future, so that a recursion by statistics can keep theirs as one."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from collapse_jax.generative.recursion.plan import Plan
from collapse_jax.generative.recursion.regimes import REAL


class Merging(NamedTuple):
    """The slots of merged statistics: tables lead with (regime, samples, ratio, generation).

    `weights[..., t, slot]` is the weight of a slot's examples in generation t + 1, the last column that of fresh ones.
    `merge[t, new, old]` is true where the slot `new` after generation t + 1 holds the slot `old` before it; the last
    column stands for what the generation emitted.
    """

    weights: Float[np.ndarray, "regime samples ratio generation slot+1"]
    merge: Bool[np.ndarray, "generation slot slot+1"]
    held: Int[np.ndarray, "regime samples ratio generation+1"]
    slots: int


def make_merging(plan: Plan) -> Merging:
    """Return the slots of a plan whose regimes use every stored source as a whole.

    Sources that train the same generations with the same weights from some time on, in every member of the plan, share
    a slot from then on: `accumulate` needs one, beside `replace` two, whatever the number of generations.
    """
    every = [one for by_size in plan.table for by_ratio in by_size for one in by_ratio]
    generations = plan.generations
    # What a source weighs in each generation of each member: (generation, source, member), 0 where it is not used.
    use = np.stack([(one.counts > 0) * one.weights for one in every], axis=-1)

    def future(source: int, after: int) -> bytes:
        """Return what tells the uses of a source after a generation from those of another; empty if there are none."""
        row = use[after:, source + 1]
        return row.tobytes() if row.any() else b""

    groups = [frozenset([REAL])]
    history = [groups]
    for t in range(1, generations):
        by_future: dict[bytes, frozenset[int]] = {}
        for group in [*groups, frozenset([t])]:
            if key := future(min(group), t):
                by_future[key] = by_future.get(key, frozenset()) | group
        # A group that stays keeps its place, so that merging copies nothing it need not.
        groups = sorted(by_future.values(), key=min)
        history.append(groups)
    history.append([])
    slots = max(len(groups) for groups in history)

    weights = np.zeros((len(every), generations, slots + 1), np.float32)
    merge = np.zeros((generations, slots, slots + 1), bool)
    for t, groups in enumerate(history[:-1]):
        weights[:, t, slots] = use[t, 0]
        for slot, group in enumerate(groups):
            weights[:, t, slot] = use[t, min(group) + 1]
        for new, later in enumerate(history[t + 1]):
            for old, group in enumerate(groups):
                merge[t, new, old] = group <= later
            merge[t, new, slots] = (t + 1) in later
    shape = (len(plan.regimes), len(plan.samples), len(plan.ratios))
    held = np.stack([one.counts.max(axis=0) for one in every]).astype(np.int32)
    return Merging(weights.reshape(*shape, generations, slots + 1), merge, held.reshape(*shape, generations + 1), slots)
