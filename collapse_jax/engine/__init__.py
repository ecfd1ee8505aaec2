"""The engine: named axes and a process in, one compiled program, labelled results out."""

from collapse_jax.engine.sweep import sweep

__all__ = ["sweep"]
