"""Where the halves meet: rewards that are learned inside a recursion, and mitigations side by side."""

from collapse_jax.loop.learned_rewards import REFITS, rank_answers, reward_judge
from collapse_jax.loop.mitigations import Defence, Spent, compare_defences, data_spent

__all__ = ["REFITS", "Defence", "Spent", "compare_defences", "data_spent", "rank_answers", "reward_judge"]
