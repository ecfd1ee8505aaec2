"""Cross-validation of reward models: folds are members of one population, each trained without some of the prompts."""

import numpy as np
import xarray as xr
from jaxtyping import Int

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked

__all__ = ["held_out_scores", "split_folds"]


@checked
def split_folds(prompts: int, folds: int = 5, *, seed: int = 0) -> Int[np.ndarray, "fold prompt"]:
    """Return for each fold the places of the prompts to train on, as `make_training` takes them.

    Every prompt is left out of one fold at random, or of two where the number of folds doesn't divide that of prompts:
    all folds are equally large. Raises ValueError for fewer than 2 folds, more than there are prompts, and a seed below
    0.
    """
    numbers.whole("prompts", prompts, 2)
    numbers.whole("folds", folds, 2, prompts)
    numbers.whole("seed", seed, 0)
    order, size = np.random.default_rng(seed).permutation(prompts), -(-prompts // folds)
    starts = np.arange(folds) * prompts // folds
    return np.stack([np.sort(order[(start + size + np.arange(prompts - size)) % prompts]) for start in starts])


@checked
def held_out_scores(dataset: xr.Dataset, folds: Int[np.ndarray, "fold prompt"]) -> xr.DataArray:
    """Return each prompt's rewards at the last step, means over the folds whose models were not trained on it.

    `dataset` is a sweep over all of `folds`; its other axes stay. Prompts of a test split are left out of every fold.
    Raises ValueError for a sweep of other folds.
    """
    swept = dataset["fold"].to_numpy().tolist() if "fold" in dataset.dims else []
    if swept != list(range(len(folds))):
        raise ValueError(f"dataset has the folds {swept}; expected all {len(folds)} of `folds`, in their order")
    left_out = np.ones((len(folds), dataset.sizes["prompt"]), bool)
    np.put_along_axis(left_out, folds, False, axis=1)
    scores: xr.DataArray = dataset["rewards"].isel(step=-1)
    return scores.where(xr.DataArray(left_out, dims=("fold", "prompt"))).mean("fold")
