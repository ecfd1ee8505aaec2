"""How many generations a second: one compiled population against a plain NumPy loop, by ratio in one run.

Gaussians in one dimension, replaced, at several sizes: the loop draws, fits and records one lineage after another, as a
user would write it. The population runs all lineages at once, by examples and by sufficient statistics.

    python -m experiments.throughput     two and a half minutes on two CPU cores, most of it compilation

Expected: at 10 samples 36 times the loop by examples and 19 times by statistics, at 1000 samples 2 and 36 times: there
an example costs about 40 ns of a core either way, and the second core is all that is gained.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.launch import Options, launch


@dataclass(frozen=True)
class Config(Options):
    """Sizes, and how often each way is timed."""

    samples: tuple[int, ...] = (10, 1000)
    """Examples of a generation."""
    generations: int = 100
    """Generations of a lineage."""
    lineages: int = 20_000
    """Lineages of the population at 10 examples; fewer in proportion beyond 100, so that each takes about as long."""
    repeats: int = 3
    """Interleaved repeats; medians are reported."""


SMALL = {"samples": (10, 1000), "generations": 30, "lineages": 4000, "repeats": 3}


def numpy_loop(samples: int, generations: int, lineages: int) -> np.ndarray:
    """Return mean and variance of every generation: the plain loop."""
    records = np.empty((lineages, generations, 2))
    for lineage in range(lineages):
        rng = np.random.default_rng(lineage)
        mean, scale = 0.0, 1.0
        for generation in range(generations):
            x = rng.normal(mean, scale, samples)
            mean, scale = x.mean(), x.std()
            records[lineage, generation] = mean, scale**2
    return records


def run(config: Config, directory: Path) -> xr.Dataset:
    """Time each way at each size, interleaved; return generations x lineages a second."""
    family = cj.families.gaussian(1)
    ways = ("NumPy loop", "examples", "statistics")
    speed = np.empty((len(ways), len(config.samples), config.repeats))
    for j, samples in enumerate(config.samples):
        plan = cj.make_plan(cj.REGIMES["replace"], config.generations, samples)
        lineages = max(config.lineages * 100 // max(samples, 100), 200)
        for repeat in range(config.repeats):
            few = max(20_000 // (config.generations * (1 + samples // 1000)), 5)
            begin = time.perf_counter()
            numpy_loop(samples, config.generations, few)
            speed[0, j, repeat] = few * config.generations / (time.perf_counter() - begin)
            for i, make in enumerate((cj.make_recursion, cj.make_fused_recursion), 1):
                # Seconds of running: compilation happens once, and is shown by every experiment's provenance.
                swept = cj.sweep(
                    make(family, plan),
                    {"seed": range(repeat * lineages, (repeat + 1) * lineages)},
                    segment=config.generations,
                    vmap_members=256,
                    progress=False,
                )
                seconds = json.loads(swept.attrs["provenance"])["run_seconds"]
                speed[i, j, repeat] = lineages * config.generations / seconds
    return xr.Dataset(
        {"speed": (("way", "samples", "repeat"), speed)}, {"way": list(ways), "samples": list(config.samples)}
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return generations a second against the size, a line a way."""
    rows = {"generations x lineages a second": plotting.Curve(dataset["speed"].median("repeat"), None, "log")}
    return {"figure.png": plotting.curves(rows, x="samples", hue="way", xscale="log")}


def table(dataset: xr.Dataset) -> str:
    """Return medians, and their ratio to the loop with the smallest and the largest of the repeats."""
    lines = [f"{'samples':>8}{'way':>14}{'generations / s':>18}{'ratio to the loop':>20}{'range':>16}"]
    for samples in dataset["samples"].to_numpy():
        loop = dataset["speed"].sel(samples=samples, way="NumPy loop")
        for way in dataset["way"].to_numpy():
            one = dataset["speed"].sel(samples=samples, way=way)
            ratio = (one / loop).to_numpy()
            lines.append(
                f"{samples:>8}{way:>14}{float(one.median()):>18,.0f}{np.median(ratio):>20.1f}"
                f"{f'{ratio.min():.1f} - {ratio.max():.1f}':>16}"
            )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    launch("throughput", Config(), SMALL, run, draw, table, description=__doc__)


if __name__ == "__main__":
    main()
