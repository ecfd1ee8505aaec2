"""Figures of generative collapse: what was measured over seeds as lines with bands, what was predicted dashed."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from collapse_jax.plotting.style import COLOURS, with_legend


class Curve(NamedTuple):
    """One quantity: measured (with a dimension `seed`, if any), the law for it, and the scale of its axis."""

    measured: xr.DataArray
    law: xr.DataArray | None = None
    scale: str = "linear"


def curves(
    rows: Mapping[str, Curve],
    *,
    x: str,
    hue: str,
    column: str | None = None,
    xscale: str = "linear",
    xlabel: str | None = None,
    titles: Mapping[object, str] | None = None,
) -> Figure:
    """Return a row of panels a quantity: lines over `x` by `hue`, a panel a value of `column`.

    Lines are means over seeds, bands two standard errors either way, black dashes the law.
    """
    first = next(iter(rows.values())).measured
    columns = list(first[column].to_numpy()) if column else [None]
    figure = Figure(figsize=(max(3.0 * len(columns), 5.0) + 0.8, 2.6 * len(rows) + 0.7), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey="row", squeeze=False)
    for i, (label, curve) in enumerate(rows.items()):
        for j, value in enumerate(columns):
            ax = axes[i, j]
            at = {column: value} if column else {}
            for number, one in enumerate(curve.measured[hue].to_numpy()):
                colour = COLOURS[number % len(COLOURS)]
                line = _at(curve.measured, {**at, hue: one})
                mean = line.mean("seed") if "seed" in line.dims else line
                style = "--" if number >= len(COLOURS) else "-"
                ax.plot(mean[x], mean, color=colour, lw=1.4, ls=style, label=f"{hue} {one}")
                if "seed" in line.dims:
                    spread = 2 * line.std("seed", ddof=1) / np.sqrt(line.sizes["seed"])
                    ax.fill_between(mean[x], mean - spread, mean + spread, color=colour, alpha=0.25, lw=0)
                if curve.law is not None:
                    law = _at(curve.law, {**at, hue: one})
                    ax.plot(law[x], law, color="black", ls=(0, (4, 3)), lw=0.9)
            ax.set(xscale=xscale, yscale=curve.scale)
            if i == 0 and column:
                ax.set_title((titles or {}).get(value, f"{column} {value}"), fontsize=10)
            if i == len(rows) - 1:
                ax.set_xlabel(xlabel or x)
            if j == 0:
                ax.set_ylabel(label)
    if any(curve.law is not None for curve in rows.values()):
        axes[0, 0].plot([], [], color="black", ls=(0, (4, 3)), lw=0.9, label="law")
    return with_legend(figure, axes[0, 0], columns=min(6, 2 * len(columns) + 2))


def phase_diagram(
    maps: Mapping[str, xr.DataArray], *, x: str, y: str, label: str, log: bool = True, lines: xr.DataArray | None = None
) -> Figure:
    """Return a map over `x` and `y` a panel, on one scale of colours; `lines`, if given, as contours over each."""
    figure = Figure(figsize=(4.2 * len(maps) + 0.8, 3.8), layout="constrained")
    axes = figure.subplots(1, len(maps), sharex=True, sharey=True, squeeze=False)[0]
    values = np.concatenate([one.to_numpy().ravel() for one in maps.values()])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    norm = LogNorm(low, high) if log else None
    for ax, (title, one) in zip(axes, maps.items(), strict=True):
        one = one.transpose(y, x)
        image = ax.pcolormesh(
            np.arange(one.sizes[x]), np.arange(one.sizes[y]), one, norm=norm, cmap="viridis", shading="nearest"
        )
        if lines is not None:
            levels = np.geomspace(float(lines.min()), float(lines.max()), 8)[1:-1]
            ax.contour(
                np.arange(one.sizes[x]),
                np.arange(one.sizes[y]),
                lines.transpose(y, x),
                levels,
                colors="white",
                linewidths=0.8,
            )
        ax.set_xticks(range(one.sizes[x]), [f"{v:g}" for v in one[x].to_numpy()], rotation=45)
        ax.set_yticks(range(one.sizes[y]), [f"{v:g}" for v in one[y].to_numpy()])
        ax.set(xlabel=x, title=title)
    axes[0].set_ylabel(y)
    figure.colorbar(image, ax=axes, label=label)
    return figure


def _at(array: xr.DataArray, place: Mapping[str, object]) -> xr.DataArray:
    return array.sel({dim: value for dim, value in place.items() if dim in array.dims})
