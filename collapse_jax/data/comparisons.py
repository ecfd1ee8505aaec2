"""What a row says: a prompt, its answers, and which of them beat which, by order, score, strength or verdict."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from collapse_jax.data.conventions import LIST, PAIR, TWO, VERDICTS, Columns, listed, nearest, value_at
from collapse_jax.data.dialogues import key_of, require_whole, split

__all__ = ()

MOST_ANSWERS = 1024
"""Answers of a prompt: every pair of them has a number."""
_TIES = ("tie", "tie (bothbad)", "both", "bothbad", "draw", "equal", "same", "neither")


class Pair(NamedTuple):
    """Two answers by number, the weight in [0, 1] of "i beats j", and i's strength over j and margin, NaN for none."""

    i: int
    j: int
    win: float
    strength: float = math.nan
    margin: float = math.nan


class Comparison(NamedTuple):
    """A row that was read: a prompt, its answers, the pairs of them that it compares, and its type where it has one."""

    prompt: str
    answers: list[str]
    pairs: list[Pair]
    type: str | None


def comparison(place: str, row: Mapping[str, Any], columns: Columns) -> Comparison | str:
    """Return what a row says, or why it says nothing; raises ValueError, with the place, for what can't be read."""
    values: dict[str, Any] = {}
    for role, column in columns.items():
        try:
            values[role] = value_at(row, column)
        except KeyError as error:
            key, there = error.args
            raise ValueError(
                f"{place}: {column!r}, read as {role!r}, is not in every entry{nearest(key, there)}; there are "
                f"{listed(there)}"
            ) from None
    group = next(group for group in (PAIR, TWO, LIST) if group[0] in columns)
    raw, names = _raw(place, columns, group, values)
    prompt, answers = split(place, names, raw, columns.get("prompt"), values.get("prompt"))
    if not key_of(prompt):
        return "no prompt"
    verdict = _list_pairs if group == LIST else _two_pairs
    pairs = verdict(place, columns, values, len(answers))
    if isinstance(pairs, str):
        return pairs
    keys = [key_of(one) for one in answers]
    if sum(map(bool, keys)) < 2:
        return "empty answers" if len(keys) > 1 else "fewer than two answers"
    if len({*filter(None, keys)}) < 2:
        return "identical answers"
    pairs = [pair for pair in pairs if keys[pair.i] and keys[pair.j] and keys[pair.i] != keys[pair.j]]
    if not pairs:
        return "no scores"
    return Comparison(prompt, answers, pairs, _type(place, columns, values))


def _type(place: str, columns: Columns, values: Mapping[str, Any]) -> str | None:
    value = values.get("type")
    if _is_missing(value):
        return None
    if not isinstance(value, str | bool | int | np.integer):
        raise ValueError(f"{place}: {columns['type']} is {value!r:.60}; a type must be a text or a whole number")
    return require_whole(place, columns["type"], str(value))


def _raw(
    place: str, columns: Columns, group: tuple[str, ...], values: Mapping[str, Any]
) -> tuple[Sequence[Any], list[str]]:
    """Return the answers as the row has them, and the column of each."""
    if group != LIST:
        return [values[role] for role in group], [columns[role] for role in group]
    raw, column = values["answers"], columns["answers"]
    raw = [] if raw is None else raw
    if not isinstance(raw, list | tuple | np.ndarray):
        raise ValueError(f"{place}: {column} is {raw!r:.60}; it must be a list of answers")
    if len(raw) > MOST_ANSWERS:
        raise ValueError(f"{place}: {column} has {len(raw)} answers; a prompt may have {MOST_ANSWERS}")
    return list(raw), [column] * len(raw)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value)


def number(place: str, column: str, value: Any) -> float:
    """Return a finite number, or NaN for one that is missing; raises ValueError for anything else."""
    if _is_missing(value):
        return math.nan
    found = math.nan
    if isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{place}: {column} is {value!r:.60}; it must be a finite number")
    return found


def _two_pairs(place: str, columns: Columns, values: Mapping[str, Any], n: int) -> list[Pair] | str:
    def read(role: str) -> float:
        return number(place, columns[role], values[role]) if role in columns else math.nan

    scores = ("score_chosen", "score_rejected") if "chosen" in columns else ("score_1", "score_2")
    difference = read(scores[0]) - read(scores[1])
    strength = next(
        (one for one in (read("strength"), -read("strength_of_second"), difference) if one == one), math.nan
    )
    if "probability" in columns:
        win = _probability(place, columns["probability"], values["probability"])
    elif "chosen" in columns:
        win = 1.0
    elif "winner" in columns:
        win = _winner(place, columns["winner"], values["winner"], (columns["response_1"], columns["response_2"]))
    else:
        win = beats(strength, 0.0)
    margin = read("margin")
    if margin < 0:
        raise ValueError(f"{place}: {columns['margin']} is {margin:g}; a margin must be 0 or more")
    if win != win:
        return "no verdict"
    # The margin is that of the better one, and a tie has none.
    return [Pair(0, 1, win, strength, margin * ((win > 0.5) - (win < 0.5)))]


def beats(score: float, other: float) -> float:
    """Return 1 for a higher score, 1/2 for an equal one, 0 for a lower one, and NaN where one is NaN."""
    return math.nan if score != score or other != other else 0.5 * ((score > other) + (score >= other))


def _probability(place: str, column: str, value: Any) -> float:
    found = number(place, column, int(value) if isinstance(value, bool) else value)
    if found < 0 or found > 1:
        raise ValueError(f"{place}: {column} is {found:g}; a probability must be in [0, 1]")
    return found


def _winner(place: str, column: str, value: Any, names: tuple[str, str]) -> float:
    """Return 1 if the first of two answers is named, 0 if the second is, and 1/2 for a tie."""
    if _is_missing(value):
        return math.nan
    whole = isinstance(value, float) and value.is_integer()
    word = str(int(value) if whole else value).strip().lower()
    if word in _TIES:
        return 0.5
    ends = [_ending(name) for name in names]
    if not any(end.isdigit() for end in ends) and word in ("0", "1"):
        return 1.0 - int(word)
    for win, name, end in zip((1.0, 0.0), names, ends, strict=True):
        if word in (name.lower(), end) or word.rpartition("_")[2] == end:
            return win
    raise ValueError(
        f"{place}: {column} is {value!r:.60}; it must be {names[0]!r} or {names[1]!r}, or end as these do, {ends[0]!r} "
        f"or {ends[1]!r}, or be a tie, such as {_TIES[0]!r}"
    )


def _ending(name: str) -> str:
    last = name.rpartition("_")[2].rpartition(".")[2].lower()
    return last[-1:] if last[-1:].isdigit() else last


def _list_pairs(place: str, columns: Columns, values: Mapping[str, Any], n: int) -> list[Pair] | str:
    role = next((role for role in VERDICTS[LIST] if role in columns), None)
    if role is None:
        return [Pair(i, j, 1.0) for i in range(n) for j in range(i + 1, n)]
    raw, column = values[role], columns[role]
    raw = [None] * n if raw is None else raw
    if not isinstance(raw, list | tuple | np.ndarray) or len(raw) != n:
        raise ValueError(f"{place}: {column} is {raw!r:.60}; it must be a list of {n} numbers, one for each answer")
    scores = [number(place, column, one) for one in raw]
    if role == "ranks":
        scores = [-one for one in scores]
    known = [i for i in range(n) if scores[i] == scores[i]]
    strengths = role == "scores"
    return [
        Pair(i, j, beats(scores[i], scores[j]), scores[i] - scores[j] if strengths else math.nan)
        for place_of_i, i in enumerate(known)
        for j in known[place_of_i + 1 :]
    ]
