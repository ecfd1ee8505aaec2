"""A reward model with its own collapse curates the loop: do open-ended prompts lose diversity as closed-ended ones do?

Each generation answers real prompts, K candidates a prompt, of which a reward model, trained on rankings with a utility
U, chooses one softly (Ferbach et al., arXiv 2407.09499); the next generation is trained on what was chosen. A reward
model gives all prompts of a type the rewards of U's law (Song et al., arXiv 2305.17608), and a choice tilts answers by
e^{τ r}: so the law of U says how fast a type of prompt loses its diversity. The loop runs once with answers that are
single tokens, where the tilt is exact, and once with a language model that answers prompts of real text.

    python -m experiments.curated_loop
    python -m experiments.curated_loop --small
    python -m experiments.curated_loop --testbed exact     single tokens alone; or neural, text alone

Expected, for single tokens: under fixed utilities open-ended prompts lose as much diversity as closed-ended ones. Under
the prompt-aware one they lose less by the first choice, are the less diverse ones from generation 3 on, and have lost
more in the end: x stops at the half that it calls right, -1/x goes on to a single answer. Refitting on its own choice
ends the plateau of x, refitting by true quality keeps it. The best of K sees the order alone, and is alike under all
utilities. Text: rewards near their laws at first, then far slower than by the law, which lets a generation learn all
that was chosen; after few generations both types have lost the same.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.language_models import LanguageConfig, read, texts
from experiments.shared.launch import script, watched
from experiments.testbeds.loop_curation import TYPES, Curation, Way
from experiments.testbeds.loop_laws import text_laws, token_laws
from experiments.testbeds.loop_tables import summary, table, text_of
from experiments.testbeds.loop_texts import answer_texts
from experiments.testbeds.loop_tokens import answer_tokens

HARD = ["diversity", "quality", "share"]
REFITS = list(cj.loop.REFITS)


@dataclass(frozen=True)
class Config(LanguageConfig):
    """Prompts and answers, their reward models, and the choices by them; models of text as in recursion_lm."""

    testbed: Literal["exact", "neural", "both"] = "both"
    """Answers that are single tokens, text, or first the one and then the other."""
    choose_from: int = 4
    """Candidates a prompt, of which one is kept."""
    noise: float = 0.2
    """Standard deviation of the quality seen by the ranker; right answers have 1 and wrong ones 0."""
    offset: float = 0.1
    """Added to every gap, as in the published code."""
    reward_steps: int = 2000
    """Optimiser steps of the reward model of single tokens; a quarter of it for text."""
    refit_steps: int = 50
    """Optimiser steps of a reward model that is trained on, in each generation."""
    token_prompts: int = 4
    """Prompts with answers of a single token, half of them open-ended."""
    answers: int = 8
    """Answers that exist to each of these prompts, and answers that a ranking of text compares."""
    token_samples: int = 4000
    """Prompts that a generation answers with single tokens."""
    token_generations: int = 16
    """Models in a row that answer with single tokens."""
    token_seeds: int = 8
    """Lineages for each cell, where answers are single tokens."""
    strengths: tuple[float, ...] = (1.0, 4.0)
    """Strength of the choice, in units of 1 / reward; text takes the last one alone."""
    hidden: int = 128
    """Width of the reward model of text."""
    length: int = 32
    prompt: int = 8
    samples: int = 192
    generations: int = 4
    seeds: int = 10
    steps: int = 40


SMALL = {
    "generations": 3,
    "samples": 64,
    "steps": 15,
    "seeds": 2,
    "pretraining": 100,
    "layers": 1,
    "width": 32,
    "token_generations": 6,
    "token_samples": 1000,
    "token_seeds": 3,
    "reward_steps": 400,
}


def make_schemes(config: Config) -> cj.reward.Schemes:
    """Return three fixed utilities and the prompt-aware choice between two of them."""
    linear = cj.choose(cj.UTILITIES["linear"], offset=config.offset)
    inverse = cj.choose(cj.UTILITIES["inverse_power"], offset=config.offset)
    log = cj.choose(cj.UTILITIES["log"], offset=config.offset)
    return cj.make_schemes({"x": linear, "log x": log, "-1/x": inverse, "aware": {"open": inverse, "closed": linear}})


def run(config: Config, directory: Path) -> xr.Dataset:
    """Return what either testbed shows, with its laws; names of what belongs to text begin with `text_`."""
    check_config(config)
    parts = []
    if config.testbed != "neural":
        parts.append(run_tokens(config, directory))
    if config.testbed != "exact":
        own = run_text(config, directory)
        parts.append(own.rename({name: f"text_{name}" for name in [*own.data_vars, "generation", "seed"]}))
    # Both have the utilities' parameters as coordinates, which are the same.
    return xr.merge(parts, compat="equals", combine_attrs="override")


def run_tokens(config: Config, directory: Path) -> xr.Dataset:
    """Return soft choices by frozen and refitted reward models, in one program, and two hard ones, each in its own."""
    schemes = make_schemes(config)
    plan = cj.make_plan(cj.REGIMES["replace"], config.token_generations, config.token_samples)
    training = cj.reward.Training(config.reward_steps, records=1, batch_size=min(64, config.token_prompts))
    curation = Curation(config.choose_from, cj.mlp(()), training, config.refit_steps, config.noise)
    frozen = {f"{strength:g}": {"strength": strength, "refit": REFITS[0]} for strength in config.strengths}
    refitted = {label: {"strength": config.strengths[-1], "refit": label} for label in REFITS[1:]}

    def sweep(way: Way) -> xr.Dataset:
        process = answer_tokens(config.token_prompts, config.answers, curation, schemes, plan, way)
        # The hard ones, without a strength, are frozen too: one arm, and no dimension.
        arms = {**frozen, **refitted} if way == "soft" else {"frozen": {"refit": REFITS[0]}}
        return cj.sweep(
            cj.engine.with_arms(process, arms),
            {"seed": range(config.token_seeds)},
            **watched(config, directory / f"tokens-{way}"),
        )

    soft = sweep("soft").drop_vars("diverged")
    by_strength = soft.sel(arm=list(frozen)).rename(arm="strength").assign_coords(strength=list(config.strengths))
    by_refit = soft.sel(arm=[list(frozen)[-1], *refitted]).rename(arm="refit").assign_coords(refit=REFITS)
    hard = xr.concat([sweep("best"), sweep("top")], xr.DataArray(["best", "top"], dims="way", name="way"))
    parts = [
        by_strength,
        by_refit.rename({name: f"refit_{name}" for name in by_refit.data_vars}),
        hard[HARD].rename({name: f"hard_{name}" for name in HARD}),
        token_laws(schemes, curation, config.answers, strengths=config.strengths, generations=config.token_generations),
    ]
    return xr.merge(parts, combine_attrs="override")


def run_text(config: Config, directory: Path) -> xr.Dataset:
    """Run all arms in one program; return records, the laws of the rewards, and a row of each type as text."""
    language = read(config, directory)
    schemes = make_schemes(config)
    training = cj.reward.Training(config.reward_steps // 4, records=1)
    model = cj.mlp((config.hidden,))
    curation = Curation(config.choose_from, model, training, config.refit_steps, config.noise)
    process = answer_texts(config, language, config.answers, curation, schemes)
    strength = config.strengths[-1]

    def arm(utility: str, refit: str = REFITS[0], strength: float = strength) -> dict[str, Any]:
        return {"utility": utility, "refit": refit, "strength": strength}

    process = cj.engine.with_arms(
        process,
        {
            "control": arm("aware", strength=0.0),
            "x": arm("x"),
            "-1/x": arm("-1/x"),
            "aware": arm("aware"),
            "aware, own choice": arm("aware", "own choice"),
            "aware, true quality": arm("aware", "true quality"),
        },
    )
    dataset = cj.sweep(
        process,
        {"seed": range(config.seeds)},
        **watched(config, directory / "text"),
        segment=1,
    )
    laws = text_laws(schemes, curation, config.answers, strength=strength, generations=config.generations)
    dataset["text"] = (dataset["row"].dims[:-1], _as_text(language, dataset["row"].to_numpy()))
    laws = laws.reindex(arm=dataset["arm"].to_numpy())
    return dataset.drop_vars(["row", "diverged"]).merge(laws, combine_attrs="override")


def _as_text(language: Any, rows: np.ndarray) -> np.ndarray:
    return np.array(texts(language, rows.reshape(-1, rows.shape[-1])[:, 1:])).reshape(rows.shape[:-1])


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return the paths under frozen reward models, those under refitted ones, and the same of text."""
    figures: dict[str, Figure] = {}
    if "diversity" in dataset:
        frozen = dataset.isel(strength=-1)
        rows = {
            "diversity 1 - Σp²": "diversity",
            "true quality": "quality",
            "reward offered": "offered",
            "drift (total variation)": "drift",
        }
        figures["figure.png"] = plotting.curves(
            {
                label: plotting.Curve(frozen[name], frozen[f"{name}_law"], support=plotting.SHARE)
                for label, name in rows.items()
            },
            x="generation",
            hue="type",
            column="utility",
        )
        figures["refits.png"] = plotting.curves(
            {
                label: plotting.Curve(_cases(dataset[f"refit_{name}"]), support=plotting.SHARE)
                for label, name in rows.items()
            },
            x="generation",
            hue="refit",
            column="case",
            titles={case: case for case in _cases(dataset["refit_quality"])["case"].to_numpy()},
        )
    if "text_offered" in dataset:
        text = text_of(dataset)
        rows = {
            "reward offered": "offered",
            "distinct-2 of answers": "distinct_2",
            "Vendi score of answers": "vendi",
            "drift": "drift",
        }
        titles = {arm: arm for arm in text["arm"].to_numpy()}
        figures["text.png"] = plotting.curves(
            {
                label: plotting.Curve(
                    text[name],
                    text.get(f"{name}_law"),
                    support=plotting.POSITIVE if name in ("vendi", "drift") else plotting.SHARE,
                )
                for label, name in rows.items()
            },
            x="generation",
            hue="type",
            column="arm",
            titles=titles,
        )
        figures["text_rewards.png"] = plotting.curves(
            {
                "reward offered, generation 1": plotting.Curve(
                    _ranks(text["rewards"]), _ranks(text["rewards_law"]), support=plotting.SHARE
                )
            },
            x="rank",
            hue="type",
            column="arm",
            titles=titles,
        )
    return figures


def _cases(array: xr.DataArray) -> xr.DataArray:
    """Return pairs of utility and type along one dimension, for x and the prompt-aware utility alone."""
    chosen = [(utility, kind) for utility in ("x", "aware") for kind in TYPES]
    names = xr.DataArray([f"{utility}, {kind}" for utility, kind in chosen], dims="case", name="case")
    return xr.concat([array.sel(utility=utility, type=kind, drop=True) for utility, kind in chosen], names)


def _ranks(rewards: xr.DataArray) -> xr.DataArray:
    """Return rewards by rank in the first generation, the best first, of reward models that are not refitted."""
    first = rewards.isel(generation=0) if "generation" in rewards.dims else rewards
    first = first.sel(arm=["x", "-1/x", "aware"]).rename(item="rank")
    return first.assign_coords(rank=np.arange(first.sizes["rank"]) + 1)


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
