"""Whether a value is what a type hint says: numbers, functions, sequences, records, and arrays by their axes.

Arrays fit by axes, not by library or precision: NumPy's and JAX's are taken alike, whatever the annotation names.
"""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray, Bool, Int, Key, UInt8

from collapse_jax.checks import numbers

Lengths = dict[str, Any]
"""The lengths of the axes named so far."""

_LARGEST = 2**63
_PLAIN = {
    "str": "a string",
    "bool": "True or False",
    "Mapping": "a mapping",
    "Iterable": "a sequence",
    "PathLike": "a path",
}
# What must be told from other numbers: masks, and what is used as an index.
_KINDS: dict[Any, tuple[Any, ...]] = {Bool: (jnp.bool_,), Int: (jnp.integer,), UInt8: (jnp.integer,)}


def _options(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union; a TypeVar, or no annotation, allows anything."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(option for member in typing.get_args(annotation) for option in _options(member))
    return (annotation,)


def problem(value: Any, hint: Any, lengths: Lengths, *, may_be_empty: bool = False) -> str:
    """Return what is needed in the place of `value`, empty if it is what the hint says.

    Axes of one name must be as long as in `lengths`, which is added to; arrays may be empty only if `may_be_empty`.
    """
    options = _options(hint)
    if any(_fits(value, option, lengths, may_be_empty) for option in options):
        return ""
    return " or ".join(dict.fromkeys(map(_described, options)))


def _fits(value: Any, option: Any, lengths: Lengths, may_be_empty: bool) -> bool:
    if _is_array_type(option) and option.dtype is Key:
        return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.extended)
    if _is_array_type(option):
        if not hasattr(value, "shape"):
            return option.dim_str == "" and _is_number(value)
        if not isinstance(value, np.ndarray | np.generic | jax.Array) or not holds_numbers(value):
            return False
        if 0 in value.shape and not may_be_empty:
            return False
        if not any(jnp.issubdtype(value.dtype, kind) for kind in _KINDS.get(option.dtype, (jnp.generic,))):
            return False
        return _has_axes(value.shape, option.dim_str.split(), lengths)
    if option is Any:
        return True
    if option is None or option is type(None):
        return value is None
    if option is bool:
        return isinstance(value, bool | np.bool_)
    if option is int:
        return _is_whole(value) and (not isinstance(value, int) or abs(value) < _LARGEST)
    if option is float:
        return _is_number(value)
    origin = typing.get_origin(option)
    if origin is typing.Literal:
        return isinstance(value, str | int) and value in typing.get_args(option)
    if origin is Callable or _is_function_type(option):
        return takes(value, _arguments(option))
    members = typing.get_args(option)
    if origin in (Sequence, tuple):
        is_sequence = isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim == 1)
        if not is_sequence or isinstance(value, str | bytes):
            return False
        if origin is tuple and ... not in members:
            pairs = list(zip(value, members, strict=False))
            return len(value) == len(members) and not any(problem(one, member, lengths) for one, member in pairs)
        return not any(problem(one, members[0], lengths) for one in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and not any(problem(one, members[1], lengths) for one in value.values())
    if origin is not None and isinstance(origin, type):
        return isinstance(value, origin) and (origin is not Iterable or _is_several(value))
    if isinstance(option, type) and option is not inspect.Parameter.empty:
        return isinstance(value, option)
    return True


def _has_axes(shape: tuple[int, ...], axes: list[str], lengths: Lengths) -> bool:
    """Return whether a shape has these axes; `*name` and `...` stand for any number, what is no name for any length."""
    several = [i for i, axis in enumerate(axes) if axis == "..." or axis.startswith("*")]
    if several:
        at, more = several[0], len(shape) - len(axes) + 1
        if more < 0:
            return False
        together = [(axes[at], shape[at : at + more])]
        pairs = [*zip(axes[:at], shape, strict=False), *together, *zip(axes[at + 1 :], shape[at + more :], strict=True)]
    elif len(axes) == len(shape):
        pairs = list(zip(axes, shape, strict=True))
    else:
        return False
    found = dict(lengths)
    for axis, length in pairs:
        if axis.isdigit() and int(axis) != length:
            return False
        if axis.lstrip("*").isidentifier() and axis != "_" and found.setdefault(axis, length) != length:
            return False
    lengths.update(found)
    return True


def _is_several(value: Any) -> bool:
    return np.ndim(value) > 0 if hasattr(value, "shape") else not isinstance(value, str | bytes)


def takes(value: Any, arguments: Any) -> bool:
    """Return whether a value is a function of so many arguments; what has no signature may be."""
    if not callable(value) or not isinstance(arguments, list):
        return callable(value)
    try:
        inspect.signature(value).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _is_function_type(option: Any) -> bool:
    """Return whether an annotation is a protocol of functions."""
    return getattr(option, "_is_protocol", False) and "__call__" in vars(option)


def _arguments(option: Any) -> Any:
    """Return the arguments of a type of functions, as a list; what is no list stands for any arguments."""
    if not _is_function_type(option):
        return typing.get_args(option)[0]
    own = list(inspect.signature(option.__call__).parameters.values())[1:]
    free = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in own)
    return ... if free else [parameter.name for parameter in own]


def _is_whole(value: Any) -> bool:
    if isinstance(value, np.ndarray | jax.Array):
        return value.shape == () and bool(jnp.issubdtype(value.dtype, jnp.integer))
    return numbers.is_whole(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray | jax.Array):
        return value.shape == () and holds_numbers(value) and value.dtype != bool
    return isinstance(value, Real | np.number) and not isinstance(value, bool | np.complexfloating)


def holds_numbers(value: Any) -> bool:
    """Return whether an array holds real numbers, or True and False."""
    real = jnp.issubdtype(value.dtype, jnp.number) and not jnp.issubdtype(value.dtype, jnp.complexfloating)
    return bool(real or value.dtype == bool)


def _is_array_type(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, AbstractArray)


def _described(option: Any) -> str:
    if _is_array_type(option):
        axes = option.dim_str
        kind = {Bool: "True and False", Int: "whole numbers", UInt8: "whole numbers"}.get(option.dtype, "numbers")
        return f"an array ({axes}) of {kind}, axes of one name alike" if axes else "a number"
    if option in (int, float):
        return "a whole number" if option is int else "a number"
    if typing.get_origin(option) is Callable or _is_function_type(option):
        arguments = _arguments(option)
        return f"a function of {len(arguments)} arguments" if isinstance(arguments, list) else "a function"
    if typing.get_origin(option) is tuple and ... not in typing.get_args(option):
        each = [problem(object(), member, {}) for member in typing.get_args(option)]
        if len(set(each)) > 1:
            return f"a sequence, such as a list, of {', '.join(each)}"
    if typing.get_origin(option) in (Sequence, tuple):
        return f"a sequence, such as a list, each {problem(object(), typing.get_args(option)[0], {})}"
    if typing.get_origin(option) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(option)))}"
    if typing.get_origin(option) is Mapping:
        return f"a mapping to {problem(object(), typing.get_args(option)[1], {}) or 'anything'}"
    name = getattr(typing.get_origin(option) or option, "__name__", str(option))
    return (
        "None"
        if option in (None, type(None))
        else _PLAIN.get(name, f"a record of type {name}" if hasattr(option, "_fields") else f"a {name}")
    )
