"""The metrics of collapse over a whole sweep of reward models, beside the predicted laws."""

import itertools
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.checks.law_of_sweep import OWN, along_utilities, require_laws_of_orders, require_settings
from collapse_jax.checks.unit_interval import outside, sentence
from collapse_jax.metrics import kolmogorov_smirnov, wasserstein
from collapse_jax.reward.metrics import (
    atom_masses,
    mmd_gap,
    over_pairs,
    prompt_distance,
    reward_variance,
    separation,
    separation_by_pair,
    type_curves,
)

_OF_LAWS = ("law_rmse", "wasserstein_to_law", "ks_to_law", "atom_low", "atom_high", "gap", "mmd_gap")


@checked
def summarize_rewards(dataset: xr.Dataset, predicted: xr.Dataset, limits: xr.Dataset | None = None) -> xr.Dataset:
    """Return the metrics of a sweep of `make_training` by member, step and split, averaged over prompts.

    `predicted` is `predict_rewards(...)` for the sweep's schemes, `limits` is `limit_values(...)` for them. Prompts
    with different numbers of answers have different laws: where `predicted` has an axis `n_items`, each metric has it
    too, over the prompts with that number (NaN where a split has none). The result holds

    - `prompts` (type): how many prompts the metrics are means over;
    - `curve` (type, item): the mean reward;
    - `separation_by_pair` (pair): the mean over items of |curve of a type - curve of another|, for each pair of types;
      `separation`: its mean over the pairs, NaN unless two types have prompts;
    - `law_rmse`: the root-mean-square distance of the curves from the law;
    - `wasserstein_to_law`, `ks_to_law`: between a prompt's rewards and the law, the mean over prompts;
    - `wasserstein_by_pair`, `ks_by_pair` (pair): between the pooled rewards of two types;
      `wasserstein_between_types`, `ks_between_types`: their means over the pairs;
    - `prompt_distance`: the mean 1-Wasserstein distance between two prompts; `ks_between_prompts`: the mean over
      neighbouring prompts; `variance` of a prompt's rewards;
    - `atom_low`, `atom_high`: shares of rewards within .05 of 0 and of 1; `accuracy`; the certified `gap` a pair;
    - `mmd_gap`, with `limits`: the squared MMD to the limit law.

    Laws are for rewards in [0, 1]. Where a member's rewards of a split lie outside, what compares them with a law or a
    bound (`law_rmse`, `wasserstein_to_law`, `ks_to_law`, `atom_low`, `atom_high`, `gap`, `mmd_gap`) is NaN, and a
    warning says so. Prompts whose rewards are finite in no member are left out, with a warning; a member that lacks
    others has NaN.

    Raises ValueError for laws of other numbers of items, schemes, parameters, pairs or centring than those of the
    sweep, and for `limits`, which are those of all pairs, beside a sweep of others. Schemes are told apart by their
    labels, the names of their utilities and the parameters: two utilities of one name with other code can't be.
    """
    require_laws_of_orders("predicted", predicted)
    one_scheme, labelled = "utility" not in dataset["rewards"].dims, "utility" in dataset.coords
    if one_scheme:
        dataset, predicted = along_utilities(dataset, predicted)
    dims = tuple(str(dim) for dim in dataset["rewards"].dims if dim not in ("prompt", "item"))
    for dim in set(map(str, predicted["rewards"].dims)) - {*OWN, *dims}:
        raise ValueError(f"predicted varies along {dim!r}, the sweep doesn't: select one with predicted.sel({dim}=...)")
    several = "n_items" in predicted.dims
    predicted = _of_prompts(predicted, dataset)
    predicted = _of_sweep("predicted", predicted, dataset)
    limits = None if limits is None else _of_sweep("limits", limits, dataset)
    # Kept by the sweep alone, so that it merges with its metrics.
    dataset = dataset.drop_vars([name for name in dataset.coords if str(name).startswith("trained_")])
    _warn_of_scores(dataset["rewards"].to_numpy())
    splits = []
    for split in np.unique(dataset["prompt_split"]):
        part = dataset.isel(prompt=dataset["prompt_split"].to_numpy() == split)
        splits.append(_of_split(str(split), part, dims, predicted, limits))
    result = xr.concat(splits, "split", join="outer").reindex(n_items=predicted["n_items"])
    result = result.assign_coords(split=result["split"].astype(str))
    result["prompts"] = result["prompts"].fillna(0).astype(int)
    result = result.transpose(*dims, "split", "n_items", ..., missing_dims="ignore")
    result = result if several else result.isel(n_items=0, drop=True)
    return result.isel(utility=0, drop=not labelled) if one_scheme else result


def _of_prompts(predicted: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
    """Return the laws with an axis `n_items`; ValueError where a number of answers or a type of prompts has none."""
    known, run = np.atleast_1d(predicted["n_items"].to_numpy()), np.unique(dataset["prompt_items"])
    if (missing := run[~np.isin(run, known)]).size:
        raise ValueError(
            f"predicted is for n_items = {', '.join(map(str, known))}; the sweep has prompts of {missing[0]} items: "
            "predict_rewards(schemes, n_items=np.unique(dataset['prompt_items'])) has the law of each number"
        )
    if unknown := set(dataset["prompt_type"].to_numpy()) - set(predicted["type"].to_numpy()):
        raise ValueError(
            f"predicted is for the types {', '.join(predicted['type'].to_numpy())}; the sweep has prompts of the type "
            f"{min(unknown)}"
        )
    return predicted if "n_items" in predicted.dims else predicted.expand_dims("n_items")


def _warn_of_scores(rewards: Float[np.ndarray, "..."]) -> None:
    if outside(rewards).any():
        warnings.warn(f"{', '.join(_OF_LAWS)} are NaN where {sentence('rewards', rewards)}", stacklevel=4)


def _of_sweep(name: str, law: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
    """Return the part of a law that is for the sweep's values of what both vary; ValueError where there is none."""
    require_settings(name, law, dataset)
    law = law.drop_vars([one for one in law.coords if law[one].ndim == 0])
    return law.sel({dim: dataset[dim].to_numpy() for dim in law.dims if dim in dataset.dims and dim not in OWN})


def _of_split(
    split: str, part: xr.Dataset, dims: tuple[str, ...], predicted: xr.Dataset, limits: xr.Dataset | None
) -> xr.Dataset:
    """Return the metrics of a split's prompts, along an axis of the numbers of answers that they have."""
    finite = part["rewards"].notnull().any([*dims]).sum("item") == part["prompt_items"]
    if not finite.any():
        raise ValueError(f"no {split} prompt has finite rewards for all items in any member: see `diverged`")
    if not finite.all():
        warnings.warn(
            f"{int((~finite).sum())} of {finite.size} {split} prompts have finite rewards in no member: left out",
            stacklevel=4,
        )
    groups = []
    for number in np.unique(part["prompt_items"][finite]):
        group = part.isel(prompt=(finite & (part["prompt_items"] == number)).to_numpy(), item=slice(int(number)))
        law = predicted["rewards"].sel(n_items=number, drop=True).isel(item=slice(int(number)))
        groups.append(_of_group(group, dims, law, limits).expand_dims(n_items=[int(number)]))
    return xr.concat(groups, "n_items", join="outer").expand_dims(split=[split])


def _of_group(part: xr.Dataset, dims: tuple[str, ...], law: xr.DataArray, limits: xr.Dataset | None) -> xr.Dataset:
    """Return the metrics of prompts with one number of answers, beside their law."""
    names = [str(name) for name in law["type"].to_numpy()]
    types = np.array([names.index(name) for name in part["prompt_type"].to_numpy()], np.int32)
    rewards = part["rewards"].transpose(*dims, "prompt", "item")
    law = law.broadcast_like(rewards.isel(prompt=0, item=0, drop=True)).transpose(*dims, "type", "item")
    flat = (-1, *rewards.shape[len(dims) :])
    measure = jax.jit(jax.vmap(partial(_measure, types=types)))
    metrics = measure(
        rewards.to_numpy().reshape(flat), law=law.to_numpy().astype(np.float32).reshape(-1, *law.shape[len(dims) :])
    )
    shape = rewards.shape[: len(dims)]
    pairs = [", ".join(pair) for pair in itertools.combinations(names, 2)]
    coords = {**{dim: part[dim] for dim in dims}, "type": names, "item": part["item"], "pair": pairs}
    result = xr.Dataset({"prompts": ("type", np.bincount(types, minlength=len(names)))}, coords)
    for name, values in metrics.items():
        own = ("type", "item") if name == "curve" else ("pair",) if name.endswith("_by_pair") else ()
        result[name] = ((*dims, *own), np.asarray(values).reshape(*shape, *values.shape[1:]))
    for name in ("accuracy", "gap"):
        result[name] = part[name].mean("prompt", skipna=False)
    if limits is not None:
        by_prompt = limits.sel(type=part["prompt_type"])
        gap = mmd_gap(part["objective"], part.sizes["item"], by_prompt["limit_value"], by_prompt["value_at_zero"])
        result["mmd_gap"] = gap.mean("prompt", skipna=False).transpose(*dims)
    inside = ~outside(rewards).any(["prompt", "item"])
    return result.assign({name: result[name].where(inside) for name in _OF_LAWS if name in result})


def _measure(
    rewards: Float[Array, "prompt item"], law: Float[Array, "type item"], types: Int[np.ndarray, " prompt"]
) -> dict[str, Array]:
    kinds, n_types, there = jnp.asarray(types), law.shape[0], np.unique(types)
    curve = type_curves(rewards, kinds, n_types)
    low, high = atom_masses(rewards)
    return {
        "curve": curve,
        "separation": separation(rewards, kinds, n_types),
        "separation_by_pair": separation_by_pair(rewards, kinds, n_types),
        "law_rmse": jnp.sqrt(jnp.mean((curve - law)[there] ** 2)),
        "wasserstein_to_law": jax.vmap(wasserstein)(rewards, law[kinds]).mean(),
        "ks_to_law": jax.vmap(kolmogorov_smirnov)(rewards, law[kinds]).mean(),
        "prompt_distance": prompt_distance(rewards),
        "ks_between_prompts": jax.vmap(kolmogorov_smirnov)(rewards, jnp.roll(rewards, 1, axis=0)).mean(),
        "variance": jax.vmap(reward_variance)(rewards).mean(),
        "atom_low": low,
        "atom_high": high,
        **_between_types(rewards, types, n_types),
    }


def _between_types(
    rewards: Float[Array, "prompt item"], types: Int[np.ndarray, " prompt"], n_types: int
) -> dict[str, Array]:
    """Return the distances between the pooled rewards of two types: for each pair, and the mean over the pairs."""
    found = {}
    for name, distance in (("wasserstein", wasserstein), ("ks", kolmogorov_smirnov)):
        values = [
            distance(rewards[types == one].ravel(), rewards[types == other].ravel())
            if {one, other} <= set(types.tolist())
            else jnp.nan
            for one, other in itertools.combinations(range(n_types), 2)
        ]
        by_pair = jnp.stack([jnp.asarray(value, jnp.float32) for value in values]) if values else jnp.zeros(0)
        found[f"{name}_by_pair"] = by_pair
        found[f"{name}_between_types"] = over_pairs(by_pair, jnp.asarray(types), n_types)
    return found
