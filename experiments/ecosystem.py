"""Models that feed one shared pool forget more slowly, and grow alike.

G models emit M examples each into a pool, of which each is trained on M, drawn without replacement. The expected
diversity within a model and across models follows by coalescence: the ecosystem drifts like one model of G M examples.

    python -m experiments.ecosystem

Expected: diversity at generation 60 of .042, .091, .237 and .433 within 1, 2, 4 and 8 models, and hardly more across
them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.intervals import deviation
from experiments.shared.launch import Options, script, watched


@dataclass(frozen=True)
class Config(Options):
    """Ecosystems of categorical models with a uniform truth."""

    models: tuple[int, ...] = (1, 2, 4, 8)
    """Models that share a pool."""
    vocabulary: int = 10
    """Tokens, equally likely in truth."""
    samples: int = 20
    """Examples that each model emits and is trained on."""
    generations: int = 60
    """Generations of each model."""
    seeds: int = 400
    """Ecosystems of each size."""


SMALL = {"models": (1, 4), "generations": 20, "seeds": 100}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Sweep ecosystems, one program for each size; return diversity within and across models, and their laws."""
    check_config(config)
    family = cj.families.categorical(config.vocabulary, exponent=0.0)
    parts = []
    for models in config.models:
        plan = cj.make_plan(cj.generative.ecosystem(models), config.generations, config.samples)
        swept = cj.sweep(
            cj.make_recursion(family, plan),
            {"seed": range(config.seeds)},
            **watched(config, directory / f"models-{models}"),
            vmap_members=32,
        )
        if models == 1:
            swept = swept.expand_dims("model")
        p = swept["mean"]
        alike = (p.sum("model") ** 2).sum("dim") - (p**2).sum(["dim", "model"])
        law = cj.generative.laws.ecosystem_heterozygosity(
            1 - 1 / config.vocabulary, models, config.samples, config.generations
        )
        over = ("generation",)
        parts.append(
            xr.Dataset(
                {
                    "within": swept["variance"].mean("model"),
                    "across": 1 - alike / (models * (models - 1)) if models > 1 else xr.full_like(alike, np.nan),
                    "within_law": (over, law.within),
                    "across_law": (over, law.across if models > 1 else np.full(config.generations, np.nan)),
                }
            )
        )
    return xr.concat(parts, xr.DataArray(list(config.models), dims="models", name="models"))


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return diversity within and across models against generations, by the number of models."""
    rows = {
        f"diversity {name} models": plotting.Curve(dataset[name], dataset[f"{name}_law"], support=plotting.SHARE)
        for name in ("within", "across")
    }
    return {"figure.png": plotting.curves(rows, x="generation", hue="models")}


def table(dataset: xr.Dataset) -> str:
    """Return the diversity of the last generation beside its law, with z."""
    last = dataset.isel(generation=-1)
    lines = [f"{'models':>6}{'within (law)':>20}{'z':>7}{'across (law)':>20}{'z':>7}"]
    for models in dataset["models"].to_numpy():
        line = f"{models:>6}"
        for name in ("within", "across"):
            values, law = last[name].sel(models=models), last[f"{name}_law"].sel(models=models)
            mean, z = float(values.mean()), float(deviation(values, law))
            line += f"{f'{mean:.4f} ({float(law):.4f})':>20}{z:>7.2f}" if np.isfinite(law) else f"{'-':>20}{'-':>7}"
        lines.append(line)
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return the last diversity within models beside its law, and the largest |z|."""
    last = dataset.isel(generation=-1)
    z = [abs(deviation(last[name], last[f"{name}_law"])) for name in ("within", "across")]
    within = [
        f"{float(last['within'].sel(models=models).mean()):.3f} ({float(last['within_law'].sel(models=models)):.3f})"
        for models in dataset["models"].to_numpy()
    ]
    sizes = ", ".join(map(str, dataset["models"].to_numpy()))
    return (
        f"diversity at t = {int(last['generation'])} of {sizes} models (law): "
        f"{', '.join(within)}; largest |z| {max(float(one.max()) for one in z):.1f}"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
