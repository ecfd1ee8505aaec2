"""Named axes and their product: the members of a population, with the values and the labels of each."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from collapse_jax.engine.process import Axis, Hyper, Process

SEED = "seed"
_NUMBERS = "biuf"


class Population(NamedTuple):
    """The flattened product of all axes, the last fastest; `hyper` leaves and `seeds` lead with an axis of members.

    `hyper` holds what `init` and `step` are called with, after `resolve` of the process.
    """

    labels: dict[str, np.ndarray]
    hyper: dict[str, PyTree]
    seeds: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of labels along each axis."""
        return tuple(len(labels) for labels in self.labels.values())

    @property
    def size(self) -> int:
        """The number of members."""
        return len(self.seeds)

    def describe(self, member: int) -> str:
        """Return the labels of one member, e.g. "utility=log, seed=3"."""
        place = np.unravel_index(member, self.shape)
        return ", ".join(f"{name}={labels[i]}" for (name, labels), i in zip(self.labels.items(), place, strict=True))


def make_population(process: Process, axes: Mapping[str, Any]) -> Population:
    """Return the product over the hyperparameters of `process` of its own axes and of `axes`.

    `axes` maps names to values, one or a sequence, or to an `Axis`; where the process has an axis of that name, to
    labels of it. The axes of the process that `axes` doesn't name come first, whole; if they have one value, that value
    is run and adds no dimension.

    Raises ValueError, naming the axis, for one that the process doesn't know, that is empty, whose values and labels
    differ in number, whose values are not finite, out of range or don't have the shape of the default, whose labels
    repeat, or a label that the process's axis doesn't have; and as `resolve` of the process does.
    """
    _check_defaults(process.hyper)
    reserved = {process.time, "diverged", *(name for names in process.dims.values() for name in names)}
    unnamed = {name: axis for name, axis in process.axes.items() if name not in axes}
    asked = {name: as_axis(process, name, given) for name, given in axes.items()}
    defaults: dict[str, PyTree] = {SEED: np.uint32(0), **process.hyper}
    labels: dict[str, np.ndarray] = {}
    values: dict[str, PyTree] = {}
    for name, axis in {**unnamed, **asked}.items():
        if name not in defaults:
            known = ", ".join([*process.hyper, SEED])
            raise ValueError(f"unknown axis {name!r}; this process has {known}")
        if name in reserved:
            raise ValueError(f"axis {name!r} has the name of an axis of the records ({', '.join(sorted(reserved))})")
        axis = _in_arrays(name, axis, defaults[name])
        found, length = _conform(name, axis.values, defaults[name])
        if name in process.ranges:
            _check_range(name, found, *process.ranges[name])
        if name in unnamed and length == 1:
            defaults[name] = jax.tree.map(lambda leaf: leaf[0], found)
        else:
            values[name], labels[name] = found, _labels(name, axis, length)

    check_default_ranges({name: defaults[name] for name in process.hyper if name not in values}, process.ranges)
    shape = tuple(len(one) for one in labels.values())
    size = int(np.prod(shape))
    place = dict(zip(labels, np.indices(shape).reshape(len(shape), size), strict=True))

    def spread(name: str) -> PyTree:
        if name in values:
            return jax.tree.map(lambda leaf: leaf[place[name]], values[name])
        return jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (size, *np.shape(leaf))), defaults[name])

    # Rounded to JAX's precision at the very end: float32 has π/2 beyond a bound that π/2 itself keeps.
    hyper = {name: spread(name) for name in process.hyper}
    resolved = hyper if process.resolve is None else process.resolve(hyper)
    return Population(labels, jax.tree.map(_strong, dict(resolved)), _strong(spread(SEED)))


def as_axis(process: Process, name: str, given: Any) -> Axis:
    """Return what a call gives for one axis as an `Axis`: labels of the process's own axis with their values."""
    if isinstance(given, Axis):
        return given
    default = process.hyper.get(name)
    if name not in process.axes or (not _is_leaf(default) and _structure(given) == _structure(default)):
        return Axis(given)
    axis = _in_arrays(name, process.axes[name], default)
    known = _labels(name, axis, len(jax.tree.leaves(axis.values)[0])).tolist()
    chosen = np.atleast_1d(_array(f"axis {name!r} has labels", given)).tolist()
    if unknown := [label for label in chosen if label not in known]:
        raise ValueError(f"axis {name!r} has no label {unknown[0]!r}; this process has {', '.join(map(repr, known))}")
    places = np.array([known.index(label) for label in chosen], int)
    return Axis(jax.tree.map(lambda leaf: np.asarray(leaf)[places], axis.values), [known[i] for i in places])


def _in_arrays(name: str, axis: Axis, default: PyTree) -> Axis:
    """Return the axis of a hyperparameter that is one array with its values in an array: a number is one value."""
    if not _is_leaf(default) or isinstance(axis.values, Mapping):
        return axis
    return axis._replace(values=np.atleast_1d(_array(f"axis {name!r} has values", axis.values)))


def _is_leaf(value: PyTree) -> bool:
    return bool(jax.tree_util.treedef_is_leaf(jax.tree.structure(value)))


def _structure(value: PyTree) -> str:
    return str(jax.tree.structure(value))


def _check_defaults(hyper: Hyper) -> None:
    if SEED in hyper:
        raise ValueError(f"the process has a hyperparameter {SEED!r}; that is the name of the axis of seeds, rename it")
    for name, default in hyper.items():
        for leaf in jax.tree.leaves(default):
            dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
            if not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
                raise ValueError(
                    f"hyperparameter {name!r} has the default {leaf!r}; expected numbers, or arrays of them "
                    "(names become records before they reach the engine)"
                )
            if not np.isfinite(np.asarray(leaf, np.float64)).all():
                raise ValueError(f"hyperparameter {name!r} has a non-finite default: {leaf}")


def _strong(leaf: Any) -> np.ndarray:
    """Return a leaf in the dtype that JAX would give it (a Python float is float32 unless x64 is on)."""
    return np.asarray(leaf, jax.dtypes.canonicalize_dtype(np.result_type(leaf)))


def _conform(name: str, values: PyTree, default: PyTree) -> tuple[PyTree, int]:
    """Return `values` with the structure, the trailing shapes and the dtypes of `default`, and their common length.

    They must fit the dtype that JAX gives the default, and keep the precision that the default has in NumPy.
    """
    given, expected = _structure(values), _structure(default)
    if given != expected:
        raise ValueError(f"axis {name!r} has the structure {given}; the hyperparameter has {expected}")
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(values)}
    if len(lengths) != 1 or None in lengths:
        raise ValueError(
            f"axis {name!r} needs leaves with one common leading length; they have "
            + ", ".join("none" if length is None else str(length) for length in lengths)
        )
    (length,) = lengths
    if not length:
        raise ValueError(f"axis {name!r} is empty; it needs at least one value")

    def cast(leaf: Any, default: Any) -> np.ndarray:
        leaf, like = np.asarray(leaf), _strong(default)
        if leaf.dtype.kind not in _NUMBERS or leaf.shape[1:] != like.shape:
            raise ValueError(
                f"axis {name!r} has values of shape {leaf.shape[1:]} and type {leaf.dtype}; "
                f"expected numbers of shape {like.shape} (names become records before they reach the engine)"
            )
        if not np.isfinite(leaf).all():
            at = int(np.argwhere(~np.isfinite(leaf))[0][0])
            raise ValueError(f"axis {name!r} has a non-finite value at position {at}: {leaf[at]}")
        with np.errstate(over="ignore"):
            cast_leaf = leaf.astype(like.dtype)
        if not np.isfinite(cast_leaf).all():
            at = int(np.argwhere(~np.isfinite(cast_leaf))[0][0])
            raise ValueError(f"axis {name!r} has a value too large for {like.dtype} at position {at}: {leaf[at]}")
        if like.dtype.kind in "biu" and (cast_leaf != leaf).any():
            at = int(np.argwhere(cast_leaf != leaf)[0][0])
            raise ValueError(f"axis {name!r} needs values of type {like.dtype}; at position {at} it has {leaf[at]}")
        return np.asarray(leaf, np.result_type(default))

    return jax.tree.map(cast, values, default), int(length)


def check_default_ranges(hyper: Hyper, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise ValueError for a hyperparameter whose default is out of its range."""
    for name, (low, high) in ranges.items():
        for leaf in jax.tree.leaves(hyper.get(name, ())):
            value = np.asarray(leaf)
            if ((value < low) | (value > high)).any():
                raise ValueError(f"hyperparameter {name!r} is {leaf}; it must lie in [{low:g}, {high:g}]")


def _check_range(name: str, values: PyTree, low: float, high: float) -> None:
    for leaf in jax.tree.leaves(values):
        outside = np.argwhere((leaf < low) | (leaf > high))
        if outside.size:
            at = tuple(int(i) for i in outside[0])
            raise ValueError(f"axis {name!r} has the value {leaf[at]:g}; it must lie in [{low:g}, {high:g}]")


def _array(what: str, given: Any) -> np.ndarray:
    try:
        return np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{what} of different shapes: {given!r}") from error


def _labels(name: str, axis: Axis, length: int) -> np.ndarray:
    if axis.labels is None:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(axis.values)]
        labels = leaves[0] if len(leaves) == 1 and leaves[0].ndim == 1 else np.arange(length)
    else:
        labels = _array(f"axis {name!r} has labels", axis.labels)
    if labels.ndim != 1 or labels.dtype.kind not in _NUMBERS + "UM":
        raise ValueError(f"axis {name!r} has the labels {axis.labels!r}; expected a sequence of strings or of numbers")
    if len(labels) != length:
        raise ValueError(f"axis {name!r} has {length} values but {len(labels)} labels")
    if len(np.unique(labels)) < length:
        raise ValueError(f"axis {name!r} repeats a label: {', '.join(map(str, labels))}")
    return labels
