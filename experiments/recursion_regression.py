"""Regressions on their own labels: errors add up when labels are replaced, and stay bounded when they accumulate.

Gerstgrasser et al. (arXiv 2404.01413): with n examples in d dimensions and noise σ², replacing all labels in every
generation gives the test error σ²d/(n-d-1) · t, accumulating them on the same inputs σ²d/(n-d-1) · Σ 1/i², at most
π²/6 times the first, and on fresh inputs a little less, exactly σ² Σ d/(i (i n - d - 1)). Ridge and logistic
regression, which have no such law, stand beside it.

    python -m experiments.recursion_regression

Expected: least squares at the tenth generation 10 times the first error when replaced, 1.55 times on the same inputs,
a little less on fresh ones.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.intervals import deviation, span
from experiments.shared.launch import Options, script, watched

ARMS = ("replace", "accumulate, same inputs", "accumulate, fresh inputs")


@dataclass(frozen=True)
class Config(Options):
    """Sizes and lineages."""

    dim: int = 10
    """Dimension of the inputs."""
    samples: tuple[int, ...] = (30, 100)
    """Examples of each generation."""
    generations: int = 10
    """Models in a row."""
    seeds: int = 1000
    """Lineages for each arm."""
    ridge: float = 0.1
    """Penalty of the ridge regression, beside mean squares."""


SMALL = {"samples": (30,), "seeds": 200}


def measure(family: cj.generative.Family, key: Array, coefficients: Array) -> dict[str, Array]:
    """Return the squared error of the coefficients: the test error above the noise, for standard normal inputs."""
    return {"error": jnp.sum((coefficients - jnp.asarray(family.truth)) ** 2)}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Sweep the three arms for three regressions; return squared errors and laws."""
    check_config(config)
    families = {
        "least squares": cj.families.regression(config.dim),
        "ridge": cj.families.regression(config.dim, ridge=config.ridge),
        "logistic": cj.families.logistic(config.dim, steps=8, ridge=0.03),
    }
    regimes = [cj.REGIMES["replace"], cj.REGIMES["accumulate"]]
    errors = []
    for name, family in families.items():
        by_size = []
        for samples in config.samples:
            plan = cj.make_plan(regimes, config.generations, samples)
            arms = [
                cj.sweep(
                    cj.make_recursion(family, plan, respond=same, measure=partial(measure, family)),
                    {"seed": range(config.seeds)},
                    **watched(config, directory / f"{name}-{samples}-{'same' if same else 'fresh'}".replace(" ", "-")),
                    vmap_members=16,
                )["error"]
                for same in (True, False)
            ]
            joined = xr.concat([arms[0], arms[1].sel(regime=["accumulate"])], "regime")
            by_size.append(joined.rename(regime="arm").assign_coords(arm=list(ARMS)))
        errors.append(xr.concat(by_size, xr.DataArray(list(config.samples), dims="samples", name="samples")))
    error = xr.concat(errors, xr.DataArray(list(families), dims="estimator", name="estimator"))
    laws = (
        cj.generative.laws.regression_replace,
        cj.generative.laws.regression_accumulate,
        cj.generative.laws.regression_accumulate_fresh,
    )
    law = np.full((len(families), len(ARMS), len(config.samples), config.generations), np.nan)
    law[0] = [[one(samples, config.dim, 1.0, config.generations) for samples in config.samples] for one in laws]
    return xr.Dataset({"error": error, "law": (("estimator", "arm", "samples", "generation"), law)})


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return error against generations, one row for each size, one panel for each estimator."""
    rows = {
        f"squared error, n = {samples}": plotting.Curve(
            dataset["error"].sel(samples=samples),
            dataset["law"].sel(samples=samples),
            support=plotting.POSITIVE,
        )
        for samples in dataset["samples"].to_numpy()
    }
    titles = {name: name for name in dataset["estimator"].to_numpy()}
    return {"figure.png": plotting.curves(rows, x="generation", hue="arm", column="estimator", titles=titles)}


def table(dataset: xr.Dataset) -> str:
    """Return the error of the last generation beside its law, with z, and its growth since the first."""
    lines = [f"{'estimator':<16}{'arm':<26}{'n':>5}{'error':>10}{'law':>10}{'z':>7}{'error / first error':>21}"]
    for estimator in dataset["estimator"].to_numpy():
        for arm in ARMS:
            for samples in dataset["samples"].to_numpy():
                row = dataset.sel(estimator=estimator, arm=arm, samples=samples)
                last, law = row["error"].isel(generation=-1), row["law"].isel(generation=-1)
                mean, z = float(last.mean()), float(deviation(last, law))
                growth = mean / float(row["error"].isel(generation=0).mean())
                lines.append(
                    f"{estimator:<16}{arm:<26}{samples:>5}{mean:>10.4f}{float(law):>10.4f}{z:>7.2f}{growth:>21.2f}"
                )
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return by how much the error of least squares grows in each arm, and the largest |z| against the law."""
    error, law = (dataset[name].sel(estimator="least squares") for name in ("error", "law"))
    growth, expected = (one.isel(generation=-1) / one.isel(generation=0) for one in (error.mean("seed"), law))
    last = error.isel(generation=-1)
    z = abs(deviation(last, law.isel(generation=-1)))
    arms = ", ".join(
        f"{span(growth.sel(arm=arm), '.2f')} {arm} (law {span(expected.sel(arm=arm), '.2f')})"
        for arm in error["arm"].to_numpy()
    )
    return f"error of generation {int(last['generation'])} over the first: {arms}; largest |z| {float(z.max()):.1f}"


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
