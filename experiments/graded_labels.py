"""Labels that grade are a second cure: rewards follow the strengths of answers, and orders forget them.

The same prompts of real English text are labelled in three ways. In truth the answers to closed-ended prompts differ
much and those to open-ended ones little: answer i beats answer j with the probability σ(strength i - strength j).
Orders keep the sign alone, and one utility gives both types of prompts the same rewards; a prompt-aware utility, which
is told the type, separates them. Graded labels, the probabilities or how many of some annotators prefer i, do so with
one utility for all and without being told. Each prompt's rewards are trained beside the law of its own labels.

    python -m experiments.graded_labels

Expected: on orders the types are not separated (law 0); with graded labels they are, as far as the law of the labels
says and about as far with few annotators as with probabilities, and so they are when the utility is told.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.special import expit

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.launch import script
from experiments.shared.text_population import TextConfig, read_rankings, train_on


@dataclass(frozen=True)
class Config(TextConfig):
    """Strengths of answers, and who labels them."""

    seeds: int = 3
    """Reward models trained for each way of labelling."""
    scale: float = 0.25
    """Temperature of the likelihood log σ(gap / scale)."""
    open_range: float = 1.5
    """Strength of the best answer to an open-ended prompt over the worst, in log-odds."""
    closed_range: float = 8.0
    """The same of closed-ended prompts; rewards follow strengths up to a range of 1 / scale."""
    centring: float = 0.1
    """Coefficient of the penalty (r_i + r_j - 1)² a pair. Labels of answers within reach don't say how high the rewards
    are, and without it they drift up or down by type."""
    annotators: tuple[int, ...] = (30, 5)
    """Annotators that label each pair, besides the probabilities themselves; each is a row of the table."""
    label_seed: int = 0
    """Where the annotators' choices are drawn from."""


SMALL = {"seeds": 2, "steps": 300, "records": 1, "annotators": (5,)}
ORDERS, TOLD, EXACT = "orders", "orders, told types", "graded"


def make_schemes(config: Config) -> tuple[cj.reward.Schemes, cj.reward.Schemes]:
    """Return the likelihood beside the prompt-aware cure, for orders, and the likelihood alone, for graded labels."""
    likelihood = cj.choose(cj.UTILITIES["log_sigmoid"], scale=config.scale)
    told = {
        "open": cj.choose(cj.UTILITIES["inverse_power"], offset=0.1),
        "closed": cj.choose(cj.UTILITIES["linear"]),
    }
    types = ("open", "closed")
    return cj.make_schemes({ORDERS: likelihood, TOLD: told}, types), cj.make_schemes({EXACT: likelihood}, types)


def grade(
    config: Config, rankings: cj.reward.Rankings, annotators: int | None, rng: np.random.Generator
) -> cj.reward.Rankings:
    """Return the rankings with graded labels: probabilities, or the shares of so many annotators."""
    ranges = np.array([config.open_range if name == "open" else config.closed_range for name in rankings.type_names])
    items = rankings.mask.shape[1]
    strengths = ranges[rankings.types][:, None] * np.linspace(0.5, -0.5, items)
    wins = expit(strengths[:, :, None] - strengths[:, None])
    if annotators is not None:
        wins = rng.binomial(annotators, wins) / annotators
    wins = np.triu(wins, 1) + np.tril(1 - wins.swapaxes(1, 2), -1)
    labels = wins * rankings.mask[:, :, None] * rankings.mask[:, None]
    return cj.make_rankings(rankings.features, rankings.mask, rankings.types, rankings.type_names, wins=labels)


def run(config: Config, directory: Path) -> xr.Dataset:
    """Train on each kind of labels; return the last records, laws and metrics along an axis of what was trained."""
    check_config(config)
    model, train, test = read_rankings(config)
    for_orders, for_graded = make_schemes(config)
    parts = [_trained(config, (model, train, test), for_orders, directory / "orders")]
    rng = np.random.default_rng(config.label_seed)
    for annotators in (None, *config.annotators):
        name = EXACT if annotators is None else f"{EXACT}, {annotators} annotators"
        graded = grade(config, train, annotators, rng), grade(config, test, annotators, rng)
        part = _trained(config, (model, *graded), for_graded, directory / (f"graded-{annotators or 'exact'}"))
        parts.append(part.assign_coords(utility=[name]))
    return xr.concat(parts, "utility")


def _trained(
    config: Config,
    population: tuple[cj.reward.Model, cj.reward.Rankings, cj.reward.Rankings],
    schemes: cj.reward.Schemes,
    directory: Path,
) -> xr.Dataset:
    dataset = train_on(config, *population, schemes, directory, {"centring": [config.centring]})
    dataset = dataset.isel(step=[-1], centring=0)
    laws = cj.reward.predict_labelled(population[1], schemes, test=population[2], centring=config.centring)
    metrics = cj.reward.summarize_labelled(dataset, laws).isel(step=-1, drop=True)
    by_type = laws["rewards"].groupby("prompt_type").mean("prompt").rename(prompt_type="type")
    own = dataset[["rewards"]].drop_vars([name for name in dataset.coords if str(name).startswith("trained_")])
    found = own.merge(metrics).assign(
        law=by_type.sel(type=list(schemes.type_names)).transpose("utility", "type", "item")
    )
    found["separation"] = _separation(dataset)
    found["law_separation"] = _separation(laws)
    return found.drop_vars([name for name in found.coords if found[name].ndim == 0])


def _separation(side: xr.Dataset) -> xr.DataArray:
    """Return the mean over items of |curve of one type - curve of the other|, by split."""
    rewards = side["rewards"] if "step" not in side.dims else side["rewards"].isel(step=-1)
    values = []
    for split in ("train", "test"):
        own = rewards.isel(prompt=(side["prompt_split"] == split).to_numpy())
        curves = own.groupby("prompt_type").mean("prompt")
        apart = abs(curves.sel(prompt_type="open") - curves.sel(prompt_type="closed")).mean("item")
        values.append(apart.expand_dims(split=[split]))
    return xr.concat(values, "split")


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return reward curves by what was trained, each with the mean law of the labels of each type."""
    laws = dataset[["law"]].rename(law="rewards").assign_coords(n_items=dataset.sizes["item"])
    return {"figure.png": plotting.reward_curves(dataset, laws)}


def table(dataset: xr.Dataset) -> str:
    """Return, by what was trained, the separation of types beside the law's, the distance to it, and the accuracy."""
    lines = [
        f"{'labels':<24} {'separation':>11} {'train':>14} {'test':>14} {'to own law':>14} {'wins ordered':>14}",
        f"{'':<24} {'(predicted)':>11} {'(measured)':>14} {'(measured)':>14} {'(train)':>14} {'(test)':>14}",
    ]
    for label in dataset["utility"].to_numpy():
        row = dataset.sel(utility=label)
        cells = [
            f"{float(row[name].sel(split=split).mean()):.3f} ± {float(row[name].sel(split=split).std()):.3f}"
            for name, split in (
                ("separation", "train"),
                ("separation", "test"),
                ("law_distance", "train"),
                ("accuracy", "test"),
            )
        ]
        law = float(row["law_separation"].sel(split="train"))
        lines.append(f"{label:<24} {law:>11.3f} " + " ".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return how far types are separated by what was trained, on train prompts, each beside its law."""
    apart, law = (dataset[name].sel(split="train") for name in ("separation", "law_separation"))
    cells = [
        f"{float(apart.sel(utility=label).mean()):.3f} on {label} (law {float(law.sel(utility=label)):.3f})"
        for label in dataset["utility"].to_numpy()
    ]
    return f"separation of types: {', '.join(cells)}"


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
