"""How open a prompt is need not be told: what annotators are divided on says it, where orders alone do not.

A prompt-aware utility keeps open-ended and closed-ended prompts apart where each prompt's type is known. Here it is
told, estimated, and told wrongly, on rankings of real English text with simulated annotators, who are divided on
open-ended prompts. Estimates are shares of the two types, for each prompt its own. Each arm stands beside the law
predicted for its shares.

    python -m experiments.openness

Expected: on train every separation is near its law: .186 for types that are told; two thirds of that or more for types
that are estimated from votes, grades, ties, or the held-out scores of a first model of one annotator's orders; 0 where
half of the types are wrong or all prompts have one utility. A first model of certain orders has collapsed: what its
held-out scores still say is no estimate of the types, and separates them by little or the wrong way round (below 0).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.engine import Axis
from experiments.shared.bounds import check_config
from experiments.shared.intervals import interval, span
from experiments.shared.launch import script, watched
from experiments.shared.text_population import TextConfig, read_rankings, train_on


@dataclass(frozen=True)
class Config(TextConfig):
    """The published prompt-aware scheme, and the annotators that it learns the types from."""

    seeds: int = 3
    """Reward models trained for each arm."""
    offset: float = 0.1
    """Added to every gap, as in the published code."""
    annotators: int = 3
    """Votes on each pair of a prompt's completions."""
    open_sharpness: float = 1.0
    """Log-odds that the best completion of an open-ended prompt is preferred to the worst, half the prompts above."""
    closed_sharpness: float = 8.0
    """The same of closed-ended prompts."""
    spread: float = 0.5
    """Standard deviation of the logarithm of the sharpness among prompts of a type."""
    folds: int = 5
    """First models, each trained without its part of the prompts."""
    first_steps: int = 400
    """Optimiser steps of a first model, a multiple of records."""


SMALL = {"seeds": 2, "steps": 100, "records": 2, "folds": 2, "first_steps": 100}
ESTIMATED = ("votes", "grades", "ties", "divided orders")
SOURCES = (*ESTIMATED, "certain orders")


class Annotations(NamedTuple):
    """What simulated annotators say of a split's prompts, completions in the order of their true rank."""

    votes: Float[np.ndarray, "prompt item item"]
    """The share of annotators who prefer i to j."""
    grades: Float[np.ndarray, "prompt item item"]
    """By how much one annotator prefers i to j, from -3 to 3."""
    order: Int[np.ndarray, "prompt item"]
    """One annotator's ranking: the completions, best first."""


def annotate(config: Config, rankings: cj.reward.Rankings, key: int) -> Annotations:
    """Return what annotators say, who perceive the sharpness x the difference of ranks (in [0, 1]), and noise."""
    random = np.random.default_rng(key)
    prompts, items = rankings.mask.shape
    typical = np.array([config.open_sharpness, config.closed_sharpness])[rankings.types]
    quality = typical * np.exp(config.spread * random.standard_normal(prompts))
    quality = quality[:, None] * np.linspace(1.0, 0.0, items)
    noise = np.triu(random.logistic(size=(config.annotators, prompts, items, items)), 1)
    perceived = quality[:, :, None] - quality[:, None, :] + noise - noise.swapaxes(-1, -2)
    votes = np.where(np.eye(items, dtype=bool), 0.0, (perceived > 0).mean(0))
    order = np.argsort(-quality - random.gumbel(size=quality.shape), axis=1)
    return Annotations(votes, np.clip(perceived[0].round(), -3, 3), order)


def first_model(
    config: Config, train: cj.reward.Rankings, test: cj.reward.Rankings, model: cj.reward.Model, directory: Path
) -> Float[np.ndarray, " prompt"]:
    """Return how close the held-out scores are of a first model, trained with one utility for all prompts."""
    schemes = cj.make_schemes({"log_sigmoid": cj.choose(cj.UTILITIES["log_sigmoid"])}, train.type_names)
    training = cj.reward.Training(config.first_steps, config.records, config.batch_size)
    folds = cj.reward.split_folds(len(train.types), config.folds)
    process = cj.make_training(train, model, schemes, training=training, test=test, folds=folds)
    scores = cj.reward.held_out_scores(cj.sweep(process, {}, **watched(config, directory)), folds)
    return cj.reward.score_closeness(scores.to_numpy())


def reordered(rankings: cj.reward.Rankings, order: Int[np.ndarray, "prompt item"]) -> cj.reward.Rankings:
    """Return the rankings with the completions in another order, best first."""
    if isinstance(rankings.features, cj.reward.Prefixes):
        last = np.take_along_axis(rankings.features.last, order, 1)
        return rankings._replace(features=rankings.features._replace(last=last))
    return rankings._replace(features=np.take_along_axis(rankings.features, order[:, :, None], 1))


def estimate(
    config: Config, model: cj.reward.Model, splits: tuple[cj.reward.Rankings, cj.reward.Rankings], directory: Path
) -> dict[str, Float[np.ndarray, " prompt"]]:
    """Return the openness of all prompts, those of the test split last, by what it is taken from."""
    truth = np.concatenate([split.types == split.type_names.index("open") for split in splits]).astype(float)
    said = [annotate(config, split, key) for key, split in enumerate(splits)]
    votes, grades, _ = (np.concatenate(part) for part in zip(*said, strict=True))
    one = [reordered(split, own.order) for split, own in zip(splits, said, strict=True)]
    certain, divided = (
        first_model(config, train, test, model, directory / name)
        for name, (train, test) in (("certain", splits), ("divided", one))
    )
    undecided = np.where(np.eye(votes.shape[-1], dtype=bool), 0.0, 0.5 + 0.5 * np.sign(grades))
    found = {
        "votes": cj.reward.disagreement(votes, config.annotators),
        "grades": cj.reward.closeness(grades),
        "ties": cj.reward.tie_rate(undecided),
        "divided orders": divided,
        "certain orders": certain,
    }
    estimated = {name: told_by(statistic) for name, statistic in found.items()}
    random = np.random.default_rng(0)
    wrong = random.permuted(np.linspace(0, 1, len(truth), endpoint=False))
    return {
        "told": truth,
        **estimated,
        "votes, decided": estimated["votes"].round(),
        "a quarter wrong": np.where(wrong < 0.25, 1 - truth, truth),
        "half wrong": np.where(wrong < 0.5, 1 - truth, truth),
        "one utility": np.ones(len(truth)),
    }


def told_by(statistic: Float[np.ndarray, " prompt"]) -> Float[np.ndarray, " prompt"]:
    """Return the openness that a statistic tells, a half for all prompts where a collapsed model tells none apart."""
    return np.full(len(statistic), 0.5) if np.ptp(statistic) == 0 else cj.reward.estimate_openness(statistic)


def run(config: Config, directory: Path) -> xr.Dataset:
    """Train the scheme with the types of each arm, in one program; return rewards, laws, separations and openness."""
    check_config(config)
    model, train, test = read_rankings(config)
    openness = estimate(config, model, (train, test), directory)
    arms = np.stack([cj.reward.soft_types(one) for one in openness.values()])
    schemes = cj.make_schemes(
        {
            "aware": {
                "open": cj.choose(cj.UTILITIES["inverse_power"], offset=config.offset),
                "closed": cj.choose(cj.UTILITIES["linear"], offset=config.offset),
            }
        },
        train.type_names,
    )
    known = train._replace(memberships=cj.reward.soft_types(openness["told"][: len(train.types)]))
    axes = {"memberships": Axis(arms, list(openness))}
    dataset = train_on(config, model, known, test, schemes, directory / "sweep", axes).isel(step=[-1])
    own = arms[:, : len(train.types)]
    items = dataset.sizes["item"]
    predicted = cj.reward.predict_mixed(own.reshape(-1, 2), schemes, n_items=items, tolerance=1e-3)
    laws = predicted["rewards"].to_numpy().reshape(*own.shape[:2], items)
    law = xr.DataArray(laws, {"memberships": list(openness)}, ("memberships", "prompt", "item"))
    law = law.assign_coords(prompt_type=("prompt", np.asarray(train.type_names)[train.types]))
    trained, right = dataset["rewards"].isel(step=-1), law.sel(memberships="told", drop=True)
    return dataset.assign(
        openness=(("memberships", "prompt"), np.stack(list(openness.values()))),
        law=curves(law),
        law_gap=float(predicted["gap"].max()),
        law_separation=separation(law, right),
        separation=xr.concat(
            [
                separation(trained.isel(prompt=dataset["prompt_split"].to_numpy() == one), right)
                for one in ("train", "test")
            ],
            xr.Variable("split", ["train", "test"]),
        ),
    )


def curves(rewards: xr.DataArray) -> xr.DataArray:
    """Return the mean reward by type of prompt."""
    kinds = ["open", "closed"]
    means = [rewards.isel(prompt=rewards["prompt_type"].to_numpy() == kind).mean("prompt") for kind in kinds]
    return xr.concat(means, xr.Variable("type", kinds), coords="minimal", compat="override")


def separation(rewards: xr.DataArray, right: xr.DataArray) -> xr.DataArray:
    """Return the mean over items of open - closed, counted in the direction of the rewards that are `right`.

    For those it is the mean of |open - closed|; below 0, open prompts are rewarded as closed ones should be.
    """
    apart, direction = (one.sel(type="open") - one.sel(type="closed") for one in map(curves, (rewards, right)))
    found: xr.DataArray = (apart * xr.apply_ufunc(np.sign, direction)).mean("item")
    return found


def correlation(dataset: xr.Dataset) -> xr.DataArray:
    """Return the correlation of the openness of training prompts with their type, by arm; NaN where it is constant."""
    train = dataset.isel(prompt=dataset["prompt_split"].to_numpy() == "train")
    truth = (train["prompt_type"] == "open").astype(float)
    with np.errstate(invalid="ignore"):
        return xr.corr(train["openness"], truth, "prompt")


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return reward curves by arm, each with its law: types that are told or not, and those that are estimated."""
    shown = dataset.drop_vars(["utility", "trained_types", "trained_schemes"], errors="ignore")
    rows = shown.rename(memberships="utility").transpose("utility", ...)
    law = rows[["law"]].rename(law="rewards").assign_coords(n_items=dataset.sizes["item"])
    told = [arm for arm in rows["utility"].to_numpy() if arm not in SOURCES]
    arms = {"figure.png": told, "sources.png": list(SOURCES)}
    return {name: plotting.reward_curves(rows.sel(utility=own), law.sel(utility=own)) for name, own in arms.items()}


def table(dataset: xr.Dataset) -> str:
    """Return, by arm, how near its types are to the truth, and the separation predicted and measured."""
    near = correlation(dataset)
    lines = [
        "separation is mean open - closed over the items, in the direction of the law of types that are told: below 0",
        "the two are taken for one another; the mean over seeds ± two standard errors\n",
        f"{'types from':<22} {'correlation':>11} {'separation':>11} {'train':>14} {'test':>14}",
        f"{'':<22} {'with truth':>11} {'(predicted)':>11} {'(measured)':>14} {'(measured)':>14}",
    ]
    for arm in dataset["memberships"].to_numpy():
        row = dataset.sel(memberships=arm)
        cells = [interval(row["separation"].sel(split=split)) for split in ("train", "test")]
        lines.append(
            f"{arm:<22} {float(near.sel(memberships=arm)):>11.3f} {float(row['law_separation']):>11.3f} "
            f"{cells[0]:>14} {cells[1]:>14}"
        )
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return the separations of types that are told, estimated and wrong, measured and predicted."""
    means, law = dataset["separation"].mean("seed"), dataset["law_separation"]

    def told(arms: list[str]) -> str:
        measured = [span(means.sel(memberships=arms, split=split)) for split in ("train", "test")]
        return f"{measured[0]} (law {span(law.sel(memberships=arms))}) and {measured[1]}"

    return (
        f"separation on train and on held-out titles: {told(['told'])} for types that are told, "
        f"{told(list(ESTIMATED))} for those estimated from votes, grades, ties or a first model of divided orders, "
        f"{told(['certain orders'])} by a first model of certain orders, {told(['half wrong'])} with half of the types "
        f"wrong, {told(['one utility'])} without types"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
