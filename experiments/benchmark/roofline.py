"""Rooflines: what a unit of work takes of each resource, what the machine offers of it, and which of them binds."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax

import collapse_jax as cj

_CACHES = {"A100": 40, "H100": 50, "H200": 50, "B200": 126, "L4": 48}
"""Mebibytes of the last-level cache, by what the name of a device holds: of GPUs the L2, as their makers tell."""


def cache_bytes() -> int:
    """Return the bytes of the device's last-level cache: what it works on, up to this size, needn't move to memory.

    32 MiB where the device isn't known.
    """
    words = re.split(r"[\s-]", jax.devices()[0].device_kind)
    return 2**20 * next((size for name, size in _CACHES.items() if name in words), 32)


class Resources(NamedTuple):
    """What a unit of work takes at least, or what a machine offers a second."""

    operations: float = 0.0
    """Multiplications and additions of matrix products. Masked and padded places count, as usual for shares of peak."""
    bytes: float = 0.0
    """Moved between memory and processor; a working set that a cache holds moves nothing."""
    normals: float = 0.0
    """Normal random numbers."""
    words: float = 0.0
    """Other random numbers, of 32 bits."""
    transcendentals: float = 0.0
    """Exponentials, logarithms and hyperbolic tangents: of links, activations, softmax and densities."""

    def plus(self, other: "Resources") -> "Resources":
        """Return the sums."""
        return Resources(*(one + more for one, more in zip(self, other, strict=True)))

    def times(self, number: float) -> "Resources":
        """Return that many of these."""
        return Resources(*(number * one for one in self))


LIMITS = dict(
    zip(
        Resources._fields,
        ("matrix products", "memory bandwidth", "normal draws", "random words", "transcendentals"),
        strict=True,
    )
)
"""What binds, in words, by resource."""


def bound(unit: Resources, machine: Resources) -> tuple[str, float]:
    """Return the resource that binds and the units a second that it allows, if all others overlap with it."""
    seconds = {
        name: needed / offered for name, needed, offered in zip(Resources._fields, unit, machine, strict=True) if needed
    }
    if not seconds:
        raise ValueError("unit takes nothing of any resource; a bound needs one above 0")
    name = max(seconds, key=lambda name: seconds[name])
    return name, 1.0 / seconds[name]


def moved(traffic: float, held: float) -> float:
    """Return the bytes that must move: all `traffic` to a working set of `held` bytes, unless the cache holds it."""
    return traffic if held > cache_bytes() else 0.0


def adam(parameters: float, members: int) -> Resources:
    """Return what a step of Adam takes of each member.

    Bytes: weights and two moments are read and written, the gradient read: 7 numbers a parameter. On a CPU one member
    after the other takes all its steps, on each device; elsewhere they step side by side.
    """
    together = min(len(jax.devices()), members) if jax.default_backend() == "cpu" else members
    return Resources(bytes=moved(28.0 * parameters, 12.0 * parameters * together))


def dense(sizes: Sequence[int], *, train: bool = False, known_input: bool = True) -> float:
    """Return the operations of layers of these sizes, a row: 2 a weight.

    Training takes three times as many (values, and gradients of weights and of inputs), without the gradient of the
    first layer's input where that is data.
    """
    weights = [before * after for before, after in pairwise(sizes)]
    return 2.0 * (3.0 * sum(weights) - (weights[0] if known_input else 0.0) if train else sum(weights))


def transformer(architecture: cj.nets.Architecture, length: int) -> Resources:
    """Return what a token takes of the blocks, forward, in rows of `length` tokens.

    Operations: 4 projections and the two layers of expansion e, 2 (4 + 2e) width²; scores and their sums over all
    places, 4 length width. Transcendentals: softmax, heads x length; activations, e x width.
    """
    width, expansion = architecture.width, architecture.expansion
    return Resources(
        operations=2.0 * width**2 * (4 + 2 * expansion) + 4.0 * length * width,
        transcendentals=architecture.heads * length + expansion * width,
    ).times(architecture.layers)


def weights_of(architecture: cj.nets.Architecture, vocabulary: int) -> int:
    """Return the number of weights of a transformer in its products and its table."""
    blocks = architecture.layers * architecture.width**2 * (4 + 2 * architecture.expansion)
    return blocks + vocabulary * architecture.width
