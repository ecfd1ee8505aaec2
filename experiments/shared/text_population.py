"""A population of reward models on rankings of real text: what three of the experiments have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import xarray as xr

import collapse_jax as cj
from experiments.shared.launch import Options, watched
from experiments.shared.sources import TEXTS, TextName, read_source


@dataclass(frozen=True)
class TextConfig(Options):
    """Which text, and how its reward models are trained."""

    source: TextName = "python_docs"
    """Where titles and passages come from; python_docs needs nothing but Python itself."""
    path: Path | None = None
    """File or folder that the source reads; longform and tiny_shakespeare are else looked for, then downloaded."""
    seeds: int = 4
    """Reward models trained for each scheme."""
    steps: int = 2000
    """Optimiser steps, a multiple of records."""
    records: int = 20
    """Recorded steps, equally spaced."""
    batch_size: int = 32
    """Prompts a step."""
    model: Literal["mlp", "prefix_encoder", "text_encoder"] = "mlp"
    """A multilayer perceptron on hashed n-grams, or a transformer that reads the text: prefix_encoder reads the longest
    completion of each prompt, of which the others are prefixes, text_encoder each completion (six times slower)."""
    hidden: int = 128
    """Width of the perceptron's hidden layer."""
    layers: int = 2
    """Blocks of a transformer."""
    width: int = 64
    """Width of a transformer."""
    heads: int = 4
    """Attention heads of a transformer."""
    vocabulary: int = 1024
    """Tokens of a transformer's byte-pair encoding, trained on the training prompts."""
    learning_rate: float = 1e-2
    """Peak learning rate of AdamW; transformers want a tenth to a third of the perceptron's."""


def train_on_text(
    config: TextConfig, schemes: cj.reward.Schemes, directory: Path, axes: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Return the records of `schemes` x `axes` x seeds, resumed from `directory` where an earlier call was stopped."""
    return train_on(config, *read_rankings(config), schemes, directory, axes)


def train_on(
    config: TextConfig,
    model: cj.reward.Model,
    train: cj.reward.Rankings,
    test: cj.reward.Rankings,
    schemes: cj.reward.Schemes,
    directory: Path,
    axes: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return the same of given rankings."""
    process = cj.make_training(
        train,
        model,
        schemes,
        training=cj.reward.Training(steps=config.steps, records=config.records, batch_size=config.batch_size),
        test=test,
        hyper={**cj.reward.ADAMW_HYPER, "learning_rate": config.learning_rate},
    )
    everything = {**(axes or {}), "seed": range(config.seeds)}
    return cj.sweep(process, everything, **watched(config, directory / "sweep"))


def read_rankings(config: TextConfig) -> tuple[cj.reward.Model, cj.reward.Rankings, cj.reward.Rankings]:
    """Return the model, and the rankings to train and to test it on, in the form that it reads."""
    source = read_source(TEXTS, config.source, config.path, config.data_dir)
    splits = cj.data.ranking_sets(source, data_dir=config.data_dir)
    if config.model == "mlp":
        train, test = (cj.make_rankings(*cj.data.featurize(split), split.types, split.type_names) for split in splits)
        return cj.mlp((config.hidden,)), train, test
    # The first completion of a prompt is the longest, and holds the words of the others.
    pairs = zip(splits.train.prompts, splits.train.completions, strict=True)
    texts = [text for prompt, items in pairs for text in (prompt, items[0])]
    tokenizer = cj.data.train_bpe(texts, config.vocabulary)
    architecture = cj.nets.Architecture(config.layers, config.width, config.heads, positions="learned")
    ends = 2 if config.model == "text_encoder" else 1
    length = max(
        len(tokenizer.encode(prompt)) + len(tokenizer.encode(items[0])) + ends
        for split in splits
        for prompt, items in zip(split.prompts, split.completions, strict=True)
    )
    if config.model == "text_encoder":
        train, test = (
            cj.make_rankings(*cj.data.tokenize(split, tokenizer, length), split.types, split.type_names)
            for split in splits
        )
        return cj.reward.text_encoder(tokenizer.size, architecture=architecture), train, test
    rows = [cj.data.tokenize_prefixes(split, tokenizer, length) for split in splits]
    train, test = (
        cj.make_rankings(cj.reward.Prefixes(tokens, start, last), mask, split.types, split.type_names)
        for split, (tokens, start, last, mask) in zip(splits, rows, strict=True)
    )
    return cj.reward.prefix_encoder(tokenizer.size, architecture=architecture), train, test
