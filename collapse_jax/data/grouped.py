"""Data of several groups in settable shares: languages in a corpus, classes of images, components of a mixture."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.data.splitting import uniform

_TOLERANCE = 1e-6


class Grouped(NamedTuple):
    """Examples, arrays or pytrees of arrays with a leading axis, and the group of each, an index into `group_names`."""

    examples: PyTree
    groups: Int[np.ndarray, " n"]
    group_names: tuple[str, ...]


@checked
def mix_groups(groups: Mapping[str, PyTree], shares: Mapping[str, float], size: int, *, seed: int = 0) -> Grouped:
    """Return `size` examples, shuffled, of which each group has its share; a seeded draw without replacement.

    A group is an array, or a pytree of arrays, with a leading axis. Each has `share * size` examples as nearly as whole
    ones allow: the largest remainders are rounded up, so that they add up. Whatever is drawn of a group for a smaller
    number is also drawn for a larger one.

    Raises ValueError for shares that are not positive, don't add up to 1 or name other groups than there are, for a
    group with too few examples or a share too small for a single one, and for groups of different kinds of examples.

    >>> mixed = mix_groups({"a": np.arange(9), "b": np.arange(-9, 0)}, {"a": 0.75, "b": 0.25}, 4)
    >>> mixed.group_names, mixed.groups.tolist(), (mixed.examples < 0).tolist()
    (('a', 'b'), [0, 1, 0, 0], [False, True, False, False])
    """
    have = _sizes(groups)
    _require_shares(shares, groups)
    numbers.whole("size", size, 1)
    wanted = _apportion([shares[name] for name in groups], size)
    _require_enough(dict(zip(groups, wanted, strict=True)), have, shares, size)
    drawn = {name: _drawn(name, have[name], count, seed) for name, count in zip(groups, wanted, strict=True)}
    order = np.argsort([uniform(seed, "order", name, str(place)) for name in groups for place in drawn[name]])
    parts = [_rows(groups[name], drawn[name]) for name in groups]
    return Grouped(
        _rows(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), order),
        np.repeat(np.arange(len(wanted)), wanted)[order],
        tuple(groups),
    )


def _rows(examples: PyTree, places: Int[np.ndarray, " n"]) -> PyTree:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[places], examples)


def _apportion(shares: list[float], size: int) -> list[int]:
    quotas = np.array(shares) / sum(shares) * size
    # Rounding errors must not count: 0.07 * 100 is a little above 7, and 0.29 * 100 a little below 29.
    counts = np.floor(quotas + _TOLERANCE).astype(int)
    rest = np.argsort(counts - quotas, kind="stable")[: size - counts.sum()]
    counts[rest] += 1
    return [int(count) for count in counts]


def _require_enough(wanted: Mapping[str, int], have: Mapping[str, int], shares: Mapping[str, float], size: int) -> None:
    for name, count in wanted.items():
        if not count:
            raise ValueError(
                f"share of {name!r} is {shares[name]}, no example at all at size {size}: it would be extinct from the "
                f"start; a share of 1/{size} is one example, and so is this share at size {math.ceil(1 / shares[name])}"
            )
    fits = min(math.floor(have[name] / shares[name] + _TOLERANCE) for name in wanted)
    for name, count in wanted.items():
        if count > have[name]:
            raise ValueError(
                f"group {name!r} has {have[name]} examples; its share of {shares[name]} at size {size} takes {count}. "
                f"With these shares a size of {fits} fits, and at this size a share of {have[name]}/{size} for {name!r}"
            )


def _drawn(name: str, have: int, count: int, seed: int) -> Int[np.ndarray, " count"]:
    return np.argsort([uniform(seed, "group", name, str(place)) for place in range(have)])[:count]


def _require_shares(shares: Mapping[str, float], groups: Mapping[str, PyTree]) -> None:
    if set(shares) != set(groups):
        raise ValueError(
            f"shares name {_listed(shares)}, groups are {_listed(groups)}; missing: "
            f"{_listed(set(groups) - set(shares))}, unknown: {_listed(set(shares) - set(groups))}"
        )
    for name, share in shares.items():
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share of {name!r} is {share}; it must be above 0, at most 1: leave out what has none")
    if abs(sum(shares.values()) - 1.0) > _TOLERANCE:
        raise ValueError(f"shares {dict(shares)} add up to {sum(shares.values())}; they must add up to 1")


def _sizes(groups: Mapping[str, PyTree]) -> dict[str, int]:
    """Return the number of examples of each group; all must be of one kind."""
    if not groups:
        raise ValueError("groups is empty; name at least one group with its examples")
    sizes, kinds = {}, {}
    for name, examples in groups.items():
        leaves, tree = jax.tree.flatten(examples)
        arrays = [np.asarray(leaf) for leaf in leaves]
        lengths = {array.shape[:1] for array in arrays}
        if len(lengths) != 1 or lengths & {(), (0,)}:
            raise ValueError(
                f"group {name!r} has arrays of the shapes {[array.shape for array in arrays]}; they need one leading "
                "axis, of one example or more"
            )
        sizes[name] = len(arrays[0])
        kinds[name] = str(tree), [(array.shape[1:], array.dtype.kind) for array in arrays]
    first = next(iter(groups))
    for name, kind in kinds.items():
        if kind != kinds[first]:
            raise ValueError(
                f"groups {first!r} and {name!r} have different kinds of examples: {kinds[first]} and {kind}, "
                "each a tree with the shape and the kind of type of an example in each array"
            )
    return sizes


def _listed(names: Mapping[str, object] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
