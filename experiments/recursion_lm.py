"""Language models trained on what they wrote get worse at real text; keeping the real text stops it.

Shumailov et al. (Nature 631:755) and Gerstgrasser et al. (arXiv 2404.01413) with a transformer small enough for two
cores, on real text: held-out perplexity by generation, and how surprising what a model writes is to the model trained
on real text alone. Rows are replaced, accumulated, accumulated and subsampled, or joined by a share of real rows: the
same ones replayed, as many drawn anew each time of those that trained the first model (a random tenth, as in Nature's
text), or fresh. The control is trained on fresh real rows. Where rows are replaced, ways of writing are compared.

    python -m experiments.recursion_lm --small
    python -m experiments.recursion_lm
    python -m experiments.recursion_lm --source text_files --path FILE  the same on your own text

The published size is a configuration: `--source wikitext --path FOLDER --length 128 --prompt 64 --layers 12 --width 768
--heads 12 --samples 4096 --steps 640 --dtype bfloat16 --start pretrained`; not run.

Expected: held-out log-perplexity rises most when rows are replaced, less with a share of real rows, replayed and then
fresh, least when accumulated, and not in the control. What the models write grows more surprising to the first one: its
histograms move right.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.intervals import interval
from experiments.shared.language_models import LanguageConfig, read, texts
from experiments.shared.language_population import compare_ways, overfitted, recurse, require_ways
from experiments.shared.launch import script


@dataclass(frozen=True)
class Config(LanguageConfig):
    """Regimes, real shares and ways of writing."""

    shares: tuple[float, ...] = (0.1, 0.5)
    """Real shares, each replayed, drawn anew of the first model's rows, and fresh."""
    ways: tuple[str, ...] = ("sampling", "temperature .7", "top-p .9")
    """Ways of writing to compare where rows are replaced; none leaves the comparison out."""


SMALL = {
    "generations": 3,
    "samples": 96,
    "steps": 15,
    "seeds": 2,
    "pretraining": 100,
    "length": 32,
    "layers": 1,
    "shares": (0.1,),
    "ways": (),
}


def arms(shares: tuple[float, ...]) -> list[cj.generative.Regime]:
    """Return the regimes: those without a share, those with, and the control."""
    plain = [cj.REGIMES[name] for name in ("replace", "accumulate", "accumulate_subsample")]
    shared = [
        cj.with_share(cj.REGIMES[f"real_fraction_{kind}"], share, f"{share:.0%} real, {kind}")
        for share in shares
        for kind in ("replayed", "resampled", "fresh")
    ]
    # Fresh real rows alone, in every generation.
    control = cj.with_share(cj.REGIMES["real_fraction_fresh"], 1.0, "control")
    return [*plain, *shared, control]


def run(config: Config, directory: Path) -> xr.Dataset:
    """Run all arms; return records, the collapse profile, and the first rows as text."""
    check_config(config, may_be_empty=("ways",))
    require_ways(config.ways)
    language = read(config, directory)
    dataset = recurse(config, language, arms(config.shares), directory / "sweep")
    dataset["text"] = (dataset["row"].dims[:-1], _as_text(language, dataset["row"].to_numpy()))
    if config.ways:
        ways = compare_ways(config, language, config.ways, directory)
        dataset = dataset.merge(
            ways[["risk", "surprise"]].rename(risk="way_risk", surprise="way_surprise"), combine_attrs="override"
        )
    return dataset.drop_vars("row")


def _as_text(language: object, rows: np.ndarray) -> np.ndarray:
    flat = texts(language, rows.reshape(-1, rows.shape[-1]))  # type: ignore[arg-type]
    return np.array(flat).reshape(rows.shape[:-1])


# Certainty has a perplexity of 1.
PERPLEXITY = (1.0, float("inf"))


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return perplexities by generation, their histograms, and the ways of writing."""
    figures = {
        "figure.png": plotting.curves(
            {
                "perplexity, held-out real text": plotting.Curve(_perplexity(dataset["risk"]), support=PERPLEXITY),
                "perplexity of its text, first model": plotting.Curve(
                    _perplexity(dataset["surprise"]), support=PERPLEXITY
                ),
                "self-BLEU-4": plotting.Curve(dataset["self_bleu"], support=plotting.SHARE),
                "semantic drift": plotting.Curve(dataset["drift"], support=plotting.POSITIVE),
            },
            x="generation",
            hue="regime",
        ),
        "histograms.png": plotting.curves(
            {
                "share of rows": plotting.Curve(
                    _filled(dataset["surprise_histogram"].isel(generation=_shown(dataset.sizes["generation"]))),
                    support=plotting.SHARE,
                )
            },
            x="bin",
            hue="generation",
            column="regime",
            xlabel="log-perplexity, first model (nats)",
        ),
    }
    if words := overfitted(dataset, "regime"):
        figures["figure.png"].suptitle("\n".join(words), fontsize=8)
    if "way_risk" in dataset:
        figures["ways.png"] = plotting.curves(
            {
                "perplexity, held-out real text": plotting.Curve(_perplexity(dataset["way_risk"]), support=PERPLEXITY),
                "perplexity of its text, first model": plotting.Curve(
                    _perplexity(dataset["way_surprise"]), None, "log", PERPLEXITY
                ),
            },
            x="generation",
            hue="way",
        )
    return figures


def _perplexity(risk: xr.DataArray) -> xr.DataArray:
    perplexity: xr.DataArray = xr.apply_ufunc(np.exp, risk)
    return perplexity


def _filled(histogram: xr.DataArray) -> xr.DataArray:
    """Return the bins between the first and the last that hold anything."""
    full = np.flatnonzero((histogram > 0).any([dim for dim in histogram.dims if dim != "bin"]))
    return histogram.isel(bin=slice(full[0], full[-1] + 1))


def _shown(generations: int) -> list[int]:
    return sorted({0, generations // 2, generations - 1})


def table(dataset: xr.Dataset) -> str:
    """Return the rise of held-out perplexity with its interval, a line for each arm, and a sample of each."""
    first, last = dataset["generation"].to_numpy()[[0, -1]]
    rise = dataset["risk"].sel(generation=last) - dataset["risk"].sel(generation=first)
    above = dataset["risk"].sel(generation=last) - dataset["risk"].sel(generation=last, regime="control")
    lines = [
        f"log-perplexity on held-out real text, nats a token: rise from generation {first} to {last}, and above the "
        "control there;\nmeans over seeds ± two standard errors\n",
        f"{'regime':<22}{'perplexity':>12}{'rise':>18}{'above control':>18}{'self-BLEU':>11}{'drift':>8}",
    ]
    for regime in dataset["regime"].to_numpy():
        row = dataset.sel(regime=regime, generation=last).mean("seed")
        lines.append(
            f"{regime:<22}{float(np.exp(row['risk'])):>12.1f}{interval(rise.sel(regime=regime), '+.3f'):>18}"
            f"{interval(above.sel(regime=regime), '+.3f'):>18}{float(row['self_bleu']):>11.3f}"
            f"{float(row['drift']):>8.3f}"
        )
    lines += overfitted(dataset, "regime")
    if "way_risk" in dataset:
        change = dataset["way_risk"].sel(generation=last) - dataset["way_risk"].sel(generation=first)
        lines.append(f"\n{'rows replaced, written by':<34}{'rise':>18}")
        lines += [f"{way:<34}{interval(change.sel(way=way), '+.3f'):>18}" for way in dataset["way"].to_numpy()]
    for generation in (first, last):
        text = str(dataset["text"].sel(regime="replace", generation=generation, seed=0).to_numpy()[0])
        lines.append(f"\nreplaced, generation {generation}: {text}")
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return the rise of held-out log-perplexity in each arm, with its interval."""
    first, last = dataset["generation"].to_numpy()[[0, -1]]
    rise = dataset["risk"].sel(generation=last) - dataset["risk"].sel(generation=first)
    arms = ", ".join(f"{interval(rise.sel(regime=one), '+.3f')} {one}" for one in dataset["regime"].to_numpy())
    return (
        f"nats a token on held-out text from generation {first} to {last}, {rise.sizes['seed']} seeds, ± two standard "
        f"errors: {arms}"
    )


main = script(
    __name__,
    __file__,
    Config(),
    SMALL,
    run,
    draw,
    table,
    summary,
    description=__doc__,
    measured=("--generations", "5", "--seeds", "3", "--shares", "0.1", "--ways"),
)
