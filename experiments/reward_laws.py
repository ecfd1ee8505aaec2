"""Every utility has its law: the exact optimum for n items, the limit law, and a trained population, side by side.

Reproduces the limit laws of Song, Cai, Lee, Su (arXiv 2305.17608) and those of eight more utilities: densities and
atoms, and how fast n items approach the limit (for a bounded slope, n² (I* - I_n) tends to U'(0)/6).

    python -m experiments.reward_laws

Expected: trained rewards on the exact optimum wherever that is unique, and n² (I* - I_n) near U'(0)/6.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.free_rewards import free_rankings
from experiments.shared.intervals import span
from experiments.shared.launch import Options, script, watched


@dataclass(frozen=True)
class Config(Options):
    """A population with a free logit for each item, one member for each utility and seed."""

    n_items: int = 32
    """Items of the trained prompt."""
    sizes: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    """Numbers of items for which the exact optimum is compared with the limit."""
    seeds: int = 2
    """Members trained for each utility."""
    steps: int = 6000
    """Optimiser steps."""
    learning_rate: float = 0.2
    """Peak learning rate of AdamW."""
    min_gap: float = 1e-4
    """Gap below which the trained utilities are continued by their tangents."""


SMALL = {"n_items": 16, "sizes": (4, 8, 16), "steps": 1000, "seeds": 2}
SCHEMES: dict[str, tuple[str, dict[str, float]]] = {
    "x": ("linear", {}),
    "√x": ("power", {}),
    "log x": ("log", {}),
    "-1/√x": ("inverse_power", {"gamma": 0.5}),
    "-1/x": ("inverse_power", {}),
    "log σ(4x)": ("log_sigmoid", {}),
    "log σ(20x)": ("log_sigmoid", {"scale": 0.05}),
    "-exp(-4x)": ("exponential", {}),
    "2x - x²": ("quadratic", {}),
    "min(x, ½)": ("hinge", {}),
    "sin 1.5x": ("sine", {}),
    "log sin 1.5x": ("log_sine", {}),
}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Train the population; return its rewards with both laws and the convergence in the number of items."""
    check_config(config, n_items=(2, 10_000), sizes=(2, 10_000))
    trained = {
        label: cj.choose(cj.UTILITIES[name], min_gap=config.min_gap, **params)
        for label, (name, params) in SCHEMES.items()
    }
    schemes = cj.make_schemes(trained, ("all",))
    process = cj.make_training(
        free_rankings(config.n_items),
        cj.mlp(()),
        schemes,
        training=cj.reward.Training(steps=config.steps),
        hyper={**cj.reward.ADAMW_HYPER, "learning_rate": config.learning_rate, "weight_decay": 0.0},
    )
    seeds = {"seed": range(config.seeds)}
    dataset = cj.sweep(process, seeds, **watched(config, directory / "sweep"))
    predicted = cj.predict_rewards(schemes, config.n_items).isel(type=0, drop=True)
    dataset = dataset.merge(predicted.rename(rewards="law", value="law_value", gap="law_gap"))

    levels, grid = (np.arange(512) + 0.5) / 512, np.linspace(0.0, 1.0, 513)
    parts = []
    for label, (name, params) in SCHEMES.items():
        choice = cj.choose(cj.UTILITIES[name], **params)
        limit = cj.limit_law(choice)
        optima = [cj.finite_law(choice, n) for n in config.sizes]
        zero = choice.shape.value_at_zero
        missed = [_missed(limit.value, law.value, zero, n) for law, n in zip(optima, config.sizes, strict=True)]
        # The rate holds where n rewards stand for a density; from a law of atoms alone their distance varies
        # periodically.
        smooth = limit.density(grid).max() > 0
        parts.append(
            xr.Dataset(
                {
                    "limit_quantile": ("level", limit.quantile(levels)),
                    "limit_density": ("reward", limit.density(grid)),
                    "limit_atom": ("atom", np.pad(limit.atoms, (0, 8 - len(limit.atoms)), constant_values=np.nan)),
                    "limit_weight": ("atom", np.pad(limit.weights, (0, 8 - len(limit.atoms)), constant_values=np.nan)),
                    "limit_gap": limit.gap,
                    "distance": ("n", [cj.reward.quantile_distance(law.rewards, limit) for law in optima]),
                    "missed": ("n", missed),
                    "rate": choice.shape.slope_at_zero / 6 if smooth else np.inf,
                },
                {"level": levels, "reward": grid, "n": list(config.sizes)},
            ).expand_dims(utility=[label])
        )
    return dataset.merge(xr.concat(parts, "utility"))


def _missed(limit_value: float, value: float, value_at_zero: float, n: int) -> float:
    """Return I* - I_n, U shifted to U(0) = 0, or nan where U(0) is not finite.

    `value` is a mean over pairs of two items; I_n counts each item paired with itself too, at gap 0.
    """
    if not np.isfinite(value_at_zero):
        return np.nan
    return limit_value - value_at_zero - (1 - 1 / n) * (value - value_at_zero)


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return rewards by rank, densities with atoms, and the convergence in n."""
    return {
        "figure.png": plotting.rewards_by_rank(dataset),
        "densities.png": plotting.densities(dataset),
        "convergence.png": plotting.convergence(dataset),
    }


def table(dataset: xr.Dataset) -> str:
    """Return, by utility, the distances between training, optimum and limit, and the rate measured and predicted."""
    n, items = int(dataset["n"][-1]), dataset.sizes["item"]
    lines = [
        "distances are means over ranks; gaps are certified bounds on what the optimum misses\n",
        f"{'utility':<13} {'trained-law':>11} {'law gap':>8} {'law-limit':>10} {'limit gap':>9} "
        f"{'n²(I*-I_n)':>11} {'predicted':>9}",
        f"{'':<13} {f'n={items}':>11} {'':>8} {f'n={n}':>10} {'':>9} {f'n={n}':>11} {'':>9}",
    ]
    for utility in dataset["utility"].to_numpy():
        row = dataset.sel(utility=utility)
        apart = float(np.abs(row["rewards"].isel(step=-1, prompt=0) - row["law"]).mean())
        rate = f"{n**2 * float(row['missed'][-1]):>11.4f} {float(row['rate']):>9.4f}" if row["rate"] < np.inf else ""
        lines.append(
            f"{utility:<13} {apart:>11.5f} {float(row['law_gap']):>8.0e} {float(row['distance'][-1]):>10.5f} "
            f"{float(row['limit_gap']):>9.0e} {rate}"
        )
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return how near training comes to the exact optimum, and the optimum to the rate of its limit."""
    apart = abs(dataset["rewards"].isel(step=-1, prompt=0) - dataset["law"]).mean(["seed", "item"])
    unique = apart.drop_sel(utility="min(x, ½)")
    n, smooth = int(dataset["n"][-1]), np.isfinite(dataset["rate"])
    ratio = (n**2 * dataset["missed"].isel(n=-1) / dataset["rate"])[smooth].dropna("utility")
    return (
        f"trained to exact optimum, n = {dataset.sizes['item']}: at most {float(unique.max()):.4f} on average over "
        f"ranks ({float(apart.sel(utility='min(x, ½)')):.4f} for min(x, ½), whose optimum is not unique); "
        f"n²(I* − I_n) over U'(0)/6 at n = {n}: {span(ratio)} (law 1)"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
