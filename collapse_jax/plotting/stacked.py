"""Stacked bars: how a whole is shared out."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from collapse_jax.plotting.style import COLOURS, with_legend


def stacked_bars(values: xr.DataArray, *, x: str, hue: str, label: str) -> Figure:
    """Return a horizontal bar for each value along `x`, a part of it for each along `hue`.

    Parts above 0 are labelled with their value.
    """
    groups, kinds = values[x].to_numpy(), values[hue].to_numpy()
    figure = Figure(figsize=(8.0, 0.9 + 0.26 * len(groups)), layout="constrained")
    ax = figure.subplots()
    left = np.zeros(len(groups))
    for number, kind in enumerate(kinds):
        parts = values.sel({hue: kind}).transpose(x).to_numpy()
        drawn = ax.barh(np.arange(len(groups)), parts, left=left, color=COLOURS[number % len(COLOURS)], label=str(kind))
        texts = [f"{part:.3g}" if part > 0 else "" for part in parts]
        ax.bar_label(drawn, texts, label_type="center", fontsize=8, color="white")
        left = left + parts
    ax.set_yticks(np.arange(len(groups)), [str(group) for group in groups])
    ax.invert_yaxis()
    ax.set(xlabel=label)
    return with_legend(figure, ax)
