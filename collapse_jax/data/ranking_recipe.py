"""How ranking sets are made of passages.

The construction of the reward-collapse experiment (Song, Cai, Lee, Su, arXiv:2305.17608): a prompt's type lies in a
sentence added to it, and its completions are prefixes of one passage; longer is better.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from collapse_jax.data.passages import Source
from collapse_jax.data.splitting import uniform
from collapse_jax.data.words import word_ends

__all__ = ()

TYPE_NAMES = ("open", "closed")


class Recipe(NamedTuple):
    """What a type appends to the prompt, and the words of its completions, best first."""

    suffix: str
    words: tuple[int, ...]


RECIPES = {
    "open": Recipe(" Write the answer in an open-ended way.", (80, 70, 60, 50, 40, 30, 20, 10)),
    "closed": Recipe(" Write either a short answer or a long answer.", (74, 68, 62, 56, 34, 28, 22, 16)),
}


def ranking_rows(source: Source, seed: int) -> Iterator[dict[str, Any]]:
    """Yield an example for every distinct pair of prompt and passage, in the source's order.

    Words are what single spaces separate: a line break or tab stays inside its word, and of two spaces in a row the
    second makes an empty word; each letter of a script without spaces is a word. Python's and text files' passages have
    single spaces only. The type that a pair gets depends on the seed and the pair alone. Raises ValueError for a
    passage that is too short for the longest completion.
    """
    longest = max(count for recipe in RECIPES.values() for count in recipe.words)
    for index, (title, text) in enumerate(dict.fromkeys(source.passages)):
        ends = word_ends(text)
        if len(ends) < longest:
            raise ValueError(f"passage {index} of {source.name}, {title!r}, has {len(ends)} of {longest} words needed")
        request = source.request.replace("{title}", title)
        kind = "open" if uniform(seed, "type", request, text) < 0.5 else "closed"
        yield {
            "index": index,
            "title": title,
            "prompt": request + RECIPES[kind].suffix,
            "type": kind,
            "completions": [text[: ends[count - 1]] for count in RECIPES[kind].words],
        }
