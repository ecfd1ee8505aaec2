"""Reward models trained with one utility give all prompts the same rewards; a prompt-aware utility does not.

The main figure of Song, Cai, Lee, Su (arXiv 2305.17608), on rankings of real English text, each curve beside the law
that predicts it: reward against item index by type of prompt, for four fixed utilities and a prompt-aware one.

    python -m experiments.reward_collapse

Expected: under fixed utilities training prompts of both types get the same rewards (law: a separation of 0), under the
prompt-aware one they are .186 apart; every curve lies on its law.
"""

from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.intervals import span
from experiments.shared.launch import script
from experiments.shared.text_population import TextConfig, train_on_text


@dataclass(frozen=True)
class Config(TextConfig):
    """The five rows of the published figure, with the authors' offset."""

    offset: float = 0.1
    """Added to every gap, as in the published code (log σ has none there)."""


SMALL = {"seeds": 2, "steps": 400}
TITLES = {
    "linear": "U = x",
    "log": "U = log x",
    "inverse": "U = -1/x",
    "log_sigmoid": "U = log σ(4x)",
    "aware": "prompt-aware",
}


def make_schemes(offset: float) -> cj.reward.Schemes:
    """Return the five rows: four fixed utilities and the prompt-aware choice between two of them."""
    linear = cj.choose(cj.UTILITIES["linear"], offset=offset)
    inverse = cj.choose(cj.UTILITIES["inverse_power"], offset=offset)
    return cj.make_schemes(
        {
            "linear": linear,
            "log": cj.choose(cj.UTILITIES["log"], offset=offset),
            "inverse": inverse,
            "log_sigmoid": cj.choose(cj.UTILITIES["log_sigmoid"], scale=0.25),
            "aware": {"open": inverse, "closed": linear},
        }
    )


def run(config: Config, directory: Path) -> xr.Dataset:
    """Train the population and return its records with the predicted laws and the metrics beside them."""
    check_config(config)
    schemes = make_schemes(config.offset)
    dataset = train_on_text(config, schemes, directory)
    predicted = cj.predict_rewards(schemes, dataset.sizes["item"])
    metrics = cj.summarize_rewards(dataset.isel(step=[-1]), predicted, cj.reward.limit_values(schemes))
    return dataset.merge(predicted.rename(rewards="law", value="law_value", gap="law_gap")).merge(
        metrics.isel(step=-1, drop=True).rename({name: f"final_{name}" for name in metrics.data_vars})
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return the published figure with its laws."""
    return {"figure.png": plotting.reward_curves(dataset, dataset[["law"]].rename(law="rewards"), TITLES)}


def table(dataset: xr.Dataset) -> str:
    """Return measured beside predicted, one line for each utility."""
    law = dataset["law"]
    apart = abs(law.sel(type="open") - law.sel(type="closed")).mean("item")
    lines = [
        "mean over seeds ± their standard deviation; separation is mean |open - closed| over the items\n",
        f"{'utility':<12} {'separation':>11} {'train':>13} {'test':>13} {'rms to law':>13} {'accuracy':>9} {'gap':>9}",
        f"{'':<12} {'(predicted)':>11} {'(measured)':>13} {'(measured)':>13} {'(train)':>13} {'(test)':>9} "
        f"{'(train)':>9}",
    ]
    for utility in dataset["utility"].to_numpy():
        row = dataset.sel(utility=utility)

        def cell(name: str, split: str, row: xr.Dataset = row) -> str:
            values = row[f"final_{name}"].sel(split=split)
            return f"{float(values.mean()):.3f} ± {float(values.std()):.3f}"

        accuracy, gap = (
            float(row[f"final_{n}"].sel(split=s).mean()) for n, s in (("accuracy", "test"), ("gap", "train"))
        )
        lines.append(
            f"{utility:<12} {float(apart.sel(utility=utility)):>11.3f} {cell('separation', 'train'):>13} "
            f"{cell('separation', 'test'):>13} {cell('law_rmse', 'train'):>13} {accuracy:>9.3f} {gap:>9.1e}"
        )
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return separations of the types and distances to the law: fixed utilities together, then the prompt-aware one."""
    separation, rmse = (dataset[f"final_{name}"].mean("seed") for name in ("separation", "law_rmse"))
    fixed, aware = separation.isel(utility=slice(-1)), separation.isel(utility=-1)
    law = dataset["law"].isel(utility=-1)
    apart = float(abs(law.sel(type="open") - law.sel(type="closed")).mean("item"))
    return (
        f"separation on train {span(fixed.sel(split='train'))} under fixed utilities (law 0), "
        f"{float(aware.sel(split='train')):.3f} under the prompt-aware one (law {apart:.3f}); on held-out titles "
        f"{span(fixed.sel(split='test'))} and {float(aware.sel(split='test')):.3f}; root-mean-square distance to the "
        f"law on train {span(rmse.sel(split='train'))}"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
