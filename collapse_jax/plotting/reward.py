"""Figures of reward collapse."""

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse_jax.checks.law_of_sweep import along_utilities, require_laws_of_orders, require_settings
from collapse_jax.checks.unit_interval import outside, require_inside, sentence
from collapse_jax.plotting.style import COLOURS, line_look, panels, whole_ticks, with_legend


def reward_curves(dataset: xr.Dataset, predicted: xr.Dataset, titles: Mapping[str, str] | None = None) -> Figure:
    """Return reward against item index at the last step: a column for each utility, a row for each split, laws dashed.

    `dataset` is a sweep of `make_training` over utility (and seed), `predicted` is `predict_rewards(...)`. Prompts with
    different numbers of answers have a row for each number, with the law of that number. Lines are means over prompts
    and seeds by type of prompt, bands hold the middle two thirds of them, black dashes are the predicted law.

    Where rewards lie outside [0, 1] no law is drawn; a warning says so, as it does of what has no finite rewards and is
    left out. Raises ValueError for a sweep that varies anything else, or whose values of it, types or numbers of
    answers are not those of the law.
    """
    dataset, predicted = along_utilities(dataset, predicted)
    _require_drawn(dataset, predicted)
    last = _finite_members(dataset["rewards"].isel(step=-1))
    compared = not outside(last).any()
    if not compared:
        warnings.warn(f"no law is drawn: {sentence('rewards', last.to_numpy())}", stacklevel=2)
    utilities, rows = dataset["utility"].to_numpy(), _rows(dataset)
    figure = Figure(figsize=(2.6 * len(utilities), 2.5 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), len(utilities), sharex=True, sharey=True, squeeze=False)
    for (split, number), across in zip(rows, axes, strict=True):
        chosen = (dataset["prompt_split"] == split) & (dataset["prompt_items"] == number)
        for ax, utility in zip(across, utilities, strict=True):
            own = last.sel(utility=utility).isel(prompt=chosen.to_numpy(), item=slice(number))
            law = _law_of(predicted, number).sel(utility=utility)
            _draw_types(ax, own, law if compared else None, predicted["type"].to_numpy())
        answers = f"\nof {number} answers" if len({one for _, one in rows}) > 1 else ""
        across[0].set_ylabel(f"reward, {split} prompts{answers}")
    for ax, top, utility in zip(axes[-1], axes[0], utilities, strict=True):
        ax.set_xlabel("completion, best first")
        whole_ticks(ax, dataset["item"])
        top.set_title((titles or {}).get(utility, utility), fontsize=10)
    if compared:
        axes[0, 0].set_ylim(-0.04, 1.04)
    return with_legend(figure, *axes.ravel())


def _rows(dataset: xr.Dataset) -> list[tuple[str, int]]:
    """Return the splits, each with the numbers of answers that its prompts have."""
    splits, counts = dataset["prompt_split"].to_numpy(), dataset["prompt_items"].to_numpy()
    return [(one, int(number)) for one in ("train", "test") for number in np.unique(counts[splits == one])]


def _law_of(predicted: xr.Dataset, number: int) -> xr.DataArray:
    law = predicted["rewards"].sel(n_items=number) if "n_items" in predicted.dims else predicted["rewards"]
    return law.isel(item=slice(number))


def _finite_members(last: xr.DataArray) -> xr.DataArray:
    """Return the rewards; a warning says how many members and prompts have none that are finite."""
    found = last.notnull().any("item")
    members = [dim for dim in found.dims if dim != "prompt"]
    for over, kind in ((["prompt"], "members"), (members, "prompts")):
        if lost := int((~found.any(over)).sum()):
            warnings.warn(f"{lost} {kind} have no finite rewards at the last step and are left out", stacklevel=3)
    return last


def _draw_types(ax: Axes, rewards: xr.DataArray, law: xr.DataArray | None, kinds: np.ndarray) -> None:
    """Draw the rewards of one group of prompts by type, each with its law; types without prompts have no line."""
    by_type = {kind: rewards.isel(prompt=rewards["prompt_type"].to_numpy() == kind) for kind in kinds}
    drawn = [(number, kind) for number, kind in enumerate(kinds) if by_type[kind].notnull().any()]
    for number, kind in drawn:
        own = by_type[kind]
        over = [dim for dim in own.dims if dim != "item"]
        mean, (low, high) = own.mean(over), own.quantile([1 / 6, 5 / 6], over)
        ax.fill_between(mean["item"], low, high, color=COLOURS[number % len(COLOURS)], alpha=0.2, lw=0)
        ax.plot(
            mean["item"], mean, lw=1, label=f"{kind} prompts", **line_look(number), **_MARKERS[number % len(_MARKERS)]
        )
    if law is not None:
        for _, kind in drawn:
            ax.plot(law["item"], law.sel(type=kind), color="black", ls="--", lw=1, label="predicted law")


# A dot in hollow ones of different sizes: each type stays visible where the others lie on the same law.
_MARKERS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "ms": 8, "mfc": "none"},
    {"marker": ".", "ms": 6},
    *(
        {"marker": marker, "ms": size, "mfc": "none"}
        for marker, size in (("s", 11), ("D", 13), ("^", 16), ("v", 19), ("P", 5), ("X", 3))
    ),
)


def _require_drawn(dataset: xr.Dataset, predicted: xr.Dataset) -> None:
    """Raise ValueError for axes over which curves would be averaged, and for a law of other values than the curves."""
    if other := sorted({*map(str, dataset["rewards"].dims)} - {"utility", "seed", "step", "prompt", "item"}):
        raise ValueError(f"dataset varies along {', '.join(other)}; draw one value, dataset.sel({other[0]}=...)")
    require_laws_of_orders("predicted", predicted)
    if other := sorted({*map(str, predicted["rewards"].dims)} - {"utility", "n_items", "type", "item"}):
        raise ValueError(f"predicted varies along {', '.join(other)}; draw one value, predicted.sel({other[0]}=...)")
    require_settings("predicted", predicted, dataset)
    for name, own in (("n_items", "prompt_items"), ("type", "prompt_type")):
        known = np.atleast_1d(predicted[name].to_numpy())
        if (missing := np.setdiff1d(dataset[own], known)).size:
            raise ValueError(
                f"predicted is for {name} = {', '.join(map(str, known))}; dataset has prompts of {missing[0]}: draw a "
                "law for all of them, as predict_rewards(schemes, n_items=np.unique(dataset['prompt_items']))"
            )


def rewards_by_rank(dataset: xr.Dataset) -> Figure:
    """Return a panel for each utility: reward by rank, of the limit law, the exact optimum and a trained population.

    Raises ValueError for trained rewards that aren't in [0, 1].
    """
    require_inside("rewards", dataset["rewards"].isel(step=-1, prompt=0).to_numpy())
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
    """Return a panel for each utility: density and atoms of the limit law over a trained population's histogram.

    Raises ValueError for trained rewards that aren't in [0, 1].
    """
    require_inside("rewards", dataset["rewards"].isel(step=-1, prompt=0).to_numpy())
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
        style = {"color": COLOURS[number % len(COLOURS)], "marker": "os^v"[number // len(COLOURS) % 4], "ms": 4}
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
    """Return certified gap, separation of prompt types and ranking accuracy against steps, a line for each utility.

    `metrics` is `summarize_rewards(...)` of a sweep over utility and seed, or one of them, or neither. Lines are means
    over seeds, of the gap geometric ones, bands reach from the least to the largest seed; prompts with different
    numbers of answers have lines of their own. Separation and accuracy are those of test prompts, if there are any. A
    panel whose quantity has no value is left out, as separation for prompts of one type or a gap that isn't certified.
    """
    if "utility" not in metrics.coords:
        metrics = metrics.assign_coords(utility="trained")
    metrics = metrics.expand_dims([dim for dim in ("utility", "seed") if dim not in metrics["gap"].dims])
    held_out = "test" if "test" in metrics["split"] else "train"
    every = (
        ("gap", "train", "log", "certified gap to the collapsed optimum"),
        ("separation", held_out, "linear", f"separation, {held_out} prompts"),
        ("accuracy", held_out, "linear", f"ranking accuracy, {held_out} prompts"),
    )
    shown = [one for one in every if metrics[one[0]].sel(split=one[1]).notnull().any()]
    if not shown:
        raise ValueError("metrics have no finite gap, separation or accuracy to draw")
    figure = Figure(figsize=(4 * len(shown), 3.6), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False).ravel()
    for ax, (name, split, scale, label) in zip(axes, shown, strict=True):
        for number, (line, values) in enumerate(_lines(metrics[name].sel(split=split))):
            if values.notnull().any():
                mean = xr.ufuncs.exp(xr.ufuncs.log(values).mean("seed")) if scale == "log" else values.mean("seed")
                ax.plot(mean["step"], mean, label=line, **line_look(number))
                color = COLOURS[number % len(COLOURS)]
                low, high = values.min("seed"), values.max("seed")
                ax.fill_between(mean["step"], low, high, color=color, alpha=0.2, lw=0)
        whole_ticks(ax, metrics["step"])
        ax.set(xlabel="optimiser step", ylabel=label, yscale=scale)
    return with_legend(figure, *axes, columns=8)


def _lines(values: xr.DataArray) -> list[tuple[str, xr.DataArray]]:
    """Return what is drawn as a line each, with its label: by utility and, where that varies, number of answers."""
    utilities = values["utility"].to_numpy()
    if "n_items" not in values.dims:
        return [(str(one), values.sel(utility=one)) for one in utilities]
    pairs = itertools.product(utilities, values["n_items"].to_numpy())
    return [(f"{one}, {number} answers", values.sel(utility=one, n_items=number)) for one, number in pairs]


def edges(dataset: xr.Dataset) -> Figure:
    """Return the distance of the largest reward from 1 against time, each utility beside its law 1/(F t)."""
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    ax = figure.subplots()
    shown = [u for u in dataset["utility"].to_numpy() if np.isfinite(dataset["edge"].sel(utility=u)).all()]
    for number, utility in enumerate(shown):
        row = dataset.sel(utility=utility)
        ax.loglog(row["time"], row["edge"], label=utility, **line_look(number))
        ax.loglog(row["time"], row["edge_law"], color=COLOURS[number % len(COLOURS)], ls="--", lw=1)
    ax.set(xlabel="steps x learning rate", ylabel="1 - largest reward (dashed: 1/(F t))")
    ax.legend(fontsize=8)
    return figure
