"""Selections one after another, and one out of several."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Axis
from collapse_jax.generative.family import Examples
from collapse_jax.generative.selection import Candidates, Selection


@checked
def compose(*selections: Selection) -> Selection:
    """Return the selection that applies several in order: each sees the weights that those before it left.

    Values are corrected first, in order, then weighed. Only one may oversample: the candidates are its own, and what
    the others refuse is refused among them too, so that `compose(verified(f), best_of(r, 4))` keeps the best of the
    right ones in every group of 4 candidates. Those with a memory keep theirs, and learn from the weights that all of
    them leave.

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

    def weigh(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> Float[Array, " n"]:
        keys = jax.random.split(key, len(selections))
        for one, own_key, old in zip(selections, keys, _memories(selections, memory), strict=True):
            weights = one.weigh(own_key, candidates, pool, old, **own(one, params))
            candidates = candidates._replace(weights=weights)
        return candidates.weights

    def correct(examples: Examples, pool: Candidates, **params: Any) -> Examples:
        for one in selections:
            if one.correct is not None:
                examples = one.correct(examples, pool, **own(one, params))
        return examples

    def start(key: Key[Array, ""], real: Candidates, **params: Any) -> tuple[PyTree, ...]:
        keys = jax.random.split(key, len(selections))
        return tuple(
            () if one.start is None else one.start(own_key, real, **own(one, params))
            for one, own_key in zip(selections, keys, strict=True)
        )

    def learn(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> tuple[PyTree, ...]:
        keys = jax.random.split(key, len(selections))
        return tuple(
            old if one.learn is None else one.learn(own_key, candidates, pool, old, **own(one, params))
            for one, own_key, old in zip(selections, keys, _memories(selections, memory), strict=True)
        )

    def inspect(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> dict[str, Array]:
        keys = jax.random.split(key, len(selections))
        record: dict[str, Array] = {}
        for one, own_key, old in zip(selections, keys, _memories(selections, memory), strict=True):
            if one.inspect is not None:
                found = one.inspect(own_key, candidates, pool, old, **own(one, params))
                if clash := set(found) & set(record):
                    raise ValueError(f"two selections record {', '.join(sorted(clash))}; give them different names")
                record |= found
        return record

    return Selection(
        " + ".join(one.name for one in selections),
        weigh,
        defaults={name: value for one in selections for name, value in one.defaults.items()},
        ranges={name: value for one in selections for name, value in one.ranges.items()},
        oversample=math.prod(one.oversample for one in selections),
        correct=correct if any(one.correct is not None for one in selections) else None,
        source="; ".join(one.source for one in selections if one.source),
        start=start if any(one.start is not None for one in selections) else None,
        learn=learn if any(one.learn is not None for one in selections) else None,
        inspect=inspect if any(one.inspect is not None for one in selections) else None,
    )


class Alternatives(NamedTuple):
    """The selection that is one of several, and the axis that says which: sweep over it under the given name."""

    selection: Selection
    axis: Axis


@checked
def alternatives(selections: Mapping[str, Selection | None], name: str = "selection") -> Alternatives:
    """Return several labelled selections as one, with a parameter `name` that chooses: all of them in one program.

    None keeps everything or, where the others oversample, as many as are asked for at random. Each selection has its
    own defaults; to give it others, replace its `defaults`. What a selection records is NaN where another one is
    chosen. Members that run one after the other (on a CPU) pay for the chosen selection alone, members side by side for
    all of them.

    Raises ValueError for no selections, for selections that draw from different numbers of candidates, and for defaults
    out of their range.
    """
    several = [Selection("all", _all) if one is None else one for one in selections.values()]
    sizes = {label: one.oversample for label, one in selections.items() if one is not None}
    if not selections:
        raise ValueError("selections is empty; alternatives needs at least one")
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{label}: {size}" for label, size in sizes.items())
        raise ValueError(f"selections draw from different numbers of candidates ({found}); they need one number")

    for label, one in zip(selections, several, strict=True):
        for parameter, (low, high) in one.ranges.items():
            value = one.defaults.get(parameter)
            if not isinstance(value, int | float | np.number | jax.Array) or not low <= value <= high:
                raise ValueError(f"selection {label!r} has {parameter} = {value}; it must lie in [{low:g}, {high:g}]")

    def switch(calls: Sequence[Any], params: Mapping[str, Any]) -> Any:
        # No operands: what the branches need is closed over, and only the branch that is taken computes.
        return jax.lax.switch(params[name], calls)

    def weigh(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> Float[Array, " n"]:
        memories = _memories(several, memory)

        def call(i: int, one: Selection) -> Any:
            def weights() -> Array:
                found = one.weigh(key, candidates, pool, memories[i], **one.defaults)
                return jnp.asarray(found, candidates.weights.dtype)

            return weights

        weights: Array = switch([call(i, one) for i, one in enumerate(several)], params)
        return weights

    def correct(examples: Examples, pool: Candidates, **params: Any) -> Examples:
        def call(one: Selection) -> Any:
            return lambda: examples if one.correct is None else one.correct(examples, pool, **one.defaults)

        return switch([call(one) for one in several], params)

    def start(key: Key[Array, ""], real: Candidates, **params: Any) -> tuple[PyTree, ...]:
        def started(one: Selection) -> PyTree:
            return () if one.start is None else one.start(key, real, **one.defaults)

        shapes = [jax.eval_shape(lambda one=one: started(one)) for one in several]

        def call(i: int, one: Selection) -> Any:
            empty = [jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape) for shape in shapes]
            return lambda: (*empty[:i], started(one), *empty[i + 1 :])

        memories: tuple[PyTree, ...] = switch([call(i, one) for i, one in enumerate(several)], params)
        return memories

    def learn(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> tuple[PyTree, ...]:
        old = _memories(several, memory)

        def call(i: int, one: Selection) -> Any:
            if one.learn is None:
                return lambda: old
            learned = one.learn
            return lambda: (*old[:i], learned(key, candidates, pool, old[i], **one.defaults), *old[i + 1 :])

        memories: tuple[PyTree, ...] = switch([call(i, one) for i, one in enumerate(several)], params)
        return memories

    def inspect(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any
    ) -> dict[str, Array]:
        memories = _memories(several, memory)

        def found(i: int, one: Selection) -> Mapping[str, Array]:
            if one.inspect is None:
                return {}
            record = one.inspect(key, candidates, pool, memories[i], **one.defaults)
            # Only floats can say that there is nothing.
            return {label: jnp.asarray(value, float) for label, value in record.items()}

        shapes: dict[str, Any] = {}
        for i, one in enumerate(several):
            shapes |= jax.eval_shape(lambda i=i, one=one: dict(found(i, one)))

        def call(i: int, one: Selection) -> Any:
            missing = {name: jnp.full(leaf.shape, jnp.nan, leaf.dtype) for name, leaf in shapes.items()}
            return lambda: {**missing, **found(i, one)}

        record: dict[str, Array] = switch([call(i, one) for i, one in enumerate(several)], params)
        return record

    selection = Selection(
        name,
        weigh,
        defaults={name: 0},
        ranges={name: (0, len(several) - 1)},
        oversample=max(sizes.values(), default=1),
        correct=correct if any(one.correct is not None for one in several) else None,
        start=start if any(one.start is not None for one in several) else None,
        learn=learn if any(one.learn is not None for one in several) else None,
        inspect=inspect if any(one.inspect is not None for one in several) else None,
    )
    return Alternatives(selection, Axis(np.arange(len(several), dtype=np.int32), list(selections)))


def _all(key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree) -> Float[Array, " n"]:
    return candidates.weights


def _memories(selections: Sequence[Selection], memory: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
    """Return the memory of each of several selections, which is empty for all of them where theirs together is."""
    return memory or ((),) * len(selections)
