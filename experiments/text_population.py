"""A population of reward models on rankings of real text: what three of the experiments have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import xarray as xr

import collapse_jax as cj
from experiments.launch import Options


@dataclass(frozen=True)
class TextConfig(Options):
    """Which text, and how its reward models are trained."""

    source: Literal["python_docs", "text_files", "longform"] = "python_docs"
    """Where titles and passages come from; python_docs needs nothing but Python itself."""
    path: Path | None = None
    """The folder of text_files (required there), or the file of longform (else looked for, then downloaded)."""
    seeds: int = 4
    """Reward models trained for each scheme."""
    steps: int = 2000
    """Optimiser steps, a multiple of records."""
    records: int = 20
    """Recorded steps, equally spaced."""
    batch_size: int = 32
    """Prompts a step."""
    hidden: int = 128
    """Width of the reward model's hidden layer."""
    learning_rate: float = 1e-2
    """Peak learning rate of AdamW."""


def train_on_text(
    config: TextConfig, schemes: cj.Schemes, directory: Path, axes: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Return the records of `schemes` x `axes` x seeds, resumed from `directory` where an earlier call was stopped."""
    train, test = cj.data.ranking_sets(_source(config), data_dir=config.data_dir)
    process = cj.make_training(
        cj.make_rankings(*cj.data.featurize(train), train.types),
        cj.mlp((config.hidden,)),
        schemes,
        training=cj.Training(steps=config.steps, records=config.records, batch_size=config.batch_size),
        test=cj.make_rankings(*cj.data.featurize(test), test.types),
        hyper={**cj.ADAMW_HYPER, "learning_rate": config.learning_rate},
    )
    everything = {"utility": schemes.axis, **(axes or {}), "seed": range(config.seeds)}
    return cj.sweep(process, everything, directory=directory / "sweep", progress=config.progress)


def _source(config: TextConfig) -> cj.data.Source:
    if config.source == "text_files":
        if config.path is None:
            raise ValueError("--source text_files needs --path, a folder of UTF-8 text files")
        return cj.data.text_files(config.path)
    if config.source == "longform":
        return cj.data.longform(config.path, data_dir=config.data_dir)
    if config.path is not None:
        raise ValueError(f"--path is {config.path}, but --source python_docs reads no file")
    return cj.data.python_docs()
