"""Rankings and preferences of the user's own, read from files or rows, with everything said twice put together."""

import heapq
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.data.comparisons import Comparison, comparison
from collapse_jax.data.conventions import Columns, nearest, recognise, require_roles
from collapse_jax.data.dialogues import TURNS, key_of
from collapse_jax.data.majorities import agreement
from collapse_jax.data.merging import Gathered, Merged, add, merged, weight
from collapse_jax.data.ranking_sets import RankedPrompts
from collapse_jax.data.rows import rows_of_file, rows_of_iterable
from collapse_jax.data.splitting import uniform

__all__ = ["PreferenceReport", "Preferences", "read_preferences"]

MOST_TEXT = 2**30
"""Characters of prompts and answers that are held, where each counts for 256 at least."""
UNTYPED = "untyped"
"""The type of a prompt without one, where others have one."""

_MOST_FORMS = 1000

_log = logging.getLogger(__name__)


class PreferenceReport(NamedTuple):
    """What was recognised in rows; `str(report)` says it in one line.

    `columns` has the columns that were read by their role, for each convention met, and `left_out` the number of rows
    by the reason why they say nothing. What follows is of the prompts that were kept: `used` is the number of their
    rows, `answers` the fewest and the most answers of a prompt, `types` the number of prompts by type, `pairs` the
    number of pairs compared, of which `ties` were called so by every row, `contradicting` were decided by rows one way
    and the other, `graded` have a strength or a probability between 0 and 1, and `margins` a margin above 0. `repeated`
    rows compare only what earlier rows compared, and `other_type` rows give a prompt another type than its first one.
    `cycles` is the number of prompts whose majorities run in a cycle, and no reward agrees with more than the share
    `most_accuracy` of what rows decided (NaN where they decided nothing): some reward does so if `is_exact`.
    `against` is the number of pairs that were won by the one whose strength is below 0.
    """

    columns: tuple[Mapping[str, str], ...]
    rows: int
    left_out: Mapping[str, int]
    prompts: int
    used: int
    answers: tuple[int, int]
    types: Mapping[str, int]
    pairs: int
    ties: int
    contradicting: int
    graded: int
    margins: int
    repeated: int
    other_type: int
    cycles: int
    most_accuracy: float
    is_exact: bool
    against: int

    def __str__(self) -> str:
        fewest, most = self.answers
        conventions = " and as ".join(dict.fromkeys(", ".join(one.values()) for one in self.columns))
        types = ", ".join(f"{n} {name}" for name, n in self.types.items()) if len(self.types) > 1 else "none"
        left_out = ", ".join(f"{n} {why}" for why, n in self.left_out.items())
        parts = [
            f"{self.rows} rows read as {conventions}",
            f"{self.prompts} prompts in {self.used} rows",
            f"{fewest} answers each" if fewest == most else f"{fewest} to {most} answers each",
            f"types: {types}",
            f"{self.pairs} pairs: {self.ties} ties, {self.graded} graded, {self.margins} with a margin, "
            f"{self.contradicting} contradicting"
            + (f", {self.against} won against their strength" if self.against else ""),
            f"{self.repeated} rows repeated",
            f"{self.cycles} prompts with a cycle",
            self._accuracy,
            f"rows left out: {left_out or 'none'}",
        ]
        return "; ".join(parts)

    @property
    def _accuracy(self) -> str:
        if self.most_accuracy != self.most_accuracy:
            return "nothing is decided"
        who, bound = ("the best", "") if self.is_exact else ("no", "more than ")
        return f"{who} reward is right on {bound}{self.most_accuracy:.1%} of decisions"


class Preferences(NamedTuple):
    """Prompts with answers that were compared; the first fields are those of `RankedPrompts`, and are read like them.

    `titles` are the prompts, what a split keeps together. `completions` stand best first, by wins less losses, then in
    the order of the file. What follows is a square matrix for each prompt, of its completions: `wins` at [i, j] the
    weight in [0, 1] of "i beats j", with [j, i] its complement: 1 for an order, 1/2 for a tie, a probability, the mean
    over rows that compare the same pair, and 0 both ways where none does; `strengths` the signed strength of i over j,
    or the difference of their scores, NaN where there is none; `margins` that of the better one at [better, worse],
    0 elsewhere. Of the latter two, what no row has is None. `width` is the most completions of a prompt, also after a
    split, and `report` says what was recognised.
    """

    titles: list[str]
    prompts: list[str]
    types: Int[np.ndarray, " prompt"]
    completions: list[list[str]]
    type_names: tuple[str, ...]
    wins: list[Float[np.ndarray, "_ _"]]
    strengths: list[Float[np.ndarray, "_ _"]] | None
    margins: list[Float[np.ndarray, "_ _"]] | None
    width: int
    report: PreferenceReport


def width_of(ranked: RankedPrompts | Preferences) -> int:
    """Return how many items a prompt's row must have room for."""
    return ranked.width if isinstance(ranked, Preferences) else max(map(len, ranked.completions))


@checked
def read_preferences(
    path_or_rows: str | os.PathLike[str] | Iterable[Any],
    *,
    columns: Mapping[str, str | None] | None = None,
    types: str | Callable[[str], str] | None = None,
    prompts: int | None = None,
    seed: int = 0,
) -> Preferences:
    """Return the preferences of a file, or of rows: any iterable of mappings, which is gone through once.

    A file is JSON lines, a JSON array, CSV, TSV or Parquet, each also gzipped. Columns are recognised by their names
    for the conventions in docs/your_data.md; `columns` names others by their role, as in `{"chosen": "good"}`, also
    inside a column (`completions.quality`), and None for a role that is not to be read. `types` is the column of a
    prompt's type or a function of the prompt; without it, a column `type` is taken if there is one.

    Rows are read one by one. `prompts` keeps so many prompts, with all of their rows: those of the lowest hashes keyed
    by `seed`, the same in every run. Rows with one prompt are put together, where composed letters (Unicode's NFC) and
    the white space around count for nothing; texts stay as they are. The report is logged at the level INFO.

    Raises FileNotFoundError for a missing file, and ValueError, with file and line or the row, for what can't be read
    (docs/your_data.md has the bounds), for rows that compare nothing, and for more than 2^30 characters to hold.
    """
    columns = dict(columns or {})
    require_roles(columns)
    if prompts is not None:
        numbers.whole("prompts", prompts, 1)
    numbers.whole("seed", seed, 0)
    if isinstance(types, str):
        columns["type"] = types
    elif types is not None:
        columns["type"] = None
    if isinstance(path_or_rows, str | os.PathLike):
        where, rows = f"path_or_rows is {str(path_or_rows)!r}, which", rows_of_file(Path(path_or_rows))
    else:
        where, rows = "path_or_rows", rows_of_iterable(path_or_rows)
    read = _Reading(columns, prompts, seed)
    for place, row in rows:
        read.row(place, row)
    found = _preferences(read, types if callable(types) else None, where)
    _log.info("%s", found.report)
    return found


class _Reading:
    """What is known after some rows: prompts by what they are compared by, and the conventions by a row's form."""

    def __init__(self, named: Mapping[str, str | None], most: int | None, seed: int) -> None:
        self.named, self.most, self.seed = named, most, seed
        self.rows, self.held, self.left_out = 0, 0, Counter[str]()
        self.gathered: dict[str, Gathered] = {}
        self.forms: dict[Any, Columns] = {}
        self.conventions: list[Columns] = []
        # With `most`: the prompts kept, the one with the highest hash first.
        self.kept: list[tuple[float, str]] = []

    def row(self, place: str, row: Mapping[str, Any]) -> None:
        """Enter a row."""
        self.rows += 1
        form = tuple((name, _form(value)) for name, value in row.items())
        if form not in self.forms:
            self._know(form, recognise(place, row, self.named))
        found = comparison(place, row, self.forms[form])
        if isinstance(found, str):
            self.left_out[found] += 1
            return
        gathered = self._of(found)
        if gathered is not None:
            self.held += add(place, gathered, found)
            if self.held > MOST_TEXT:
                raise ValueError(
                    f"{place}: prompts and answers have more than {MOST_TEXT} characters, and are held in memory; keep "
                    "fewer by prompts=, as in prompts=10_000"
                )

    def _know(self, form: Any, columns: Columns) -> None:
        if columns not in self.conventions:
            self.conventions.append(columns)
        if len(self.forms) >= _MOST_FORMS:
            # A file whose rows are all of another form must not fill memory with them.
            self.forms.clear()
        self.forms[form] = columns

    def _of(self, row: Comparison) -> Gathered | None:
        """Return what is known of a row's prompt, None if it isn't kept."""
        key = key_of(row.prompt)
        if key not in self.gathered:
            if self.most is not None and not self._keep(key):
                return None
            self.gathered[key] = Gathered(row.prompt)
            self.held += weight(row.prompt)
        return self.gathered[key]

    def _keep(self, key: str) -> bool:
        """Return whether a new prompt is among those with the lowest hashes, and let go of the one that then is not."""
        one = (-uniform(self.seed, "keep", key), key)
        if len(self.kept) < (self.most or 0):
            heapq.heappush(self.kept, one)
            return True
        _, out = heapq.heappushpop(self.kept, one)
        if out != key:
            gone = self.gathered.pop(out)
            self.held -= sum(map(weight, [gone.prompt, *gone.texts]))
        return out != key


def _form(value: Any) -> Any:
    """Return what of a value tells one convention from another: its kind, and in a list that of its first entry."""
    if isinstance(value, list | tuple) and value:
        first = value[0]
        return (list, tuple(first) if isinstance(first, Mapping) else type(first))
    return type(value)


def _preferences(read: _Reading, type_of: Callable[[str], str] | None, where: str) -> Preferences:
    if not read.gathered:
        raise ValueError(_nothing(read, where))
    gathered = list(read.gathered.values())
    prompts = [one.prompt for one in gathered]
    kinds = [_type_of(type_of, one.prompt) if type_of else one.type for one in gathered]
    if any(kind is not None for kind in kinds):
        labels = [UNTYPED if kind is None else kind for kind in kinds]
    else:
        labels = ["all"] * len(kinds)
    names = tuple(sorted({*labels}))
    numbered = {name: number for number, name in enumerate(names)}
    parts = [merged(one) for one in gathered]
    report = _report(read, gathered, parts, labels)
    return Preferences(
        titles=prompts,
        prompts=prompts,
        types=np.array([numbered[label] for label in labels], np.int64),
        completions=[part.answers for part in parts],
        type_names=names,
        wins=[part.wins for part in parts],
        strengths=[part.strengths for part in parts] if _any(gathered, "with_strength") else None,
        margins=[part.margins for part in parts] if _any(gathered, "with_margin") else None,
        width=report.answers[1],
        report=report,
    )


def _any(gathered: Iterable[Gathered], name: str) -> bool:
    return any(getattr(tally, name) for one in gathered for tally in one.tallies.values())


def _nothing(read: _Reading, where: str) -> str:
    """Return what to say where no row compares answers."""
    if not read.rows:
        return f"{where} has no rows"
    reasons = ", ".join(f"{n} with {why}" for why, n in read.left_out.items())
    columns = read.conventions[0]
    advice = ""
    if read.left_out.get("no prompt"):
        names = [name for name, _ in next(iter(read.forms))]
        remark = next((near for name in names for near in [nearest(name, ["prompt"])] if near), "")
        advice = (
            f"; the prompt is looked for in {columns['prompt']!r}"
            if "prompt" in columns
            else f"; there is no column for the prompt among {', '.join(map(repr, names))}{remark}: name it, as in "
            'columns={"prompt": "question"}, or let dialogues begin alike, up to one of '
            f"{', '.join(map(repr, TURNS))}"
        )
    return f"{where} has {read.rows} rows, none of which compares two answers: {reasons}{advice}"


def _type_of(type_of: Callable[[str], str], prompt: str) -> str:
    found: Any = type_of(prompt)
    if not isinstance(found, str):
        raise ValueError(f"types returns {found!r:.60} for the prompt {prompt!r:.60}; it must return a string")
    return found


def _report(read: _Reading, gathered: list[Gathered], parts: list[Merged], labels: list[str]) -> PreferenceReport:
    tallies = [tally for one in gathered for tally in one.tallies.values()]
    agreements = [agreement(part.counts) for part in parts]
    decided = sum(tally.first + tally.second for tally in tallies)
    most = sum(one.most for one in agreements)
    sizes = [len(part.answers) for part in parts]
    return PreferenceReport(
        columns=tuple(read.conventions),
        rows=read.rows,
        left_out=dict(read.left_out),
        prompts=len(gathered),
        used=sum(one.rows for one in gathered),
        answers=(min(sizes), max(sizes)),
        types=dict(sorted(Counter(labels).items())),
        pairs=len(tallies),
        ties=sum(not (tally.first or tally.second) for tally in tallies),
        contradicting=sum(bool(tally.first and tally.second) for tally in tallies),
        graded=sum(bool(tally.with_strength or tally.probable) for tally in tallies),
        margins=sum(tally.margins != 0 for tally in tallies),
        repeated=sum(one.repeated for one in gathered),
        other_type=sum(one.other_type for one in gathered),
        cycles=sum(one.cycle for one in agreements),
        most_accuracy=most / decided if decided else float("nan"),
        is_exact=all(one.exact for one in agreements),
        against=sum((tally.wins - 0.5 * tally.rows) * tally.strengths < 0 for tally in tallies),
    )
