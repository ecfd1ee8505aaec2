"""Figures of reward collapse."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from collapse_jax.plotting.style import COLOURS, panels, with_legend


def reward_curves(dataset: xr.Dataset, predicted: xr.Dataset, titles: Mapping[str, str] | None = None) -> Figure:
    """Return reward against item index at the last step: a column for each utility, a row for each split, laws dashed.

    `dataset` is a sweep of `make_training` over utility (and seed), `predicted` is `predict_rewards(...)`. Lines are
    means over prompts and seeds by type of prompt, bands one standard deviation either way, black dashes the predicted
    law.

    Raises ValueError for a sweep that varies anything else, or whose values of it are not those of the law.
    """
    _require_drawn(dataset, predicted)
    utilities, splits = dataset["utility"].to_numpy(), [s for s in ("train", "test") if s in dataset["prompt_split"]]
    figure = Figure(figsize=(2.6 * len(utilities), 2.5 * len(splits) + 0.6), layout="constrained")
    axes = figure.subplots(len(splits), len(utilities), sharex=True, sharey=True, squeeze=False)
    last = dataset["rewards"].isel(step=-1)
    for column, utility in enumerate(utilities):
        for row, split in enumerate(splits):
            ax = axes[row, column]
            for colour, kind in zip(COLOURS, predicted["type"].to_numpy(), strict=False):
                chosen = np.flatnonzero((dataset["prompt_split"] == split) & (dataset["prompt_type"] == kind))
                rewards = last.sel(utility=utility).isel(prompt=chosen)
                over = [dim for dim in rewards.dims if dim != "item"]
                mean, spread = rewards.mean(over), rewards.std(over)
                ax.fill_between(mean["item"], mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
                # The first type's rings stay visible where the second type's dots lie on the same law.
                ring = {"marker": "o", "ms": 8, "mfc": "none"} if colour == COLOURS[0] else {"marker": ".", "ms": 6}
                ax.plot(mean["item"], mean, color=colour, lw=1, label=f"{kind}-ended prompts", **ring)
                law = predicted["rewards"].sel(utility=utility, type=kind)
                ax.plot(
                    law["item"],
                    law,
                    color="black",
                    ls="--",
                    lw=1,
                    label="predicted law" if colour == COLOURS[1] else None,
                )
            if row == 0:
                ax.set_title((titles or {}).get(utility, utility), fontsize=10)
            if row == len(splits) - 1:
                ax.set_xlabel("completion, best first")
            if column == 0:
                ax.set_ylabel(f"reward, {split} prompts")
    axes[0, 0].set_ylim(-0.04, 1.04)
    return with_legend(figure, axes[0, 0])


def _require_drawn(dataset: xr.Dataset, predicted: xr.Dataset) -> None:
    """Raise ValueError for axes over which curves would be averaged, and for a law of other values than the curves."""
    if other := sorted({*map(str, dataset["rewards"].dims)} - {"utility", "seed", "step", "prompt", "item"}):
        raise ValueError(f"dataset varies along {', '.join(other)}; draw one value, dataset.sel({other[0]}=...)")
    if other := sorted({*map(str, predicted["rewards"].dims)} - {"utility", "type", "item"}):
        raise ValueError(f"predicted varies along {', '.join(other)}; draw one value, predicted.sel({other[0]}=...)")
    for name in dataset.coords:
        if dataset[name].ndim == 0 and name in predicted.coords and not (dataset[name] == predicted[name]).all():
            raise ValueError(
                f"dataset has {name} = {dataset[name].item()}, predicted {predicted[name].item()}; draw a law of the "
                "values that were trained"
            )


def rewards_by_rank(dataset: xr.Dataset) -> Figure:
    """Return a panel for each utility: reward by rank, of the limit law, the exact optimum and a trained population."""
    figure, axes = panels(dataset["utility"].to_numpy().tolist())
    n = dataset.sizes["item"]
    rank = (np.arange(n) + 0.5) / n
    for ax, utility in axes:
        row = dataset.sel(utility=utility)
        trained = row["rewards"].isel(step=-1, prompt=0)
        ax.plot(row["level"], row["limit_quantile"], color="black", lw=1, ls="--", label="limit law")
        ax.plot(rank, row["law"][::-1], "o", mfc="none", color=COLOURS[0], ms=6, label=f"exact optimum, n = {n}")
        ax.plot(rank, trained.mean("seed")[::-1], ".", color=COLOURS[1], ms=4, label="trained")
        ax.set(xlabel="rank", ylabel="reward", ylim=(-0.05, 1.05))
    return with_legend(figure, axes[0][0])


def densities(dataset: xr.Dataset) -> Figure:
    """Return a panel for each utility: density and atoms of the limit law over a trained population's histogram."""
    figure, axes = panels(dataset["utility"].to_numpy().tolist())
    for ax, utility in axes:
        row = dataset.sel(utility=utility)
        trained = row["rewards"].isel(step=-1, prompt=0).to_numpy().ravel()
        share = np.full(trained.size, 1 / trained.size)
        ax.hist(trained, bins=np.linspace(0, 1, 17).tolist(), weights=share, color=COLOURS[5], label="trained")
        ax.stem(
            row["limit_atom"],
            row["limit_weight"],
            linefmt="k-",
            markerfmt="ko",
            basefmt=" ",
            label="atom of the limit law",
        )
        # A density in units of the histogram: mass in one of its sixteen bins.
        ax.plot(
            row["reward"], row["limit_density"] / 16, color="black", ls="--", lw=1, label="density of the limit law"
        )
        ax.set(xlabel="reward", ylabel="mass (1/16 wide bins)", xlim=(-0.05, 1.05), ylim=(0, 0.55))
    return with_legend(figure, axes[0][0])


def convergence(dataset: xr.Dataset) -> Figure:
    """Return, against the number of items, the distance of the optimum to the limit law and n² (I* - I_n)."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, utility in enumerate(dataset["utility"].to_numpy()):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": "os^v"[number // len(COLOURS)], "ms": 4}
        row = dataset.sel(utility=utility)
        left.loglog(row["n"], row["distance"].where(row["distance"] > 1e-12), label=utility, **style)
        if row["rate"] < np.inf and np.isfinite(row["missed"]).all():
            right.semilogx(row["n"], row["n"] ** 2 * row["missed"] / row["rate"], label=utility, **style)
    right.axhline(1.0, color="black", ls="--", lw=1)
    left.plot([], [], color="black", ls="--", lw=1, label="predicted (right)")
    left.set(xlabel="items n", ylabel="mean |optimum - limit law|")
    right.set(xlabel="items n", ylabel="n² (I* - I_n) / (U'(0)/6)", ylim=(0.5, 1.5))
    return with_legend(figure, left, columns=6)


def over_steps(metrics: xr.Dataset) -> Figure:
    """Return certified gap, separation of prompt types and ranking accuracy against steps, a line for each utility."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for ax, (name, split, scale, label) in zip(
        figure.subplots(1, 3),
        (
            ("gap", "train", "log", "certified gap to the collapsed optimum"),
            ("separation", "test", "linear", "separation, test prompts"),
            ("accuracy", "test", "linear", "ranking accuracy, test prompts"),
        ),
        strict=True,
    ):
        for colour, utility in zip(COLOURS, metrics["utility"].to_numpy(), strict=False):
            values = metrics[name].sel(utility=utility, split=split)
            mean, spread = values.mean("seed"), values.std("seed")
            ax.plot(mean["step"], mean, color=colour, label=utility)
            ax.fill_between(mean["step"], mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
        ax.set(xlabel="optimiser step", ylabel=label, yscale=scale)
    return with_legend(figure, ax, columns=8)


def edges(dataset: xr.Dataset) -> Figure:
    """Return the distance of the largest reward from 1 against time, each utility beside its law 1/(F t)."""
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    ax = figure.subplots()
    shown = [u for u in dataset["utility"].to_numpy() if np.isfinite(dataset["edge"].sel(utility=u)).all()]
    for colour, utility in zip(COLOURS, shown, strict=False):
        row = dataset.sel(utility=utility)
        ax.loglog(row["time"], row["edge"], color=colour, label=utility)
        ax.loglog(row["time"], row["edge_law"], color=colour, ls="--", lw=1)
    ax.set(xlabel="steps x learning rate", ylabel="1 - largest reward (dashed: 1/(F t))")
    ax.legend(fontsize=8)
    return figure
