"""Ranking sets: prompts with completions ranked by length, of an open-ended and a closed-ended type."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from collapse_jax.checks.annotations import checked
from collapse_jax.data.passages import Source, python_docs
from collapse_jax.data.ranking_recipe import TYPE_NAMES

__all__ = ["RankedPrompts", "RankingSplits", "ranking_sets"]


class RankedPrompts(NamedTuple):
    """Prompts with their completions, best first; `types` indexes `type_names`."""

    titles: list[str]
    prompts: list[str]
    types: Int[np.ndarray, " prompt"]
    completions: list[list[str]]
    type_names: tuple[str, ...] = TYPE_NAMES


class RankingSplits(NamedTuple):
    """Ranked prompts to train on and, under other titles, to test on."""

    train: RankedPrompts
    test: RankedPrompts


def require_completions(prompts: Sequence[str], completions: Sequence[Sequence[str]], purpose: str) -> None:
    """Raise ValueError unless there is a prompt to `purpose`, and every prompt has a completion."""
    if not prompts:
        raise ValueError(f"there is no prompt to {purpose}")
    if not all(completions):
        raise ValueError(f"prompt {[bool(items) for items in completions].index(False)} has no completion")


@checked
def ranking_sets(
    source: Source | None = None,
    *,
    seed: int = 0,
    test_share: float = 0.2,
    data_dir: str | os.PathLike[str] | None = None,
) -> RankingSplits:
    """Return a source's ranking sets, `python_docs()` by default, split by title; prepared once, then read from disk.

    `test_share` is the share of prompts to hold out, met as nearly as whole titles allow. `data_dir` is TFDS's, by
    default ~/tensorflow_datasets. The rows stand in the source's order. Raises ValueError for a seed or share out of
    range, a passage that is too short, and a split without prompts of both types.
    """
    from collapse_jax.data.builders import RankingSets, RankingSetsConfig, read_splits

    config = RankingSetsConfig(source=source or python_docs(), seed=seed, test_share=test_share)
    splits = read_splits(RankingSets(config=config, data_dir=data_dir))
    return RankingSplits(**{split: _ranked(rows) for split, rows in splits.items()})


def _ranked(rows: list[dict[str, Any]]) -> RankedPrompts:
    return RankedPrompts(
        titles=[row["title"].decode() for row in rows],
        prompts=[row["prompt"].decode() for row in rows],
        types=np.array([row["type"] for row in rows], dtype=np.int64),
        completions=[[text.decode() for text in row["completions"]] for row in rows],
    )
