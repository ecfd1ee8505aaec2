"""Bars in groups: how ways compare, on a logarithmic scale."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from collapse_jax.plotting.style import COLOURS, with_legend


def bars(values: xr.DataArray, *, x: str, hue: str, label: str) -> Figure:
    """Return a group of horizontal bars for each value along `x`, a bar in it for each along `hue` that isn't NaN.

    Each bar is labelled with its value, which must be above 0.
    """
    groups, kinds = values[x].to_numpy(), values[hue].to_numpy()
    figure = Figure(figsize=(8.0, 0.6 + 0.26 * len(groups) * (len(kinds) + 1)), layout="constrained")
    ax = figure.subplots()
    for number, kind in enumerate(kinds):
        heights = values.sel({hue: kind}).to_numpy()
        places = np.arange(len(groups)) + (number - (len(kinds) - 1) / 2) / (len(kinds) + 1)
        drawn = ax.barh(places, heights, 0.9 / (len(kinds) + 1), color=COLOURS[number % len(COLOURS)], label=str(kind))
        texts = ["" if np.isnan(height) else f"{height:.3g}" for height in heights]
        ax.bar_label(drawn, texts, padding=2, fontsize=8)
    ax.set_yticks(np.arange(len(groups)), [str(group) for group in groups])
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel=label)
    ax.margins(x=0.1)
    return with_legend(figure, ax)
