"""Which columns of a row have which role: those that are named, and others by the names that are known."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from collapse_jax.data.dialogues import is_messages

__all__ = ()

Columns = Mapping[str, str]
Found = dict[str, str]

ROLES: Mapping[str, str] = {
    "prompt": "the prompt: a text, or a list of messages",
    "chosen": "the better answer: a text, or a list of messages",
    "rejected": "the worse answer",
    "response_1": "the first of two answers",
    "response_2": "the second of two answers",
    "answers": "a list of answers, the best first unless there are scores or ranks",
    "scores": "a list of numbers, higher is better; equal ones are a tie",
    "ranks": "a list of numbers, lower is better; equal ones are a tie",
    "score_chosen": "the score of the better answer",
    "score_rejected": "the score of the worse answer",
    "score_1": "the score of the first of two answers",
    "score_2": "the score of the second of two answers",
    "strength": "how much better the first answer, or the chosen one, is; negative where it is worse, 0 for a tie",
    "strength_of_second": "how much better the second answer is; negative where the first one is",
    "probability": "the probability that the first answer, or the chosen one, is better; 0.5 for a tie",
    "winner": "which of two answers is better, by the name or the ending of its column, or its number; or a tie",
    "margin": "by how much the better answer must win, 0 or more",
    "type": "the type of the prompt",
}
PAIR, TWO, LIST = ("chosen", "rejected"), ("response_1", "response_2"), ("answers",)
# The roles that say who wins, by group; a role that stands first is asked first.
VERDICTS = {
    PAIR: ("probability",),
    TWO: ("strength", "strength_of_second", "probability", "winner", "score_1"),
    LIST: ("scores", "ranks"),
}
_PAIR_SCORES, _TWO_SCORES = ("score_chosen", "score_rejected"), ("score_1", "score_2")
_EXTRAS = {
    PAIR: (*_PAIR_SCORES, "strength", "margin"),
    TWO: ("score_2", "margin"),
    LIST: (),
}
_STEMS = ("response", "answer", "completion", "output", "conversation")
_ENDINGS = (("_1", "_2"), ("1", "2"), ("_a", "_b"), ("_A", "_B"), ("_0", "_1"))
# Columns that are known by their names, in the order in which they are looked for.
_KNOWN: Mapping[str, Sequence[str]] = {
    "prompt": ("prompt", "instruction", "question", "query", "input", "context", "history"),
    "answers": ("responses", "completions", "answers"),
    "scores": ("scores", "rewards"),
    "ranks": ("ranks",),
    "strength_of_second": ("preference_strength", "overall_preference"),
    "winner": ("winner", "better_response_id"),
    "type": ("type", "prompt_type"),
    # These are told by their endings.
    "score_1": (),
    "score_2": (),
}
# What stands in an entry of `answers`: its text, its score, its rank.
_TEXTS = ("response", "text", "answer", "completion", "output", "content", "generated_text")
_SCORES = ("overall_score", "score", "rating", "reward")
_RANKS = ("rank",)


def require_roles(columns: Mapping[str, str | None] | None) -> None:
    """Raise ValueError for a role that there is not."""
    for role in columns or ():
        if role not in ROLES:
            raise ValueError(f"columns has the role {role!r}{nearest(str(role), ROLES)}; roles are {', '.join(ROLES)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remark about the name that is most like one that isn't known, empty if none is."""
    names = {one.lower(): one for one in known}
    found = [names[one] for one in difflib.get_close_matches(name.lower(), names, n=1)]
    return f" (did you mean {found[0]!r}?)" if found else ""


def recognise(place: str, row: Mapping[str, Any], named: Mapping[str, str | None]) -> Columns:
    """Return the column of every role that a row has: those named, others by the names that are known.

    Raises ValueError, with the place, the row's columns and the nearest names, if no answers or no verdict is found.
    """
    for name in row:
        if not isinstance(name, str):
            raise ValueError(f"{place} has the column {name!r:.60}; names of columns must be strings")
    for role, column in named.items():
        if column is not None and not has(row, column):
            raise ValueError(
                f"{place}: columns[{role!r}] is {column!r}, which is no column{nearest(column, row)}; there are "
                f"{listed(row)}"
            )
    found: Found = {role: column for role, column in named.items() if column is not None}
    group = _group(place, row, found)
    _add(found, row, named, ["prompt", "type", *VERDICTS[group], *_EXTRAS[group]])
    if group == LIST and "." not in found["answers"]:
        _look_into(place, row, found)
    if group == TWO and not set(named) & set(_TWO_SCORES):
        _add_scores(row, found)
    for one, other in (_TWO_SCORES, _PAIR_SCORES, _TWO_SCORES[::-1], _PAIR_SCORES[::-1]):
        if named.get(one) is not None and other not in found:
            raise ValueError(
                f"{place}: columns names {one!r} and not {other!r}, and scores are compared; there are {listed(row)}"
            )
    if group == TWO and not set(found) & set(VERDICTS[TWO]):
        raise ValueError(
            f"{place}: nothing says which of {found['response_1']!r} and {found['response_2']!r} is better; name a "
            f"column for one of {', '.join(VERDICTS[TWO])} by columns=; there are {listed(row)}"
        )
    used = {"prompt", "type", *group, *VERDICTS[group], *_EXTRAS[group]}
    if unused := [role for role in named if role not in used and named[role] is not None]:
        raise ValueError(f"{place}: columns names {unused[0]!r}, which says nothing of {' and '.join(group)}")
    return {role: found[role] for role in ROLES if role in found}


def _group(place: str, row: Mapping[str, Any], found: Found) -> tuple[str, ...]:
    """Return the roles of a row's answers, and enter their columns: those of the roles that are named, if any."""
    groups = [group for group in (PAIR, TWO, LIST) if set(found) & set(group)]
    if not groups:
        groups = [group for role, group in (("scores", LIST), ("ranks", LIST), ("winner", TWO)) if role in found]
    for group in groups[:1] or (PAIR, LIST, TWO):
        for columns in _answers(group):
            wanted = {role: found.get(role, column) for role, column in zip(group, columns, strict=True)}
            if all(has(row, column) for column in wanted.values()):
                found.update(wanted)
                return group
    known = [*PAIR, *TWO, *_KNOWN["answers"]]
    near = next((near for one in row if one not in known for near in [nearest(one, known)] if near), "")
    groups = groups or [group for group in (PAIR, TWO) if any(role in row for role in group)]
    missing = [role for group in groups[:1] for role in group if role not in found and role not in row]
    what = f"no column for {' and '.join(map(repr, missing))}" if missing else "no answers"
    raise ValueError(
        f"{place}: {what} among the columns {listed(row)}{near}; known are chosen and rejected, response_1 and "
        "response_2 with a verdict, and responses or completions; name others, as in "
        'columns={"prompt": "question", "chosen": "good", "rejected": "bad"}'
    )


def _answers(group: tuple[str, ...]) -> list[tuple[str, ...]]:
    if group == TWO:
        return [TWO, *((stem + first, stem + second) for stem in _STEMS for first, second in _ENDINGS)]
    return [group] if group == PAIR else [(name,) for name in _KNOWN["answers"]]


def _add(found: Found, row: Mapping[str, Any], named: Mapping[str, Any], roles: Sequence[str]) -> None:
    for role in roles:
        if role not in named:
            column = next((name for name in _KNOWN.get(role, (role,)) if name in row), None)
            if column is not None:
                found[role] = column


def _add_scores(row: Mapping[str, Any], found: Found) -> None:
    """Enter the scores of two answers, of columns that end alike: those that end as the answers do before others."""
    first, second = found["response_1"], found["response_2"]
    own = [one for one in _ENDINGS if first.endswith(one[0]) and second.endswith(one[1])]
    columns = [("score" + one, "score" + other) for one, other in [*own, *_ENDINGS]]
    known = next((pair for pair in columns if all(has(row, column) for column in pair)), None)
    if known is not None:
        found.update(zip(_TWO_SCORES, known, strict=True))


def _look_into(place: str, row: Mapping[str, Any], found: Found) -> None:
    """Enter what stands for text, score and rank in answers that are mappings; raises ValueError where nothing does."""
    entries = value_at(row, found["answers"])
    first = entries[0] if isinstance(entries, list | tuple | np.ndarray) and len(entries) else None
    if not isinstance(first, Mapping) or is_messages(entries):
        return
    column = found["answers"]
    text = next((name for name in _TEXTS if name in first), None)
    if text is None:
        raise ValueError(
            f"{place}: {column} has entries of {listed(first)}, none of which is known as the text; name it, as in "
            f'columns={{"answers": "{column}.{next(iter(first), "text")}"}}'
        )
    found["answers"] = f"{column}.{text}"
    for role, names in (("scores", _SCORES), ("ranks", _RANKS)):
        if not set(found) & set(VERDICTS[LIST]) and (name := next((one for one in names if one in first), None)):
            found[role] = f"{column}.{name}"
    if not set(found) & set(VERDICTS[LIST]):
        raise ValueError(
            f"{place}: {column} has entries of {listed(first)}, none of which is known as the score; name it, as in "
            f'columns={{"scores": "{column}.quality"}}, or, if the best comes first, {{"answers": "{column}.{text}"}}'
        )


def listed(row: Iterable[str]) -> str:
    """Return the first names of columns."""
    names = [repr(name) for name in row]
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "(none)"


def has(row: Mapping[str, Any], column: str) -> bool:
    """Return whether a row has a column, or one that leads to it, as `completions` leads to `completions.score`."""
    return column in row or ("." in column and column.partition(".")[0] in row)


def value_at(row: Mapping[str, Any], column: str) -> Any:
    """Return what a row has in a column; `a.b` is `b` of what is in `a`, or of each of its entries.

    What is None has None in it. Raises KeyError for a key that isn't there, with the keys that are.
    """
    if column in row:
        return row[column]
    head, _, rest = column.partition(".")
    if not rest or head not in row:
        raise KeyError(head, [key for key in row if isinstance(key, str)])
    inside = row[head]
    if inside is None:
        return None
    several = isinstance(inside, list | tuple | np.ndarray)
    entries = inside if several else [inside]
    if not all(isinstance(one, Mapping) for one in entries):
        raise KeyError(rest, [])
    values = [value_at(one, rest) for one in entries]
    return values if several else values[0]
