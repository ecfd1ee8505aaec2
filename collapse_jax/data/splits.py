"""Train and test by prompt: what stands under one title, or under one prompt, is never on both sides."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.data.dialogues import key_of
from collapse_jax.data.preferences import Preferences
from collapse_jax.data.ranking_sets import RankedPrompts
from collapse_jax.data.splitting import held_out_titles

__all__ = ["split_prompts"]

Ranked = TypeVar("Ranked", RankedPrompts, Preferences)


@checked
def split_prompts(preferences: Ranked, test_share: float = 0.2, *, seed: int = 0) -> tuple[Ranked, Ranked]:
    """Return the prompts to train on and those to test on, each in the order given; no title or prompt is in both.

    `test_share`, in (0, 1), is the share of prompts to hold out, met as nearly as whole titles allow; a title's place
    in the split depends on the titles and the seed alone. `Preferences` have the same `width` on both sides. Raises
    ValueError for a share or seed out of range, and where a side has no prompt.
    """
    given: Any = preferences
    if not isinstance(given, RankedPrompts | Preferences):
        raise ValueError(f"preferences is {preferences!r:.80}; it must be RankedPrompts or Preferences")
    numbers.within("test_share", test_share, 0.0, 1.0, ends="()")
    numbers.whole("seed", seed, 0)
    groups: list[str] = _groups(preferences.titles, preferences.prompts)
    if len({*groups}) < 2:
        raise ValueError(f"preferences have {len({*groups})} prompt under one title; a split needs two at least")
    held_out = held_out_titles(groups, seed, test_share)
    tested = np.array([group in held_out for group in groups])
    if tested.all():
        raise ValueError(
            f"test_share is {test_share}, which leaves none of {len(groups)} prompts to train on; lower it"
        )
    return _part(preferences, np.flatnonzero(~tested)), _part(preferences, np.flatnonzero(tested))


def _groups(titles: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """Return a title for each prompt, the same one for titles that have a prompt in common, and so on."""
    known = {title: title for title in titles}

    def root(title: str) -> str:
        while known[title] != title:
            title = known[title]
        return title

    first: dict[str, str] = {}
    for title, prompt in zip(titles, prompts, strict=True):
        known[root(title)] = root(first.setdefault(key_of(prompt), title))
    return [root(title) for title in titles]


def _part(preferences: Any, rows: Int[np.ndarray, " row"]) -> Any:
    """Return some prompts: of every field that has an entry for each prompt, those of `rows`."""
    by_prompt = ("titles", "prompts", "types", "completions", "wins", "strengths", "margins")
    fields = {name: getattr(preferences, name) for name in preferences._fields if name in by_prompt}
    picked = {
        name: value[rows] if isinstance(value, np.ndarray) else [value[row] for row in rows]
        for name, value in fields.items()
        if value is not None
    }
    return preferences._replace(**picked)
