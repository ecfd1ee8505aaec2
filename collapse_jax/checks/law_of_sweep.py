"""A sweep of reward models beside the laws that are for it: one rule for the metrics and for the figures."""

import numpy as np
import xarray as xr

OWN = ("n_items", "type", "item")
"""The axes of a law that are not settings of a sweep."""


def along_utilities(dataset: xr.Dataset, predicted: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return both with an axis of utilities, which a sweep of one scheme lacks, and a law of one of them.

    Raises ValueError for a sweep of one scheme, without its label, beside the laws of several.
    """
    if "utility" not in predicted.dims:
        predicted = predicted.expand_dims("utility")
    if "utility" in dataset.dims:
        return dataset, predicted
    if "utility" in dataset.coords:
        return dataset.expand_dims("utility"), predicted
    if predicted.sizes["utility"] > 1:
        raise ValueError(
            f"predicted is for the utilities {', '.join(predicted['utility'].to_numpy())}, dataset is of one: take its "
            "law, predicted.sel(utility=...)"
        )
    return dataset.assign_coords(utility=predicted["utility"].item()).expand_dims("utility"), predicted


def require_settings(name: str, law: xr.Dataset, dataset: xr.Dataset) -> None:
    """Raise ValueError for a law, called `name`, without a value that the sweep has of what both record.

    That is the labels of the schemes, the pairs of items, the centring and the utilities' parameters.
    """
    for setting in [str(one) for one in law.coords if one not in OWN and one in dataset.coords]:
        known, run = np.atleast_1d(law[setting].to_numpy()), np.atleast_1d(dataset[setting].to_numpy())
        if (missing := run[~np.isin(run, known)]).size:
            raise ValueError(
                f"{name} is for {setting} = {', '.join(map(str, known))}; the sweep has {missing[0]}: "
                f"{_instead(name, setting, missing[0])}"
            )


def _instead(name: str, setting: str, value: object) -> str:
    if setting != "pairs":
        return f"predict the values of the sweep, as in predict_rewards(schemes, n_items, {setting}=[...])"
    if name == "limits":
        return "limit laws are those of all pairs, so leave limits out"
    return f"its law is predict_rewards(schemes, n_items, pairs={str(value)!r})"
