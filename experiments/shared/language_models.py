"""What the experiments on language models share: the text as tokens, and the model that is pretrained on it."""

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from collapse_jax.io.files import write_atomically
from experiments.shared.launch import Options
from experiments.shared.sources import TEXTS, TextName, read_source

HELD_OUT = 256
_COMMON = 30


@dataclass(frozen=True)
class LanguageSettings:
    """How large the models are, and how they are trained on what they wrote."""

    vocabulary: int = 512
    """Tokens of the byte-pair encoding, trained on the training text; 257 is plain bytes."""
    length: int = 64
    """Tokens in a row."""
    samples: int = 512
    """Rows that a generation writes, and is trained on."""
    generations: int = 10
    """Models in a row."""
    seeds: int = 4
    """Lineages for each regime."""
    start: Literal["warm", "pretrained", "scratch"] = "warm"
    """A generation goes on from the one before, starts anew from the pretrained weights, or from random ones."""
    pretraining: int = 600
    """Optimiser steps, on real text, of the model that all start from and that tells how surprising written text is."""
    steps: int = 60
    """Optimiser steps of a generation."""
    batch_size: int = 32
    """Rows a step."""
    learning_rate: float = 1e-3
    """Peak learning rate of a generation; three times as much in pretraining."""
    layers: int = 2
    """Blocks of the transformer."""
    width: int = 64
    """Width of the transformer."""
    heads: int = 4
    """Attention heads."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of activations; bfloat16 is faster on accelerators."""
    prompt: int = 0
    """Tokens of real rows that are given and continued, as in the Nature experiment; 0 writes from nothing."""


@dataclass(frozen=True)
class LanguageConfig(LanguageSettings, Options):
    """Which text, and the models that train on it."""

    source: TextName = "python_docs"
    """Where the text comes from; python_docs needs nothing but Python itself."""
    path: Path | None = None
    """File or folder that the source reads; longform and tiny_shakespeare are else looked for, then downloaded."""
    model_devices: int = 1
    """Devices that hold one model together, its weights and the optimiser's moments cut among them."""
    batch_devices: int = 1
    """Devices that work on the rows of one model's step together."""


class Language(NamedTuple):
    """The text as rows of tokens, the class of each token, and the model pretrained on the text."""

    tokenizer: cj.data.Tokenizer
    train: np.ndarray
    held_out: np.ndarray
    classes: np.ndarray
    pretrained: Any


def read(config: LanguageConfig, directory: Path) -> Language:
    """Return the rows of the text, and the weights of the model pretrained on them, kept in `directory`.

    Raises ValueError where the text is too short for the rows asked for.
    """
    source = read_source(TEXTS, config.source, config.path, config.data_dir)
    train, test = cj.data.corpus(source, test_share=0.15, data_dir=config.data_dir)
    plain = config.vocabulary == cj.data.byte_tokenizer().size
    tokenizer = cj.data.byte_tokenizer() if plain else cj.data.train_bpe(train.texts, config.vocabulary)
    rows, held_out = (cj.data.pack(tokenizer, split.texts, config.length) for split in (train, test))
    if len(rows) < config.samples:
        raise ValueError(
            f"samples is {config.samples}; this text has {len(rows)} rows of {config.length} tokens to train on: ask "
            f"for {len(rows)} at most, or name a longer text"
        )
    language = Language(tokenizer, rows, held_out[:HELD_OUT], token_classes(tokenizer, rows), None)
    return pretrain(config, language, directory)


def pretrain(config: LanguageSettings, language: Language, directory: Path) -> Language:
    """Return the language with the weights of the model pretrained on its rows, kept in `directory`."""
    rows = language.train
    family = make_family(
        config, language, fitting=cj.generative.Fitting(config.pretraining, config.batch_size, 3 * config.learning_rate)
    )

    @jax.jit
    def trained(rows: Array) -> Any:
        init_key, fit_key = jax.random.split(jax.random.key(2024))
        weights = jnp.ones(len(rows))
        return family.fit(fit_key, family.init(init_key, rows, weights), rows, weights).weights

    # Kept on disk: a rerun must go on from these very weights, to the last bit, on any device.
    digest = hashlib.blake2b(rows.tobytes(), digest_size=8).hexdigest()
    file = directory / f"pretrained-{digest}.npz"
    shapes = jax.eval_shape(trained, jnp.asarray(rows))
    if not file.exists():
        leaves = jax.tree.leaves(trained(jnp.asarray(rows)))
        write_atomically(file, lambda temporary: _save(temporary, leaves))
    with np.load(file) as saved:
        leaves = [jnp.asarray(saved[name]) for name in saved.files]
    _tell_overfitting(language, family, jax.tree.unflatten(jax.tree.structure(shapes), leaves))
    return language._replace(pretrained=jax.tree.unflatten(jax.tree.structure(shapes), leaves))


def _tell_overfitting(language: Language, family: cj.generative.Family, weights: Any) -> None:
    """Say on stderr if the pretrained model knows its own rows, and is worse than guessing at held-out ones."""
    tokens = family.tokens
    assert tokens is not None

    @jax.jit
    def risk(rows: Array) -> Array:
        return -tokens.log_prob(cj.families.LanguageModel(weights), rows).sum() / (rows >= 0).sum()

    known, held_out = (float(risk(jnp.asarray(rows[:HELD_OUT]))) for rows in (language.train, language.held_out))
    if known < math.log(language.tokenizer.size) < held_out:
        print(
            f"warning: the pretrained model is overfitted: {worse_than_guessing(held_out, language.tokenizer.size)}, "
            f"and {math.exp(known):.3g} on rows that it was trained on; name a longer text, or ask for fewer steps of "
            "pretraining",
            file=sys.stderr,
        )


def worse_than_guessing(risk: float, vocabulary: int) -> str:
    """Return the part of a sentence that says so of nats a token on held-out text."""
    return (
        f"its perplexity on held-out text is {math.exp(risk):.3g}, and that of guessing among the {vocabulary} tokens "
        f"{vocabulary}"
    )


def _save(file: Path, leaves: Sequence[Array]) -> None:
    with file.open("wb") as stream:
        np.savez(stream, *leaves)


def token_classes(tokenizer: cj.data.Tokenizer, rows: np.ndarray) -> np.ndarray:
    """Return a class for each token, to look at syntax: the 30 commonest have their own, the others go by shape."""
    counts = np.bincount(rows[rows >= 0], minlength=tokenizer.size)
    shapes = {"": 0}
    classes = np.empty(tokenizer.size, np.int32)
    for token in range(tokenizer.size):
        text = "" if token == tokenizer.end else tokenizer.decode([token])
        shape = "".join(
            "a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else " " if c.isspace() else "."
            for c in text
        )
        # A run of one kind of letter counts as a single one: " the" and " from" are alike, "The" and "the" are not.
        shape = "".join(c for i, c in enumerate(shape) if not i or c != shape[i - 1])
        classes[token] = shapes.setdefault(shape, len(shapes))
    common = np.argsort(-counts, kind="stable")[:_COMMON]
    classes[common] = len(shapes) + np.arange(len(common))
    return classes


def make_family(config: LanguageSettings, language: Language, **options: Any) -> cj.generative.Family:
    """Return the family of language models of a configuration."""
    given: dict[str, Any] = {
        "prompt": config.prompt,
        "fitting": cj.generative.Fitting(config.steps, config.batch_size, config.learning_rate),
        "pretrained": None if config.start == "scratch" else language.pretrained,
    }
    architecture = cj.nets.Architecture(config.layers, config.width, config.heads, dtype=config.dtype)
    return cj.families.language_model(
        language.tokenizer.size,
        config.length,
        end=language.tokenizer.end,
        architecture=architecture,
        **{**given, **options},
    )


def texts(language: Language, rows: np.ndarray) -> list[str]:
    """Return rows of tokens as text, documents separated by ¶, null characters shown as ␀."""
    # Results files can't hold null characters, and a model of plain bytes may write them.
    return [" ¶ ".join(cj.data.unpack(language.tokenizer, row)).replace("\0", "␀") for row in rows]
