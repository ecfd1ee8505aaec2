"""Arms: a sweep over chosen combinations of hyperparameters rather than over all of them."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.axes import as_axis
from collapse_jax.engine.process import Axis, Hyper, Process


@checked
def with_arms(process: Process, arms: Mapping[str, Mapping[str, Any]], name: str = "arm") -> Process:
    """Return the process with one axis `name` in the place of all hyperparameters that the labelled arms mention.

    What an arm doesn't mention has its default; a string is a label of an axis that the process carries. The process
    carries the axis: a sweep runs every arm unless it chooses some by label, as in `{"arm": ["plain"]}`.

    >>> process = Process(lambda key, hyper: 0.0, lambda state, hyper, index: (hyper["a"] + hyper["b"], {}), 1,
    ...                   {"a": 1.0, "b": 2.0, "c": 3.0})
    >>> armed = with_arms(process, {"plain": {}, "other": {"a": 5.0, "b": 6.0}})
    >>> list(armed.hyper), armed.axes["arm"].labels
    (['c', 'arm'], ['plain', 'other'])

    Raises ValueError for no arms, a `name` that is taken, unknown hyperparameters and labels, and values out of range.
    """
    if not arms:
        raise ValueError("arms is empty; give at least one")
    varied = list(dict.fromkeys(key for arm in arms.values() for key in arm))
    if unknown := [key for key in varied if key not in process.hyper]:
        raise ValueError(f"arms mention {', '.join(unknown)}; this process has {', '.join(process.hyper)}")
    if name in process.hyper:
        raise ValueError(f"name is {name!r}, which is a hyperparameter of the process already")
    arms = {
        label: {key: _labelled(process, key, value) if isinstance(value, str) else value for key, value in arm.items()}
        for label, arm in arms.items()
    }
    for label, arm in arms.items():
        for key, value in arm.items():
            low, high = process.ranges.get(key, (-np.inf, np.inf))
            if any(((np.asarray(leaf) < low) | (np.asarray(leaf) > high)).any() for leaf in jax.tree.leaves(value)):
                raise ValueError(f"arm {label!r} has {key} = {value}; it must lie in [{low:g}, {high:g}]")

    def resolve(hyper: Hyper) -> Hyper:
        """Return the process's own hyperparameters, with those of the arm by their names, as the process has them."""
        own = {**{key: value for key, value in hyper.items() if key != name}, **hyper[name]}
        return own if process.resolve is None else process.resolve(own)

    defaults = {key: process.hyper[key] for key in varied}
    values = {
        key: jax.tree.map(lambda *leaves: np.stack(leaves), *(arm.get(key, default) for arm in arms.values()))
        for key, default in defaults.items()
    }
    return process._replace(
        hyper={**{key: value for key, value in process.hyper.items() if key not in varied}, name: defaults},
        ranges={key: bounds for key, bounds in process.ranges.items() if key not in varied},
        axes={**{key: own for key, own in process.axes.items() if key not in varied}, name: Axis(values, list(arms))},
        resolve=resolve,
    )


def _labelled(process: Process, key: str, label: str) -> Any:
    """Return the value with this label on the axis `key` of the process; ValueError if there is none."""
    if key not in process.axes:
        raise ValueError(f"arms give {key} the label {label!r}; the process carries no axis of that name")
    return jax.tree.map(lambda leaf: leaf[0], as_axis(process, key, label).values)
