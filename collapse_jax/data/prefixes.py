"""Rankings whose completions are prefixes of one text, as the paper's are: each text is tokenised and read once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.data.blocks import PADDING
from collapse_jax.data.preferences import Preferences, width_of
from collapse_jax.data.ranking_sets import RankedPrompts, require_completions
from collapse_jax.data.tokenizers import Tokenizer

# The package of rewards passes `Prefixes` on.
__all__ = ["tokenize_prefixes"]


class Prefixes(NamedTuple):
    """Completions that are prefixes of one text: its tokens, below 0 where there is none, and the last token of each.

    A text begins with the prompt; `start` is the place where the completions begin. `last` is a place in the text; for
    an item that does not exist it is 0.
    """

    tokens: Int[np.ndarray, "prompt token"] | Int[Array, "... token"]
    start: Int[np.ndarray, " prompt"] | Int[Array, "..."]
    last: Int[np.ndarray, "prompt item"] | Int[Array, "... item"]


@checked
def tokenize_prefixes(
    ranked: RankedPrompts | Preferences, tokenizer: Tokenizer, length: int
) -> tuple[
    Int[np.ndarray, "prompt {length}"],
    Int[np.ndarray, " prompt"],
    Int[np.ndarray, "prompt item"],
    Bool[np.ndarray, "prompt item"],
]:
    """Return int32 rows of tokens, where completions start, the place of each one's last token, and which items exist.

    A row is the prompt, the end token, the longest completion, then -1; the first three results are the fields of
    `Prefixes`. Raises ValueError, naming the prompt, for an empty completion, for one whose tokens aren't the first of
    the longest, for a text that is longer than `length`, with the length needed, and if there is no prompt or one has
    no completion.
    """
    require_completions(ranked.prompts, ranked.completions, "tokenize")
    return prefix_rows(ranked.prompts, ranked.completions, width_of(ranked), tokenizer, length)


def prefix_rows(
    prompts: Sequence[str], completions: Sequence[Sequence[str]], width: int, tokenizer: Tokenizer, length: int
) -> tuple[
    Int[np.ndarray, "prompt token"],
    Int[np.ndarray, " prompt"],
    Int[np.ndarray, "prompt item"],
    Bool[np.ndarray, "prompt item"],
]:
    """Return the fields of `Prefixes` and which items of `width` exist, as `tokenize_prefixes` does."""
    rows, starts, ends = [], [], []
    for number, (prompt, texts) in enumerate(zip(prompts, completions, strict=True)):
        start = [*tokenizer.encode(prompt), tokenizer.end]
        items = [tokenizer.encode(text) for text in texts]
        longest = max(items, key=len)
        for item, tokens in enumerate(items):
            if not len(tokens):
                raise ValueError(
                    f"completion {item} of prompt {number}, {prompt!r:.60}, is empty: it has no last token to read; "
                    "use tokenize and a text_encoder"
                )
            if (tokens != longest[: len(tokens)]).any():
                raise ValueError(
                    f"completion {item} of prompt {number}, {prompt!r:.60}, is not a prefix of the longest one; "
                    "use tokenize and a text_encoder"
                )
        rows.append([*start, *longest])
        starts.append(len(start))
        ends.append([len(start) + len(tokens) - 1 for tokens in items])
    needed = [len(row) for row in rows]
    if max(needed) > length:
        worst = needed.index(max(needed))
        raise ValueError(
            f"prompt {worst}, {prompts[worst]!r:.60}, has {needed[worst]} tokens with its longest completion; "
            f"length is {length}, and {needed[worst]} would do for all prompts"
        )
    mask = np.array([np.arange(width) < len(items) for items in ends])
    tokens, last = np.full((len(rows), length), PADDING, np.int32), np.zeros((len(rows), width), np.int32)
    for number, (row, places) in enumerate(zip(rows, ends, strict=True)):
        tokens[number, : len(row)], last[number, : len(places)] = row, places
    return tokens, np.array(starts, np.int32), last, mask
