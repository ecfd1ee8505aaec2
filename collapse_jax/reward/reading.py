"""Preferences as rankings: texts read by a reader, and what was said of their pairs as weights and margins."""

import numpy as np
from jaxtyping import Bool, Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.data.preferences import Preferences, width_of
from collapse_jax.data.ranking_sets import RankedPrompts
from collapse_jax.data.readers import Reader
from collapse_jax.reward.rankings import Rankings, make_rankings


@checked
def as_rankings(
    texts: RankedPrompts | Preferences,
    reader: Reader,
    *,
    strength: float | None = None,
    margin: float | None = None,
) -> Rankings:
    """Return rankings of texts as `reader` reads them, with weights of pairs where an order does not say all.

    `strength` is the log-odds that one unit of strength stands for: a pair with a strength is won by its better one
    with probability sigmoid(strength * its strength); without it, weights are those of the file. `margin` is the
    difference of rewards that one unit of margin stands for; without it, margins are not used. Where every prompt's
    weights are one order of all its completions, `wins` is None. Raises ValueError for a strength or margin that is no
    positive number, or that the texts have no strengths or margins for, and for what the reader and `make_rankings`
    refuse.
    """
    for name, unit in (("strength", strength), ("margin", margin)):
        if unit is None:
            continue
        if not numbers.is_finite(unit) or unit <= 0:
            raise ValueError(f"{name} is {unit!r}; it must be a number above 0")
        if not isinstance(texts, Preferences) or getattr(texts, f"{name}s") is None:
            raise ValueError(f"{name} is {unit!r}, and texts have no {name}s; leave it out")
    features, mask = reader.read(texts.prompts, texts.completions, width_of(texts))
    wins = _wins(texts, strength) if isinstance(texts, Preferences) else None
    margins = None
    if margin is not None and isinstance(texts, Preferences) and texts.margins is not None:
        margins = _stacked([margin * one for one in texts.margins], texts.width)
    return make_rankings(
        features,
        mask,
        texts.types,
        texts.type_names,
        wins=None if wins is None or _is_order(wins, mask) else wins,
        margins=margins,
    )


def _wins(texts: Preferences, strength: float | None) -> Float[np.ndarray, "prompt item item"]:
    if strength is None or texts.strengths is None:
        return _stacked(texts.wins, texts.width)
    pairs = zip(texts.wins, texts.strengths, strict=True)
    # tanh overflows nowhere, as exp would for large strengths.
    graded = [
        np.where(np.isnan(strengths), wins, 0.5 + 0.5 * np.tanh(0.5 * strength * strengths))
        for wins, strengths in pairs
    ]
    return _stacked(graded, texts.width)


def _stacked(squares: list[Float[np.ndarray, "_ _"]], width: int) -> Float[np.ndarray, "prompt item item"]:
    stacked = np.zeros((len(squares), width, width))
    for prompt, square in enumerate(squares):
        stacked[prompt, : len(square), : len(square)] = square
    return stacked


def _is_order(wins: Float[np.ndarray, "prompt item item"], mask: Bool[np.ndarray, "prompt item"]) -> bool:
    """Return whether each item that there is beats every one after it, and no other."""
    pairs = mask[:, :, None] & mask[:, None, :]
    return bool((wins == np.triu(pairs, 1)).all())
