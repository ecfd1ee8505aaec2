"""Show, predict and prevent collapse in learned systems: populations in one compiled program, each beside its law.

>>> import collapse_jax as cj
>>> cj.finite_law(cj.UTILITIES["log"], 4).rewards.round(4).tolist()
[0.0, 0.2764, 0.7236, 1.0]
"""

from collapse_jax import data, metrics
from collapse_jax.engine import sweep
from collapse_jax.engine.arms import with_arms
from collapse_jax.engine.devices import make_mesh, spread
from collapse_jax.engine.process import Axis, Process
from collapse_jax.generative import families, laws, selections
from collapse_jax.generative.decoding import Decoding
from collapse_jax.generative.family import FAMILIES, Family, Moments, Statistics
from collapse_jax.generative.fitting import Fitting, make_fit
from collapse_jax.generative.laws import MomentLaw, moment_law
from collapse_jax.generative.laws.prediction import predict_moments
from collapse_jax.generative.recursion.fused import make_fused_recursion
from collapse_jax.generative.recursion.options import resample
from collapse_jax.generative.recursion.plan import Plan, make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import (
    FRESH,
    REAL,
    REGIMES,
    Regime,
    count_matrix,
    ecosystem,
    regime,
    sliding_window,
    weighted,
    with_share,
)
from collapse_jax.generative.selection import Candidates, Selection
from collapse_jax.loop.learned_rewards import REFITS, rank_answers, reward_judge
from collapse_jax.loop.mitigations import Defence, Spent, compare_defences, data_spent
from collapse_jax.metrics.profile import collapse_profile
from collapse_jax.nets.transformer import Architecture
from collapse_jax.reward.encoders import prefix_encoder, text_encoder
from collapse_jax.reward.laws.closed_forms import LimitLaw
from collapse_jax.reward.laws.finite_law import FiniteLaw, certified_gap, finite_law, objective
from collapse_jax.reward.laws.limit_law import limit_law
from collapse_jax.reward.laws.prediction import limit_values, predict, quantile_distance, wasserstein_to_limit
from collapse_jax.reward.loss import RankingData
from collapse_jax.reward.models import Model, mlp
from collapse_jax.reward.rankings import Prefixes, Rankings, make_rankings
from collapse_jax.reward.schemes import Schemes, make_schemes
from collapse_jax.reward.summary import summarize
from collapse_jax.reward.training import ADAMW_HYPER, Training, adamw, make_training
from collapse_jax.reward.utilities import UTILITIES, Choice, Utility, choose, utility

__version__ = "0.1.0"

__all__ = [
    "ADAMW_HYPER",
    "FAMILIES",
    "FRESH",
    "REAL",
    "REFITS",
    "REGIMES",
    "UTILITIES",
    "Architecture",
    "Axis",
    "Candidates",
    "Choice",
    "Decoding",
    "Defence",
    "Family",
    "FiniteLaw",
    "Fitting",
    "LimitLaw",
    "Model",
    "MomentLaw",
    "Moments",
    "Plan",
    "Prefixes",
    "Process",
    "RankingData",
    "Rankings",
    "Regime",
    "Schemes",
    "Selection",
    "Spent",
    "Statistics",
    "Training",
    "Utility",
    "adamw",
    "certified_gap",
    "choose",
    "collapse_profile",
    "compare_defences",
    "count_matrix",
    "data",
    "data_spent",
    "ecosystem",
    "families",
    "finite_law",
    "laws",
    "limit_law",
    "limit_values",
    "make_fit",
    "make_fused_recursion",
    "make_mesh",
    "make_plan",
    "make_rankings",
    "make_recursion",
    "make_schemes",
    "make_training",
    "metrics",
    "mlp",
    "moment_law",
    "objective",
    "predict",
    "predict_moments",
    "prefix_encoder",
    "quantile_distance",
    "rank_answers",
    "regime",
    "resample",
    "reward_judge",
    "selections",
    "sliding_window",
    "spread",
    "summarize",
    "sweep",
    "text_encoder",
    "utility",
    "wasserstein_to_limit",
    "weighted",
    "with_arms",
    "with_share",
]
