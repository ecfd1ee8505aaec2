"""Functions that a user wrote, called while JAX traces, so that what is wrong with them is said by name.

What such a function raises by itself comes through as it is.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from collapse_jax.checks.hints import protocol_of

_NUMBERS = (np.ndarray, np.generic, jax.Array, bool, int, float)


def call(what: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> PyTree:
    """Return what a function returns, arrays or numbers in a pytree.

    Raises ValueError, which calls the function `what`, if it doesn't take these arguments or returns something else.
    """
    _require_takes(what, function, [f"{len(args)} arguments", *kwargs], args, kwargs)
    found = function(*args, **kwargs)
    # None is a pytree of nothing, but alone it is what a function returns that lacks its `return`.
    for leaf in jax.tree.leaves(found) if found is not None else [None]:
        if not isinstance(leaf, _NUMBERS) or getattr(getattr(leaf, "dtype", None), "kind", "f") in "OSUmM":
            raise ValueError(f"{what} returns {leaf!r:.80}; it must return arrays of numbers, or a pytree of them")
    return found


def require_functions(whose: str, record: Any, params: Iterable[str]) -> None:
    """Raise ValueError for a function of a record that can't be called as the protocol of its field says.

    Protocols that take any keywords are called with these `params`, by name.
    """
    for field, hint in type(record).__annotations__.items():
        function, protocol = getattr(record, field), protocol_of(hint)
        if not callable(function) or protocol is None:
            continue
        own = list(inspect.signature(protocol.__call__).parameters.values())[1:]
        args = [one.name for one in own if one.kind is one.POSITIONAL_ONLY]
        named = params if any(one.kind is one.VAR_KEYWORD for one in own) else ()
        _require_takes(f"{field} {whose}", function, [*args, *named], args, dict.fromkeys(named))


def _require_takes(
    what: str, function: Callable[..., Any], given: Iterable[str], args: Iterable[Any], kwargs: dict[str, Any]
) -> None:
    """Raise ValueError unless a function takes these arguments, which `given` names."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"{what} can't be called with {', '.join(given)}: {error}") from None
    except ValueError:
        pass  # Something built in, which has no signature: it will say so itself.


def require_like(what: str, found: PyTree, like: PyTree, meant: str) -> None:
    """Raise ValueError unless a pytree has the structure and the shapes of another, which `meant` describes."""
    ours, theirs = jax.tree.structure(found), jax.tree.structure(like)
    if str(ours) != str(theirs):
        raise ValueError(f"{what} returns the structure {ours}; it must be that of {meant}, {theirs}")
    shapes, expected = ([np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (found, like))
    if shapes != expected:
        raise ValueError(f"{what} returns the shapes {shapes}; they must be those of {meant}, {expected}")


def require_examples(what: str, found: PyTree, n: int) -> None:
    """Raise ValueError unless a pytree holds n examples: at least one array, each with a leading axis of length n."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(found)]
    if not shapes or any(shape[:1] != (n,) for shape in shapes):
        raise ValueError(
            f"{what} returns arrays of the shapes {shapes}; it must return {n} examples, along a first axis"
        )


def same_functions(one: Any, other: Any) -> bool:
    """Return whether two records, of whatever nested tuples and mappings, hold functions of the same names throughout.

    The names are those by which modules define them, so that a function that a user put in another's place is told.
    """
    return bool(_names(one) == _names(other))


def _names(value: Any) -> Any:
    if isinstance(value, functools.partial):
        return _names(value.func)
    if isinstance(value, Mapping):
        return {key: _names(held) for key, held in value.items()}
    if isinstance(value, tuple):
        return [_names(held) for held in value]
    if callable(value):
        return getattr(value, "__module__", None), getattr(value, "__qualname__", type(value).__qualname__)
    return None
