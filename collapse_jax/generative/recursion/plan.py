"""Plans: regimes x sizes x real shares as tables of integers, and where each source lives in a pool of fixed shape."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Axis
from collapse_jax.generative.recursion.regimes import FRESH, REAL, Regime, Rows, rows


class Plan(NamedTuple):
    """Every regime at every size and real share: the `axes` of the recursion that is made of it.

    `table[i][j][k]` holds the `Rows` of the i-th regime at the j-th size and the k-th ratio.
    """

    regimes: tuple[Regime, ...]
    generations: int
    samples: tuple[int, ...]
    ratios: tuple[float, ...]
    table: tuple[tuple[tuple[Rows, ...], ...], ...]

    @property
    def axes(self) -> dict[str, Axis]:
        """The axes `regime`, `samples` and `ratio` of a sweep, with their labels."""
        labels = {"regime": [one.name for one in self.regimes], "samples": self.samples, "ratio": self.ratios}
        return {name: Axis(np.arange(len(values), dtype=np.int32), list(values)) for name, values in labels.items()}

    @property
    def models(self) -> int:
        """The number of models that recurse side by side."""
        return self.regimes[0].models

    def rows(self, regime: str, samples: int | None = None, ratio: float | None = None) -> Rows:
        """Return the rows of one regime, at the first size and ratio unless given; KeyError for unknown ones."""
        names = [one.name for one in self.regimes]
        place = []
        for what, value, values in (
            ("regime", regime, names),
            ("samples", samples, self.samples),
            ("ratio", ratio, self.ratios),
        ):
            if value is not None and value not in values:
                raise KeyError(f"the plan has no {what} {value!r}; it has {', '.join(map(str, values))}")
            place.append(0 if value is None else list(values).index(value))
        return self.table[place[0]][place[1]][place[2]]


@checked
def make_plan(
    regimes: Regime | Iterable[Regime],
    generations: int,
    samples: int | Sequence[int],
    ratios: float | Sequence[float] = 0.0,
) -> Plan:
    """Return the plan of regimes x samples x ratios over so many generations.

    >>> from collapse_jax.generative.recursion.regimes import REGIMES
    >>> plan = make_plan([REGIMES["replace"], REGIMES["accumulate"]], generations=2, samples=10)
    >>> plan.rows("accumulate").counts.tolist()
    [[0, 10, 0], [0, 10, 10]]

    Raises ValueError for no regimes, repeated names, sizes or ratios, regimes with different numbers of models, and as
    `count_matrix` does.
    """
    chosen = (regimes,) if isinstance(regimes, Regime) else tuple(regimes)
    # What is no sequence is one value; `rows` says what is wrong with it.
    sizes = tuple(samples) if isinstance(samples, Iterable) else (samples,)
    shares = tuple(ratios) if isinstance(ratios, Iterable) else (ratios,)
    for one in chosen:
        if not isinstance(one, Regime):
            raise ValueError(f"regimes has {one!r}; it must be a record such as cj.REGIMES['replace']")
    for what, values in (("regimes", [one.name for one in chosen]), ("samples", sizes), ("ratios", shares)):
        if not values:
            raise ValueError(f"{what} is empty; it needs at least one")
        if len(set(values)) < len(values):
            raise ValueError(f"{what} repeats a value: {', '.join(map(str, values))}")
    if len({one.models for one in chosen}) > 1:
        found = ", ".join(f"{one.name}: {one.models}" for one in chosen)
        raise ValueError(f"regimes have different numbers of models ({found}); give each number a plan of its own")
    table = tuple(tuple(tuple(rows(one, generations, m, r) for r in shares) for m in sizes) for one in chosen)
    return Plan(chosen, int(generations), tuple(map(int, sizes)), tuple(map(float, shares)), table)


class PoolTables(NamedTuple):
    """A plan as arrays for the program: tables lead with (regime, samples, ratio, generation).

    Stored sources live in `slots` of `width` examples, each slot reused when its source has trained for the last time.
    Slot columns are those of the slots, then fresh examples. `write[t]` is the slot of what generation t emits (one
    past the last: nowhere). Those `counts` of a slot are drawn among the first `among` of it, which `drawn_slots` need.
    """

    counts: Int[np.ndarray, "regime samples ratio generation slot+1"]
    weights: Float[np.ndarray, "regime samples ratio generation slot+1"]
    draws: Int[np.ndarray, "regime samples ratio generation"]
    among: Int[np.ndarray, "regime samples ratio generation slot+1"]
    occupant: Int[np.ndarray, "generation slot+1"]
    write: Int[np.ndarray, " generation"]
    slots: int
    width: int
    fresh: int
    subsamples: bool

    @property
    def drawn(self) -> int:
        """The largest number of examples that any generation is trained on."""
        return int(self.draws.max())

    @property
    def drawn_slots(self) -> Int[np.ndarray, " drawn_slot"]:
        """The slots of which a generation is trained on some that are drawn anew, not on the first ones."""
        return np.flatnonzero((self.among > self.counts).any(axis=(0, 1, 2, 3)))


def make_pool_tables(plan: Plan, *, keep_real: bool = False) -> PoolTables:
    """Return the arrays of a plan; `keep_real` holds the real set in the pool to the end, whether it trains or not."""
    generations = plan.generations
    every = [one for by_size in plan.table for by_ratio in by_size for one in by_ratio]
    used = np.any([one.counts > 0 for one in every], axis=0)
    # The last generation (from 1) that trains on each stored source, 0 for none.
    last = np.array([max(np.flatnonzero(used[:, s + 1]) + 1, default=0) for s in range(REAL, generations)])
    if keep_real:
        last[REAL] = generations
    slot_of = np.full(generations + 1, -1)
    until: list[int] = []
    for s in range(REAL, generations):
        if last[s] == 0:
            continue
        # A source is written after generation s has trained: a slot whose source trained up to then is free.
        slot = next((i for i, end in enumerate(until) if end <= s), None)
        if slot is None:
            slot = len(until)
            until.append(0)
        until[slot] = int(last[s])
        slot_of[s] = slot
    slots = max(len(until), 1)

    occupant = np.full((generations, slots + 1), generations, np.int32)  # one past the last source: nothing
    occupant[:, slots] = FRESH
    for s in range(REAL, generations):
        if slot_of[s] >= 0:
            occupant[s : last[s], slot_of[s]] = s

    def by_slot(matrix: np.ndarray) -> np.ndarray:
        padded = np.concatenate([matrix, np.zeros_like(matrix[:, :1])], axis=1)
        return np.take_along_axis(padded, occupant + 1, axis=1)

    shape = (len(plan.regimes), len(plan.samples), len(plan.ratios))

    def table(values: list[np.ndarray], dtype: type) -> np.ndarray:
        stacked: np.ndarray = np.stack(values).astype(dtype)
        return stacked.reshape(*shape, *stacked.shape[1:])

    counts = table([by_slot(one.counts) for one in every], np.int32)
    among = table([by_slot(one.among) for one in every], np.int32)
    draws = table([one.draws for one in every], np.int32)
    return PoolTables(
        counts,
        table([by_slot(one.weights) for one in every], np.float32),
        draws,
        among,
        occupant,
        np.where(slot_of[1:] >= 0, slot_of[1:], slots).astype(np.int32),
        slots,
        max(1, *(int(one.among[:, 1:].max(initial=0)) for one in every)),
        max(int(one.counts[:, 0].max()) for one in every),
        bool(np.any([(one.draws < one.counts.sum(axis=1)).any() for one in every])),
    )
