"""A corpus: a source's passages as whole documents, for language models, prepared as a TFDS data set."""

import os
from typing import NamedTuple

from collapse_jax.checks.annotations import checked
from collapse_jax.data.passages import Source, python_docs


class Corpus(NamedTuple):
    """Documents with their titles."""

    titles: tuple[str, ...]
    texts: tuple[str, ...]


class CorpusSplits(NamedTuple):
    """Documents to train on and, under other titles, to test on."""

    train: Corpus
    test: Corpus


@checked
def corpus(
    source: Source | None = None,
    *,
    seed: int = 0,
    test_share: float = 0.1,
    data_dir: str | os.PathLike[str] | None = None,
) -> CorpusSplits:
    """Return a source's documents, `python_docs()` by default, split by title; prepared once, then read from disk.

    A document is the distinct passages of one title, a line break between them. `test_share` is the share of passages
    to hold out, met as nearly as whole titles allow: the titles that `ranking_sets` holds out at that seed and share.
    A source with one title only is split by its parts of ten passages. `data_dir` is TFDS's, by default
    ~/tensorflow_datasets. The documents stand in the source's order. Raises ValueError for a seed or share out of
    range, and for too few passages.
    """
    from collapse_jax.data.builders import Documents, DocumentsConfig, read_splits

    config = DocumentsConfig(source=source or python_docs(), seed=seed, test_share=test_share)
    splits = read_splits(Documents(config=config, data_dir=data_dir))
    return CorpusSplits(
        **{
            split: Corpus(tuple(row["title"].decode() for row in rows), tuple(row["text"].decode() for row in rows))
            for split, rows in splits.items()
        }
    )
