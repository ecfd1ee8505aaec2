"""Show, predict and prevent collapse in learned systems: populations in one compiled program, each beside its law.

>>> import collapse_jax as cj
>>> cj.finite_law(cj.UTILITIES["log"], 4).rewards.round(4).tolist()
[0.0, 0.2764, 0.7236, 1.0]
"""

from collapse_jax import data, metrics
from collapse_jax.engine import sweep
from collapse_jax.process import Axis, Process
from collapse_jax.reward.closed_forms import LimitLaw
from collapse_jax.reward.finite_law import FiniteLaw, certified_gap, finite_law, objective
from collapse_jax.reward.limit_law import limit_law
from collapse_jax.reward.models import Model, mlp
from collapse_jax.reward.prediction import limit_values, predict, quantile_distance, wasserstein_to_limit
from collapse_jax.reward.rankings import Rankings, make_rankings
from collapse_jax.reward.schemes import Schemes, make_schemes
from collapse_jax.reward.summary import summarize
from collapse_jax.reward.training import ADAMW_HYPER, Training, adamw, make_training
from collapse_jax.reward.utilities import UTILITIES, Choice, Utility, choose, utility

__version__ = "0.1.0"

__all__ = [
    "ADAMW_HYPER",
    "UTILITIES",
    "Axis",
    "Choice",
    "FiniteLaw",
    "LimitLaw",
    "Model",
    "Process",
    "Rankings",
    "Schemes",
    "Training",
    "Utility",
    "adamw",
    "certified_gap",
    "choose",
    "data",
    "finite_law",
    "limit_law",
    "limit_values",
    "make_rankings",
    "make_schemes",
    "make_training",
    "metrics",
    "mlp",
    "objective",
    "predict",
    "quantile_distance",
    "summarize",
    "sweep",
    "utility",
    "wasserstein_to_limit",
]
