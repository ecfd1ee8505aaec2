"""Choosing among one's own outputs raises the reward and spends the diversity; real data stop it.

Each generation trains on outputs chosen by a reward, one of K softly (Ferbach et al., arXiv 2407.09499) or the best of
K, and on a share α of fresh real examples. With many examples the distribution follows a map: p -> α p_real +
(1 - α) C_K(p), beside which the lineages are drawn.

    python -m experiments.curation

Expected: rewards and diversities on the infinite-sample map; without real data diversity ends far below that of the
start, with 30 % of real data it is kept for the most part.
"""

from collections.abc import Callable
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

Distribution = np.ndarray


@dataclass(frozen=True)
class Config(Options):
    """Outcomes with rewards, and choices among them."""

    outcomes: int = 20
    """Outcomes, equally likely at first, with rewards from 0 to `reward`."""
    reward: float = 2.0
    """The largest reward, in units of the noise of a soft choice."""
    samples: int = 3000
    """Examples that train a generation."""
    ratios: tuple[float, ...] = (0.0, 0.1, 0.3, 0.6)
    """Shares of fresh real examples among them."""
    generations: int = 30
    """Models in a row."""
    seeds: int = 10
    """Lineages for each cell."""


SMALL = {"samples": 1000, "ratios": (0.0, 0.3), "generations": 12, "seeds": 6}


def rewards(config: Config) -> np.ndarray:
    """Return the reward of each outcome."""
    return np.linspace(0.0, config.reward, config.outcomes)


def choices(config: Config) -> dict[str, tuple[cj.Selection, Callable[[Distribution], Distribution]]]:
    """Return each selection with the map of its infinite-sample law."""
    r = rewards(config)

    def reward(examples: Array) -> Array:
        return jnp.asarray(r, jnp.float32)[examples]

    # Sums are renormalised: a long iteration lets rounding grow.
    def soft(k: int) -> Callable[[Distribution], Distribution]:
        return lambda p: cj.generative.laws.curated(p / p.sum(), r, k)

    def best(k: int) -> Callable[[Distribution], Distribution]:
        return lambda p: np.diff(cj.generative.laws.best_of(np.cumsum(p), k, 1)[-1], prepend=0.0)

    return {
        "one of 2, softly": (cj.selections.curated(reward, 2), soft(2)),
        "one of 8, softly": (cj.selections.curated(reward, 8), soft(8)),
        "best of 2": (cj.selections.best_of(reward, 2), best(2)),
    }


def run(config: Config, directory: Path) -> xr.Dataset:
    """Sweep real shares for each choice; return reward and diversity with their laws."""
    check_config(config, outcomes=(2, 2**20))
    r = rewards(config)
    family = cj.families.categorical(config.outcomes, exponent=0.0)
    plan = cj.make_plan(cj.REGIMES["real_fraction_fresh"], config.generations, config.samples, config.ratios)

    def measure(key: Array, p: Array) -> dict[str, Array]:
        return {"reward": p @ jnp.asarray(r, p.dtype), "diversity": 1.0 - p @ p}

    swept, laws = [], []
    uniform = np.full(config.outcomes, 1.0 / config.outcomes)
    for name, (selection, law) in choices(config).items():
        swept.append(
            cj.sweep(
                cj.make_recursion(family, plan, curate=selection, measure=measure),
                {"ratio": config.ratios, "seed": range(config.seeds)},
                **watched(config, directory / name.replace(" ", "-").replace(",", "")),
            )
        )
        paths = np.stack(
            [
                cj.generative.laws.iterate_decoding(law, uniform, config.generations - 1, share=one)
                for one in config.ratios
            ]
        )
        over = ("ratio", "generation")
        laws.append(xr.Dataset({"reward_law": (over, paths @ r), "diversity_law": (over, 1 - (paths**2).sum(-1))}))
    names = xr.DataArray(list(choices(config)), dims="choice", name="choice")
    return xr.concat(swept, names, combine_attrs="drop").drop_vars("diverged").merge(xr.concat(laws, names))


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return reward and diversity against generations, one panel for each choice, one line for each real share."""
    rows = {
        f"{label}": plotting.Curve(dataset[name], dataset[f"{name}_law"], support=support)
        for name, label, support in (
            ("reward", "mean reward", plotting.POSITIVE),
            ("diversity", "diversity 1 - Σp²", plotting.SHARE),
        )
    }
    titles = {name: name for name in dataset["choice"].to_numpy()}
    return {"figure.png": plotting.curves(rows, x="generation", hue="ratio", column="choice", titles=titles)}


def table(dataset: xr.Dataset) -> str:
    """Return reward and diversity of the last generation, with their laws."""
    last = dataset.isel(generation=-1)
    lines = [f"{'choice':<20}{'real share':>11}{'reward (law)':>20}{'diversity (law)':>22}"]
    for choice in dataset["choice"].to_numpy():
        for ratio in dataset["ratio"].to_numpy():
            row = last.sel(choice=choice, ratio=ratio)
            cells = [
                f"{float(row[name].mean()):.3f} ({float(row[f'{name}_law']):.3f})" for name in ("reward", "diversity")
            ]
            lines.append(f"{choice:<20}{ratio:>11g}{cells[0]:>20}{cells[1]:>22}")
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return the largest distances to the map, and the last diversity without and with real data."""
    off = {
        name: float(abs(dataset[name].mean("seed") - dataset[f"{name}_law"]).max()) for name in ("reward", "diversity")
    }
    last = dataset["diversity"].isel(generation=-1).mean("seed")
    final = [", ".join(f"{float(one):.2f}" for one in last.isel(ratio=at)) for at in (0, -1)]
    return (
        f"reward within {off['reward']:.3f}, diversity within {off['diversity']:.3f} of the map; final diversity "
        f"({'; '.join(dataset['choice'].to_numpy())}) {final[0]} without, {final[1]} with "
        f"{float(dataset['ratio'][-1]):.0%} real data"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
