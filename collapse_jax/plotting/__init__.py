"""One function a figure: results in, a matplotlib Figure out, drawn without a display or a device."""

from collapse_jax.plotting.bands import POSITIVE, SHARE
from collapse_jax.plotting.bars import bars
from collapse_jax.plotting.images import image_grids
from collapse_jax.plotting.pareto import pareto
from collapse_jax.plotting.profile import collapse_profile
from collapse_jax.plotting.recursion import Curve, curves, density_maps, phase_diagram
from collapse_jax.plotting.reward import convergence, densities, edges, over_steps, reward_curves, rewards_by_rank
from collapse_jax.plotting.stacked import stacked_bars
from collapse_jax.plotting.style import COLOURS

__all__ = [
    "COLOURS",
    "POSITIVE",
    "SHARE",
    "Curve",
    "bars",
    "collapse_profile",
    "convergence",
    "curves",
    "densities",
    "density_maps",
    "edges",
    "image_grids",
    "over_steps",
    "pareto",
    "phase_diagram",
    "reward_curves",
    "rewards_by_rank",
    "stacked_bars",
]
