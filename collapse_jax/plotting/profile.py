"""The collapse profile as a figure."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from collapse_jax.plotting.bands import ANY
from collapse_jax.plotting.style import COLOURS, whole_ticks

LABELS = {
    "risk_rises_much": ("risk rises much", "risk / control's - 1"),
    "risk_rises": ("risk rises", "risk - control's"),
    "risk_diverges": ("risk diverges", "growth beyond saturation"),
    "scaling_law_changes": ("scaling law changes", "slope of log risk - control's"),
    "variance_collapses": ("variance collapses", "(v - c) / (v + c), c control's"),
    "modes_merge": ("modes merge", "modes - control's"),
    "tail_disappears": ("real tail disappears", "tail covered - control's"),
    "off_support_appears": ("off-support data appear", "mass off support - control's"),
}

# What a definition's difference can be at least and at most, where not any number.
_SUPPORT = {"risk_rises_much": (-1.0, np.inf), "variance_collapses": (-1.0, 1.0)}

# Height of the row at the foot of a panel in which one line is shaded, as a share of the panel.
BAR = 0.035


def collapse_profile(profile: xr.Dataset) -> Figure:
    """Return a panel for each definition of collapse: the difference from the control by generation, with its interval.

    `profile` is a `collapse_profile`; of its other dimensions, each combination of labels is a line. The dashed line is
    the control, a dotted one the threshold where that is another number. Shaded along the foot of a panel, one row for
    each line, are the generations at which the definition holds; a definition that was not measured says so. An
    interval without one of its bounds is shaded up to the limit of the panel.
    """
    others = [str(dim) for dim in profile.dims if dim not in ("definition", "generation")]
    lines = profile.stack(line=others) if others else profile.expand_dims("line")
    figure = Figure(figsize=(12.8, 5.6), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True).ravel()
    generation = profile["generation"].to_numpy()
    for ax, definition in zip(axes, profile["definition"].to_numpy(), strict=True):
        title, label = LABELS[definition]
        row = lines.sel(definition=definition)
        ax.set_title(title, fontsize=10)
        if row["value"].isnull().all():
            ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color=COLOURS[7])
            ax.set_yticks([])
            continue
        ax.set_ylabel(label, fontsize=9)
        ax.axhline(0.0, color="black", ls="--", lw=1, label="control")
        if row["threshold"] != 0:
            ax.axhline(float(row["threshold"]), color="black", ls=":", lw=1)
        count = lines.sizes["line"]
        for number in range(count):
            one, colour = row.isel(line=number), COLOURS[number % len(COLOURS)]
            ax.plot(generation, one["value"], color=colour, lw=1.5, label=_name(one, others))
            for bound in (one["lower"].to_numpy(), one["upper"].to_numpy()):
                shown = np.isfinite(bound) & _says(one, definition)
                ax.update_datalim(np.stack([generation, bound], axis=1)[shown])
            # Half a generation either way, so that a definition that holds at one generation alone is seen.
            holds = np.repeat(one["holds"].to_numpy() == 1, 2)
            edges = np.stack([generation - 0.5, generation + 0.5], axis=1).ravel()
            foot, where = BAR * (number + 0.1), ax.get_xaxis_transform()
            ax.fill_between(edges, foot, foot + 0.8 * BAR, where=holds, color=colour, alpha=0.6, lw=0, transform=where)
        # A median of differences of counts may be a half; there is no half of a mode.
        whole_ticks(ax, generation, np.round(row["value"]) if definition == "modes_merge" else None)
        low, high = ax.get_ylim()
        ax.set_ylim(high - (high - low) / (1 - BAR * count), high)
        for number in range(count):
            _band(ax, row.isel(line=number), COLOURS[number % len(COLOURS)], definition)
    for ax in axes[4:]:
        ax.set_xlabel("generation")
    if _too_few(profile):
        figure.suptitle(f"too few lineages for intervals and verdicts at level {profile.attrs['level']}", fontsize=10)
    measured = [ax for ax in axes if ax.get_legend_handles_labels()[1]]
    if measured:
        handles, names = measured[0].get_legend_handles_labels()
        handles, names = [*handles, Patch(color="#666666", alpha=0.6, lw=0)], [*names, "bar: the definition holds"]
        columns = max(1, int(11 * figure.get_figwidth() / (max(map(len, names)) + 8)))
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _says(line: xr.Dataset, definition: str) -> np.ndarray:
    """Return at which generations an interval leaves out a value that the difference can have at all."""
    least, most = _SUPPORT.get(definition, ANY)
    return np.asarray((line["lower"] > least) | (line["upper"] < most))


def _band(ax: Axes, line: xr.Dataset, colour: str, definition: str) -> None:
    """Shade an interval up to the limits of the panel, beyond which an infinite bound is; none that says nothing."""
    lower, upper = line["lower"].to_numpy(), line["upper"].to_numpy()
    where, limits = _says(line, definition), ax.get_ylim()
    generation, foot, top = line["generation"].to_numpy(), lower.clip(*limits), upper.clip(*limits)
    ax.fill_between(generation, foot, top, where=where, color=colour, alpha=0.25, lw=0)


def _too_few(profile: xr.Dataset) -> bool:
    """Return whether a definition has finite values, none of which has a lower bound."""
    over = [dim for dim in profile.dims if dim != "definition"]
    finite: xr.DataArray = xr.apply_ufunc(np.isfinite, profile["value"])
    unbounded = (profile["lower"] == -np.inf) | ~finite
    return bool((finite.any(over) & unbounded.all(over)).any())


def _name(line: xr.Dataset, dims: list[str]) -> str:
    return ", ".join(f"{dim} {line[dim].item()}" for dim in dims) or "population"
