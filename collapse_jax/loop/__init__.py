"""Where the halves meet: rewards that are learned inside a recursion, and mitigations side by side."""

from collapse_jax.generative.selections.learned import LearnedReward
from collapse_jax.loop.learned_rewards import REFITS, learned_reward, rank_answers
from collapse_jax.loop.mitigations import Mitigation, Spent, compare_mitigations, data_spent

__all__ = [
    "REFITS",
    "LearnedReward",
    "Mitigation",
    "Spent",
    "compare_mitigations",
    "data_spent",
    "learned_reward",
    "rank_answers",
]
