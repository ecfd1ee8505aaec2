"""Rows of one prompt, put together: its answers, and for every pair of them what the rows say of it on average."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from collapse_jax.data.comparisons import MOST_ANSWERS, Comparison
from collapse_jax.data.dialogues import key_of

__all__ = ()


@dataclass(slots=True)
class Tally:
    """What rows say of answer i against j > i: how many rows, of them for i, for j and in part, and sums."""

    rows: int = 0
    first: int = 0
    second: int = 0
    probable: int = 0
    wins: float = 0.0
    strengths: float = 0.0
    with_strength: int = 0
    margins: float = 0.0
    with_margin: int = 0


@dataclass(slots=True)
class Gathered:
    """What rows say of one prompt. `answers` has the place of each by what texts are compared by."""

    prompt: str
    type: str | None = None
    texts: list[str] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    tallies: dict[tuple[int, int], Tally] = field(default_factory=dict)
    rows: int = 0
    repeated: int = 0
    other_type: int = 0


class Merged(NamedTuple):
    """A prompt's answers, best first, and matrices of them: see `Preferences`; `counts` are of rows that one won."""

    answers: list[str]
    wins: Float[np.ndarray, "item item"]
    strengths: Float[np.ndarray, "item item"]
    margins: Float[np.ndarray, "item item"]
    counts: Int[np.ndarray, "item item"]


def add(place: str, gathered: Gathered, row: Comparison) -> int:
    """Enter a row; returns how many characters are held in addition.

    Raises ValueError, with the place, for too many answers of one prompt.
    """
    gathered.rows += 1
    if gathered.type is None:
        gathered.type = row.type
    elif row.type is not None:
        gathered.other_type += row.type != gathered.type
    used = {item for pair in row.pairs for item in (pair.i, pair.j)}
    at, held, known = {}, 0, True
    for item in sorted(used):
        key = key_of(row.answers[item])
        if key not in gathered.answers:
            gathered.answers[key] = len(gathered.texts)
            gathered.texts.append(row.answers[item])
            held += weight(row.answers[item])
        at[item] = gathered.answers[key]
    if len(gathered.texts) > MOST_ANSWERS:
        raise ValueError(
            f"{place}: the prompt {gathered.prompt!r:.60} has more than {MOST_ANSWERS} answers in all its rows; leave "
            "some out"
        )
    for pair in row.pairs:
        i, j = at[pair.i], at[pair.j]
        sign = 1 if i < j else -1
        tally = gathered.tallies.get((min(i, j), max(i, j)))
        if tally is None:
            tally = gathered.tallies[min(i, j), max(i, j)] = Tally()
            known = False
        _count(tally, pair.win if sign > 0 else 1.0 - pair.win, sign * pair.strength, sign * pair.margin)
    gathered.repeated += known
    return held


def weight(text: str) -> int:
    """Return how many characters a text counts for: a short one takes room as well."""
    return max(len(text), 256)


def _count(tally: Tally, win: float, strength: float, margin: float) -> None:
    tally.rows += 1
    tally.wins += win
    tally.first += win > 0.5
    tally.second += win < 0.5
    tally.probable += win not in (0.0, 0.5, 1.0)
    if not math.isnan(strength):
        tally.strengths += strength
        tally.with_strength += 1
    if not math.isnan(margin):
        tally.margins += margin
        tally.with_margin += 1


def merged(gathered: Gathered) -> Merged:
    """Return means over rows, the answers in the order of wins less losses, then of the file."""
    n = len(gathered.texts)
    wins, margins, counts = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n), int)
    strengths = np.full((n, n), np.nan)
    for (i, j), tally in gathered.tallies.items():
        wins[i, j] = tally.wins / tally.rows
        wins[j, i] = 1.0 - wins[i, j]
        counts[i, j], counts[j, i] = tally.first, tally.second
        if tally.with_strength:
            strengths[i, j] = tally.strengths / tally.with_strength
            strengths[j, i] = 0.0 - strengths[i, j]
        if tally.with_margin:
            margin = tally.margins / tally.with_margin
            margins[i, j], margins[j, i] = max(margin, 0.0), max(-margin, 0.0)
    order = np.argsort(wins.sum(0) - wins.sum(1), kind="stable")
    square = np.ix_(order, order)
    answers = [gathered.texts[item] for item in order]
    return Merged(answers, wins[square], strengths[square], margins[square], counts[square])
