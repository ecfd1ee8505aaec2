"""Figures of what image generators emit."""

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

_GAP = 1
_LOST = "#F4C7B5"


def image_grids(
    images: xr.DataArray, *, panel: str, row: str, column: str, title: str = "{}", columns: int = 3
) -> Figure:
    """Return one panel for each value of `panel`, with an image for every `row` and `column` in it, dark on white.

    The other two dimensions are `height` and `width`; values are in [0, 1]. An image with a NaN is left out: its place
    is coloured. `title` is formatted with the value of a panel.
    """
    names = images[panel].to_numpy()
    rows, across = images[row].to_numpy(), images[column].to_numpy()
    height, width = images.sizes["height"] + _GAP, images.sizes["width"] + _GAP
    columns = min(columns, len(names))
    down = -(-len(names) // columns)
    shape = len(rows) * height - _GAP, len(across) * width - _GAP
    size = 0.3 * len(across) + 0.5, 0.3 * len(rows) * height / width + 0.6
    figure = Figure(figsize=(size[0] * columns + 0.3, size[1] * down + 0.3), layout="constrained")
    axes = figure.subplots(down, columns, squeeze=False).ravel()
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    for number, (ax, name) in enumerate(zip(axes, names, strict=False)):
        values = images.sel({panel: name}).transpose(row, column, "height", "width").to_numpy()
        canvas = np.ma.zeros(shape)
        for i, j in np.ndindex(values.shape[:2]):
            place = slice(i * height, (i + 1) * height - _GAP), slice(j * width, (j + 1) * width - _GAP)
            canvas[place] = np.ma.masked if np.isnan(values[i, j]).any() else values[i, j]
        ax.imshow(
            canvas, cmap=colormaps["gray_r"].with_extremes(bad=_LOST), norm=Normalize(0.0, 1.0), interpolation="nearest"
        )
        ax.set_title(title.format(str(name).replace("_", " ")), fontsize=9)
        ax.set_xticks(np.arange(len(across)) * width + (width - _GAP - 1) / 2, [str(one) for one in across], fontsize=7)
        ax.set_yticks(np.arange(len(rows)) * height + (height - _GAP - 1) / 2, [str(one) for one in rows], fontsize=7)
        ax.tick_params(length=0)
        for side in ax.spines.values():
            side.set_visible(False)
        if number % columns == 0:
            ax.set_ylabel(row, fontsize=8)
        if number >= len(names) - columns:
            ax.set_xlabel(column, fontsize=8)
    return figure
