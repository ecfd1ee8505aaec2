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
    """The flattened product of all axes, the last fastest; `hyper` leaves and `seeds` lead with an axis of members."""

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
    """Return the product of `axes`, each a sequence of values or an `Axis`, over the hyperparameters of `process`.

    Raises ValueError, naming the axis, for one that the process doesn't know, that is empty, whose values and labels
    differ in number, whose values are not finite, out of range or don't have the shape of the default, or whose labels
    repeat.
    """
    _check_defaults(process.hyper)
    reserved = {process.time, "diverged", *(name for names in process.dims.values() for name in names)}
    labels: dict[str, np.ndarray] = {}
    values: dict[str, PyTree] = {}
    for name, given in axes.items():
        if name != SEED and name not in process.hyper:
            known = ", ".join([*process.hyper, SEED])
            raise ValueError(f"unknown axis {name!r}; this process has {known}")
        if name in reserved:
            raise ValueError(f"axis {name!r} has the name of an axis of the records ({', '.join(sorted(reserved))})")
        axis = given if isinstance(given, Axis) else Axis(given)
        default = np.uint32(0) if name == SEED else process.hyper[name]
        if jax.tree_util.treedef_is_leaf(jax.tree.structure(default)) and not isinstance(axis.values, Mapping):
            axis = axis._replace(values=_array(f"axis {name!r} has values", axis.values))
        values[name], length = _conform(name, axis.values, default)
        if name in process.ranges:
            _check_range(name, values[name], *process.ranges[name])
        labels[name] = _labels(name, axis, length)

    shape = tuple(len(one) for one in labels.values())
    size = int(np.prod(shape))
    place = dict(zip(labels, np.indices(shape).reshape(len(shape), size), strict=True))

    def spread(name: str, default: PyTree) -> PyTree:
        if name in values:
            return jax.tree.map(lambda leaf: leaf[place[name]], values[name])
        return jax.tree.map(lambda leaf: np.broadcast_to(_strong(leaf), (size, *np.shape(leaf))), default)

    hyper: Hyper = {name: spread(name, default) for name, default in process.hyper.items()}
    return Population(labels, dict(hyper), spread(SEED, np.uint32(0)))


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
    """Return `values` with the structure, the trailing shapes and the dtypes of `default`, and their common length."""
    given, expected = str(jax.tree.structure(values)), str(jax.tree.structure(default))
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

    def cast(leaf: Any, like: Any) -> np.ndarray:
        leaf, like = np.asarray(leaf), _strong(like)
        if leaf.dtype.kind not in _NUMBERS or leaf.shape[1:] != like.shape:
            raise ValueError(
                f"axis {name!r} has values of shape {leaf.shape[1:]} and type {leaf.dtype}; "
                f"expected numbers of shape {like.shape} (names become records before they reach the engine)"
            )
        if not np.isfinite(leaf).all():
            at = int(np.argwhere(~np.isfinite(leaf))[0][0])
            raise ValueError(f"axis {name!r} has a non-finite value at position {at}: {leaf[at]}")
        with np.errstate(over="ignore"):
            cast_leaf: np.ndarray = leaf.astype(like.dtype)
        if not np.isfinite(cast_leaf).all():
            at = int(np.argwhere(~np.isfinite(cast_leaf))[0][0])
            raise ValueError(f"axis {name!r} has a value too large for {like.dtype} at position {at}: {leaf[at]}")
        if like.dtype.kind in "biu" and (cast_leaf != leaf).any():
            at = int(np.argwhere(cast_leaf != leaf)[0][0])
            raise ValueError(f"axis {name!r} needs values of type {like.dtype}; at position {at} it has {leaf[at]}")
        return cast_leaf

    return jax.tree.map(cast, values, default), int(length)


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
