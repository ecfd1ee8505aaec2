"""What one member of a population computes: the record that both halves of the library hand to the engine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Array, Int, Key, PyTree

State: TypeAlias = PyTree
Hyper: TypeAlias = Mapping[str, PyTree]
Record: TypeAlias = Mapping[str, Array]


class Axis(NamedTuple):
    """The values of one axis of a sweep, leaves with a leading axis, and a label for each (else 0, 1, ...)."""

    values: PyTree
    labels: Sequence[Any] | None = None


class Process(NamedTuple):
    """One member's computation, as pure functions that JAX can trace.

    `init(key, hyper)` returns the member's state. `step(state, hyper, index)` returns the next state and a record: a
    flat dict of arrays, kept for every one of the `num_steps` steps (k optimiser steps, or one generation). Randomness
    comes from the key of `init` alone: a state that needs more carries a key.

    `hyper` names every hyperparameter with its default, a number, an array or a pytree of them: `sweep` may vary any
    of these. `axes` holds the values of those hyperparameters of which the process was given several, e.g. the regimes
    of a plan: `sweep` runs all of them unless its call chooses. `dims` names the own axes of each record entry that has
    some, e.g. {"rewards": ("prompt", "item")}. `coords` are coordinates of the results along these axes and along
    `time`, the name of the axis of steps. `ranges` holds the lowest and the highest value allowed of hyperparameters
    that have such bounds. `watch(state)` returns the part of a state that is looked at, each step, to tell whether the
    member has diverged: by default all of it. `learned(state)` returns the part of a state that the member has learned,
    its model without optimiser, source of randomness and examples: by default all of it. It picks and computes nothing,
    so that it does the same to a state and to several with leading axes. Both belong to the process because whoever
    makes the states alone knows what is where in them.

    `resolve(hyper)` makes of the hyperparameters that a sweep names those that `init` and `step` are called with, by
    default the same. It runs on the host before anything is compiled, for all members at once (NumPy leaves with a
    leading axis of members, floats in the precision of their defaults), and may raise ValueError for values that don't
    go together.
    """

    init: Callable[[Key[Array, ""], Hyper], State]
    step: Callable[[State, Hyper, Int[Array, ""]], tuple[State, Record]]
    num_steps: int
    hyper: Hyper = {}
    dims: Mapping[str, tuple[str, ...]] = {}
    coords: Mapping[str, Any] = {}
    time: str = "step"
    ranges: Mapping[str, tuple[float, float]] = {}
    watch: Callable[[State], PyTree] | None = None
    axes: Mapping[str, Axis] = {}
    resolve: Callable[[Hyper], Hyper] | None = None
    learned: Callable[[State], PyTree] | None = None
