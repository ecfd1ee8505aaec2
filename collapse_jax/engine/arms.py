"""Arms: a sweep over chosen combinations of hyperparameters rather than over all of them."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Axis, Hyper, Process, Record, State


@checked
def with_arms(process: Process, arms: Mapping[str, Mapping[str, Any]], name: str = "arm") -> tuple[Process, Axis]:
    """Return the process with one axis `name` in the place of all hyperparameters that the labelled arms mention.

    What an arm doesn't mention has its default. The process carries the axis, which comes with it: a sweep runs every
    arm unless it chooses some by label.

    >>> process = Process(lambda key, hyper: 0.0, lambda state, hyper, index: (hyper["a"] + hyper["b"], {}), 1,
    ...                   {"a": 1.0, "b": 2.0, "c": 3.0})
    >>> armed, axis = with_arms(process, {"plain": {}, "other": {"a": 5.0, "b": 6.0}})
    >>> list(armed.hyper), axis.labels
    (['c', 'arm'], ['plain', 'other'])

    Raises ValueError for no arms, a `name` that is taken, unknown hyperparameters, and values out of range.
    """
    if not arms:
        raise ValueError("arms is empty; give at least one")
    varied = list(dict.fromkeys(key for arm in arms.values() for key in arm))
    if unknown := [key for key in varied if key not in process.hyper]:
        raise ValueError(f"arms mention {', '.join(unknown)}; this process has {', '.join(process.hyper)}")
    if name in process.hyper:
        raise ValueError(f"name is {name!r}, which is a hyperparameter of the process already")
    for label, arm in arms.items():
        for key, value in arm.items():
            low, high = process.ranges.get(key, (-np.inf, np.inf))
            if any(((np.asarray(leaf) < low) | (np.asarray(leaf) > high)).any() for leaf in jax.tree.leaves(value)):
                raise ValueError(f"arm {label!r} has {key} = {value}; it must lie in [{low:g}, {high:g}]")

    def spread(hyper: Hyper) -> Hyper:
        return {**{key: value for key, value in hyper.items() if key != name}, **hyper[name]}

    def init(key: Key[Array, ""], hyper: Hyper) -> State:
        return process.init(key, spread(hyper))

    def step(state: State, hyper: Hyper, index: Int[Array, ""]) -> tuple[State, Record]:
        return process.step(state, spread(hyper), index)

    defaults = {key: process.hyper[key] for key in varied}
    values = {
        key: jax.tree.map(lambda *leaves: np.stack(leaves), *(arm.get(key, default) for arm in arms.values()))
        for key, default in defaults.items()
    }
    axis = Axis(values, list(arms))
    armed = process._replace(
        init=init,
        step=step,
        hyper={**{key: value for key, value in process.hyper.items() if key not in varied}, name: defaults},
        ranges={key: bounds for key, bounds in process.ranges.items() if key not in varied},
        axes={**{key: own for key, own in process.axes.items() if key not in varied}, name: axis},
    )
    return armed, axis
