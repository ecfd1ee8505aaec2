"""The engine: named axes and a process in, one compiled program over all devices, labelled results out."""

from collapse_jax.engine.arms import with_arms
from collapse_jax.engine.devices import make_mesh, spread
from collapse_jax.engine.process import Axis, Process
from collapse_jax.engine.sweep import sweep

__all__ = ["Axis", "Process", "make_mesh", "spread", "sweep", "with_arms"]
