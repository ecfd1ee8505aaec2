"""Ranking sets: prompts with completions ranked by length, of an open-ended and a closed-ended type.

The construction of the reward-collapse experiment (Song, Cai, Lee, Su, arXiv:2305.17608): a prompt's type lies in a
sentence added to it, and its completions are prefixes of one passage; longer is better.
"""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from collapse_jax.checks.annotations import checked
from collapse_jax.data.passages import Source, python_docs
from collapse_jax.data.splitting import uniform

TYPE_NAMES = ("open", "closed")


class Recipe(NamedTuple):
    """What a type appends to the prompt, and the words of its completions, best first."""

    suffix: str
    words: tuple[int, ...]


RECIPES = {
    "open": Recipe(" Write the answer in an open-ended way.", (80, 70, 60, 50, 40, 30, 20, 10)),
    "closed": Recipe(" Write either a short answer or a long answer.", (74, 68, 62, 56, 34, 28, 22, 16)),
}


class RankedPrompts(NamedTuple):
    """Prompts with their completions, best first; `types` indexes `type_names`."""

    titles: list[str]
    prompts: list[str]
    types: Int[np.ndarray, " prompt"]
    completions: list[list[str]]
    type_names: tuple[str, ...] = TYPE_NAMES


class RankingSplits(NamedTuple):
    """Ranked prompts to learn from and, under other titles, to be judged by."""

    train: RankedPrompts
    test: RankedPrompts


def ranking_rows(source: Source, seed: int) -> Iterator[dict[str, Any]]:
    """Yield an example for every distinct pair of prompt and passage, in the source's order.

    Words are what single spaces separate: a line break or tab stays inside its word, and of two spaces in a row the
    second makes an empty word. Python's and text files' passages have single spaces only. A pair's coin depends on
    the seed and the pair alone. Raises ValueError for a passage that is too short for the longest completion.
    """
    longest = max(count for recipe in RECIPES.values() for count in recipe.words)
    for index, (title, text) in enumerate(dict.fromkeys(source.passages)):
        words = text.split(" ")
        if len(words) < longest:
            raise ValueError(f"passage {index} of {source.name}, {title!r}, has {len(words)} of {longest} words needed")
        request = source.request.replace("{title}", title)
        kind = "open" if uniform(seed, "type", request, text) < 0.5 else "closed"
        yield {
            "index": index,
            "title": title,
            "prompt": request + RECIPES[kind].suffix,
            "type": kind,
            "completions": [" ".join(words[:count]) for count in RECIPES[kind].words],
        }


def require_completions(ranked: RankedPrompts, purpose: str) -> None:
    """Raise ValueError unless there is a prompt to `purpose`, and every prompt has a completion."""
    if not ranked.prompts:
        raise ValueError(f"there is no prompt to {purpose}")
    if not all(ranked.completions):
        raise ValueError(f"prompt {[bool(items) for items in ranked.completions].index(False)} has no completion")


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
