"""How much work a second, by how much a population beats loops, and how near it comes to what the machine allows.

Populations of reward models, closed-form families, language models, autoencoders and flows, each in up to three ways:
as one program, one jitted member after the other, and as the published codes do it: a NumPy loop over generations, or a
PyTorch loop over members where PyTorch is installed (`pip install -e '.[bench]'`). Each stands beside its roofline: the
units a second that the machine's rates, measured in the same run, allow for the operations, bytes and random numbers of
a unit. Then how the time and the memory of a run grow with members, generations and items.

    python -m experiments.benchmark             ten minutes or more on two CPU cores, eight with --seconds 0
    python -m experiments.benchmark --write     also puts the tables into BENCHMARKS.md

On an accelerator, fill it: `--dtype bfloat16 --members 64`; the fraction of a row bound by matrix products is then its
MFU. What to expect: BENCHMARKS.md. Times need a machine without other work.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.benchmark import ceilings, report, scaling
from experiments.benchmark.family_workloads import EXAMPLES, STATISTICS, by_examples, by_statistics
from experiments.benchmark.network_workloads import image_models, language_models
from experiments.benchmark.reward_workloads import perceptrons, text_encoders
from experiments.benchmark.roofline import LIMITS, Resources, bound
from experiments.benchmark.workloads import WAYS, Workload, compiled_once, ways
from experiments.shared.launch import Options, launch

Kind = Literal["perceptrons", "encoders", "families", "statistics", "language", "images"]


@dataclass(frozen=True)
class Config(Options):
    """What is timed, its sizes, and how often."""

    work: tuple[Kind, ...] = ("perceptrons", "encoders", "families", "statistics", "language", "images")
    """Kinds of work."""
    populations: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)
    """Members of a population of reward perceptrons."""
    perceptron_steps: int = 8192
    """Optimiser steps of such a population together, two a member at least."""
    encoders: tuple[int, ...] = (1, 4)
    """Members of a population of text reward models."""
    members: int = 4
    """Members of the populations of generative networks; on an accelerator, as many as fill it."""
    steps: int = 16
    """Optimiser steps of a language model; a text reward model takes half, an image model 16 times as many."""
    rows: int = 256
    """Rows that a language model writes; twice as many images of a flow."""
    layers: int = 2
    """Blocks of a transformer."""
    width: int = 64
    """Width of the language model; the text reward model is twice as wide."""
    families: tuple[str, ...] = tuple(EXAMPLES)
    """Closed-form families, by examples and, where they have them, by statistics."""
    samples: int = 1000
    """Examples of a generation of a closed-form family."""
    generations: int = 20
    """Generations of a lineage."""
    lineages: int = 1000
    """Lineages of a population of Gaussians; fewer of families that take longer."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of a transformer's activations, and of the matrix products of the peak."""
    repeats: int = 5
    """Interleaved repeats; medians are reported."""
    seconds: float = 20.0
    """Growth: the next point of an axis is left out where it would run longer than this; 0 leaves out all."""


SMALL = {
    "work": ("perceptrons", "families", "statistics"),
    "families": ("gaussian",),
    "populations": (1, 16),
    "perceptron_steps": 512,
    "members": 2,
    "steps": 4,
    "rows": 64,
    "generations": 5,
    "lineages": 200,
    "repeats": 2,
    "seconds": 0.01,
}


def workloads(config: Config) -> Iterator[Workload]:
    """Yield the pieces of work of a configuration. Raises ValueError for families that it can't time, and sizes."""
    if unknown := set(config.families) - set(EXAMPLES):
        raise ValueError(
            f"families are {', '.join(sorted(unknown))} besides others; those timed are {', '.join(EXAMPLES)}"
        )
    for name in ("populations", "encoders"):
        if any(members < 1 for members in getattr(config, name)):
            raise ValueError(f"{name} are {getattr(config, name)}; they must be whole numbers from 1 on")
    for name in ("members", "steps", "rows", "samples", "generations", "lineages", "perceptron_steps", "repeats"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}; it must be a whole number from 1 on")
    sizes = cj.nets.Architecture(config.layers, config.width, dtype=config.dtype)
    recursion = {"samples": config.samples, "generations": config.generations, "lineages": config.lineages}
    if "perceptrons" in config.work:
        for members in config.populations:
            yield perceptrons(members, steps=max(config.perceptron_steps // members, 2))
    if "encoders" in config.work:
        for members in config.encoders:
            wide = cj.nets.Architecture(config.layers, 2 * config.width, positions="learned", dtype=config.dtype)
            yield from text_encoders(wide, members=members, steps=max(config.steps // 2, 1))
    if "families" in config.work:
        yield from (by_examples(name, **recursion) for name in config.families)
    if "statistics" in config.work:
        yield from (by_statistics(name, **recursion) for name in STATISTICS if name in config.families)
    if "language" in config.work:
        yield from language_models(sizes, members=config.members, steps=config.steps, rows=config.rows)
    if "images" in config.work:
        yield from image_models(members=config.members, steps=16 * config.steps, rows=2 * config.rows)


def run(config: Config, directory: Path) -> xr.Dataset:
    """Time every way of every piece of work, interleaved; return units a second, the machine's limits, and growth."""
    work = list(workloads(config))
    if not work:
        raise ValueError(f"work is {config.work}; these kinds hold nothing to time")
    ways_of = [ways(one) for one in work]
    speed = np.full((len(work), len(WAYS), config.repeats), np.nan)
    limits = np.empty((config.repeats, len(LIMITS)))
    with compiled_once():
        for repeat in range(config.repeats):
            limits[repeat] = ceilings.measure(config.dtype)
            for i, one in enumerate(work):
                if config.progress:
                    print(f"repeat {repeat + 1} of {config.repeats}: {one.name}", file=sys.stderr)
                for way, timed in ways_of[i].items():
                    speed[i, WAYS.index(way), repeat] = timed()
    # What a machine offers is the best that it was seen to do.
    best = Resources(*limits.max(axis=0))
    binding, allowed = zip(*(bound(one.takes, best) for one in work), strict=True)
    dataset = xr.Dataset(
        {
            "speed": (("work", "way", "repeat"), speed),
            "takes": (("work", "resource"), [one.takes for one in work]),
            "limits": (("repeat", "resource"), limits),
            "bound": ("work", list(allowed)),
            "binding": ("work", list(binding)),
            "unit": ("work", [one.unit for one in work]),
            "holds_back": ("work", [one.holds_back for one in work]),
        },
        {"work": [one.name for one in work], "way": list(WAYS), "resource": list(LIMITS)},
    )
    if config.seconds > 0:
        dataset = dataset.merge(scaling.measure(config.seconds, progress=config.progress))
    dataset.attrs["provenance"] = report.provenance(config.dtype)
    return dataset


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return each way's fraction of the bound, and how seconds and memory grow."""
    fractions = dataset["speed"].median("repeat") / dataset["bound"]
    figures = {"figure.png": plotting.bars(fractions, x="work", hue="way", label="fraction of the bound")}
    return {**figures, **({"scaling.png": scaling.draw(dataset)} if "run_seconds" in dataset else {})}


def main() -> None:
    """Run from the command line."""
    write = "--write" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--write"]

    def table(dataset: xr.Dataset) -> str:
        text = report.markdown(dataset)
        if write:
            report.write(Path("BENCHMARKS.md"), "speed", text)
        return text

    launch("benchmark", Config(), SMALL, run, draw, table, description=__doc__)


if __name__ == "__main__":
    main()
