"""Selections one after another, and one out of several.

Both are functions of this module, over a record of the selections that they are made of. Their memory is a tuple with
one entry a selection, empty where that has none.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Axis
from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Selection, require_signatures


def _memories(selections: Sequence[Selection], memory: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
    """Return the memory of each of several selections; together they have none, (), if none of them has a `start`."""
    return memory or ((),) * len(selections)


def _start_own(selection: Selection, key: Key[Array, ""], real: Candidates, params: Mapping[str, Any]) -> PyTree:
    return () if selection.start is None else selection.start(key, real, **params)


def _fields_of_any(selections: Sequence[Selection], **fields: Callable[..., Any]) -> dict[str, Any]:
    """Return those functions that at least one of the selections has too."""
    return {name: fn for name, fn in fields.items() if any(getattr(one, name) is not None for one in selections)}


# One after another


@checked
def compose(*selections: Selection) -> Selection:
    """Return the selection that applies several in order: each sees the weights that those before it left.

    Values are corrected first, in order, then weighed. Only one may oversample: the candidates are its own, and what
    the others refuse is refused among them too, so that `compose(verified(f), best_of(r, 4))` keeps the best of the
    right ones in every group of 4 candidates. Those with a memory keep theirs, and learn from the weights that all of
    them leave.

    Raises ValueError for no selections, parameters of one name, more than one that oversamples, and a function that
    takes other arguments than `Selection` says.
    """
    if not selections:
        raise ValueError("compose needs at least one selection")
    for one in selections:
        require_signatures(one)
    names = [name for one in selections for name in one.defaults]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"selections share the parameters {', '.join(twice)}; each needs names of its own")
    greedy = [one.name for one in selections if one.oversample > 1]
    if len(greedy) > 1:
        raise ValueError(f"{' and '.join(greedy)} all oversample; only one selection of a composition may")
    every = _Composition(selections)
    return Selection(
        " + ".join(one.name for one in selections),
        partial(_weigh_in_order, every),
        defaults={name: value for one in selections for name, value in one.defaults.items()},
        ranges={name: value for one in selections for name, value in one.ranges.items()},
        oversample=math.prod(one.oversample for one in selections),
        source="; ".join(one.source for one in selections if one.source),
        axes={name: axis for one in selections for name, axis in one.axes.items()},
        **_fields_of_any(
            selections,
            correct=partial(_correct_in_order, every),
            start=partial(_start_all, every),
            learn=partial(_learn_all, every),
            inspect=partial(_inspect_all, every),
        ),
    )


class _Part(NamedTuple):
    """A selection of a composition, with its own key, memory and parameters."""

    selection: Selection
    key: Key[Array, ""]
    memory: PyTree
    params: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Composition:
    selections: tuple[Selection, ...]

    def parts(self, key: Key[Array, ""], memory: tuple[PyTree, ...], params: Mapping[str, Any]) -> list[_Part]:
        """Return the selections in order, each with its part of what is given to all of them together."""
        keys, memories = jax.random.split(key, len(self.selections)), _memories(self.selections, memory)
        return [
            _Part(one, own_key, own_memory, self.own(one, params))
            for one, own_key, own_memory in zip(self.selections, keys, memories, strict=True)
        ]

    def own(self, selection: Selection, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: params[name] for name in selection.defaults}


def _weigh_in_order(
    every: _Composition,
    key: Key[Array, ""],
    candidates: Candidates,
    pool: Candidates,
    memory: tuple[PyTree, ...],
    **params: Any,
) -> Float[Array, " n"]:
    for one, own_key, own_memory, own in every.parts(key, memory, params):
        candidates = candidates._replace(weights=one.weigh(own_key, candidates, pool, own_memory, **own))
    return candidates.weights


def _correct_in_order(every: _Composition, examples: Examples, pool: Candidates, **params: Any) -> Examples:
    for one in every.selections:
        if one.correct is not None:
            examples = one.correct(examples, pool, **every.own(one, params))
    return examples


def _start_all(every: _Composition, key: Key[Array, ""], real: Candidates, **params: Any) -> tuple[PyTree, ...]:
    return tuple(_start_own(one, own_key, real, own) for one, own_key, _, own in every.parts(key, (), params))


def _learn_all(
    every: _Composition,
    key: Key[Array, ""],
    candidates: Candidates,
    pool: Candidates,
    memory: tuple[PyTree, ...],
    **params: Any,
) -> tuple[PyTree, ...]:
    return tuple(
        own_memory if one.learn is None else one.learn(own_key, candidates, pool, own_memory, **own)
        for one, own_key, own_memory, own in every.parts(key, memory, params)
    )


def _inspect_all(
    every: _Composition,
    key: Key[Array, ""],
    candidates: Candidates,
    pool: Candidates,
    memory: tuple[PyTree, ...],
    **params: Any,
) -> dict[str, Array]:
    """Return what the selections record, all together; ValueError if two record something of one name."""
    record: dict[str, Array] = {}
    for one, own_key, own_memory, own in every.parts(key, memory, params):
        if one.inspect is not None:
            found = one.inspect(own_key, candidates, pool, own_memory, **own)
            if clash := set(found) & set(record):
                raise ValueError(f"two selections record {', '.join(sorted(clash))}; give them different names")
            record |= found
    return record


# One out of several


@checked
def alternatives(selections: Mapping[str, Selection | None], name: str = "selection") -> Selection:
    """Return several labelled selections as one, with an axis `name` along which a sweep runs them, in one program.

    None keeps everything or, where the others oversample, as many as are asked for at random. Each selection has its
    own defaults, even where it has axes; to give it others, replace its `defaults`. What a selection records is NaN
    where another one is chosen. Members that run one after the other (on a CPU) pay for the chosen selection alone,
    members side by side for all of them.

    Raises ValueError for no selections, for selections that draw from different numbers of candidates, for defaults out
    of their range, and for a function that takes other arguments than `Selection` says.
    """
    sizes = {label: one.oversample for label, one in selections.items() if one is not None}
    if not selections:
        raise ValueError("selections is empty; alternatives needs at least one")
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{label}: {size}" for label, size in sizes.items())
        raise ValueError(f"selections draw from different numbers of candidates ({found}); they need one number")
    several = tuple(Selection("all", _keep_all) if one is None else one for one in selections.values())
    for label, one in zip(selections, several, strict=True):
        require_signatures(one)
        _check_defaults(label, one)
    choice = _Choice(several, name)
    return Selection(
        name,
        partial(_weigh_by_one, choice),
        defaults={name: 0},
        ranges={name: (0, len(several) - 1)},
        oversample=max(sizes.values(), default=1),
        axes={name: Axis(np.arange(len(several), dtype=np.int32), list(selections))},
        **_fields_of_any(
            several,
            correct=partial(_correct_by_one, choice),
            start=partial(_start_one, choice),
            learn=partial(_learn_one, choice),
            inspect=partial(_inspect_one, choice),
        ),
    )


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Several selections, and the name of the parameter whose value is the place of the one that is chosen."""

    selections: tuple[Selection, ...]
    name: str

    def switch(self, branch: Callable[[int, Selection], Any], params: Mapping[str, Any]) -> Any:
        """Return branch(place, selection) of the chosen selection."""
        # No operands: what the branches need is closed over, and only the branch that is taken computes.
        calls = [partial(branch, place, one) for place, one in enumerate(self.selections)]
        return jax.lax.switch(params[self.name], calls)


def _keep_all(key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree) -> Float[Array, " n"]:
    return candidates.weights


def _check_defaults(label: str, selection: Selection) -> None:
    """Raise ValueError for a default that is outside its range, or no number where there is a range."""
    for name, (low, high) in selection.ranges.items():
        value = selection.defaults.get(name)
        if not isinstance(value, int | float | np.number | jax.Array) or not low <= value <= high:
            raise ValueError(f"selection {label!r} has {name} = {value}; it must lie in [{low:g}, {high:g}]")


def _weigh_by_one(
    choice: _Choice,
    key: Key[Array, ""],
    candidates: Candidates,
    pool: Candidates,
    memory: tuple[PyTree, ...],
    **params: Any,
) -> Float[Array, " n"]:
    memories = _memories(choice.selections, memory)

    def branch(place: int, one: Selection) -> Array:
        weights = one.weigh(key, candidates, pool, memories[place], **one.defaults)
        return jnp.asarray(weights, candidates.weights.dtype)

    weights: Array = choice.switch(branch, params)
    return weights


def _correct_by_one(choice: _Choice, examples: Examples, pool: Candidates, **params: Any) -> Examples:
    def branch(place: int, one: Selection) -> Examples:
        return examples if one.correct is None else one.correct(examples, pool, **one.defaults)

    return choice.switch(branch, params)


def _start_one(choice: _Choice, key: Key[Array, ""], real: Candidates, **params: Any) -> tuple[PyTree, ...]:
    """Return the first memory of the chosen selection in its place, and zeros in those of the others."""
    shapes = [jax.eval_shape(partial(_start_own, one, key, real, one.defaults)) for one in choice.selections]
    zeros = [jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape) for shape in shapes]

    def branch(place: int, one: Selection) -> tuple[PyTree, ...]:
        return (*zeros[:place], _start_own(one, key, real, one.defaults), *zeros[place + 1 :])

    memories: tuple[PyTree, ...] = choice.switch(branch, params)
    return memories


def _learn_one(
    choice: _Choice,
    key: Key[Array, ""],
    candidates: Candidates,
    pool: Candidates,
    memory: tuple[PyTree, ...],
    **params: Any,
) -> tuple[PyTree, ...]:
    """Return the memories with that of the chosen selection renewed."""
    old = _memories(choice.selections, memory)

    def branch(place: int, one: Selection) -> tuple[PyTree, ...]:
        if one.learn is None:
            return old
        learned = one.learn(key, candidates, pool, old[place], **one.defaults)
        return (*old[:place], learned, *old[place + 1 :])

    memories: tuple[PyTree, ...] = choice.switch(branch, params)
    return memories


def _inspect_one(
    choice: _Choice,
    key: Key[Array, ""],
    candidates: Candidates,
    pool: Candidates,
    memory: tuple[PyTree, ...],
    **params: Any,
) -> dict[str, Array]:
    """Return what the chosen selection records, and NaN for what only others record."""
    memories = _memories(choice.selections, memory)

    def found(place: int, one: Selection) -> dict[str, Array]:
        if one.inspect is None:
            return {}
        record = one.inspect(key, candidates, pool, memories[place], **one.defaults)
        # As floats, since whole numbers have no NaN.
        return {label: jnp.asarray(value, float) for label, value in record.items()}

    shapes: dict[str, Any] = {}
    for place, one in enumerate(choice.selections):
        shapes |= jax.eval_shape(partial(found, place, one))
    missing = {label: jnp.full(leaf.shape, jnp.nan, leaf.dtype) for label, leaf in shapes.items()}
    record: dict[str, Array] = choice.switch(lambda place, one: {**missing, **found(place, one)}, params)
    return record
