"""Stopping early keeps a little separation for a while; it is no cure, and it costs no ranking accuracy either.

On real text: certified gap to the collapsed optimum, separation of prompt types and ranking accuracy against steps, for
fixed and prompt-aware utilities. With free rewards under plain gradient descent: the edge 1 - (largest reward) against
the prediction 1/(F t), F the slope of the objective at the best item of the optimum and t steps x learning rate.

    python -m experiments.early_stopping

Expected: under fixed utilities the separation of held-out prompts rises, then falls again, while that of the
prompt-aware one stays; edge x F t near 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.reward.calculus import on_host
from experiments.reward_collapse import make_schemes
from experiments.shared.bounds import check_config
from experiments.shared.free_rewards import free_rankings
from experiments.shared.intervals import span
from experiments.shared.launch import script, watched
from experiments.shared.text_population import TextConfig, train_on_text


@dataclass(frozen=True)
class Config(TextConfig):
    """The rows of reward_collapse, recorded more often, and free rewards followed for longer."""

    seeds: int = 3
    """Reward models trained for each scheme."""
    steps: int = 1200
    """Optimiser steps on text."""
    records: int = 60
    """Recorded steps on text."""
    offset: float = 0.1
    """Added to every gap, as in the published code."""
    edge_items: int = 8
    """Items of the prompt with free rewards."""
    edge_steps: int = 40000
    """Gradient-descent steps on the free rewards."""
    edge_rate: float = 0.1
    """Learning rate of that gradient descent: small enough to follow the gradient flow."""


SMALL = {"seeds": 2, "steps": 400, "records": 40, "edge_steps": 10000}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Train both populations; return metrics by step, and the edge beside its prediction."""
    check_config(config)
    schemes = make_schemes(config.offset)
    dataset = train_on_text(config, schemes, directory / "text")
    metrics = cj.summarize_rewards(dataset, cj.predict_rewards(schemes, dataset.sizes["item"]))
    edges = _edges(config, directory / "edge")
    return metrics.merge(edges.reindex(utility=metrics["utility"]))


def _edges(config: Config, directory: Path) -> xr.Dataset:
    fixed = {label: row[0] for label, row in make_schemes(config.offset).choices.items() if row[0] == row[1]}
    schemes = cj.make_schemes(fixed, ("all",))
    process = cj.make_training(
        free_rankings(config.edge_items),
        cj.mlp(()),
        schemes,
        training=cj.reward.Training(steps=config.edge_steps, records=200),
        optimizer=lambda hyper: optax.sgd(hyper["learning_rate"]),
        hyper={"learning_rate": config.edge_rate},
    )
    dataset = cj.sweep(process, {"seed": 0}, **watched(config, directory))
    law = cj.predict_rewards(schemes, config.edge_items)["rewards"].isel(type=0, drop=True)
    time = config.edge_rate * dataset["step"].to_numpy()
    slopes = []
    for label, choice in fixed.items():
        below = 1.0 - law.sel(utility=label).to_numpy()[1:]
        host = on_host(choice.fn, choice.params["offset"], choice.params["min_gap"])
        pairs = config.edge_items * (config.edge_items - 1) / 2
        slopes.append(host.slope(below).sum() / pairs)
    return xr.Dataset(
        {
            "edge": (("utility", "time"), 1.0 - dataset["rewards"].isel(seed=0, prompt=0, item=0).to_numpy()),
            "edge_law": (("utility", "time"), 1.0 / np.outer(slopes, time)),
        },
        {"utility": list(fixed), "time": time},
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return metrics against steps, and the edge against time."""
    return {"figure.png": plotting.over_steps(dataset), "edge.png": plotting.edges(dataset)}


def table(dataset: xr.Dataset) -> str:
    """Return what stopping early buys and costs on test prompts, and the edge beside its prediction."""
    mean = dataset.mean("seed")
    lines = [
        "test prompts: where separation is largest, where the gap is a tenth of its first record, at the end\n",
        f"{'utility':<12} {'largest separation':>20} {'gap a tenth':>22} {'at the end':>16} {'edge · F t':>11}",
        f"{'':<12} {'':>10}{'at step':>10} {'(sep.)':>7} {'(acc.)':>7}{'at step':>8} {'(sep.)':>8} {'(acc.)':>7} "
        f"{'(law: 1)':>11}",
    ]
    for utility in dataset["utility"].to_numpy():
        row = mean.sel(utility=utility)
        gap = row["gap"].sel(split="train").to_numpy()
        small = gap <= gap[0] / 10
        stop = int(small.argmax()) if small.any() else len(gap) - 1
        step, separation, accuracy = (
            row[name].sel(split="test").to_numpy() if name != "step" else row[name].to_numpy()
            for name in ("step", "separation", "accuracy")
        )
        peak = int(separation.argmax())
        edge = float((row["edge"] / row["edge_law"])[-1])
        lines.append(
            f"{utility:<12} {separation[peak]:>10.3f}{step[peak]:>10} {separation[stop]:>7.3f} {accuracy[stop]:>7.3f}"
            f"{step[stop]:>8} {separation[-1]:>8.3f} {accuracy[-1]:>7.3f} {'' if np.isnan(edge) else f'{edge:.3f}':>11}"
        )
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return what stopping early keeps, what training on leaves, and the edge beside its prediction."""
    separation = dataset["separation"].sel(split="test").mean("seed")
    fixed, aware = separation.isel(utility=slice(-1)), separation.isel(utility=-1)
    edge = (dataset["edge"] / dataset["edge_law"]).isel(time=-1).dropna("utility")
    return (
        f"separation of held-out prompts under fixed utilities at most {span(fixed.max('step'))}, by step "
        f"{int(fixed.idxmax('step').max())}, and {span(fixed.isel(step=-1))} in the end; prompt-aware "
        f"{float(aware[-1]):.3f} in the end; edge · F t {span(edge)} (law 1)"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
