"""What all figures share: colours, a grid of titled panels, a legend below."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

__all__ = ["COLOURS"]

# Okabe and Ito's colours, which readers with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")

# Without "--", which is a law's.
_DASHES = ("-", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))


def line_look(number: int) -> dict[str, Any]:
    """Return colour and dashes of line number 0, 1, ...: after eight colours come other dashes, 32 looks in all."""
    return {"color": COLOURS[number % len(COLOURS)], "ls": _DASHES[number // len(COLOURS) % len(_DASHES)]}


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


def with_legend(figure: Figure, *axes: Axes, columns: int = 4) -> Figure:
    """Return the figure with a legend below all panels: what is drawn in some of them, each label once.

    It has at most `columns` columns, fewer where the figure is too narrow for them and would cut labels off. Beyond two
    rows of it the figure grows, so that the panels don't shrink.
    """
    handles: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(label), handle)
    fitting = int(12 * figure.get_figwidth() / (max(map(len, handles), default=0) + 8))
    columns = max(1, min(columns, fitting))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.22 * max(0, rows - 2))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns, frameon=False)
    return figure


def whole_ticks(ax: Axes, x: ArrayLike, y: ArrayLike | None = None) -> None:
    """Put the ticks of a linear axis at whole numbers where its quantity is whole: there is no generation 2.5.

    Measured values are floats, also where they count: `y` is whole where all its values are, and several.
    """
    if ax.get_xscale() == "linear" and np.issubdtype(np.asarray(x).dtype, np.integer):
        ax.xaxis.set_major_locator(_whole())
    values = np.unique(np.asarray(0.0 if y is None else y, np.float64))
    values = values[np.isfinite(values)]
    if ax.get_yscale() == "linear" and values.size > 1 and (values == np.round(values)).all():
        ax.yaxis.set_major_locator(_whole())


def _whole() -> MaxNLocator:
    return MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True)
