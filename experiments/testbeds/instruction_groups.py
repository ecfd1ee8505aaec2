"""Data evolution as a testbed: seed instructions of people, which a small model deepens, broadens or just imitates."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from collapse_jax import metrics
from collapse_jax.data.instructions import SLOT
from collapse_jax.data.words import split_words
from collapse_jax.generative import selections
from experiments.shared.language_models import Language, LanguageSettings, make_family, pretrain, token_classes
from experiments.testbeds.testbed import CANDIDATES, CONTROL, Testbed
from experiments.testbeds.text_groups import KNOWN, embed

_HELD_OUT = 0.25
_LARGEST_MINORITY = 0.25
_LEAST = 4
# A threshold of Jaccard's distance between sets of tokens: Self-Instruct drops what has a similarity of .7 to anything
# known.
_NEAR = 0.3


@dataclass(frozen=True)
class InstructionConfig(LanguageSettings):
    """Seed instructions, prompts, and the models that write instructions."""

    path: Path | None = None
    """Seed instructions as JSON lines in Self-Instruct's format; by default 60 of the library's own."""
    templates: Path | None = None
    """Prompts as JSON lines of `operator` and `template`; by default the library's own."""
    length: int = 40
    """Tokens of an instruction; longer seeds are left out."""
    samples: int = 44
    """Instructions that a generation writes; at most as many as there are seeds, a quarter of which is held out."""
    generations: int = 5
    steps: int = 60
    learning_rate: float = 2e-3
    start: Literal["warm", "pretrained", "scratch"] = "pretrained"
    """A generation goes on from the one before, from a model that has read Python's manual, or from random weights."""


class Seeds(NamedTuple):
    """Seed instructions as rows of tokens, to train on and held out, each with its group; group 1 is the minority."""

    train: np.ndarray
    groups: np.ndarray
    held_out: np.ndarray
    held_out_groups: np.ndarray
    names: tuple[str, str]
    too_long: int


def make_instructions(config: InstructionConfig, directory: Path) -> Testbed:
    """Return the testbed of a configuration; the model that has read the manual is kept in `directory`.

    The minority are classification tasks if the seeds tell, else those that open with their commonest word. The control
    learns from the seeds alone, always the same: there are too few for fresh ones. Raises ValueError for too few seeds
    and for a minority that is too large or has none to hold out, and as the readers of files do.
    """
    templates = cj.data.TEMPLATES if config.templates is None else cj.data.read_templates(config.templates)
    told = cj.data.seed_instructions() if config.path is None else cj.data.read_instructions(config.path)
    manual = [one.text for one in cj.data.python_docs().passages]
    texts = [*manual, *(one.instruction for one in told), *(one.text for one in templates)]
    tokenizer = cj.data.train_bpe(texts, config.vocabulary)
    seeds = _split(config, tokenizer, told)
    rows = cj.data.pack(tokenizer, manual, config.length)
    classes = token_classes(tokenizer, rows)
    language = pretrain(config, Language(tokenizer, rows, seeds.held_out, classes, None), directory)

    shares = np.bincount(seeds.groups) / len(seeds.groups)
    family = _evolving(config, language, templates)
    surprise = _make_surprise(config, language)
    usual = np.quantile(surprise(jnp.asarray(seeds.train)), [0.01, 0.9, 0.99])
    inspect, told_apart = _make_inspect(seeds, shares, lambda rows: surprise(rows) > usual[2], tokenizer)
    group = ("group",)
    return Testbed(
        family,
        cj.resample(seeds.train),
        _make_measure(family, seeds, shares),
        inspect,
        {"group_share": group, "group_risk": group, "group_coverage": group, "row": ("sample", "token")},
        {"group": list(seeds.names)},
        {"warm_start": config.start == "warm"},
        _make_mitigations(
            config, language, templates, lambda rows: (surprise(rows) > usual[0]) & (surprise(rows) < usual[1])
        ),
        shares,
        3.0 * config.steps * config.batch_size / config.samples,
        {
            "seeds": float(len(seeds.train)),
            "seeds held out": float(len(seeds.held_out)),
            "seeds held out of the minority": float(seeds.held_out_groups.sum()),
            "seeds too long": float(seeds.too_long),
            "seeds told apart by group": told_apart,
        },
    )


def _split(config: InstructionConfig, tokenizer: cj.data.Tokenizer, told: Sequence[cj.data.Instruction]) -> Seeds:
    opening = [split_words(one.instruction)[0] for one in told]
    commonest = Counter(opening).most_common(1)[0][0]
    if any(one.is_classification for one in told):
        minority, names = [one.is_classification for one in told], ("other", "classification")
    else:
        minority, names = [word == commonest for word in opening], ("other", commonest)
    rows = cj.data.pad(tokenizer, [one.instruction for one in told], config.length)
    fits = (rows == tokenizer.end).any(axis=1)
    groups = np.array(minority, int)[fits]
    rows, rng = rows[fits], np.random.default_rng(0)
    held_out = np.zeros(len(rows), bool)
    for group in range(2):
        members = rng.permutation(np.flatnonzero(groups == group))
        held_out[members[: round(_HELD_OUT * len(members))]] = True
    seeds = Seeds(
        rows[~held_out], groups[~held_out], rows[held_out], groups[held_out], names, int(len(fits) - fits.sum())
    )
    found = np.bincount(seeds.held_out_groups, minlength=2)
    if not found.all() or groups.mean() > _LARGEST_MINORITY:
        raise ValueError(
            f"{names[1]!r} are {groups.sum()} of the {len(groups)} seeds of at most length {config.length}; as a "
            f"minority they must be at most {_LARGEST_MINORITY:.0%}, and enough to hold some out"
        )
    if len(seeds.train) < config.samples:
        raise ValueError(
            f"samples is {config.samples}; there are {len(seeds.train)} seeds to train on: {len(fits)} less "
            f"{seeds.too_long} above length {config.length} and {len(seeds.held_out)} held out"
        )
    return seeds


def _rewriting(
    config: InstructionConfig, language: Language, templates: Sequence[cj.data.Template]
) -> cj.generative.Family:
    def make_writer(length: int, prompt: int, end: int) -> cj.generative.Family:
        return make_family(replace(config, length=length), language, prompt=prompt)

    tokens = cj.data.tokenize_templates(language.tokenizer, templates)
    return cj.families.rewriting(make_writer, *tokens, length=config.length, end=language.tokenizer.end)


def _evolving(
    config: InstructionConfig, language: Language, templates: Sequence[cj.data.Template]
) -> cj.generative.Family:
    """Return the family that deepens and broadens instructions in turn, so that either can be chosen by its place."""
    family = _rewriting(config, language, templates)

    def sample(key: Array, params: cj.families.Rewriter, n: int) -> Any:
        return family.sample(key, params._replace(deepening=_deepened(n)), n)

    return family._replace(name="evolving", sample=sample)


def _deepened(n: int) -> Array:
    return (jnp.arange(n) % 2 == 0).astype(float)


def _imitating(
    config: InstructionConfig, language: Language, templates: Sequence[cj.data.Template]
) -> cj.generative.Family:
    """Return the family that learns as the evolving one does, and writes instructions of its own, from nothing."""
    broadening = [one for one in templates if one.operator == "broaden"]
    # The model continues what stands before the slot, with nothing in the slot.
    opening = cj.data.Template("deepen", broadening[0].text.split(SLOT)[0] + SLOT)
    family = _rewriting(config, language, [opening, *broadening])
    respond = family.respond
    assert respond is not None

    def sample(key: Array, params: cj.families.Rewriter, n: int) -> Any:
        return respond(key, params._replace(deepening=jnp.ones(())), jnp.full((n, config.length), -1, jnp.int32))

    return family._replace(name="imitating", sample=sample, respond=None)


def _make_mitigations(
    config: InstructionConfig,
    language: Language,
    templates: Sequence[cj.data.Template],
    usual: Callable[[Array], Array],
) -> dict[str, cj.Mitigation]:
    """Return the ways to go on from the seeds; where no rule chooses, as many are written for chance to choose."""
    accumulate, tokenizer = cj.REGIMES["accumulate"], language.tokenizer
    seeds_alone = cj.with_share(cj.REGIMES["real_fraction_replayed"], 1.0, CONTROL)
    by_chance = selections.accepted(lambda rows: jnp.ones(len(rows)), oversample=CANDIDATES, name="by chance")
    eliminated = selections.well_formed(tokenizer.end, least=_LEAST)
    novel = selections.novel(_jaccard, features=lambda rows: _token_sets(rows, tokenizer.size), threshold=_NEAR)
    verified = selections.verified(usual)

    def chosen(*several: cj.Selection) -> cj.Selection:
        return selections.compose(*several)._replace(oversample=CANDIDATES)

    deepened = selections.accepted(lambda rows: _deepened(len(rows)), oversample=CANDIDATES, name="deepened")
    broadened = selections.accepted(lambda rows: 1.0 - _deepened(len(rows)), oversample=CANDIDATES, name="broadened")
    return {
        "replace": cj.Mitigation(curate=by_chance, family=_imitating(config, language, templates)),
        "evolve, replace": cj.Mitigation(curate=by_chance),
        "evolve, accumulate": cj.Mitigation(accumulate, by_chance),
        "deepen, accumulate": cj.Mitigation(accumulate, deepened),
        "broaden, accumulate": cj.Mitigation(accumulate, broadened),
        "well-formed": cj.Mitigation(accumulate, chosen(eliminated)),
        "novel": cj.Mitigation(accumulate, chosen(novel)),
        "well-formed and novel": cj.Mitigation(accumulate, chosen(eliminated, novel)),
        "verified": cj.Mitigation(accumulate, chosen(eliminated, verified)),
        "seeds evolved anew": cj.Mitigation(respond=True),
        CONTROL: cj.Mitigation(seeds_alone, by_chance),
    }


def _make_surprise(config: InstructionConfig, language: Language) -> Callable[[Array], Array]:
    """Return the function from rows to nats a token, by the model that has read the manual and no seed."""
    family = make_family(config, language)
    assert family.tokens is not None
    token_log_prob, reader = family.tokens.log_prob, cj.families.LanguageModel(language.pretrained)

    def surprise(rows: Array) -> Array:
        found: Array = -token_log_prob(reader, rows).sum(axis=1) / jnp.maximum((rows >= 0).sum(axis=1), 1)
        return found

    return jax.jit(surprise)


def _make_measure(family: cj.generative.Family, seeds: Seeds, shares: np.ndarray) -> Callable[..., Mapping[str, Array]]:
    assert family.tokens is not None
    token_log_prob, held_out = family.tokens.log_prob, jnp.asarray(seeds.held_out)
    of_group = jnp.asarray(seeds.held_out_groups)[None] == jnp.arange(2)[:, None]

    def measure(key: Array, params: Any) -> dict[str, Array]:
        log_p, there = token_log_prob(params, held_out), held_out >= 0
        counted = of_group[:, :, None] & there[None]
        risk = -jnp.mean(jnp.broadcast_to(log_p[None], counted.shape), axis=(1, 2), where=counted)
        known = jnp.mean(jnp.broadcast_to(log_p[None] > np.log(KNOWN), counted.shape), axis=(1, 2), where=counted)
        return {"risk": risk @ shares, "tail": known @ shares, "group_risk": risk, "group_coverage": known}

    return measure


def _make_inspect(
    seeds: Seeds, shares: np.ndarray, surprising: Callable[[Array], Array], tokenizer: cj.data.Tokenizer
) -> tuple[Callable[..., Mapping[str, Array]], float]:
    """Return what is recorded of written instructions, and how well the groups of held-out seeds are told apart.

    That is the mean over the groups of the share that is recognised, 1/2 being chance.
    """
    # The minority is repeated until it is as large as the rest: else the classifier would hardly look for it.
    times = np.where(seeds.groups == 1, round((seeds.groups == 0).sum() / seeds.groups.sum()), 1)
    classify = metrics.fit_classifier(
        np.repeat(np.asarray(_words(jnp.asarray(seeds.train))), times, axis=0), np.repeat(seeds.groups, times)
    )
    found = np.asarray(classify(_words(jnp.asarray(seeds.held_out)))).argmax(axis=1)
    told_apart = np.mean([(found == one)[seeds.held_out_groups == one].mean() for one in range(2)])
    # Drift is measured from all seeds, as they are few; what a model knows by heart shows in `copied`.
    reference = embed(jnp.asarray(np.concatenate([seeds.train, seeds.held_out])))
    known = _token_sets(jnp.asarray(seeds.train), tokenizer.size)

    def inspect(key: Array, rows: Array, weights: Array) -> dict[str, Array]:
        there, embedded = weights > 0, embed(rows)
        drift = metrics.semantic_drift(reference, embedded, generated_where=there)
        of_group = classify(_words(rows)).argmax(axis=1)[:, None] == jnp.arange(2)[None]
        share = jnp.mean(of_group, axis=0, where=there[:, None])
        broken = ~(rows == tokenizer.end).any(axis=1) | ((rows >= 0).sum(axis=1) <= _LEAST)
        nearest = jax.vmap(lambda x: jax.vmap(_jaccard, (None, 0))(x, known).min())(_token_sets(rows, tokenizer.size))
        return {
            "diversity": metrics.vendi_score(metrics.cosine_similarities(embedded), where=there),
            "drift": drift.distance,
            "variance": drift.spread,
            "off_support": jnp.mean(broken | surprising(rows), where=there),
            "modes": (share > 0.25 * shares).sum(),
            "group_share": share,
            "broken": jnp.mean(broken, where=there),
            "copied": jnp.mean(nearest < _NEAR, where=there),
            "kept": there.mean(),
            "row": rows[:2],
        }

    return inspect, float(told_apart)


def _words(rows: Array) -> Array:
    # In so few seeds, only single tokens come often enough to tell groups by them.
    return metrics.hashed_ngram_embedding(rows, size=1024, orders=(1,))


def _token_sets(rows: Array, vocabulary: int) -> Array:
    """Return which tokens each row has."""
    places = jnp.where(rows < 0, vocabulary, rows)
    return jnp.zeros((len(rows), vocabulary), bool).at[jnp.arange(len(rows))[:, None], places].set(True, mode="drop")


def _jaccard(x: Array, y: Array) -> Array:
    """Return Jaccard's distance of two sets, 1 - |x ∩ y| / |x ∪ y|."""
    return 1.0 - (x & y).sum() / jnp.maximum((x | y).sum(), 1)
