"""Text of several groups, of which some are minorities, as a testbed: prose, code, and the names of characters."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from collapse_jax import metrics
from collapse_jax.generative import selections
from experiments.shared.language_models import Language, LanguageSettings, make_family, pretrain, token_classes
from experiments.testbeds.testbed import CANDIDATES, Senses, Testbed, make_learned_reward, make_mitigations, nearness

SOURCES = {"prose": cj.data.python_docs, "code": cj.data.python_code, "names": cj.data.character_names}
# A token of a larger probability counts as known to the model.
KNOWN = 1e-2
_PROMPT = 16
_CORRUPTED = (0.0, 0.1, 0.3, 0.6)
_HELD_OUT = 64
_SHOWN = 256
_SIZE = 256


@dataclass(frozen=True)
class TextConfig(LanguageSettings):
    """Groups of text, and the models that train on what they wrote."""

    shares: dict[str, float] = field(default_factory=lambda: {"prose": 0.8, "code": 0.15, "names": 0.05})
    """Share of each group of rows: prose of Python's manual, code of its library, names of characters."""
    samples: int = 256
    generations: int = 6
    steps: int = 40


def make_text(config: TextConfig, directory: Path, data_dir: Path | None = None) -> Testbed:
    """Return the testbed of a configuration; the model that it starts from is kept in `directory`.

    Raises ValueError for unknown groups, fewer than two, and shares that can't be met.
    """
    if len(config.shares) < 2 or set(config.shares) - set(SOURCES):
        named = ", ".join(config.shares) or "nothing"
        raise ValueError(f"shares name {named}; they must name two or more of {', '.join(SOURCES)}")
    language, held_out, groups = _read(config, directory, data_dir)
    family, shares = make_family(config, language), np.array(list(config.shares.values()))
    surprise = _make_surprise(family, language)
    usual = np.quantile(jax.jit(surprise)(jnp.asarray(language.train[:512])), [0.01, 0.9, 0.99])
    classify = metrics.fit_classifier(np.asarray(embed(jnp.asarray(language.train))), groups)
    told_apart = classify(embed(jnp.asarray(held_out.reshape(-1, config.length)))).argmax(axis=1)
    return Testbed(
        family,
        cj.resample(language.train),
        _make_measure(family, held_out, shares),
        _make_inspect(held_out, shares, classify, lambda rows: surprise(rows) > usual[2]),
        {"group_share": ("group",), "group_risk": ("group",), "group_coverage": ("group",), "row": ("sample", "token")},
        {"group": list(config.shares)},
        {"warm_start": config.start == "warm"},
        _make_mitigations(config, language, family, _make_senses(family, language, surprise, (usual[0], usual[1]))),
        shares,
        3.0 * config.steps * config.batch_size / config.samples,
        {"rows told apart by group": float((told_apart == np.repeat(np.arange(len(shares)), _HELD_OUT)).mean())},
    )


def _make_surprise(family: cj.generative.Family, language: Language) -> Callable[[Array], Array]:
    """Return the function from rows to nats a token, by the pretrained model."""
    assert family.tokens is not None
    token_log_prob, pretrained = family.tokens.log_prob, cj.families.LanguageModel(language.pretrained)

    def surprise(rows: Array) -> Array:
        found: Array = -token_log_prob(pretrained, rows).mean(axis=1)
        return found

    return surprise


def _make_measure(
    family: cj.generative.Family, held_out: np.ndarray, shares: np.ndarray
) -> Callable[..., dict[str, Array]]:
    """Return what is recorded of models, on held-out rows (group, row, token)."""
    assert family.tokens is not None
    token_log_prob = family.tokens.log_prob

    def measure(key: Array, params: Any) -> dict[str, Array]:
        log_p = jax.lax.map(lambda rows: token_log_prob(params, rows), jnp.asarray(held_out))
        risk, known = -log_p.mean(axis=(1, 2)), (log_p > np.log(KNOWN)).mean(axis=(1, 2))
        return {"risk": risk @ shares, "tail": known @ shares, "group_risk": risk, "group_coverage": known}

    return measure


def _make_inspect(
    held_out: np.ndarray,
    shares: np.ndarray,
    classify: Callable[[Array], Array],
    surprising: Callable[[Array], Array],
) -> Callable[..., dict[str, Array]]:
    """Return what is recorded of written rows, against held-out ones."""
    # As many real rows of each group as its share asks for, to compare with.
    parts = [rows[: max(2, round(share * _HELD_OUT))] for rows, share in zip(held_out, shares, strict=True)]
    reference = embed(jnp.asarray(np.concatenate(parts)))

    def inspect(key: Array, rows: Array, weights: Array) -> dict[str, Array]:
        rows, there = rows[:_SHOWN], weights[:_SHOWN] > 0
        embedded = embed(rows)
        drift = metrics.semantic_drift(reference, embedded, generated_where=there)
        of_group = classify(embedded).argmax(axis=1)[:, None] == jnp.arange(len(shares))[None]
        share = jnp.mean(of_group, axis=0, where=there[:, None])
        return {
            "diversity": metrics.vendi_score(metrics.cosine_similarities(embedded), where=there),
            "drift": drift.distance,
            "variance": drift.spread,
            "off_support": jnp.mean(surprising(rows), where=there),
            "modes": (share > 0.25 * shares).sum(),
            "group_share": share,
            "row": rows[:2],
        }

    return inspect


def _make_senses(
    family: cj.generative.Family, language: Language, surprise: Callable[[Array], Array], usual: tuple[float, float]
) -> Senses:
    """Return how the pretrained model grades rows: likelier ones are better, those as surprising as real ones right."""
    assert family.tokens is not None
    assert family.embed is not None
    token_log_prob, embed_by_model = family.tokens.log_prob, family.embed
    pretrained = cj.families.LanguageModel(language.pretrained)

    def evidence(rows: Array) -> Array:
        """Return what a first model finds of each row: mean, spread and extremes of its tokens' log-probabilities."""
        log_p = token_log_prob(pretrained, rows)
        found = jnp.stack([log_p.mean(axis=1), log_p.std(axis=1), log_p.min(axis=1), log_p.max(axis=1)], axis=1)
        return jnp.concatenate([found, found**2], axis=1)

    def correct(rows: Array) -> Array:
        found = surprise(rows)
        usually: Array = (found > usual[0]) & (found < usual[1])
        return usually

    return Senses(
        quality=lambda rows: -surprise(rows),
        correct=correct,
        evidence=evidence,
        features=embed,
        distance=nearness(np.asarray(embed(jnp.asarray(language.train[:512])))),
        learned=make_learned_reward(
            lambda rows: embed_by_model(pretrained, rows), _spoil, lambda rows: -surprise(rows)
        ),
    )


def _make_mitigations(
    config: TextConfig, language: Language, family: cj.generative.Family, senses: Senses
) -> dict[str, cj.Mitigation]:
    """Return the mitigations of every testbed, and two that only text has."""
    long_documents = selections.best_of(_longest(language.tokenizer.end, config.length), CANDIDATES)
    return {
        **make_mitigations(senses, make_family(config, language, prompt=_PROMPT)),
        "long documents": cj.Mitigation(curate=long_documents),
        "edited": cj.Mitigation(respond=True, family=cj.families.token_edited(family, threshold=0.9)),
    }


def embed(rows: Array) -> Array:
    """Return the hashed n-grams of rows, of norm 1."""
    return metrics.hashed_ngram_embedding(rows, size=_SIZE)


def _read(config: TextConfig, directory: Path, data_dir: Path | None) -> tuple[Language, np.ndarray, np.ndarray]:
    """Return the language, held-out rows (group, row, token), and the group of each row to train on."""
    corpora = {name: cj.data.corpus(SOURCES[name](), test_share=0.15, data_dir=data_dir) for name in config.shares}
    tokenizer = cj.data.train_bpe([text for one in corpora.values() for text in one.train.texts], config.vocabulary)
    rows = {name: cj.data.pack(tokenizer, one.train.texts, config.length) for name, one in corpora.items()}
    held_out = [cj.data.pack(tokenizer, one.test.texts, config.length)[:_HELD_OUT] for one in corpora.values()]
    size = min(int(len(rows[name]) / share) for name, share in config.shares.items())
    real = cj.data.mix_groups(rows, config.shares, size)
    if size < config.samples:
        raise ValueError(f"samples is {config.samples}; with shares {config.shares} there are {size} real rows")
    language = Language(
        tokenizer,
        real.examples,
        np.concatenate(held_out),
        token_classes(tokenizer, real.examples),
        None,
    )
    return pretrain(config, language, directory), np.stack(held_out), real.groups


def _longest(end: int, length: int) -> Callable[[Array], Array]:
    """Return the function from rows to the length of their longest document, in tokens."""

    def longest(rows: Array) -> Array:
        places = jnp.arange(length)[None]
        began = jax.lax.cummax(jnp.where(rows == end, places + 1, 0), axis=1)
        return (places - began + 1).max(axis=1).astype(float)

    return longest


def _spoil(key: Array, rows: Array) -> list[Array]:
    """Return the rows as they are, then with ever more of their tokens replaced by tokens of other rows."""
    where_key, what_key = jax.random.split(key)
    spoilt = jax.random.uniform(where_key, rows.shape)
    other = jax.random.permutation(what_key, rows.reshape(-1)).reshape(rows.shape)
    return [jnp.where(spoilt < share, other, rows) for share in _CORRUPTED]
