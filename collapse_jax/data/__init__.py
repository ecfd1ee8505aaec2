"""Real data: images with labels, texts whole and as tokens, and ranking sets with features for small networks.

The TFDS builders among these names are imported only when they are asked for: that imports TFDS, and registers them.
"""

from typing import TYPE_CHECKING, Any

from collapse_jax.data.blocks import pack, pad, tokenize, unpack
from collapse_jax.data.code_and_names import character_names, python_code
from collapse_jax.data.corpus import Corpus, CorpusSplits, corpus
from collapse_jax.data.features import featurize, hashed_ngrams
from collapse_jax.data.grouped import Grouped, mix_groups
from collapse_jax.data.images import Images, ImageSplits, digits, minority, mnist
from collapse_jax.data.instructions import (
    TEMPLATES,
    Instruction,
    Template,
    TokenTemplates,
    read_instructions,
    read_templates,
    seed_instructions,
    tokenize_templates,
)
from collapse_jax.data.longform import longform
from collapse_jax.data.passages import Passage, Source, python_docs, text_files
from collapse_jax.data.preferences import PreferenceReport, Preferences, read_preferences
from collapse_jax.data.prefixes import tokenize_prefixes
from collapse_jax.data.ranking_sets import RankedPrompts, RankingSplits, ranking_sets
from collapse_jax.data.readers import Read, Reader, load_reader, ngram_reader, prefix_reader, token_reader
from collapse_jax.data.shakespeare import tiny_shakespeare
from collapse_jax.data.splits import split_prompts
from collapse_jax.data.tokenizers import Tokenizer, byte_tokenizer, load_bpe, save_bpe, train_bpe
from collapse_jax.data.wikitext import wikitext

if TYPE_CHECKING:
    from collapse_jax.data.builders import (
        Documents,
        DocumentsConfig,
        GreyImages,
        GreyImagesConfig,
        RankingSets,
        RankingSetsConfig,
    )

__all__ = [
    "TEMPLATES",
    "Corpus",
    "CorpusSplits",
    "Documents",
    "DocumentsConfig",
    "GreyImages",
    "GreyImagesConfig",
    "Grouped",
    "ImageSplits",
    "Images",
    "Instruction",
    "Passage",
    "PreferenceReport",
    "Preferences",
    "RankedPrompts",
    "RankingSets",
    "RankingSetsConfig",
    "RankingSplits",
    "Read",
    "Reader",
    "Source",
    "Template",
    "TokenTemplates",
    "Tokenizer",
    "byte_tokenizer",
    "character_names",
    "corpus",
    "digits",
    "featurize",
    "hashed_ngrams",
    "load_bpe",
    "load_reader",
    "longform",
    "minority",
    "mix_groups",
    "mnist",
    "ngram_reader",
    "pack",
    "pad",
    "prefix_reader",
    "python_code",
    "python_docs",
    "ranking_sets",
    "read_instructions",
    "read_preferences",
    "read_templates",
    "save_bpe",
    "seed_instructions",
    "split_prompts",
    "text_files",
    "tiny_shakespeare",
    "token_reader",
    "tokenize",
    "tokenize_prefixes",
    "tokenize_templates",
    "train_bpe",
    "unpack",
    "wikitext",
]

# The builders are the names above that nothing here imports.
_BUILDERS = {*__all__} - {*globals()}


def __getattr__(name: str) -> Any:
    if name not in _BUILDERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from collapse_jax.data import builders

    return getattr(builders, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
