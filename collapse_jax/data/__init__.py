"""Real data: images with labels, texts whole and as tokens, and ranking sets with features for small networks."""

from collapse_jax.data.blocks import pack, pad, tokenize, unpack
from collapse_jax.data.corpus import Corpus, CorpusSplits, Documents, DocumentsConfig, corpus
from collapse_jax.data.features import featurize, hashed_ngrams
from collapse_jax.data.images import (
    GreyImages,
    GreyImagesConfig,
    Images,
    ImageSplits,
    digits,
    minority,
    mnist,
)
from collapse_jax.data.longform import longform
from collapse_jax.data.passages import Passage, Source, python_docs, text_files
from collapse_jax.data.prefixes import tokenize_prefixes
from collapse_jax.data.ranking_sets import (
    RankedPrompts,
    RankingSets,
    RankingSetsConfig,
    RankingSplits,
    ranking_sets,
)
from collapse_jax.data.shakespeare import tiny_shakespeare
from collapse_jax.data.tokenizers import Tokenizer, byte_tokenizer, load_bpe, save_bpe, train_bpe
from collapse_jax.data.wikitext import wikitext

__all__ = [
    "Corpus",
    "CorpusSplits",
    "Documents",
    "DocumentsConfig",
    "GreyImages",
    "GreyImagesConfig",
    "ImageSplits",
    "Images",
    "Passage",
    "RankedPrompts",
    "RankingSets",
    "RankingSetsConfig",
    "RankingSplits",
    "Source",
    "Tokenizer",
    "byte_tokenizer",
    "corpus",
    "digits",
    "featurize",
    "hashed_ngrams",
    "load_bpe",
    "longform",
    "minority",
    "mnist",
    "pack",
    "pad",
    "python_docs",
    "ranking_sets",
    "save_bpe",
    "text_files",
    "tiny_shakespeare",
    "tokenize",
    "tokenize_prefixes",
    "train_bpe",
    "unpack",
    "wikitext",
]
