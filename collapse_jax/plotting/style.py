"""What all figures share: colours, a grid of titled panels, a legend below."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

__all__ = ["COLOURS"]

# Okabe and Ito's colours, which readers with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


def panels(titles: Sequence[str], columns: int = 4) -> tuple[Figure, list[tuple[Axes, str]]]:
    """Return a figure with a titled panel each, at most `columns` a row, and the panels with their titles."""
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(3 * columns, 2.4 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(titles) :]:
        ax.set_visible(False)
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title, fontsize=10)
    return figure, list(zip(axes, titles, strict=False))


def with_legend(figure: Figure, ax: Axes, columns: int = 4) -> Figure:
    """Return the figure with the legend of one of its panels below all of them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def whole_ticks(ax: Axes, x: ArrayLike) -> None:
    """Put the ticks of a linear axis at whole numbers where x is whole: there is no generation 2.5."""
    if ax.get_xscale() == "linear" and np.issubdtype(np.asarray(x).dtype, np.integer):
        ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
