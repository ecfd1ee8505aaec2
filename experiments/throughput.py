"""How much work a second: one compiled population against plain loops, by ratio in one run.

Gaussians on their own samples against a NumPy loop; language models (training and writing) and text reward models
against one jitted run after the other, and against a PyTorch loop of the same model where PyTorch is installed
(`pip install -e '.[bench]'`). Neural work stands beside the machine's peak rate of matrix products, measured here.

    python -m experiments.throughput     four minutes on two CPU cores

Expected on two cores: Gaussians at 10 samples 23 times the loop by examples and 18 times by statistics, at 1000 samples
2 and 36 times. Language models train at 1.1 to 1.2 times the PyTorch loop's rate, a fifth of the matrix peak, and write
at 1.9 times it. Reward models that encode each completion train at .9 times the loop's rate, those that read a prompt
once at 7 times.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import xarray as xr
from jax.experimental.compilation_cache import compilation_cache
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.launch import Options, launch
from experiments.workloads import (
    LOOP,
    ONE_BY_ONE,
    POPULATION,
    STATISTICS,
    Workload,
    gaussian,
    language_models,
    matrix_peak,
    reward_models,
)

_CACHE = "jax_compilation_cache_dir"


@dataclass(frozen=True)
class Config(Options):
    """What is timed, its sizes, and how often."""

    work: tuple[Literal["gaussian", "language", "reward"], ...] = ("gaussian", "language", "reward")
    """Kinds of work."""
    samples: tuple[int, ...] = (10, 1000)
    """Examples of a Gaussian generation."""
    generations: int = 100
    """Generations of a Gaussian lineage."""
    lineages: int = 20_000
    """Lineages of the population at 10 examples; fewer in proportion beyond 100, so that each takes about as long."""
    members: int = 4
    """Networks of a population."""
    steps: int = 40
    """Optimiser steps of a language model; a reward model takes a tenth."""
    rows: int = 256
    """Rows that a language model writes."""
    layers: int = 2
    """Blocks of the language model."""
    width: int = 64
    """Width of the language model; the reward model has twice as many blocks, twice as wide."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of activations; bfloat16 is faster on accelerators."""
    repeats: int = 3
    """Interleaved repeats; medians are reported."""


SMALL = {"generations": 30, "lineages": 4000, "members": 2, "steps": 20}
WAYS = (LOOP, ONE_BY_ONE, POPULATION, STATISTICS)


def workloads(config: Config) -> list[Workload]:
    """Return the pieces of work of a configuration."""
    found: list[Workload] = []
    if "gaussian" in config.work:
        for samples in config.samples:
            lineages = max(config.lineages * 100 // max(samples, 100), 200)
            found.append(gaussian(samples, config.generations, lineages))
    if "language" in config.work:
        sizes = cj.Architecture(config.layers, config.width, dtype=config.dtype)
        found += language_models(sizes, members=config.members, steps=config.steps, rows=config.rows)
    if "reward" in config.work:
        sizes = cj.Architecture(2 * config.layers, 2 * config.width, dtype=config.dtype)
        found += reward_models(sizes, members=config.members, steps=max(config.steps // 10, 1))
    return found


def run(config: Config, directory: Path) -> xr.Dataset:
    """Time every way of every piece of work, interleaved; return units a second."""
    work = workloads(config)
    speed = np.full((len(work), len(WAYS), config.repeats), np.nan)
    peak = np.empty(config.repeats)
    with tempfile.TemporaryDirectory() as cache:
        # Each repeat compiles anew: from a cache, so that it takes a second and not ten.
        before = getattr(jax.config, _CACHE)
        jax.config.update(_CACHE, cache)
        compilation_cache.reset_cache()
        for repeat in range(config.repeats):
            peak[repeat] = matrix_peak()
            for i, one in enumerate(work):
                for way, timed in one.ways.items():
                    speed[i, WAYS.index(way), repeat] = timed()
        jax.config.update(_CACHE, before)
        # JAX would go on writing into the folder that is about to be removed.
        compilation_cache.reset_cache()
    return xr.Dataset(
        {
            "speed": (("work", "way", "repeat"), speed),
            "operations": ("work", [one.operations for one in work]),
            "unit": ("work", [one.unit for one in work]),
            "peak": ("repeat", peak),
        },
        {"work": [one.name for one in work], "way": list(WAYS)},
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return the ratio of each way to the slowest measured of its work."""
    medians = dataset["speed"].median("repeat")
    return {
        "figure.png": plotting.bars(medians / medians.min("way"), x="work", hue="way", label="ratio to the slowest")
    }


def table(dataset: xr.Dataset) -> str:
    """Return medians, their ratio to the loop with the range over repeats, and their share of the peak."""
    lines = [
        f"matrix peak {float(dataset['peak'].median()) / 1e9:.0f} GFLOP/s\n",
        f"{'work':<32}{'way':<24}{'a second':>14} {'unit':<12}{'ratio to loop':>14}{'range':>16}{'of peak':>9}",
    ]
    for name in dataset["work"].to_numpy():
        one = dataset.sel(work=name)
        base = one["speed"].sel(way=LOOP if one["speed"].sel(way=LOOP).notnull().all() else ONE_BY_ONE)
        for way in WAYS:
            speed = one["speed"].sel(way=way)
            if speed.isnull().any():
                continue
            ratio = (speed / base).to_numpy()
            share = float((speed * one["operations"] / dataset["peak"]).median())
            lines.append(
                f"{name:<32}{way:<24}{float(speed.median()):>14,.0f} {one['unit'].item():<12}{np.median(ratio):>14.2f}"
                f"{f'{ratio.min():.2f} - {ratio.max():.2f}':>16}{'' if np.isnan(share) else f'{share:.0%}':>9}"
            )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    launch("throughput", Config(), SMALL, run, draw, table, description=__doc__)


if __name__ == "__main__":
    main()
