"""Figures of generative collapse: what was measured over seeds as lines with bands, what was predicted dashed."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from collapse_jax.plotting.bands import ANY, POSITIVE, Band, Support, mean_band, median_band
from collapse_jax.plotting.style import COLOURS, whole_ticks, with_legend


class Curve(NamedTuple):
    """One quantity: measured (with a dimension `seed`, if any), the law for it, and the scale of its axis.

    `support` are the least and the largest value that it can take, which its bands don't leave: (0, 1) for a share,
    (0, inf) for a variance; by default all values, on a logarithmic axis all above 0. The line over seeds is their
    mean, which is what laws predict, or their median, for what is so heavy-tailed that a few seeds rule its mean.
    """

    measured: xr.DataArray
    law: xr.DataArray | None = None
    scale: str = "linear"
    support: Support | None = None
    over_seeds: Literal["mean", "median"] = "mean"


def curves(
    rows: Mapping[str, Curve],
    *,
    x: str,
    hue: str,
    column: str | None = None,
    xscale: str = "linear",
    xlabel: str | None = None,
    titles: Mapping[Any, str] | None = None,
    dashes: str = "law",
) -> Figure:
    """Return one row of panels for each quantity, one panel for each value of `column`: lines over `x` by `hue`.

    Lines are means over seeds, bands two standard errors either way on the scale of a quantity's support, or medians
    with their interval of 95 % (of fewer than six seeds: all of them). Black dashes are the law or what `dashes` calls
    it.
    """
    first = next(iter(rows.values())).measured
    values = list(first[column].to_numpy()) if column else [None]
    # Without columns the quantities themselves fill a grid.
    across = len(values) if column else min(len(rows), 2)
    down = len(rows) if column else -(-len(rows) // across)
    figure = Figure(figsize=(max(3.2 * across, 6.0) + 0.8, 2.6 * down + 0.7), layout="constrained")
    axes = figure.subplots(down, across, sharex=True, sharey="row" if column else False, squeeze=False)
    panels = [(label, curve, value) for label, curve in rows.items() for value in values]
    for ax in axes.ravel()[len(panels) :]:
        ax.set_visible(False)
    for number, (ax, (label, curve, value)) in enumerate(zip(axes.ravel(), panels, strict=False)):
        _lines(ax, curve, x, hue, {column: value} if column else {})
        ax.set(xscale=xscale, yscale=curve.scale)
        whole_ticks(ax, curve.measured[x], curve.measured)
        if column and number < across:
            ax.set_title((titles or {}).get(value, f"{column} {value}"), fontsize=10)
        if number >= len(panels) - across:
            ax.set_xlabel(xlabel or x)
            ax.tick_params(labelbottom=True)
        if not column or number % across == 0:
            ax.set_ylabel(label)
    top = axes[0, 0]
    if any(curve.law is not None for curve in rows.values()):
        top.plot([], [], color="black", ls=(0, (4, 3)), lw=0.9, label=dashes)
    longest = max(len(str(text)) for text in top.get_legend_handles_labels()[1])
    return with_legend(figure, top, columns=max(1, int(12 * figure.get_figwidth() / (longest + 8))))


def _lines(ax: Axes, curve: Curve, x: str, hue: str, place: Mapping[str, object]) -> None:
    for number, one in enumerate(curve.measured[hue].to_numpy()):
        colour, style = COLOURS[number % len(COLOURS)], "-" if number < len(COLOURS) else "-."
        line = _at(curve.measured, {**place, hue: one})
        band = _band(line, curve) if "seed" in line.dims else None
        label = str(one) if isinstance(one, str) else f"{hue} {one}"
        ax.plot(line[x], line if band is None else band.middle, color=colour, lw=1.4, ls=style, label=label)
        if band is not None:
            ax.fill_between(line[x], band.lower, band.upper, color=colour, alpha=0.25, lw=0)
        if curve.law is not None:
            law = _at(curve.law, {**place, hue: one})
            ax.plot(law[x], law, color="black", ls=(0, (4, 3)), lw=0.9)


def _band(line: xr.DataArray, curve: Curve) -> Band:
    if curve.over_seeds == "median":
        return median_band(line)
    return mean_band(line, curve.support or (POSITIVE if curve.scale == "log" else ANY))


def phase_diagram(
    maps: Mapping[str, xr.DataArray],
    *,
    x: str,
    y: str,
    label: str,
    log: bool = True,
    lines: xr.DataArray | None = None,
    levels: Sequence[float] | None = None,
    columns: int = 3,
) -> Figure:
    """Return panels with maps over `x` and `y` on one scale of colours, with contours of `lines` at `levels` over each.

    Levels are by default six between the smallest and the largest value, evenly in proportion.
    """
    columns = min(len(maps), columns)
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(3.8 * columns + 1.0, 3.3 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    values = np.concatenate([one.to_numpy().ravel() for one in maps.values()])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    norm = LogNorm(low, high) if log else Normalize(low, high)
    for ax in axes.ravel()[len(maps) :]:
        ax.set_visible(False)
    for ax, (title, one) in zip(axes.ravel(), maps.items(), strict=False):
        one = one.transpose(y, x)
        at = np.arange(one.sizes[x]), np.arange(one.sizes[y])
        image = ax.pcolormesh(*at, one, norm=norm, cmap="viridis", shading="nearest")
        if lines is not None:
            if levels is None:
                levels = np.geomspace(float(lines.min()), float(lines.max()), 8)[1:-1].tolist()
            ax.contour(*at, lines.transpose(y, x), levels, colors="white", linewidths=1.2, linestyles="--")
        ax.set_xticks(at[0], [f"{v:g}" for v in one[x].to_numpy()], rotation=45, fontsize=8)
        ax.set_yticks(at[1], [f"{v:g}" for v in one[y].to_numpy()], fontsize=8)
        ax.set_title(title, fontsize=10)
    for ax in axes[-1]:
        ax.set_xlabel(x)
    for ax in axes[:, 0]:
        ax.set_ylabel(y)
    figure.colorbar(image, ax=axes, label=label)
    return figure


def _at(array: xr.DataArray, place: Mapping[str, object]) -> xr.DataArray:
    return array.sel({dim: value for dim, value in place.items() if dim in array.dims})


def density_maps(density: xr.DataArray, *, row: str, column: str) -> Figure:
    """Return a map of the density over its dimensions `x` and `y` for each `row` and `column`.

    Each panel has its own scale of colours: a density that shrinks to a point grows without bound.
    """
    rows, columns = density[row].to_numpy(), density[column].to_numpy()
    figure = Figure(figsize=(2.1 * len(columns) + 0.6, 2.1 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    for i, one in enumerate(rows):
        for j, other in enumerate(columns):
            ax, panel = axes[i, j], density.sel({row: one, column: other})
            ax.pcolormesh(panel["x"], panel["y"], panel.transpose("y", "x"), cmap="magma", shading="nearest")
            ax.set_aspect("equal")
            if i == 0:
                ax.set_title(f"generation {other}", fontsize=10)
            if j == 0:
                ax.set_ylabel(str(one).replace("_", " "), fontsize=9)
    return figure
