"""A sweep trained on labels of pairs beside the law of each prompt's own labels."""

import numpy as np
import xarray as xr

from collapse_jax.checks.annotations import checked
from collapse_jax.checks.law_of_sweep import OWN, along_utilities, require_settings


@checked
def summarize_labelled(dataset: xr.Dataset, laws: xr.Dataset) -> xr.Dataset:
    """Return the metrics of a sweep of `make_training` on labels of pairs by member, step and split.

    `laws` is `predict_labelled(...)` for the rankings, test ones included, and the schemes of the sweep. Means are over
    the prompts of a split:

    - `law_distance`: the mean over items of |reward - law|, each prompt beside its own law, shifted towards the rewards
      as far as nothing depends on it, each group of compared items by itself;
    - `prompt_spread`: the mean over ranks of the standard deviation between prompts of their rewards, best first and
      less their mean, among prompts of one number of answers; 0 where rewards collapsed. `law_prompt_spread` is that of
      the laws;
    - `accuracy`, the share of wins that go to the larger reward, and the certified `gap`.

    A member's prompt without finite rewards makes its means NaN. Raises ValueError for laws of other prompts, labels,
    schemes, parameters or centring than those of the sweep.
    """
    if not {"shift_low", "shift_high"} <= set(laws):
        raise ValueError(f"laws have {', '.join(map(str, laws))}; give those that predict_labelled returns")
    one_scheme = "utility" not in dataset["rewards"].dims
    if one_scheme:
        dataset, laws = along_utilities(dataset, laws)
    _require_prompts(laws, dataset)
    require_settings("laws", laws, dataset)
    laws = laws.drop_vars([name for name in laws.coords if name != "utility" and laws[name].ndim != 1])
    varied = [dim for dim in laws.dims if dim in dataset.dims and dim not in (*OWN, "prompt")]
    laws = laws.sel({dim: dataset[dim].to_numpy() for dim in varied})
    dataset = dataset.drop_vars([name for name in dataset.coords if str(name).startswith("trained_")])
    splits = []
    for split in np.unique(dataset["prompt_split"]):
        chosen = (dataset["prompt_split"] == split).to_numpy()
        splits.append(_of_split(dataset.isel(prompt=chosen), laws.isel(prompt=chosen)).expand_dims(split=[str(split)]))
    result = xr.concat(splits, "split")
    return result.isel(utility=0, drop=True) if one_scheme else result


def _require_prompts(laws: xr.Dataset, dataset: xr.Dataset) -> None:
    for name in ("prompt_split", "prompt_type", "prompt_items"):
        if name not in laws.coords or laws[name].to_numpy().tolist() != dataset[name].to_numpy().tolist():
            raise ValueError(
                f"laws are for other prompts than those of the sweep ({name} differs): give predict_labelled the "
                "rankings that were trained on, and test= those that were tested on"
            )


def _of_split(part: xr.Dataset, laws: xr.Dataset) -> xr.Dataset:
    rewards, law = part["rewards"], laws["rewards"]
    # NaN where there is no item; elsewhere it is a member that diverged.
    there = part["prompt_items"] >= part["item"]
    distance = (
        abs(rewards - law - _shift(rewards - law, laws)).where(there, 0.0).sum("item", skipna=False)
        / part["prompt_items"]
    )
    return xr.Dataset(
        {
            "law_distance": distance.mean("prompt", skipna=False),
            "prompt_spread": _spread(rewards, part["prompt_items"]),
            "law_prompt_spread": _spread(law, laws["prompt_items"]),
            "accuracy": part["accuracy"].mean("prompt", skipna=False),
            "gap": part["gap"].mean("prompt", skipna=False),
        }
    )


def _shift(above: xr.DataArray, laws: xr.Dataset) -> xr.DataArray:
    """Return how far the law may go towards rewards that are so far `above` it: one shift for each group of items."""
    shift: xr.DataArray | float = 0.0
    for group in range(int(laws["group"].max()) + 1):
        own = laws["group"] == group
        mean = above.where(own, 0.0).sum("item", skipna=False) / own.sum("item").clip(1)
        shift = shift + mean.clip(laws["shift_low"], laws["shift_high"]).where(own, 0.0)
    return shift  # type: ignore[return-value]


def _spread(rewards: xr.DataArray, items: xr.DataArray) -> xr.DataArray:
    """Return the mean over ranks and prompts of the standard deviation between prompts of one number of answers."""
    total: xr.DataArray | float = 0.0
    for number in np.unique(items):
        group = rewards.isel(prompt=(items == number).to_numpy(), item=slice(int(number)))
        best_first = xr.apply_ufunc(
            lambda values: -np.sort(-values, axis=-1), group, input_core_dims=[["item"]], output_core_dims=[["item"]]
        )
        best_first = best_first - best_first.mean("item", skipna=False)
        total = total + best_first.std("prompt", skipna=False).mean("item", skipna=False) * group.sizes["prompt"]
    return total / len(items)  # type: ignore[return-value]
