"""Data to rank: sources of passages, the ranking sets cut from them, and features for small networks."""

from collapse_jax.data.features import featurize, hashed_ngrams
from collapse_jax.data.longform import longform
from collapse_jax.data.passages import Passage, Source, python_docs, text_files
from collapse_jax.data.ranking_sets import (
    RankedPrompts,
    RankingSets,
    RankingSetsConfig,
    RankingSplits,
    ranking_sets,
)

__all__ = [
    "Passage",
    "RankedPrompts",
    "RankingSets",
    "RankingSetsConfig",
    "RankingSplits",
    "Source",
    "featurize",
    "hashed_ngrams",
    "longform",
    "python_docs",
    "ranking_sets",
    "text_files",
]
