"""The metrics of collapse over a whole sweep of reward models, beside the predicted laws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics import kolmogorov_smirnov, wasserstein
from collapse_jax.reward.metrics import (
    atom_masses,
    mmd_gap,
    prompt_distance,
    reward_variance,
    separation,
    type_curves,
)


@checked
def summarize_rewards(dataset: xr.Dataset, predicted: xr.Dataset, limits: xr.Dataset | None = None) -> xr.Dataset:
    """Return the metrics of a sweep of `make_training` by member, step and split, averaged over prompts.

    `predicted` is `predict_rewards(...)` for the sweep's schemes, `limits` is `limit_values(...)` for them. The result
    holds

    - `curve` (type, item): the mean reward; `separation`: the mean over items of |curve of type 0 - curve of type 1|;
    - `law_rmse`: the root-mean-square distance of the curves from the law;
    - `wasserstein_to_law`, `ks_to_law`: between a prompt's rewards and the law, the mean over prompts;
    - `wasserstein_between_types`, `ks_between_types`: between the pooled rewards of the two types;
    - `prompt_distance`: the mean 1-Wasserstein distance between two prompts; `ks_between_prompts`: the mean over
      neighbouring prompts; `variance` of a prompt's rewards;
    - `atom_low`, `atom_high`: shares of rewards within .05 of 0 and of 1; `accuracy`; the certified `gap` a pair;
    - `mmd_gap`, with `limits`: the squared MMD to the limit law.

    Prompts with fewer items than others have another law and are left out.

    Raises ValueError for laws of other items, schemes, parameters or centring than those of the sweep.
    """
    dims = tuple(str(dim) for dim in dataset["rewards"].dims if dim not in ("prompt", "item"))
    for dim in set(map(str, predicted["rewards"].dims)) - {"type", "item", *dims}:
        raise ValueError(f"predicted varies along {dim!r}, the sweep doesn't: select one with predicted.sel({dim}=...)")
    if predicted.sizes["item"] != dataset.sizes["item"]:
        raise ValueError(f"predicted is for {predicted.sizes['item']} items, the sweep has {dataset.sizes['item']}")
    predicted = _of_sweep("predicted", predicted, dataset)
    limits = None if limits is None else _of_sweep("limits", limits, dataset)
    parts = []
    for split in np.unique(dataset["prompt_split"]):
        whole = dataset["rewards"].notnull().any([*dims]).all("item")
        if not bool((whole & (dataset["prompt_split"] == split)).any()):
            raise ValueError(f"no {split} prompt has finite rewards for all items in any member: see `diverged`")
        part = dataset.isel(prompt=np.flatnonzero((dataset["prompt_split"] == split) & whole))
        parts.append(_of_split(part, dims, predicted, limits).expand_dims(split=[str(split)]))
    return xr.concat(parts, "split").transpose(*dims, "split", ...)


def _of_sweep(name: str, law: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
    """Return the part of a law that is for the sweep's values of what both vary; ValueError where there is none."""
    for setting in [one for one in law.coords if one not in ("type", "item") and one in dataset.coords]:
        known, run = np.atleast_1d(law[setting].to_numpy()), np.atleast_1d(dataset[setting].to_numpy())
        if (missing := run[~np.isin(run, known)]).size:
            raise ValueError(
                f"{name} is for {setting} = {', '.join(map(str, known))}; the sweep has {missing[0]}: predict the "
                f"values of the sweep, as in predict_rewards(schemes, n_items, {setting}=[...])"
            )
    law = law.drop_vars([one for one in law.coords if law[one].ndim == 0])
    return law.sel({dim: dataset[dim] for dim in law.dims if dim in dataset.dims and dim not in ("type", "item")})


def _of_split(part: xr.Dataset, dims: tuple[str, ...], predicted: xr.Dataset, limits: xr.Dataset | None) -> xr.Dataset:
    names = list(predicted["type"].to_numpy())
    types = np.array([names.index(name) for name in part["prompt_type"].to_numpy()], np.int32)
    rewards = part["rewards"].transpose(*dims, "prompt", "item")
    law = (
        predicted["rewards"].broadcast_like(rewards.isel(prompt=0, item=0, drop=True)).transpose(*dims, "type", "item")
    )
    flat = (-1, *rewards.shape[len(dims) :])
    measure = jax.jit(jax.vmap(partial(_measure, types=types)))
    metrics = measure(
        rewards.to_numpy().reshape(flat), law=law.to_numpy().astype(np.float32).reshape(-1, *law.shape[len(dims) :])
    )
    shape = rewards.shape[: len(dims)]
    result = xr.Dataset(coords={**{dim: part[dim] for dim in dims}, "type": names, "item": predicted["item"]})
    for name, values in metrics.items():
        own = ("type", "item")[: values.ndim - 1]  # a curve, or a number
        result[name] = ((*dims, *own), np.asarray(values).reshape(*shape, *values.shape[1:]))
    result["accuracy"], result["gap"] = part["accuracy"].mean("prompt"), part["gap"].mean("prompt")
    if limits is not None:
        by_prompt = limits.sel(type=part["prompt_type"])
        gap = mmd_gap(part["objective"], part.sizes["item"], by_prompt["limit_value"], by_prompt["value_at_zero"])
        result["mmd_gap"] = gap.mean("prompt").transpose(*dims)
    return result


def _measure(
    rewards: Float[Array, "prompt item"], law: Float[Array, "type item"], types: Int[np.ndarray, " prompt"]
) -> dict[str, Array]:
    kinds = jnp.asarray(types)
    curve = type_curves(rewards, kinds, law.shape[0])
    low, high = atom_masses(rewards)
    metrics = {
        "curve": curve,
        "law_rmse": jnp.sqrt(jnp.nanmean((curve - law) ** 2)),
        "wasserstein_to_law": jax.vmap(wasserstein)(rewards, law[kinds]).mean(),
        "ks_to_law": jax.vmap(kolmogorov_smirnov)(rewards, law[kinds]).mean(),
        "prompt_distance": prompt_distance(rewards),
        "ks_between_prompts": jax.vmap(kolmogorov_smirnov)(rewards, jnp.roll(rewards, 1, axis=0)).mean(),
        "variance": jax.vmap(reward_variance)(rewards).mean(),
        "atom_low": low,
        "atom_high": high,
    }
    if law.shape[0] == 2 and len(np.unique(types)) == 2:
        first, second = rewards[types == 0].ravel(), rewards[types == 1].ravel()
        metrics["separation"] = separation(rewards, kinds)
        metrics["wasserstein_between_types"] = wasserstein(first, second)
        metrics["ks_between_types"] = kolmogorov_smirnov(first, second)
    return metrics
