"""Features without a vocabulary, a seed or training: hashed n-gram counts of a prompt and of its completion.

A vector holds two blocks, so that a prompt's word and the same word in a completion never meet:

- prompt: n-gram counts over the square root of the number of words, since the words that are there tell the type;
- completion: n-gram counts over 8, which is of order 1. Nothing is normalised away: 8 times the sum of an order's part
  is the number of its n-grams, so that "longer is better" is linear in the features.

Words are what white space separates, lower-cased, and each letter of a script that has no spaces. Each order of n-grams
has an equal part of its block.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from collapse_jax.checks.annotations import checked
from collapse_jax.data.preferences import Preferences, width_of
from collapse_jax.data.ranking_sets import RankedPrompts, require_completions
from collapse_jax.data.words import split_words

__all__ = ["featurize", "hashed_ngrams"]

COUNT_SCALE = 1 / 8


@checked
def hashed_ngrams(text: str, *, size: int, orders: Sequence[int] = (1, 2)) -> Float[np.ndarray, " feature"]:
    """Return the counts of a text's n-grams by their CRC-32, `size / len(orders)` buckets for each order, float32.

    Raises ValueError unless the orders are distinct, 1 or more, and share `size` equally.

    >>> hashed_ngrams("to be or not to be", size=8).reshape(2, 4).sum(axis=1).tolist()
    [6.0, 5.0]
    """
    require_size("size", size, orders)
    words = split_words(text.lower())
    buckets = size // len(orders)
    counts = np.zeros(size, np.float32)
    for block, order in zip(counts.reshape(len(orders), buckets), orders, strict=True):
        grams = (" ".join(words[start : start + order]) for start in range(len(words) - order + 1))
        block += np.bincount([zlib.crc32(gram.encode()) % buckets for gram in grams], minlength=buckets)
    return counts


def require_size(name: str, size: int, orders: Sequence[int]) -> None:
    """Raise ValueError for orders that aren't distinct whole numbers, 1 or more, or that don't share a size equally."""
    if not orders or min(orders) < 1 or len(set(orders)) < len(orders):
        raise ValueError(f"orders are {tuple(orders)}; they must be distinct whole numbers, 1 or more")
    if size < len(orders) or size % len(orders):
        raise ValueError(f"{name} is {size}; it must be a positive multiple of the {len(orders)} orders")


@checked
def featurize(
    ranked: RankedPrompts | Preferences,
    *,
    prompt_size: int = 256,
    completion_size: int = 512,
    orders: Sequence[int] = (1, 2),
) -> tuple[Float[np.ndarray, "prompt item feature"], Bool[np.ndarray, "prompt item"]]:
    """Return float32 vectors, `prompt_size + completion_size` long, for all completions, and which items exist.

    Items keep their order, best first; a prompt with fewer completions than the longest, or than `Preferences` have in
    the whole file, is filled up with zero rows. Raises ValueError as `hashed_ngrams` does, and if there is no prompt or
    one has no completion.
    """
    require_completions(ranked.prompts, ranked.completions, "featurize")
    return ngram_features(ranked.prompts, ranked.completions, width_of(ranked), prompt_size, completion_size, orders)


def ngram_features(
    prompts: Sequence[str],
    completions: Sequence[Sequence[str]],
    width: int,
    prompt_size: int,
    completion_size: int,
    orders: Sequence[int],
) -> tuple[Float[np.ndarray, "prompt item feature"], Bool[np.ndarray, "prompt item"]]:
    """Return vectors of completions and which items of `width` exist, as `featurize` does."""
    shape = len(prompts), width
    features = np.zeros((*shape, prompt_size + completion_size), np.float32)
    mask = np.zeros(shape, bool)
    for row, (prompt, items) in enumerate(zip(prompts, completions, strict=True)):
        shared = hashed_ngrams(prompt, size=prompt_size, orders=orders) / max(1, len(split_words(prompt))) ** 0.5
        for item, completion in enumerate(items):
            grams = hashed_ngrams(completion, size=completion_size, orders=orders) * COUNT_SCALE
            features[row, item] = np.concatenate([shared, grams])
        mask[row, : len(items)] = True
    return features, mask
