"""Families, truths and selections whose functions say by name what is wrong with what they return."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array, PyTree

from collapse_jax.checks.user_functions import call, require_examples, require_like
from collapse_jax.generative.family import Examples, Family, Params
from collapse_jax.generative.selection import Candidates, Selection


def guarded_family(family: Family) -> Family:
    """Return the family; while JAX traces, its functions raise ValueError for results of another form than theirs."""

    def named(function: str) -> str:
        return f"{function} of family {family.name!r}"

    def init(*args: Any) -> Params:
        return call(named("init"), family.init, *args)

    def fit(key: Array, params: Params, *args: Any, **hyper: Any) -> Params:
        found = call(named("fit"), family.fit, key, params, *args, **hyper)
        require_like(named("fit"), found, params, "the parameters that init returns")
        return found

    def sample(key: Array, params: Params, n: int) -> Examples:
        found = call(named("sample"), family.sample, key, params, n)
        require_examples(named("sample"), found, n)
        return found

    def respond(key: Array, params: Params, examples: Examples) -> Examples:
        assert family.respond is not None
        found = call(named("respond"), family.respond, key, params, examples)
        require_like(named("respond"), found, examples, "the examples")
        return found

    return family._replace(init=init, fit=fit, sample=sample, respond=None if family.respond is None else respond)


def guarded_truth(name: str, truth: Callable[..., Examples]) -> Callable[..., Examples]:
    """Return the function (key, n) -> examples; while JAX traces, it raises ValueError for what are not n examples."""

    def draw(key: Array, n: int) -> Examples:
        found = call(name, truth, key, n)
        require_examples(name, found, n)
        return found

    return draw


def guarded_record(name: str, function: Callable[..., Any]) -> Callable[..., Mapping[str, Array]]:
    """Return a function of records; while JAX traces, it raises ValueError for what is no dict of named arrays."""

    def record(*args: Any, **params: Any) -> Mapping[str, Array]:
        found = call(name, function, *args, **params)
        if not isinstance(found, Mapping) or not all(isinstance(one, str) for one in found):
            raise ValueError(f"{name} must return a dict of named arrays; it returns {found!r:.80}")
        return found

    return record


def guarded_selection(selection: Selection | None) -> Selection | None:
    """Return the selection; while JAX traces, its functions raise ValueError for results of another form."""
    if selection is None:
        return None
    one = selection

    def named(function: str) -> str:
        return f"{function} of selection {one.name!r}"

    def weigh(*args: Any, **params: Any) -> Array:
        found: Array = call(named("weigh"), one.weigh, *args, **params)
        if not hasattr(found, "shape") and not isinstance(found, float | int):
            raise ValueError(f"{named('weigh')} returns {found!r:.80}; it must return one number for each candidate")
        return found

    def correct(examples: Examples, *args: Any, **params: Any) -> Examples:
        assert one.correct is not None
        found = call(named("correct"), one.correct, examples, *args, **params)
        require_like(named("correct"), found, examples, "the examples")
        return found

    def start(*args: Any, **params: Any) -> PyTree:
        assert one.start is not None
        return call(named("start"), one.start, *args, **params)

    def learn(key: Array, candidates: Candidates, pool: Candidates, memory: PyTree, **params: Any) -> PyTree:
        assert one.learn is not None
        found = call(named("learn"), one.learn, key, candidates, pool, memory, **params)
        require_like(named("learn"), found, memory, "the memory that start returns")
        return found

    return one._replace(
        weigh=weigh,
        correct=None if one.correct is None else correct,
        start=None if one.start is None else start,
        learn=None if one.learn is None else learn,
        inspect=None if one.inspect is None else guarded_record(named("inspect"), one.inspect),
    )
