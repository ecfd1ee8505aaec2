"""How a sweep is laid out over devices: the axes of its mesh, and what each of them spreads."""

from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from collapse_jax.checks import numbers

POPULATION = "population"
"""The axis of a mesh that members are spread over."""
BATCH = "batch"
"""The axis that the examples of one member's step are spread over, see `spread`."""
MODEL = "model"
"""The axis that the state of one member is spread over: its parameters and the optimiser's moments."""

T = TypeVar("T")


def make_mesh(*, batch: int = 1, model: int = 1) -> Mesh:
    """Return a mesh over all devices of all processes, of which `batch` * `model` work on one member together.

    Raises ValueError if the number of devices is no multiple of that.
    """
    devices = np.array(jax.devices())
    for name, parts in ((BATCH, batch), (MODEL, model)):
        numbers.whole(name, parts, 1)
    if devices.size % (batch * model):
        raise ValueError(f"{BATCH}={batch} times {MODEL}={model} must divide the {devices.size} devices")
    sizes = {POPULATION: devices.size // (batch * model), BATCH: batch, MODEL: model}
    kept = {name: size for name, size in sizes.items() if name == POPULATION or size > 1}
    return Mesh(devices.reshape(tuple(kept.values())), tuple(kept))


def check_mesh(mesh: Mesh) -> None:
    """Raise ValueError for a mesh without an axis of members, or with one of an unknown name."""
    known = (POPULATION, BATCH, MODEL)
    if POPULATION not in mesh.axis_names or set(mesh.axis_names) - set(known):
        raise ValueError(
            f"mesh has the axes {mesh.axis_names}; it needs {POPULATION!r} and may have {BATCH!r} and {MODEL!r}"
        )


def spread(examples: T) -> T:
    """Return arrays with a leading axis of examples, spread over the axis `batch` of the mesh that a sweep runs on.

    As they are where it has no such axis. Processes call it on the examples of a step, before they are encoded; those
    of this library do. Raises ValueError if the devices along the axis don't divide the number of examples.
    """
    parts = jax.sharding.get_abstract_mesh().shape.get(BATCH, 1)
    if parts == 1:
        return examples
    for leaf in jax.tree.leaves(examples):
        if leaf.shape[0] % parts:
            raise ValueError(
                f"{leaf.shape[0]} examples of a step can't be spread over {parts} devices: give a multiple"
            )
    spread_out: T = jax.lax.with_sharding_constraint(examples, P(BATCH))
    return spread_out


def state_spec(shape: tuple[int, ...], parts: int) -> P:
    """Return how a leaf of a member's state is cut over `parts` devices: along its longest axis that they divide."""
    longest = max((size for size in shape if size % parts == 0), default=0)
    if parts == 1 or longest == 0:
        return P()
    axis = shape.index(longest)
    return P(*[None] * axis, MODEL)
