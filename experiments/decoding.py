"""Cold decoding collapses unless the real share exceeds 1 - T; near that line the start decides.

Categorical models with a uniform truth, trained on a share α of fresh real examples and emitting at temperature T.
With many examples the map of generations is p -> α/V + (1 - α) softmax(log p / T): the uniform model is stable iff
α > 1 - T. Lineages that start from the truth and from a peaked model end in different places above that line too
(hysteresis), the more so the larger the vocabulary.

    python -m experiments.decoding

Expected: α = 1 - T tells what becomes of the uniform start; just above the line the uniform model is stable, but for a
large vocabulary the unstable one beside it is so near that the noise of the samples reaches it. Peaked starts end on
the infinite-sample map; between the two there is hysteresis, more of it for more tokens.
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
    """The grid of temperatures and real shares."""

    vocabularies: tuple[int, ...] = (2, 10, 100)
    """Tokens."""
    temperatures: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Temperatures at which models emit."""
    ratios: tuple[float, ...] = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)
    """Shares of fresh real examples; between them lie the thresholds 1 - T."""
    samples: int = 100_000
    """Examples that train a generation; as they are drawn as counts, many cost no more than few."""
    generations: int = 150
    """Models in a row."""
    seeds: int = 4
    """Lineages for each cell."""
    peak: float = 0.9
    """Probability of the first token in the peaked start."""


SMALL = {"vocabularies": (2, 10), "generations": 60, "seeds": 2}


def measure(key: Array, p: Array) -> dict[str, Array]:
    """Return the largest probability, and the diversity 1 - Σp² in units of the uniform one."""
    return {"largest": p.max(), "diversity": (1.0 - p @ p) / (1.0 - 1.0 / len(p))}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Sweep the grid from both starts; return the last generation and the infinite-sample law."""
    check_config(config, vocabularies=(2, 2**20), peak=(0, 1))
    plan = cj.make_plan(cj.REGIMES["real_fraction_fresh"], config.generations, config.samples, config.ratios)
    by_vocabulary, laws = [], []
    for vocabulary in config.vocabularies:
        family = cj.families.categorical(vocabulary, exponent=0.0)
        peaked = np.full(vocabulary, (1.0 - config.peak) / (vocabulary - 1))
        peaked[0] = config.peak
        by_start = [
            cj.sweep(
                cj.make_recursion(
                    family, plan, by="statistics", initial=initial, decoding=["temperature"], measure=measure
                ),
                {"temperature": config.temperatures, "ratio": config.ratios, "seed": range(config.seeds)},
                **watched(config, directory / f"v{vocabulary}-{start}"),
                vmap_members=32,
            ).isel(generation=-1)
            for start, initial in (("truth", None), ("peaked", jnp.asarray(peaked, jnp.float32)))
        ]
        by_vocabulary.append(xr.concat(by_start, "start", combine_attrs="drop"))
        laws.append([_law(peaked, t, r, config.generations) for t in config.temperatures for r in config.ratios])
    dataset = xr.concat(by_vocabulary, "vocabulary", combine_attrs="drop").drop_vars("diverged")
    shape = (len(config.vocabularies), len(config.temperatures), len(config.ratios))
    return dataset.assign(peaked_law=(("vocabulary", "temperature", "ratio"), np.reshape(laws, shape))).assign_coords(
        vocabulary=list(config.vocabularies), start=["truth", "peaked"]
    )


def _law(start: np.ndarray, temperature: float, share: float, generations: int) -> float:
    """Return the largest probability that the infinite-sample map leads to from a peaked start."""
    models = cj.generative.laws.iterate_decoding(
        lambda p: cj.generative.laws.tempered(p, temperature),
        start,
        generations - 1,
        truth=np.full(len(start), 1.0 / len(start)),
        share=share,
    )
    return float(models[-1].max())


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return the last diversity by temperature and real share, a panel for each start and vocabulary, and α = 1 - T."""
    mean = dataset["diversity"].mean("seed")
    maps = {
        f"V = {v}, start: {start}": mean.sel(vocabulary=v, start=start).drop_vars(["vocabulary", "start"])
        for start in dataset["start"].to_numpy()
        for v in dataset["vocabulary"].to_numpy()
    }
    above = dataset["ratio"] - (1.0 - dataset["temperature"])
    return {
        "figure.png": plotting.phase_diagram(
            maps,
            x="ratio",
            y="temperature",
            label="diversity / diversity of the truth (line: α = 1 - T)",
            log=False,
            lines=above,
            levels=[0.0],
            columns=dataset.sizes["vocabulary"],
        )
    }


def _told(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Return, by vocabulary, the share of cells whose side of the line tells the end, and of those of hysteresis."""
    stable = dataset["ratio"] > 1.0 - dataset["temperature"] + 1e-9
    # A model counts as uniform if its largest probability has come a tenth of the way to 1 at most: the rest is noise.
    uniform = 1.0 / dataset["vocabulary"]
    kept = dataset["largest"].mean("seed") - uniform < 0.1 * (1.0 - uniform)
    truth, peaked = kept.sel(start="truth"), kept.sel(start="peaked")
    cells = ["temperature", "ratio"]
    return (truth == stable).mean(cells), (truth & ~peaked).mean(cells)


def table(dataset: xr.Dataset) -> str:
    """Return how often the side of α = 1 - T tells what becomes of the uniform start, and how the peaked one ends."""
    right, differ = _told(dataset)
    lines = [
        f"{'vocabulary':>10}{'uniform start as predicted':>28}{'peaked start: largest p - law':>31}{'hysteresis':>12}"
    ]
    for v in dataset["vocabulary"].to_numpy():
        row = dataset.sel(vocabulary=v)
        off = float(abs(row["largest"].sel(start="peaked").mean("seed") - row["peaked_law"]).max())
        told = float(right.sel(vocabulary=v)), float(differ.sel(vocabulary=v))
        lines.append(f"{v:>10}{told[0]:>27.0%} {off:>30.4f} {told[1]:>11.0%}")
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return, by vocabulary, how often the side of the line tells the end, and how often the start does."""
    right, differ = (", ".join(f"{float(one):.0%}" for one in told) for told in _told(dataset))
    sizes = ", ".join(map(str, dataset["vocabulary"].to_numpy()))
    return (
        f"side of the line tells the end of the uniform start in {right} of cells (V = {sizes}); hysteresis in {differ}"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
