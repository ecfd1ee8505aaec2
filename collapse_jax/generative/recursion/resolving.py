"""What both kinds of recursion make of their arguments: the truth, what is measured, the axes; with clear errors."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.checks.user_functions import call
from collapse_jax.engine.process import Axis, Hyper
from collapse_jax.generative.family import Draw, Examples, Family, Moments, Params, Resampling
from collapse_jax.generative.recursion.guards import guarded_record, guarded_truth
from collapse_jax.generative.recursion.plan import Plan
from collapse_jax.generative.selection import Selection

Dims: TypeAlias = Mapping[str, tuple[str, ...]]
"""The names of the axes of what is recorded, by its name."""


@runtime_checkable
class Measure(Protocol):
    """What is recorded of each generation's model."""

    def __call__(self, key: Key[Array, ""], params: Params, /) -> Mapping[str, Array]:
        """Return named arrays, of the same shapes in every generation."""


@runtime_checkable
class Inspect(Protocol):
    """What is recorded of the examples that each generation emits."""

    def __call__(self, key: Key[Array, ""], examples: Examples, weights: Float[Array, " n"], /) -> Mapping[str, Array]:
        """Return named arrays; an example of weight 0 was not kept and stands there only for the shape."""


PLAN_AXES = ("regime", "samples", "ratio")
# So many examples of a truth that is a function are looked at.
_DRAWN = 256


def resolve_truth(family: Family, truth: Draw | Params | None, name: str = "truth") -> Draw:
    """Return the function (key, n) -> examples of a truth given as one, as parameters of the family, or not at all.

    Raises ValueError, with the `name` of the argument, where there is none, the family can't sample from it, or it has
    tokens outside the family's vocabulary.
    """
    if truth is None:
        if family.truth is None:
            raise ValueError(
                f"truth is missing: family {family.name!r} has no standard truth to draw real examples from"
            )
        truth = family.truth
    if callable(truth):
        guarded = guarded_truth(name, truth)
        _require_tokens(family, name, truth, guarded)
        return guarded
    params = as_params(name, truth)

    def draw(key: Key[Array, ""], n: int) -> Examples:
        return family.sample(key, params, n)

    def read(key: Key[Array, ""]) -> Any:
        examples = draw(key, 1)
        has_tokens = family.tokens is not None and family.tokens.probabilities is not None
        return family.tokens.probabilities(params, examples) if has_tokens else examples  # type: ignore[union-attr, misc]

    try:
        jax.eval_shape(read, jax.eval_shape(lambda: jax.random.key(0)))
    except Exception as error:
        shapes = jax.tree.map(jnp.shape, params)
        raise ValueError(
            f"{name} has the shapes {shapes}, which family {family.name!r} can't sample from as its parameters: {error}"
        ) from error
    return draw


def _require_tokens(family: Family, name: str, truth: Draw, guarded: Draw) -> None:
    """Raise ValueError for tokens outside the family's vocabulary, among those given or some that a function draws."""
    if family.tokens is None or family.tokens.vocabulary is None:
        return
    found = (
        truth.examples
        if isinstance(truth, Resampling)
        else jax.jit(guarded, static_argnums=1)(jax.random.key(0), _DRAWN)
    )
    if isinstance(found, np.ndarray | jax.Array):
        numbers.tokens(name, np.asarray(found), family.tokens.vocabulary, padding=family.tokens.padding)


def as_params(name: str, params: Params) -> Params:
    """Return parameters as arrays; raises ValueError for leaves that are no numbers."""
    for leaf in jax.tree.leaves(params):
        if (
            not isinstance(leaf, np.ndarray | jax.Array | np.generic | float | int)
            or np.asarray(leaf).dtype.kind in "OUSV"
        ):
            raise ValueError(f"{name} has {leaf!r:.80} in it; parameters are numbers or arrays of them")
    arrays: Params = jax.tree.map(jnp.asarray, params)
    return arrays


@checked
def resample(examples: Examples) -> Draw:
    """Return the truth that draws from given examples, uniformly without replacement.

    Raises ValueError for examples of different lengths or with non-finite values; the truth itself raises ValueError
    when more examples are asked for than there are.
    """
    leaves = jax.tree.leaves(as_params("examples", examples))
    lengths = {leaf.shape[:1] for leaf in leaves}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        found = sorted(leaf.shape[0] if leaf.ndim else 0 for leaf in leaves)
        raise ValueError(f"examples have the lengths {found}; they need one, of at least 1")
    data = jax.tree.map(jnp.asarray, examples)
    for leaf in jax.tree.leaves(data):
        if not jnp.isfinite(leaf).all():
            raise ValueError("examples have non-finite values")
    return Resampling(data)


def hyperparameters(
    family: Family, plan: Plan, decoding: Iterable[str], selections: Iterable[Selection | None]
) -> tuple[Hyper, dict[str, tuple[float, float]]]:
    """Return the axes with their defaults, and the ranges of those that have one."""
    sizes = (len(plan.regimes), len(plan.samples), len(plan.ratios))
    hyper: dict[str, Any] = dict.fromkeys(PLAN_AXES, 0)
    ranges: dict[str, tuple[float, float]] = {name: (0, n - 1) for name, n in zip(PLAN_AXES, sizes, strict=True)}
    for name in decoding:
        if name not in family.decodings:
            known = ", ".join(family.decodings) or "none"
            raise ValueError(f"family {family.name!r} has no decoding {name!r}; it has {known}")
        if name in hyper:
            raise ValueError(f"decoding names {name!r} twice")
        one = family.decodings[name]
        hyper[name], ranges[name] = one.neutral, (one.low, one.high)
    owners = [(f"family {family.name!r}", family.hyper, family.ranges)]
    owners += [(f"selection {one.name!r}", one.defaults, one.ranges) for one in selections if one is not None]
    for owner, defaults, own_ranges in owners:
        for name, default in defaults.items():
            if name in hyper:
                raise ValueError(f"parameter {name!r} of {owner} clashes with another axis")
            hyper[name] = default
            ranges |= {name: own_ranges[name]} if name in own_ranges else {}
    return hyper, ranges


def carried_axes(plan: Plan, selections: Iterable[Selection | None]) -> dict[str, Axis]:
    """Return the axes of the plan and of the selections; ValueError for one that is no parameter of its selection."""
    axes = plan.axes
    for one in [one for one in selections if one is not None]:
        if unknown := sorted(set(one.axes) - set(one.defaults)):
            raise ValueError(
                f"selection {one.name!r} has an axis {unknown[0]!r}; its parameters are "
                f"{', '.join(one.defaults) or 'none'}"
            )
        axes |= one.axes
    return axes


def make_decode(family: Family, decoding: Iterable[str]) -> Callable[[Params, Hyper], Params]:
    """Return the function (params, hyper) -> params that decodes by each of the family's maps named, in order."""
    maps = [(name, family.decodings[name]) for name in decoding]

    def decode(params: Params, hyper: Hyper) -> Params:
        for name, one in maps:
            params = one.apply(params, hyper[name])
        return params

    return decode


def resolve_measure(
    family: Family, measure: Measure | None, dims: Dims | None, params: Params, models: int
) -> tuple[Measure, dict[str, tuple[str, ...]]]:
    """Return the measure, and the dims of all that it records of `params` (shapes suffice), models first."""
    if measure is None:
        if family.moments is None:
            raise ValueError(f"measure is missing: family {family.name!r} has no moments to record by default")
        measure = partial(_moments, family)
        dims = {"mean": ("dim",), **(dims or {})}
    measure = guarded_record("measure", measure)
    recorded = jax.eval_shape(measure, jax.eval_shape(lambda: jax.random.key(0)), params)
    if not isinstance(recorded, Mapping) or not recorded:
        raise ValueError("measure must return a dict of named arrays")
    lead = ("model",) if models > 1 else ()
    return measure, {name: (*lead, *(dims or {}).get(name, ())) for name in recorded}


def inspected_dims(
    inspect: Inspect, truth: Draw, n: int, dims: Dims | None, taken: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return the dims of all that `inspect` records of n examples like those of `truth`; ValueError for names taken."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    recorded = jax.eval_shape(lambda key: inspect(key, truth(key, n), jnp.ones(n)), key)
    if not isinstance(recorded, Mapping) or not recorded:
        raise ValueError("inspect must return a dict of named arrays")
    if clash := set(recorded) & set(taken):
        raise ValueError(f"inspect and measure both record {', '.join(sorted(clash))}; give them different names")
    return {name: (dims or {}).get(name, ()) for name in recorded}


def selected_dims(
    recorded: Mapping[str, Any], dims: Dims | None, taken: Collection[str], models: int
) -> dict[str, tuple[str, ...]]:
    """Return the dims of all that selections record, models first; ValueError for names taken."""
    if clash := set(recorded) & set(taken):
        raise ValueError(f"a selection records {', '.join(sorted(clash))}, as measure or inspect do; rename theirs")
    lead = ("model",) if models > 1 else ()
    return {name: (*lead, *(dims or {}).get(name, ())) for name in recorded}


def _moments(family: Family, key: Key[Array, ""], params: Params) -> dict[str, Array]:
    assert family.moments is not None
    found = call(f"moments of family {family.name!r}", family.moments, params)
    if not isinstance(found, Moments):
        raise ValueError(f"moments of family {family.name!r} returns {found!r:.80}; it must return Moments")
    return dict(found._asdict())
