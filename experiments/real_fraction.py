"""It is the mass of real data that counts where it is many examples and a small share; replayed ones buy a third.

Each generation trains on αM real examples and (1 - α)M generated ones. "A share of real data" is three regimes: fresh
examples; as many of one set of M drawn anew each time, as in Nature's text (631:755); the same ones replayed. Over the
fraction α and the size M it is the phase diagram of Alemohammad et al. (arXiv 2307.01850). The stationary squared error
of a Gaussian's mean, times the mass αM of real examples, is one number over the whole diagram where α is small and αM
large: 1/(2 - α) for fresh examples, 1 + 2α(1 - α) times that drawn anew, 3 - 2α times that replayed.

    python -m experiments.real_fraction

Expected: error times αM on its law, for every regime and size; a replayed example counts for a third of a fresh one
where α is small.
"""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.generative.families.gaussian import Gaussian
from experiments.shared.bounds import check_config
from experiments.shared.intervals import span
from experiments.shared.launch import Options, script, watched

REGIMES = {
    "real_fraction_fresh": "fresh",
    "real_fraction_resampled": "of one set, drawn anew",
    "real_fraction_replayed": "replayed",
}


@dataclass(frozen=True)
class Config(Options):
    """The grid; Gaussians fitted by maximum likelihood."""

    samples: tuple[int, ...] = (32, 100, 316, 1000)
    """Examples that train a generation."""
    ratios: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3, 0.5, 1.0)
    """Shares of real examples among them, none of which may round to no example; 1 is the control."""
    generations: int = 200
    """Models in a row; what is reported is the mean over the last quarter."""
    seeds: int = 200
    """Lineages for each cell."""


SMALL = {"samples": (32, 100), "ratios": (0.0, 0.1, 0.5, 1.0), "generations": 40, "seeds": 40}


def measure(key: Array, params: Gaussian) -> dict[str, Array]:
    """Return variance, squared error of the mean, and squared W2 distance to the standard normal."""
    variance, error = params.covariance[0, 0], params.mean[0] ** 2
    return {"variance": variance, "mean_error": error, "w2_squared": error + (jnp.sqrt(variance) - 1.0) ** 2}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Sweep the diagram, one program for each size; return late means and the exact law at the last generation."""
    check_config(config)
    parts, laws, family = [], [], cj.families.gaussian(1)
    for samples in config.samples:
        plan = cj.make_plan([cj.REGIMES[name] for name in REGIMES], config.generations, samples, config.ratios)
        swept = cj.sweep(
            cj.make_recursion(family, plan, measure=measure),
            {**plan.axes, "seed": range(config.seeds)},
            **watched(config, directory / f"samples-{samples}"),
            vmap_members=64,
        )
        parts.append(swept.drop_vars("diverged"))
        laws.append(cj.predict_moments(plan, family))
    dataset, law = xr.concat(parts, "samples", combine_attrs="drop"), xr.concat(laws, "samples")
    late = slice(-(config.generations // 4), None)
    return (
        dataset.isel(generation=late)
        .mean("generation")
        .merge(
            law.isel(generation=late).mean("generation").rename(variance="variance_law", mean_error="mean_error_law")
        )
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return the phase diagram of W2², and the errors against the mass of real examples."""
    error = dataset["w2_squared"].mean("seed")
    mass = (dataset["ratio"] * dataset["samples"]).round()
    diagram = plotting.phase_diagram(
        {label: error.sel(regime=name).drop_vars("regime") for name, label in REGIMES.items()},
        x="ratio",
        y="samples",
        label="squared W2 to the truth (lines: as many real examples)",
        lines=mass.where(mass > 0, 0.1),
    )
    rows = {
        f"{label}": plotting.Curve(dataset[name], dataset[f"{name}_law"], scale, plotting.POSITIVE)
        for name, label, scale in (
            ("mean_error", "squared error of the mean", "log"),
            ("variance", "variance", "linear"),
        )
    }
    curves = plotting.curves(
        rows, x="ratio", hue="samples", column="regime", titles=REGIMES, xlabel="share of real data"
    )
    return {"figure.png": diagram, "curves.png": curves}


def table(dataset: xr.Dataset) -> str:
    """Return error x real mass by cell beside its law: nearly constant down each column while α is small."""
    lines = [
        "squared error of the mean x real examples αM, measured (law); replayed / fresh tends to 3 - 2α, "
        "drawn anew / fresh to 1 + 2α(1 - α)"
    ]
    for name in REGIMES:
        lines.append(
            f"\n{name}\n{'samples':>9}" + "".join(f"{f'α = {r:g}':>18}" for r in dataset["ratio"].to_numpy() if r)
        )
        for samples in dataset["samples"].to_numpy():
            cells = []
            for ratio in dataset["ratio"].to_numpy():
                if ratio:
                    row = dataset.sel(regime=name, samples=samples, ratio=ratio)
                    real = round(float(ratio * samples))
                    measured, law = float(row["mean_error"].mean()), float(row["mean_error_law"])
                    cells.append(f"{real * measured:.3f} ({real * law:.3f})")
            lines.append(f"{samples:>9}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return error x real mass beside its law, at the smallest share above none and at the largest below all."""
    parts = []
    real = (dataset["ratio"] * dataset["samples"]).round()
    for name, label in REGIMES.items():
        measured, law = (
            real * one.sel(regime=name) for one in (dataset["mean_error"].mean("seed"), dataset["mean_error_law"])
        )
        shares = [share for share in dataset["ratio"].to_numpy() if 0 < share < 1]
        cells = [
            f"{span(measured.sel(ratio=share), '.2f')} at α = {share:g} (law {span(law.sel(ratio=share), '.2f')})"
            for share in (shares[0], shares[-1])
        ]
        parts.append(f"{label} {' and '.join(cells)}")
    sizes = dataset["samples"].to_numpy()
    return f"error x αM, M = {sizes[0]} to {sizes[-1]}: {'; '.join(parts)}"


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
