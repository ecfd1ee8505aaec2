"""Margins, temperatures, label smoothing and centring that ignore the prompt only move the law of collapse.

Each common remedy is trained on rankings of real English text beside the law predicted for it: the rewards follow the
new law, and open-ended and closed-ended prompts still share it. A prompt-aware utility separates them.

    python -m experiments.no_cure

Expected: every remedy moves the law, rewards stay on it, and the types are not separated (law 0), but under the
prompt-aware utility.
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
    """Remedies of the Bradley-Terry likelihood log σ(gap / scale), which is the first row."""

    seeds: int = 3
    """Reward models trained for each scheme and each centring."""
    scale: float = 0.35
    """Temperature of the likelihood."""
    margin: float = 0.2
    """Subtracted from every gap."""
    temperature: float = 0.1
    """Temperature of the remedy that changes it."""
    smoothing: float = 0.05
    """Share of flipped labels assumed."""
    centring: float = 1.0
    """Coefficient of the penalty (better + worse - 1)² a pair."""


SMALL = {"seeds": 2, "steps": 400}


def make_schemes(config: Config) -> cj.reward.Schemes:
    """Return the likelihood, its remedies that ignore the prompt, and the prompt-aware cure."""
    bradley_terry, smoothed = cj.UTILITIES["log_sigmoid"], cj.UTILITIES["smoothed_log_sigmoid"]
    return cj.make_schemes(
        {
            "no remedy": cj.choose(bradley_terry, scale=config.scale),
            "margin": cj.choose(bradley_terry, scale=config.scale, offset=-config.margin),
            "temperature": cj.choose(bradley_terry, scale=config.temperature),
            "label smoothing": cj.choose(smoothed, scale=config.scale, smoothing=config.smoothing),
            "prompt-aware": {
                "open": cj.choose(cj.UTILITIES["inverse_power"], offset=0.1),
                "closed": cj.choose(cj.UTILITIES["linear"]),
            },
        }
    )


def run(config: Config, directory: Path) -> xr.Dataset:
    """Train every scheme without and with centring; return records, laws and metrics."""
    check_config(config)
    schemes = make_schemes(config)
    strengths = [0.0, config.centring]
    dataset = train_on_text(config, schemes, directory, {"centring": strengths})
    predicted = cj.predict_rewards(schemes, dataset.sizes["item"], centring=strengths)
    metrics = cj.summarize_rewards(dataset.isel(step=[-1]), predicted).isel(step=-1, drop=True)
    return (
        dataset.isel(step=[-1])
        .merge(predicted.rename(rewards="law", value="law_value", gap="law_gap"))
        .merge(metrics.rename({name: f"final_{name}" for name in metrics.data_vars}))
    )


def _remedies(dataset: xr.Dataset) -> xr.Dataset:
    """Return the sweep with the remedies in one row: every scheme without centring, then the first one with it."""
    centred = dataset.isel(centring=-1, utility=[0]).assign_coords(utility=["centring"])
    plain = dataset.isel(centring=0)
    cure = plain.isel(utility=[-1])
    return xr.concat(
        [plain.isel(utility=slice(-1)), centred, cure],
        "utility",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return reward curves by remedy, each with its law."""
    rows = _remedies(dataset)
    return {"figure.png": plotting.reward_curves(rows, rows[["law"]].rename(law="rewards"))}


def table(dataset: xr.Dataset) -> str:
    """Return, by remedy, how far it moved the law, how near the rewards are to it, and whether prompts separate."""
    rows = _remedies(dataset)
    law = rows["law"]
    moved = ((law - law.isel(utility=0)) ** 2).mean(["type", "item"]) ** 0.5
    apart = abs(law.sel(type="open") - law.sel(type="closed")).mean("item")
    lines = [
        f"{'remedy':<16} {'law moved by':>12} {'rms to law':>14} {'separation':>11} {'train':>14} {'test':>14}",
        f"{'':<16} {'(predicted)':>12} {'(train)':>14} {'(predicted)':>11} {'(measured)':>14} {'(measured)':>14}",
    ]
    for utility in rows["utility"].to_numpy():
        row = rows.sel(utility=utility)
        cells = [
            f"{float(row[name].sel(split=split).mean()):.3f} ± {float(row[name].sel(split=split).std()):.3f}"
            for name, split in (
                ("final_law_rmse", "train"),
                ("final_separation", "train"),
                ("final_separation", "test"),
            )
        ]
        lines.append(
            f"{utility:<16} {float(moved.sel(utility=utility)):>12.3f} {cells[0]:>14} "
            f"{float(apart.sel(utility=utility)):>11.3f} {cells[1]:>14} {cells[2]:>14}"
        )
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return how far remedies move the law, how near rewards stay to it, and whether they separate the types."""
    rows = _remedies(dataset)
    law = rows["law"]
    moved = ((law - law.isel(utility=0)) ** 2).mean(["type", "item"]).isel(utility=slice(1, -1)) ** 0.5
    rmse, apart = (rows[f"final_{name}"].sel(split="train").mean("seed") for name in ("law_rmse", "separation"))
    aware = float(abs(law.sel(type="open") - law.sel(type="closed")).mean("item").isel(utility=-1))
    return (
        f"remedies move the law by {span(moved)}, rewards stay within {float(rmse.max()):.3f} of it; separation on "
        f"train {span(apart.isel(utility=slice(-1)))} (law 0) against {float(apart[-1]):.3f} (law {aware:.3f}) for "
        "prompt-aware"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
