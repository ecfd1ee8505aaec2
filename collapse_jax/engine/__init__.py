"""The engine: named axes and a process in, one compiled program over all devices, labelled results out."""

from collapse_jax.engine.arms import with_arms
from collapse_jax.engine.devices import make_mesh, spread
from collapse_jax.engine.process import Axis, Process
from collapse_jax.engine.sweep import sweep
from collapse_jax.engine.tensorboard import to_tensorboard
from collapse_jax.engine.watching import OnSegment, Segment

__all__ = ["Axis", "OnSegment", "Process", "Segment", "make_mesh", "spread", "sweep", "to_tensorboard", "with_arms"]
