"""Builders of TFDS data sets. Importing them imports TFDS, so nothing else does before a data set is asked for."""

from collapse_jax.data.builders.base import read_splits
from collapse_jax.data.builders.documents import Documents, DocumentsConfig
from collapse_jax.data.builders.grey_images import GreyImages, GreyImagesConfig
from collapse_jax.data.builders.ranking_sets import RankingSets, RankingSetsConfig

__all__ = [
    "Documents",
    "DocumentsConfig",
    "GreyImages",
    "GreyImagesConfig",
    "RankingSets",
    "RankingSetsConfig",
    "read_splits",
]
