"""Populations of language models on what they write: the recursion, what is recorded of it, and ways of writing."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

import collapse_jax as cj
from experiments.shared.language_models import (
    HELD_OUT,
    Language,
    LanguageConfig,
    LanguageSettings,
    make_family,
    worse_than_guessing,
)
from experiments.shared.launch import watched

SHOWN = 4
# Edges of the histogram of log-perplexity, in nats a token.
EDGES = np.linspace(0.0, 10.0, 81, dtype=np.float32)


class Way(NamedTuple):
    """A way of writing: rules of decoding with their values, and options of the family."""

    rules: Mapping[str, float] = {}
    beams: int = 1


WAYS = {
    "sampling": Way(),
    "temperature .7": Way({"temperature": 0.7}),
    "top-k 40": Way({"top_k": 40.0}),
    "top-p .9": Way({"top_p": 0.9}),
    # As published with the Nature experiment, which gives 64 tokens of real text.
    "5 beams, penalty 3": Way({"repetition_penalty": 3.0}, beams=5),
}
_BEAM_PROMPT = 16


def require_ways(names: Sequence[str]) -> None:
    """Raise ValueError, naming those that there are, for an unknown way of writing."""
    if unknown := [name for name in names if name not in WAYS]:
        raise ValueError(f"ways has {', '.join(map(repr, unknown))}; known: {', '.join(WAYS)}")


def make_description(config: LanguageSettings, language: Language) -> Callable[[Array], dict[str, Array]]:
    """Return the function from rows of tokens to what is recorded of them, written by a model or real.

    Recorded are `surprise`, the risk of the pretrained model, with a histogram over the rows; `distinct_2`,
    `self_bleu`, `repetition`, `entropy` of tokens, `syntax`, the entropy of four token classes in a row, `vendi`, and
    `drift` and `spread` against held-out text (by hashed n-grams).
    """
    reader = make_family(config, language)
    pretrained = cj.families.LanguageModel(language.pretrained)
    held_out, classes = jnp.asarray(language.held_out), jnp.asarray(language.classes)

    def embed(rows: Array) -> Array:
        return cj.metrics.hashed_ngram_embedding(rows, size=256)

    def describe(rows: Array) -> dict[str, Array]:
        assert reader.tokens is not None
        by_row = jnp.log(cj.metrics.sequence_perplexities(reader.tokens.log_prob(pretrained, rows)))
        drift = cj.metrics.semantic_drift(embed(held_out), embed(rows))
        return {
            "surprise": by_row.mean(),
            "surprise_histogram": cj.metrics.histogram(by_row, jnp.asarray(EDGES)),
            "distinct_2": cj.metrics.distinct_n(rows, n=2),
            "self_bleu": cj.metrics.self_bleu(rows),
            "repetition": cj.metrics.repetition(rows, n=4),
            "entropy": cj.metrics.ngram_entropy(rows, n=1),
            "syntax": cj.metrics.ngram_entropy(jnp.where(rows >= 0, classes[jnp.maximum(rows, 0)], -1), n=4),
            "vendi": cj.metrics.vendi_score(cj.metrics.cosine_similarities(embed(rows))),
            "drift": drift.distance,
            "spread": drift.spread,
        }

    return describe


def recurse(
    config: LanguageConfig,
    language: Language,
    regimes: Sequence[cj.generative.Regime],
    directory: Path,
    *,
    axes: Mapping[str, Any] | None = None,
    decoding: Iterable[str] = (),
    shown: int = SHOWN,
    **options: Any,
) -> xr.Dataset:
    """Return what is recorded of `regimes` x `axes` x seeds, all in one program, resumed from `directory`.

    Recorded are, of each model, `risk`, nats a token on held-out real text, and of what it writes the description of
    `make_description` and `row`, the first `shown` rows.
    """
    family = make_family(config, language, **options)
    held_out = jnp.asarray(language.held_out)
    describe = make_description(config, language)

    def measure(key: Array, params: Any) -> dict[str, Array]:
        assert family.tokens is not None
        return {"risk": -family.tokens.log_prob(params, held_out).mean()}

    def inspect(key: Array, rows: Array, weights: Array) -> dict[str, Array]:
        return {**describe(rows[:HELD_OUT]), "row": rows[:shown]}

    plan = cj.make_plan(regimes, config.generations, config.samples)
    process = cj.make_recursion(
        family,
        plan,
        cj.resample(language.train),
        decoding=decoding,
        respond=options.get("prompt", config.prompt) > 0,
        warm_start=config.start == "warm",
        measure=measure,
        inspect=inspect,
        dims={"row": ("sample", "token"), "surprise_histogram": ("bin",)},
        coords={"bin": np.asarray(EDGES[1:] + EDGES[:-1]) / 2.0},
    )
    dataset = cj.sweep(
        process,
        {"regime": [one.name for one in regimes], **(axes or {}), "seed": range(config.seeds)},
        **watched(config, directory),
        mesh=cj.engine.make_mesh(batch=config.batch_devices, model=config.model_devices),
        segment=1,
    )
    return dataset.assign_coords(vocabulary=language.tokenizer.size)


def overfitted(dataset: xr.Dataset, arm: str) -> list[str]:
    """Return a line for each `arm` whose first models are worse at held-out text than guessing, seeds averaged.

    Later ones may be so because they collapse; the first have seen nothing but real rows.
    """
    if "vocabulary" not in dataset.coords:  # results of an earlier version
        return []
    vocabulary = int(dataset["vocabulary"])
    first = dataset["risk"].isel(generation=0).mean([dim for dim in dataset["risk"].dims if dim in ("seed", "model")])
    return [
        f"{name}, generation 1: overfitted, or hardly trained, since {worse_than_guessing(risk, vocabulary)}"
        for name, risk in zip(first[arm].to_numpy(), first.to_numpy().tolist(), strict=True)
        if risk > np.log(vocabulary)
    ]


def compare_ways(
    config: LanguageConfig, language: Language, names: Sequence[str], directory: Path, *, shown: int = SHOWN
) -> xr.Dataset:
    """Return what is recorded of rows replaced, along a dimension `way` of `WAYS`, each its own program.

    Beams continue the first tokens of real rows: from nothing, all rows would be the one that is most probable. Raises
    ValueError for an unknown way.
    """
    require_ways(names)
    datasets = []
    for name in names:
        way = WAYS[name]
        options = {"beams": way.beams, "prompt": config.prompt or _BEAM_PROMPT} if way.beams > 1 else {}
        axes = {rule: [value] for rule, value in way.rules.items()}
        replaced = [cj.REGIMES["replace"]]
        folder = directory / re.sub(r"\W+", "-", name)
        dataset = recurse(
            config, language, replaced, folder, axes=axes, decoding=tuple(way.rules), shown=shown, **options
        )
        datasets.append(dataset.isel(dict.fromkeys(["regime", *way.rules], 0), drop=True))
    return xr.concat(datasets, xr.DataArray(list(names), dims="way", name="way"), combine_attrs="override")
