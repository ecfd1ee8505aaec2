"""WikiText (Merity et al., arXiv:1609.07843): Wikipedia's good and featured articles."""

import itertools
import os
import re
from collections import Counter

from collapse_jax.checks.annotations import checked
from collapse_jax.data.passages import Passage, Source, merge, text_files

__all__ = ["wikitext"]

_RULES = (
    (re.compile(r" @([-,.])@ "), r"\1"),
    (re.compile(r'" ([^"]*) "'), r'"\1"'),
    (re.compile(r" ([,.;:!?)\]])"), r"\1"),
    (re.compile(r"([(\[]) "), r"\1"),
    (re.compile(r" ('s|'re|'ve|'ll|'d|'m|n't)\b"), r"\1"),
)


@checked
def wikitext(folder: str | os.PathLike[str]) -> Source:
    """Return the passages of a folder of WikiText by article, spelt as before tokenisation.

    `detokenize` says which spaces go. `<unk>`, which stands for a rare word, stays. Titles have it too, so that
    several may be alike: the second article of one title is numbered, as in "<unk> (2)". Raises as `text_files` does.
    """
    seen: Counter[str] = Counter()
    passages: list[Passage] = []
    for name, article in itertools.groupby(text_files(folder).passages, key=lambda passage: passage.title):
        seen[name] += 1
        title = detokenize(name) + (f" ({seen[name]})" if seen[name] > 1 else "")
        # Without the spaces of tokenisation a passage may have fewer than 100 words, and is joined to the next.
        passages += [Passage(title, text) for text in merge(detokenize(passage.text) for passage in article)]
    return Source("wikitext", tuple(passages))


def detokenize(text: str) -> str:
    """Return a text without the `@` around inner hyphens, commas and points, and without the spaces of tokenisation.

    >>> detokenize('The " well @-@ known " ship ( 1 @.@ 5 m ) did n\\'t sink , it seems .')
    'The "well-known" ship (1.5 m) didn\\'t sink, it seems.'
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
