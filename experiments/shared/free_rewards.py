"""Reward models that can fit each reward by itself: the setting in which the laws are exact."""

import numpy as np

import collapse_jax as cj


def free_rankings(n_items: int) -> cj.reward.Rankings:
    """Return one prompt whose items are told apart by one-hot features: a linear model has a free logit for each."""
    return cj.make_rankings(
        np.eye(n_items, dtype=np.float32)[None], np.ones((1, n_items), bool), np.zeros(1, np.int32), ("all",)
    )
