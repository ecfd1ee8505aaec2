"""A sweep of reward models beside the laws that are for it: one rule for the metrics and for the figures."""

import xarray as xr


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
