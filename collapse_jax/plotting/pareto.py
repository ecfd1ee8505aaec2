"""What is spent against what is lost: a point for each way, and a line through those that none beats in both."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from collapse_jax.plotting.bands import ANY, Support, mean_band
from collapse_jax.plotting.style import COLOURS, whole_ticks


def pareto(
    spent: xr.DataArray,
    losses: Mapping[str, xr.DataArray],
    *,
    label: str,
    title: str = "",
    columns: int = 3,
    supports: Mapping[str, Support] | None = None,
) -> Figure:
    """Return a panel for each loss by what is spent: means over seeds, numbered as in the legend.

    `spent` has one dimension, the ways; each loss has it too, and `seed`. Lower is better for all. Bars are two
    standard errors either way, on the scale of a loss' support: the least and the largest value that it can take, in
    `supports` where it can't take all. The grey line joins the ways for which no other one both spends and loses less.
    A way of which a seed is NaN is left out.
    """
    (dim,) = spent.dims
    rows = -(-len(losses) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows + 1.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(losses) :]:
        ax.set_visible(False)
    names, x = spent[dim].to_numpy(), spent.to_numpy().astype(float)
    for ax, (name, loss) in zip(axes, losses.items(), strict=False):
        loss = loss.sel({dim: spent[dim]})
        band = mean_band(loss.where(loss.notnull().all("seed")), (supports or {}).get(name, ANY))
        y, lower, upper = (one.to_numpy() for one in band)
        bars = np.maximum(np.stack([y - lower, upper - y]), 0.0)
        best = _front(x, y)
        ax.plot(x[best], y[best], color="#999999", lw=1, drawstyle="steps-post", zorder=0)
        for i, way in enumerate(names):
            colour = COLOURS[i % len(COLOURS)]
            ax.errorbar(
                x[i],
                y[i],
                bars[:, i : i + 1],
                fmt="o",
                ms=3,
                color=colour,
                lw=1,
                label=f"{i + 1}  {way}",
            )
            ax.annotate(str(i + 1), (x[i], y[i]), (4, 3), textcoords="offset points", fontsize=8, color=colour)
        ax.set(xlabel=label, ylabel=name)
        whole_ticks(ax, spent)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _front(x: np.ndarray, y: np.ndarray) -> Sequence[int]:
    """Return the points that no other one beats in both, by x; where equal in both, the first."""
    found: list[int] = []
    for i in np.lexsort((y, x)):
        if np.isfinite(y[i]) and (not found or y[i] < y[found[-1]]):
            found.append(int(i))
    return found
