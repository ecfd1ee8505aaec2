"""Sweeps of reward models made by hand: rewards that are known, in the form that `make_training` records."""

import json

import numpy as np
import xarray as xr

import collapse_jax as cj

SPREAD = cj.choose(cj.UTILITIES["inverse_power"], offset=0.1)
BINARY = cj.choose(cj.UTILITIES["linear"], offset=0.1)


VALUES = {"objective": -1.0, "gap": 1e-3, "accuracy": 1.0}


def on_law(laws, types, counts, splits=None, shift=None, seeds=2):
    """Return a sweep in which every prompt has the rewards of its law, times 1 + `shift` of the seed if that is given.

    `types` index the types of `laws`, `counts` are the prompts' numbers of answers, `splits` says which are for tests.
    """
    types, counts = np.asarray(types), np.asarray(counts)
    laws = laws if "n_items" in laws.dims else laws.expand_dims("n_items")
    by_prompt = (
        laws["rewards"].isel(type=xr.DataArray(types, dims="prompt")).sel(n_items=xr.DataArray(counts, dims="prompt"))
    )
    rewards = by_prompt.expand_dims(seed=seeds, step=2).transpose("utility", "seed", "step", "prompt", "item")
    rewards = rewards.isel(item=slice(counts.max())).to_numpy().astype(np.float32)
    if shift is not None:
        rewards *= 1 + np.asarray(shift, np.float32)[:, None, None, None]
    over = ("utility", "seed", "step", "prompt")
    each = {name: (over, np.full(rewards.shape[:-1], value)) for name, value in VALUES.items()}
    each["gap"][1][:, :, 1] /= 2
    splits = np.full(len(types), "train") if splits is None else np.where(splits, "test", "train")
    return xr.Dataset(
        {"rewards": ((*over, "item"), rewards), **each},
        {
            "utility": laws["utility"].to_numpy(),
            "seed": np.arange(seeds),
            "step": [1, 2],
            "item": np.arange(1, counts.max() + 1),
            "prompt_split": ("prompt", splits),
            "prompt_type": ("prompt", laws["type"].to_numpy()[types]),
            "prompt_items": ("prompt", counts),
            "trained_pairs": laws["pairs"].item(),
            "trained_schemes": _trained(laws),
        },
    )


def _trained(laws):
    """Return the text of the schemes with the values that the laws have beside theirs."""
    schemes = json.loads(laws["schemes"].item())
    for row in schemes.values():
        for _, params in row.values():
            params |= {one: [laws[at].item() if at else value, at] for one, (value, at) in params.items()}
    return json.dumps(schemes)
