"""Tails go first: rare tokens die, one generation after another, and no later generation brings them back.

A categorical model over a Zipf vocabulary, p_i in proportion to i^-β, trained on M of its own tokens. After one
generation the missing mass falls like M^-(1 - 1/β) (Dohmatob et al., arXiv 2402.07043); on data cut off after the k
most probable tokens it stops at a plateau, the mass k^-(β - 1) of what was cut. Survivors and missing mass by
generation follow the exact transition matrix of Wright and Fisher, and so does the coverage of a minority, the rare
tokens that share 5 % of the mass: its mean share stays, its members vanish.

    python -m experiments.tails

Expected: the slope of log missing mass of the exact law of this vocabulary, -.419 (of an endless one -1/3); plateaus,
survivors and missing mass on their exact laws; the minority's share stays while its coverage falls.
"""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.launch import Options, script, watched


@dataclass(frozen=True)
class Config(Options):
    """Vocabulary, sizes and lineages."""

    vocabulary: int = 2000
    """Tokens."""
    exponent: float = 1.5
    """β of Zipf's law."""
    samples: tuple[int, ...] = (100, 316, 1000, 3162, 10000)
    """Tokens that train a generation."""
    cutoffs: tuple[int, ...] = (20, 100, 500)
    """Tokens that are kept where the data are cut off."""
    generations: int = 30
    """Models in a row."""
    seeds: int = 40
    """Lineages for each size."""
    longest: int = 1000
    """The largest size for which the transition matrix is computed."""


SMALL = {"vocabulary": 300, "samples": (30, 100, 300), "cutoffs": (20,), "generations": 12, "seeds": 20}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Sweep sizes for the whole truth and for each cutoff; return measures and laws."""
    check_config(config, cutoffs=(1, config.vocabulary))
    family = cj.families.categorical(config.vocabulary, exponent=config.exponent)
    truth = np.asarray(family.truth, np.float64)
    truth /= truth.sum()
    minority = np.cumsum(truth) > 0.95

    def measure(key: Array, p: Array) -> dict[str, Array]:
        real, rare = jnp.asarray(truth, p.dtype), jnp.asarray(minority)
        return {
            "missing": cj.metrics.missing_mass(p, real),
            "survivors": cj.metrics.survivors(p),
            "minority_share": cj.metrics.group_share(p, rare),
            "minority_coverage": 1.0 - jnp.sum(real * rare * (p <= 0)) / jnp.sum(real * rare),
        }

    axes = {"seed": range(config.seeds)}
    plan = cj.make_plan(cj.REGIMES["replace"], config.generations, config.samples)
    once = cj.make_plan(cj.REGIMES["replace"], 1, config.samples)
    dataset = cj.sweep(
        cj.make_recursion(family, plan, by="statistics", measure=measure),
        {"samples": config.samples, **axes},
        **watched(config, directory / "whole"),
    )
    cut, cut_law = [], []
    for kept in config.cutoffs:
        head = np.where(np.arange(config.vocabulary) < kept, truth, 0.0)
        head /= head.sum()
        swept = cj.sweep(
            cj.make_recursion(family, once, by="statistics", initial=jnp.asarray(head, jnp.float32), measure=measure),
            {"samples": config.samples, **axes},
            **watched(config, directory / f"cut-{kept}"),
        )
        cut.append(swept["missing"].isel(generation=0, drop=True))
        cut_law.append([cj.generative.laws.missing_mass(truth, m, drawn_from=head) for m in config.samples])
    over = ("samples", "generation")
    survivors, coverage, missing = (np.full((len(config.samples), config.generations), np.nan) for _ in range(3))
    for i, m in enumerate(config.samples):
        missing[i, 0] = cj.generative.laws.missing_mass(truth, m)
        if m <= config.longest:
            alive = cj.generative.laws.survival_probability(truth, [m] * config.generations)
            survivors[i], missing[i] = alive.sum(1), 1 - alive @ truth
            coverage[i] = alive @ (truth * minority) / truth[minority].sum()
    cutoffs = xr.DataArray(list(config.cutoffs), dims="cutoff", name="cutoff")
    return dataset.drop_vars("diverged").assign(
        cut=xr.concat(cut, cutoffs),
        cut_law=(("cutoff", "samples"), cut_law),
        survivors_law=(over, survivors),
        missing_law=(over, missing),
        minority_coverage_law=(over, coverage),
        minority_share_law=(over, np.full_like(missing, truth[minority].sum())),
        zipf_law=("samples", [cj.generative.laws.zipf_missing_mass(config.exponent, m) for m in config.samples]),
        plateau=("cutoff", [float(truth[k:].sum()) for k in config.cutoffs]),
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return what survives against generations, and missing mass against size with and without a cutoff."""
    rows = {
        label: plotting.Curve(dataset[name], dataset[f"{name}_law"], scale, support)
        for name, label, scale, support in (
            ("survivors", "surviving tokens", "log", plotting.POSITIVE),
            ("missing", "missing mass", "log", plotting.SHARE),
            ("minority_share", "share of the minority", "linear", plotting.SHARE),
            ("minority_coverage", "coverage of the minority", "linear", plotting.SHARE),
        )
    }
    first = dataset.isel(generation=0)
    measured = xr.concat(
        [first["missing"], *(dataset["cut"].sel(cutoff=k, drop=True) for k in dataset["cutoff"])], "data"
    )
    law = xr.concat(
        [first["missing_law"], *(dataset["cut_law"].sel(cutoff=k, drop=True) for k in dataset["cutoff"])], "data"
    )
    names = {"data": ["whole", *(f"first {k}" for k in dataset["cutoff"].to_numpy())]}
    slope = plotting.curves(
        {
            "missing mass": plotting.Curve(
                measured.assign_coords(names), law.assign_coords(names), "log", plotting.SHARE
            )
        },
        x="samples",
        hue="data",
        xscale="log",
    )
    return {"figure.png": plotting.curves(rows, x="generation", hue="samples"), "slope.png": slope}


def _slope(missing: xr.DataArray) -> float:
    """Return the slope of log missing mass against log size."""
    return float(np.polyfit(np.log(missing["samples"].to_numpy()), np.log(missing.to_numpy()), 1)[0])


def table(dataset: xr.Dataset) -> str:
    """Return slopes of missing mass against size, plateaus, and what is left at the last generation."""
    first, last = dataset.isel(generation=0), dataset.isel(generation=-1)
    lines = [
        f"slope of log missing mass: {_slope(first['missing'].mean('seed')):.3f}; exact law of this vocabulary "
        f"{_slope(first['missing_law']):.3f}; endless vocabulary {_slope(dataset['zipf_law']):.3f}",
        "",
        f"{'cut after':>10}{'missing at largest M (law)':>30}{'plateau':>10}",
    ]
    for cutoff in dataset["cutoff"].to_numpy():
        row = dataset.sel(cutoff=cutoff).isel(samples=-1)
        cell = f"{float(row['cut'].mean()):.4f} ({float(row['cut_law']):.4f})"
        lines.append(f"{cutoff:>10}{cell:>30}{float(row['plateau']):>10.4f}")
    lines += [
        "",
        f"{'M':>6}{'survivors (law)':>22}{'missing (law)':>20}{'minority share (law)':>22}{'coverage (law)':>18}",
    ]
    for samples in dataset["samples"].to_numpy():
        line = f"{samples:>6}"
        for name, width in (("survivors", 22), ("missing", 20), ("minority_share", 22), ("minority_coverage", 18)):
            value, law = float(last[name].sel(samples=samples).mean()), float(last[f"{name}_law"].sel(samples=samples))
            line += f"{f'{value:.4g} ({law:.4g})' if np.isfinite(law) else f'{value:.4g} (-)':>{width}}"
        lines.append(line)
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return slopes of missing mass, distances to the plateaus' law, and survivors, each beside its law."""
    first, last = dataset.isel(generation=0), dataset.isel(generation=-1)
    slopes = (_slope(one) for one in (first["missing"].mean("seed"), first["missing_law"], dataset["zipf_law"]))
    measured, exact, endless = (f"{one:.3f}" for one in slopes)
    off = abs(dataset["cut"].mean("seed") - dataset["cut_law"]).isel(samples=-1).max()
    known = last["samples"][np.isfinite(last["survivors_law"])]
    alive = ", ".join(
        f"{float(last['survivors'].sel(samples=m).mean()):.1f} ({float(last['survivors_law'].sel(samples=m)):.1f})"
        for m in known.to_numpy()
    )
    return (
        f"slope {measured} (exact {exact}, endless vocabulary {endless}); largest distance of a cut-off's missing mass "
        f"from its law {float(off):.1e}; survivors at t = {int(last['generation'])}: {alive}"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
