"""What the annotations of a function say of its arguments, checked where it is called, with errors that name them."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jaxtyping import jaxtyped

from collapse_jax.checks.hints import culprit, holds_numbers, problem

F = TypeVar("F", bound=Callable[..., Any])


def checked(function: F) -> F:
    """Return the function, which then raises ValueError for arguments that are not what its annotations say.

    Arrays must have numbers in them, the annotated axes, none of them empty, and equal lengths where these have one
    name; NumPy and JAX arrays do alike, whatever their precision. Numbers must be real, functions callable, and records
    of their class, with fields that are as it says in turn. What stands in a `PyTree` is not looked at. Checks are made
    when the function is called or traced, and cost nothing when a compiled program runs.

    >>> from jaxtyping import Array, Float
    >>> @checked
    ... def inner(p: Float[Array, " n"], q: Float[Array, " n"]) -> Array:
    ...     return p @ q
    >>> inner(np.ones(2), np.ones(3))
    Traceback (most recent call last):
    ...
    ValueError: q is an array of shape (3,); inner needs an array (n) of numbers, axes of one name alike: p has (2,)
    """
    signature = inspect.signature(function)
    name = getattr(function, "__name__", str(function))

    @functools.wraps(function)
    def check_and_call(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        with jaxtyped("context"):  # The axes of one name are alike within it.
            for argument, value in given.items():
                parameter = signature.parameters[argument]
                for label, one in entries(argument, value, parameter.kind):
                    if problem(one, parameter.annotation):
                        label, one, hint = culprit(label, one, parameter.annotation)
                        needed = problem(one, hint) + _shapes(given, argument)
                        raise ValueError(f"{label} is {_shown(one)}; {name} needs {needed}")
                    _check_records(label, one)
        return function(*args, **kwargs)

    # The function itself, whatever else has been wrapped around it.
    check_and_call.__wrapped__ = inspect.unwrap(function)
    return cast(F, check_and_call)


def check_fields(name: str, record: Any) -> None:
    """Raise ValueError for a field of a dataclass that is not as its annotation says; `name` is the record's."""
    for field in dataclasses.fields(record):
        one = getattr(record, field.name)
        if needed := problem(one, field.type):
            raise ValueError(f"{name}.{field.name} is {_shown(one)}; {type(record).__name__} needs {needed}")


def _check_records(name: str, value: Any) -> None:
    """Raise ValueError for a field of a record (a named tuple of this package) that is not as its class says."""
    if isinstance(value, Mapping):
        for label, one in value.items():
            _check_records(f"{name}[{label!r}]", one)
    elif isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        for number, one in enumerate(value):
            _check_records(f"{name}[{number}]", one)
    elif hasattr(value, "_fields") and type(value).__module__.startswith("collapse_jax"):
        with jaxtyped("context"):  # Axes of one name are alike within a record, not between two of them.
            for field, annotation in type(value).__annotations__.items():
                one = getattr(value, field)
                if needed := problem(one, annotation, may_be_empty=True):
                    raise ValueError(f"{name}.{field} is {_shown(one)}; {type(value).__name__} needs {needed}")
        for field in value._fields:
            _check_records(f"{name}.{field}", getattr(value, field))


def entries(name: str, value: Any, kind: Any) -> list[tuple[str, Any]]:
    """Return the arguments that a parameter stands for, with the name of each: `*labels` and `**params` are several."""
    if kind is inspect.Parameter.VAR_POSITIONAL:
        return [(name, one) for one in value]
    return list(value.items()) if kind is inspect.Parameter.VAR_KEYWORD else [(name, value)]


def _shapes(given: dict[str, Any], last: str) -> str:
    """Return the shapes of the arrays that stand before an argument, which has to fit them."""
    before = list(given)[: list(given).index(last)]
    shapes = [f"{name} has {given[name].shape}" for name in before if hasattr(given[name], "shape")]
    return f": {', '.join(shapes)}" if shapes and hasattr(given[last], "shape") else ""


def require_numbers(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `value`, which a function of the user's returned, has numbers of this shape."""
    if not isinstance(value, np.ndarray | np.generic | jax.Array | float | int) or np.shape(value) != shape:
        raise ValueError(f"{name} is {_shown(value)}; it must be numbers of shape {shape}")


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray | jax.Array):
        kind = "an array" if holds_numbers(value) and value.dtype != bool else f"an array of {value.dtype}"
        return f"{kind} of shape {value.shape}"
    return f"{value!r:.100}"
