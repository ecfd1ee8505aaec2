"""Gaussians trained on what they emit follow exact laws: replaced data collapse, accumulated data stay.

The grid of Kazdan et al. (arXiv 2410.16713): dimension x sample size x {replace, accumulate, accumulate and
subsample} x seeds x generations, variance and squared error of the mean beside their exact expectations. Replacing and
accumulating run on sufficient statistics, one program for each dimension with all sizes in it; subsampling needs the
examples, and a program for each shape.

    python -m experiments.recursion_gaussian

Expected: means over seeds within two standard errors of their laws in 95 % of all cells (replaced variances only up to
half as many generations as samples, where they are not yet heavy-tailed); accumulated variances at M = 10 end at .8443
in expectation, replaced ones at M = 100 at .37.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.generative.families.gaussian import Gaussian
from experiments.shared.bounds import check_config
from experiments.shared.intervals import deviation, span
from experiments.shared.launch import Options, script, watched

REGIMES = ("replace", "accumulate", "accumulate_subsample")


@dataclass(frozen=True)
class Config(Options):
    """The grid; maximum likelihood fits."""

    dims: tuple[int, ...] = (1, 3, 10, 31, 100)
    """Dimensions of the Gaussians."""
    samples: tuple[int, ...] = (10, 32, 100, 316, 1000)
    """Real examples, and examples emitted by each generation."""
    seeds: int = 100
    """Lineages for each dimension, size and regime."""
    generations: int = 100
    """Models in a row."""
    pool_bytes: int = 2**30
    """Memory for the pools of accumulated examples at any one time."""


_DASHES = "law (replaced: up to generation M/2, beyond which the mean of so few lineages is below it)"
SMALL = {"dims": (1, 3), "samples": (10, 100), "seeds": 30, "generations": 30}


def measure(key: Array, params: Gaussian) -> dict[str, Array]:
    """Return variance and squared error of the mean, both per dimension, of a model of the standard normal."""
    d = len(params.mean)
    return {"variance": jnp.trace(params.covariance) / d, "mean_error": params.mean @ params.mean / d}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Sweep the whole grid; return records and laws."""
    check_config(config)
    regimes = [cj.REGIMES[name] for name in REGIMES]
    seeds = {"seed": range(config.seeds)}
    whole = cj.make_plan(regimes[:2], config.generations, config.samples)
    by_dim = []
    for d in config.dims:
        family = cj.families.gaussian(d)
        parts = [
            cj.sweep(
                cj.make_recursion(family, whole, by="statistics", measure=measure),
                {"samples": config.samples, **seeds},
                **watched(config, directory / f"d{d}"),
                segment=config.generations,
            )
        ]
        subsampled = []
        for samples in _together(config.samples):
            plan = cj.make_plan(regimes[2], config.generations, samples)
            subsampled.append(
                cj.sweep(
                    cj.make_recursion(family, plan, measure=measure),
                    {"regime": regimes[2].name, "samples": samples, **seeds},
                    **watched(config, directory / f"d{d}-subsample-{max(samples)}"),
                    segment=config.generations,
                    max_members=max(
                        jax.device_count(), config.pool_bytes // (4 * d * max(samples) * config.generations)
                    ),
                )
            )
        parts.append(xr.concat(subsampled, "samples"))
        by_dim.append(xr.concat(parts, "regime", combine_attrs="drop"))
    dataset = xr.concat(by_dim, xr.DataArray(list(config.dims), dims="dim", name="dim"), combine_attrs="drop")
    # By dimension the law is that of one dimension.
    plan = cj.make_plan(regimes, config.generations, config.samples)
    law = cj.predict_moments(plan, cj.families.gaussian(1)).isel(ratio=0, drop=True)
    return dataset.drop_vars("diverged").merge(law.rename(variance="variance_law", mean_error="mean_error_law"))


def _together(samples: tuple[int, ...], small: int = 100) -> list[tuple[int, ...]]:
    """Return the sizes that share a program: to pad small ones costs less than to compile for each."""
    few = tuple(one for one in samples if one <= small)
    return [few] * bool(few) + [(one,) for one in samples if one > small]


def _light(dataset: xr.Dataset) -> xr.DataArray:
    """Return where a hundred lineages have a mean near its expectation.

    Once generations outnumber half the samples, replaced variances are so heavy-tailed that lineages which are rarer
    than one in a hundred rule the expectation.
    """
    return (dataset["generation"] <= dataset["samples"] / 2) | (dataset["regime"] != "replace")


def _scores(dataset: xr.Dataset) -> dict[tuple[str, int], np.ndarray]:
    """Return, by regime and size, |z| of all means over seeds against the law, where means are near expectations."""
    light = _light(dataset)
    z = [abs(deviation(dataset[name], dataset[f"{name}_law"])).where(light) for name in ("variance", "mean_error")]
    found = {}
    for regime in dataset["regime"].to_numpy():
        for samples in dataset["samples"].to_numpy():
            every = np.concatenate([one.sel(regime=regime, samples=samples).to_numpy().ravel() for one in z])
            found[regime, samples] = every[np.isfinite(every)]
    return found


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return variance and squared error of the mean against generations, a panel for each regime and dimension.

    The law of what is replaced ends where the mean of so few lineages no longer tells of it.
    """
    figures, light = {}, _light(dataset)
    for name, label in (("variance", "variance"), ("mean_error", "squared error of the mean")):
        rows = {
            f"{label}\n{regime}": plotting.Curve(
                dataset[name].sel(regime=regime), dataset[f"{name}_law"].where(light).sel(regime=regime), "log"
            )
            for regime in dataset["regime"].to_numpy()
        }
        figures[f"{name}.png"] = plotting.curves(rows, x="generation", hue="samples", column="dim", dashes=_DASHES)
    return figures


def table(dataset: xr.Dataset) -> str:
    """Return, by regime and size, variance at the last generation beside its law, and the largest |z| over the grid.

    z is that of `_scores`.
    """
    scores, last = _scores(dataset), dataset.isel(generation=-1)
    lines = [
        f"{'regime':<22}{'samples':>8} {'variance (law)':>22} {'mean error (law)':>24} {'share |z| < 2 / < 3':>20}",
    ]
    for regime in dataset["regime"].to_numpy():
        for samples in dataset["samples"].to_numpy():
            row = last.sel(regime=regime, samples=samples)
            zs = scores[regime, samples]
            v, m = float(row["variance"].mean()), float(row["mean_error"].mean())
            lines.append(
                f"{regime:<22}{samples:>8} {v:>12.4g} ({float(row['variance_law']):.4g})"
                f" {m:>14.4g} ({float(row['mean_error_law']):.4g})"
                f" {np.mean(zs < 2):>12.3f} / {np.mean(zs < 3):.3f}"
            )
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return how many means agree with their law, and what the smallest accumulated model comes to."""
    within = [np.mean(zs < 2) for zs in _scores(dataset).values()]
    last = dataset.sel(regime="accumulate").isel(generation=-1, samples=0)
    return (
        f"means over {dataset.sizes['seed']} seeds within 2 standard errors of the law in {span(within, '.0%')} of the "
        f"cells of a regime and size; accumulated, M = {int(last['samples'])}: variance "
        f"{float(last['variance'].mean()):.3f} (law {float(last['variance_law']):.3f})"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
