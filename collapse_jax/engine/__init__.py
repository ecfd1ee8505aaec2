"""The engine: named axes and a process in, one compiled program over all devices, labelled results out."""

from collapse_jax.engine.arms import with_arms
from collapse_jax.engine.devices import make_mesh, spread
from collapse_jax.engine.members import Members, Trained, train
from collapse_jax.engine.process import Axis, Process
from collapse_jax.engine.sweep import sweep
from collapse_jax.engine.tensorboard import to_tensorboard
from collapse_jax.engine.watching import OnSegment, Segment

__all__ = [
    "Axis",
    "Members",
    "OnSegment",
    "Process",
    "Segment",
    "Trained",
    "make_mesh",
    "spread",
    "sweep",
    "to_tensorboard",
    "train",
    "with_arms",
]
