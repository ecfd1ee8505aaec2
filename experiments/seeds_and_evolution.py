"""Evolving a few seeds covers what resampling never reaches, breaks some of it, and needs elimination and novelty.

A pool of instructions starts from real seeds and grows by what it emits, in a world where everything is known exactly:
topics x depths with a long tail, of which the seeds are a small sample. At the same budget four ways are compared:
resampling members as they are, evolving them (deepened or broadened: Self-Instruct, arXiv 2212.10560; Evol-Instruct,
arXiv 2304.12244), evolving with elimination of broken ones by an imperfect check, and with a novelty filter on top.

    python -m experiments.seeds_and_evolution

Expected: evolving covers far more of the truth than resampling, novelty a little more still; broken mass .140, .0067
with elimination, mean depth 2.43, by their laws, where the truth has 1.36: what evolves drifts to depth, and novelty
drives it further.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.launch import Options, script, watched


@dataclass(frozen=True)
class Config(Options):
    """The world of instructions and the budget."""

    topics: int = 50
    """Topics, by Zipf's law."""
    depths: int = 8
    """Depths of an instruction, each less likely than the one before."""
    failure: float = 0.1
    """Probability that deepening breaks an instruction."""
    samples: int = 100
    """Seeds, and instructions that each generation emits."""
    generations: int = 20
    """Rounds of evolution."""
    seeds: int = 100
    """Pools of each kind."""
    caught: float = 0.9
    """Share of broken instructions that the check eliminates."""
    kept: float = 0.95
    """Share of sound instructions that it keeps."""


SMALL = {"generations": 8, "seeds": 20}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Grow pools in four ways; return coverage, breakage, depth and distance, and the laws that there are."""
    check_config(config, caught=(0, 1), kept=(0, 1))
    space = cj.families.instruction_space(config.topics, config.depths, failure=config.failure)
    family = cj.families.evolved(space.deepen, space.broaden, truth=space.draw)
    plan = cj.make_plan(cj.REGIMES["accumulate"], config.generations, config.samples)
    check = cj.selections.verified(space.correct)
    # Instructions are cells of a table, so that only a copy is nearer than 1, the distance between different ones.
    fresh = cj.selections.novel(lambda one, other: (one != other).astype(float))
    checked = {"right": [config.kept], "wrong": [1.0 - config.caught]}
    arms = {
        "resampled": (None, {"evolution": [0.0]}),
        "evolved": (None, {"evolution": [1.0]}),
        "with elimination": (check, {"evolution": [1.0], **checked}),
        "with elimination and novelty": (
            cj.selections.compose(check, fresh),
            {"evolution": [1.0], **checked, "threshold": [0.5]},
        ),
    }

    swept = []
    for name, (selection, axes) in arms.items():
        one = cj.sweep(
            cj.make_recursion(family, plan, curate=selection, decoding=["evolution"], measure=space.measure),
            {**axes, "seed": range(config.seeds)},
            **watched(config, directory / name.replace(" ", "-")),
            vmap_members=8,
        )
        swept.append(one.isel(dict.fromkeys(axes, 0), drop=True))
    dataset = xr.concat(swept, xr.DataArray(list(arms), dims="pool", name="pool"), combine_attrs="drop")
    return dataset.drop_vars("diverged").merge(_laws(config, space))


def _laws(config: Config, space: cj.families.InstructionSpace) -> xr.Dataset:
    """Return the laws of broken mass and mean depth by generation; novelty, which looks at the pool, has none."""
    depth = np.append(np.tile(np.arange(config.depths), config.topics), 0)
    keep = np.where(np.arange(len(space.truth)) == len(space.truth) - 1, 1.0 - config.caught, config.kept)
    transition = space.transition(1.0, 0.5)
    kernels = {
        "resampled": np.eye(len(space.truth)),
        "evolved": transition,
        "with elimination": transition * keep[None],
    }
    broken, mean_depth = np.full((2, 4, config.generations), np.nan)
    for i, kernel in enumerate(kernels.values()):
        pools = cj.generative.laws.evolve_and_accumulate(
            config.samples * space.truth, kernel, [config.samples] * (config.generations - 1)
        )
        sound = pools[:, :-1].sum(1)
        broken[i] = pools[:, -1] / pools.sum(1)
        mean_depth[i] = pools @ depth / sound
    over = ("pool", "generation")
    return xr.Dataset({"broken_law": (over, broken), "depth_law": (over, mean_depth)})


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return coverage, broken mass, depth and distance to the truth by generation, one line for each kind of pool."""
    rows = {
        "coverage of the truth": plotting.Curve(dataset["coverage"], support=plotting.SHARE),
        "broken mass": plotting.Curve(dataset["broken"], dataset["broken_law"], support=plotting.SHARE),
        "mean depth": plotting.Curve(dataset["depth"], dataset["depth_law"], support=plotting.POSITIVE),
        "distance to the truth": plotting.Curve(dataset["distance"], support=plotting.SHARE),
    }
    return {"figure.png": plotting.curves(rows, x="generation", hue="pool")}


def table(dataset: xr.Dataset) -> str:
    """Return all four measures of the last generation, with their laws."""
    last = dataset.isel(generation=-1)
    lines = [f"{'pool':<30}{'coverage':>10}{'broken (law)':>18}{'depth (law)':>18}{'distance':>10}"]
    for pool in dataset["pool"].to_numpy():
        row = last.sel(pool=pool)
        mean = {name: float(row[name].mean()) for name in ("coverage", "broken", "depth", "distance")}
        cells = [
            f"{mean[name]:.4f} ({float(row[f'{name}_law']):.4f})"
            if np.isfinite(row[f"{name}_law"])
            else f"{mean[name]:.4f} (-)"
            for name in ("broken", "depth")
        ]
        lines.append(f"{pool:<30}{mean['coverage']:>10.4f}{cells[0]:>18}{cells[1]:>18}{mean['distance']:>10.4f}")
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return coverage and broken mass of each kind of pool in the last generation."""
    last = dataset.isel(generation=-1)
    covered = ", ".join(
        f"{float(last['coverage'].sel(pool=pool).mean()):.2f} {pool}" for pool in last["pool"].to_numpy()
    )
    broken = ", ".join(
        f"{float(last['broken'].sel(pool=pool).mean()):.4f} (law {float(last['broken_law'].sel(pool=pool)):.4f}) {pool}"
        for pool in ("evolved", "with elimination")
    )
    return f"coverage {covered}; broken {broken}"


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
