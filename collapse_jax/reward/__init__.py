"""Reward collapse: utilities, the laws they lead to, and populations of reward models that obey them."""

from collapse_jax.reward import laws
from collapse_jax.reward.cross_validation import held_out_scores, split_folds
from collapse_jax.reward.encoders import prefix_encoder, text_encoder
from collapse_jax.reward.labelled_summary import summarize_labelled
from collapse_jax.reward.laws.closed_forms import LimitLaw, closed_form
from collapse_jax.reward.laws.finite_law import FiniteLaw, certified_gap, finite_law, objective
from collapse_jax.reward.laws.labelled_prediction import predict_labelled
from collapse_jax.reward.laws.limit_law import limit_law
from collapse_jax.reward.laws.mixed_types import predict_mixed
from collapse_jax.reward.laws.prediction import limit_values, predict_rewards, quantile_distance, wasserstein_to_limit
from collapse_jax.reward.loss import RankingData
from collapse_jax.reward.metrics import separation, separation_by_pair
from collapse_jax.reward.models import Model, mlp
from collapse_jax.reward.openness import (
    closeness,
    disagreement,
    estimate_openness,
    score_closeness,
    soft_types,
    tie_rate,
)
from collapse_jax.reward.rankings import Prefixes, Rankings, make_rankings
from collapse_jax.reward.reading import as_rankings
from collapse_jax.reward.saving import load_reward_model, save_reward_model
from collapse_jax.reward.schemes import Schemes, make_schemes
from collapse_jax.reward.scoring import EnsembleRewards, RewardModel, make_reward_model
from collapse_jax.reward.summary import summarize_rewards
from collapse_jax.reward.training import ADAMW_HYPER, Training, adamw, make_training
from collapse_jax.reward.utilities import UTILITIES, Choice, Utility, choose, utility

__all__ = [
    "ADAMW_HYPER",
    "UTILITIES",
    "Choice",
    "EnsembleRewards",
    "FiniteLaw",
    "LimitLaw",
    "Model",
    "Prefixes",
    "RankingData",
    "Rankings",
    "RewardModel",
    "Schemes",
    "Training",
    "Utility",
    "adamw",
    "as_rankings",
    "certified_gap",
    "choose",
    "closed_form",
    "closeness",
    "disagreement",
    "estimate_openness",
    "finite_law",
    "held_out_scores",
    "laws",
    "limit_law",
    "limit_values",
    "load_reward_model",
    "make_rankings",
    "make_reward_model",
    "make_schemes",
    "make_training",
    "mlp",
    "objective",
    "predict_labelled",
    "predict_mixed",
    "predict_rewards",
    "prefix_encoder",
    "quantile_distance",
    "save_reward_model",
    "score_closeness",
    "separation",
    "separation_by_pair",
    "soft_types",
    "split_folds",
    "summarize_labelled",
    "summarize_rewards",
    "text_encoder",
    "tie_rate",
    "utility",
    "wasserstein_to_limit",
]
