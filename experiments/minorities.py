"""A minority's share tells nothing of its survival, and what keeps the majority good need not keep minorities.

Groups of several shares live in one corpus, so that every lineage shows the whole curve: tokens of a categorical model,
components of a mixture of Gaussians, classes of digits with Zipf's shares. By generation and group: its share, whether
it is still there, its coverage, its error, and the time to disappearance against its share, under twelve mitigations.
For tokens nearly all of it has an exact law: chains of the group's count, by regime (Wright and Fisher). That time is
the first generation without the group, one past the last standing for all that come later, in the law as in the
measure. The error of a group is a mean over the lineages that still have it; of points, in nats, it is a median.

    python -m experiments.minorities

Expected, for tokens: every mitigation on its law. Where a choice is unbiased, a group's expected share does not move,
whatever becomes of the lineages that have it; a reward that prefers the majority, or a verifier that wrongly refuses a
tenth of all others, leaves it in hardly any. A novelty filter lifts its share, and so does editing only the likely
tokens of real text. A mixture's components survive replacement as the law says, but lose their place long before;
autoencoders cover less of the rarest classes the more of their own images they are trained on.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.launch import script
from experiments.testbeds.minority_samples import make_images, make_points
from experiments.testbeds.minority_testbeds import MEASURES, ImagesConfig, Minorities, PointsConfig, TokensConfig
from experiments.testbeds.minority_tokens import make_tokens

TESTBEDS = {"tokens": make_tokens, "points": make_points, "images": make_images}
"""Where groups live; text in groups is measured by `experiments.defences`."""


@dataclasses.dataclass(frozen=True)
class Config(Minorities):
    """Groups of several shares in one corpus, under every mitigation, in one testbed or several."""

    testbeds: tuple[Literal["tokens", "points", "images"], ...] = ("tokens", "points", "images")
    """Where the groups live."""


SMALL = {
    "testbeds": ("tokens", "points"),
    "tokens": TokensConfig(samples=125, generations=20, seeds=60),
    "points": PointsConfig(samples=125, generations=5, seeds=3, drawn=500, held_out=100),
    "images": ImagesConfig(samples=125, generations=2, seeds=2, steps=60),
}
# Lineages from which a mean is normal enough to be scored.
MANY = 50
# A heavy-tailed measure: its testbed and its name.
IN_NATS = ("points", "error")
DRAWN = ("share", "alive", "error")
LABELS = {"share": "share", "alive": "lineages with the group", "coverage": "coverage", "error": "error"}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Run the testbeds; return all measures and laws, their names and dimensions led by the testbed's name."""
    check_config(config)
    if not config.testbeds:
        raise ValueError(f"testbeds is empty; choose of {', '.join(TESTBEDS)}")
    found = []
    for name in dict.fromkeys(config.testbeds):
        dataset = TESTBEDS[name](config, directory / name)
        found.append(dataset.rename({one: f"{name}_{one}" for one in [*dataset.dims, *dataset.data_vars]}))
    return xr.merge(found)


def each(dataset: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield the name and the results of each testbed."""
    for name in TESTBEDS:
        lead = f"{name}_"
        own = [str(one) for one in dataset.variables if str(one).startswith(lead)]
        if own:
            yield name, dataset[own].rename({one: one.removeprefix(lead) for one in own})


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return times to disappearance against shares, and each measure of each testbed by generation."""
    figures = {}
    for name, found in each(dataset):
        figures[f"{name}_time.png"] = draw_times(found)
        for measure in DRAWN:
            law = found.get(f"{measure}_law")
            # Shares span two orders of magnitude. So do errors in nats, of which noise makes some negative, and one
            # lineage rules the mean.
            in_nats = (name, measure) == IN_NATS
            scale = "symlog" if in_nats else "log" if measure == "share" else "linear"
            rows = {
                str(mitigation): plotting.Curve(
                    found[measure].sel(mitigation=mitigation),
                    None if law is None else law.sel(mitigation=mitigation),
                    scale,
                    plotting.SHARE,
                    "median" if in_nats else "mean",
                )
                for mitigation in found["mitigation"].to_numpy()
            }
            figure = plotting.curves(rows, x="generation", hue="group")
            figure.suptitle(
                f"{LABELS[measure]}{' in nats, median' * in_nats}, by group (number: real share)", fontsize=10
            )
            figures[f"{name}_{measure}.png"] = figure
    return figures


def draw_times(found: xr.Dataset) -> Figure:
    """Return when groups disappear, against their share: a panel for each mitigation."""
    against = found.set_coords("real_share").swap_dims(group="real_share").sortby("real_share")
    against = against.expand_dims(quantity=["first generation without the group"])
    # One past the last generation stands for all that come later.
    times = (1.0, found.sizes["generation"] + 1.0)
    rows = {
        str(one): plotting.Curve(
            against["time"].sel(mitigation=one), against["time_law"].sel(mitigation=one), "log", times
        )
        for one in found["mitigation"].to_numpy()
    }
    return plotting.curves(rows, x="real_share", hue="quantity", xscale="log", xlabel="share")


def table(dataset: xr.Dataset) -> str:
    """Return times to disappearance, then what is left at the last generation, each with its law, and z."""
    lines = []
    for name, found in each(dataset):
        last = found.isel(generation=-1)
        programs = len(np.unique(found["program"]))
        sizes = f"{found.sizes['seed']} lineages, {found.sizes['generation']} generations, {programs} programs"
        lines += [f"=== {name}: {sizes}"]
        time = found["time"].mean("seed")
        lines += grid("first generation without the group (law)", time, found["time_law"], ".1f")
        for measure in MEASURES:
            in_nats = (name, measure) == IN_NATS
            label = f"{LABELS[measure]}{' in nats, median' * in_nats}, last generation"
            law, values = last.get(f"{measure}_law"), last[measure]
            middle = values.median("seed") if in_nats else values.mean("seed")
            lines += grid(label if law is None else f"{label} (law)", middle, law, ".3f")
        if found.sizes["seed"] >= MANY:
            lines += scores(found)
    return "\n".join(lines)


def grid(title: str, values: xr.DataArray, law: xr.DataArray | None, form: str) -> list[str]:
    """Return a table of mitigations by groups, with the law of each value in brackets where there is one."""
    lines = [f"\n{title}\n{'':<16}" + "".join(f"{group!s:>15}" for group in values["group"].to_numpy())]
    for mitigation in values["mitigation"].to_numpy():
        line = f"{mitigation!s:<16}"
        for group in values["group"].to_numpy():
            cell = format(float(values.sel(mitigation=mitigation, group=group)), form)
            expected = np.nan if law is None else float(law.sel(mitigation=mitigation, group=group))
            line += f"{cell if np.isnan(expected) else f'{cell} ({expected:{form}})':>15}"
        lines.append(line)
    return lines


def scores(found: xr.Dataset) -> list[str]:
    """Return root mean square and largest |z| over the groups, by the laws' own variances."""
    n, last = found.sizes["seed"], found.isel(generation=-1)
    alive = last["alive_law"].clip(0, 1)
    # Mean and variance by the law, and the chance of the event that a mean counts. A mean is scored only where more
    # than one lineage is expected to see the event: with fewer its error is far from normal.
    known = {
        "share": (last["share_law"], last["share_variance_law"], xr.ones_like(alive)),
        "alive": (alive, alive * (1 - alive), alive * (1 - alive)),
        "time": (found["time_law"], found["time_variance_law"], found["time_lost_law"]),
    }
    lines = ["\nz against the law: root mean square over the groups, largest"]
    lines += [f"{'':<16}" + "".join(f"{name:>15}" for name in known)]
    for mitigation in found["mitigation"].to_numpy():
        line = f"{mitigation!s:<16}"
        for name, (law, variance, chance) in known.items():
            measured = (found if name == "time" else last)[name].mean("seed")
            scored = (measured - law) / np.sqrt(variance / n)
            z = scored.where((variance > 0) & (chance * n > 1)).sel(mitigation=mitigation)
            none = bool(z.isnull().all())
            line += f"{'-' if none else f'{float(np.sqrt((z**2).mean())):.2f}, {float(abs(z).max()):.2f}':>15}"
        if line.count("-") < len(known):
            lines.append(line)
    return lines


def summary(dataset: xr.Dataset) -> str:
    """Return how many lineages of tokens still have the group of about 3 %, under each mitigation, beside the law."""
    found = dict(each(dataset))["tokens"]
    group = int(abs(found["real_share"] - 0.03).argmin("group"))
    last = found.isel(generation=-1, group=group)
    cells = []
    for one in found["mitigation"].to_numpy():
        law = float(last["alive_law"].sel(mitigation=one))
        told = "" if np.isnan(law) else f" ({law:.2f})"
        cells.append(f"{float(last['alive'].sel(mitigation=one).mean()):.2f}{told} {one}")
    return (
        f"group of {float(last['real_share']):.0%} alive after {int(last['generation'])} generations, share of "
        f"{found.sizes['seed']} lineages (law): {', '.join(cells)}"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
