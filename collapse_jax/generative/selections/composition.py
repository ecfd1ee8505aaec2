"""Selections one after another."""

import math
from typing import Any

import jax
from jaxtyping import Array, Float, Key

from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Selection


def compose(*selections: Selection) -> Selection:
    """Return the selection that applies several in order: each sees the weights that those before it left.

    Values are corrected first, in order, then weighed. Only one may oversample: the candidates are its own, and what
    the others refuse is refused among them too, so that `compose(verified(f), best_of(r, 4))` keeps the best of the
    right ones in every group of 4 candidates.

    Raises ValueError for no selections, parameters of one name, and more than one that oversamples.
    """
    if not selections:
        raise ValueError("compose needs at least one selection")
    names = [name for one in selections for name in one.defaults]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"selections share the parameters {', '.join(twice)}; each needs names of its own")
    greedy = [one.name for one in selections if one.oversample > 1]
    if len(greedy) > 1:
        raise ValueError(f"{' and '.join(greedy)} all oversample; only one selection of a composition may")

    def own(one: Selection, params: dict[str, Any]) -> dict[str, Any]:
        return {name: params[name] for name in one.defaults}

    def weigh(key: Key[Array, ""], candidates: Candidates, pool: Candidates, **params: Any) -> Float[Array, " n"]:
        for one, own_key in zip(selections, jax.random.split(key, len(selections)), strict=True):
            candidates = candidates._replace(weights=one.weigh(own_key, candidates, pool, **own(one, params)))
        return candidates.weights

    def correct(examples: Examples, pool: Candidates, **params: Any) -> Examples:
        for one in selections:
            if one.correct is not None:
                examples = one.correct(examples, pool, **own(one, params))
        return examples

    return Selection(
        " + ".join(one.name for one in selections),
        weigh,
        defaults={name: value for one in selections for name, value in one.defaults.items()},
        ranges={name: value for one in selections for name, value in one.ranges.items()},
        oversample=math.prod(one.oversample for one in selections),
        correct=correct if any(one.correct is not None for one in selections) else None,
        source="; ".join(one.source for one in selections if one.source),
    )
