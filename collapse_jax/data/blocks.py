"""Token blocks: texts as rows of equal length, which a network trains on, and rows back to texts."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Array, Bool, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.data.preferences import Preferences, width_of
from collapse_jax.data.ranking_sets import RankedPrompts, require_completions
from collapse_jax.data.tokenizers import Tokenizer

__all__ = ["pack", "pad", "tokenize", "unpack"]

PADDING = -1


@checked
def pack(tokenizer: Tokenizer, texts: Iterable[str], length: int) -> Int[np.ndarray, "block length"]:
    """Return int32 rows of exactly `length` tokens, cut from the texts in one sequence, an end token after each text.

    What is left at the end, shorter than a row, is dropped. Raises ValueError if not one row is full.

    >>> from collapse_jax.data.tokenizers import byte_tokenizer
    >>> pack(byte_tokenizer(), ["abc", "de"], 3).tolist()
    [[97, 98, 99], [256, 100, 101]]
    """
    _require_length(length)
    parts = [part for text in texts for part in (tokenizer.encode(text), np.array([tokenizer.end]))]
    tokens = np.concatenate(parts or [np.zeros(0)]).astype(np.int32)
    if tokens.size < length:
        raise ValueError(f"the texts have {tokens.size} tokens, end tokens included; one row needs length, {length}")
    return tokens[: tokens.size // length * length].reshape(-1, length)


@checked
def pad(
    tokenizer: Tokenizer, texts: Sequence[str], length: int, *, truncate: bool = True
) -> Int[np.ndarray, "text length"]:
    """Return an int32 row for each text: its tokens, the end token, then -1.

    A longer text is cut, and then has no end token. Raises ValueError where there is no text and, with
    `truncate=False`, for a text that would be cut.

    >>> from collapse_jax.data.tokenizers import byte_tokenizer
    >>> pad(byte_tokenizer(), ["a", "bcde"], 3).tolist()
    [[97, 256, -1], [98, 99, 100]]
    """
    _require_length(length)
    if not texts:
        raise ValueError("there is no text to pad")
    rows = [np.append(tokenizer.encode(text), tokenizer.end) for text in texts]
    longest = max(range(len(rows)), key=lambda row: rows[row].size)
    if not truncate and rows[longest].size > length:
        raise ValueError(
            f"text {longest}, {texts[longest]!r:.60}, has {rows[longest].size} tokens with its end token; raise length "
            f"({length}) or let it be cut"
        )
    return np.stack([_filled(row[:length], length) for row in rows])


@checked
def unpack(tokenizer: Tokenizer, block: Int[np.ndarray, " length"] | Int[Array, " length"]) -> list[str]:
    """Return the texts of a row, split at the end token; the last one may be cut, and padding is left out.

    >>> from collapse_jax.data.tokenizers import byte_tokenizer
    >>> unpack(byte_tokenizer(), np.array([97, 98, 256, 99, -1]))
    ['ab', 'c']
    """
    tokens = np.asarray(block)
    tokens = tokens[tokens >= 0]
    *texts, rest = np.split(tokens, np.flatnonzero(tokens == tokenizer.end) + 1)
    return [tokenizer.decode(part) for part in [*texts, rest][: len(texts) + bool(rest.size)]]


@checked
def tokenize(
    ranked: RankedPrompts | Preferences, tokenizer: Tokenizer, length: int
) -> tuple[Int[np.ndarray, "prompt item token"], Bool[np.ndarray, "prompt item"]]:
    """Return int32 rows for all completions, and which items exist: `featurize` for a text encoder.

    A row is the prompt, the end token, the completion, the end token, then -1; one of an item that does not exist is
    -1 throughout. Items keep their order, best first. Raises ValueError, with the length needed, for a text that is
    longer, and if there is no prompt or one has no completion.
    """
    _require_length(length)
    require_completions(ranked.prompts, ranked.completions, "tokenize")
    return token_rows(ranked.prompts, ranked.completions, width_of(ranked), tokenizer, length)


def token_rows(
    prompts: Sequence[str], completions: Sequence[Sequence[str]], width: int, tokenizer: Tokenizer, length: int
) -> tuple[Int[np.ndarray, "prompt item token"], Bool[np.ndarray, "prompt item"]]:
    """Return tokens of completions and which items of `width` exist, as `tokenize` does."""
    end = np.array([tokenizer.end])
    rows = [
        [np.concatenate([shared, end, tokenizer.encode(completion), end]) for completion in items]
        for prompt, items in zip(prompts, completions, strict=True)
        for shared in [tokenizer.encode(prompt)]
    ]
    needed = [max(item.size for item in items) for items in rows]
    if max(needed) > length:
        longest = needed.index(max(needed))
        raise ValueError(
            f"prompt {longest}, {prompts[longest]!r:.60}, has {needed[longest]} tokens with its longest "
            f"completion and two end tokens; length is {length}, and {needed[longest]} would do for all prompts"
        )
    mask = np.array([np.arange(width) < len(items) for items in rows])
    tokens = np.full((*mask.shape, length), PADDING, np.int32)
    tokens[mask] = [_filled(item, length) for items in rows for item in items]
    return tokens, mask


def _filled(tokens: Int[np.ndarray, " token"], length: int) -> Int[np.ndarray, " length"]:
    return np.pad(tokens, (0, length - tokens.size), constant_values=PADDING).astype(np.int32)


def _require_length(length: int) -> None:
    if length < 1:
        raise ValueError(f"length is {length}; it must be 1 or more")
