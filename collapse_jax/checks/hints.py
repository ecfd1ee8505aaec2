"""Whether a value is what a type hint says: numbers, functions, sequences, records, and arrays by their axes.

Arrays fit by axes, not by library or precision: NumPy's and JAX's are taken alike, whatever the annotation names.
"""

# jaxtyping compares the axes. The rest is not left to beartype, which checks another contract: tried in November 2026,
# beartype 0.23.1 with jaxtyping 0.3.11, NumPy 2.4.6 and JAX 0.10.2.
# - It looks at one entry of a list, also with `BeartypeStrategy.On`, which its documentation calls unimplemented: of
#   1000 checks of a list of 1000 with one wrong entry, one found it. It looks at no fields of named tuples.
# - A function of two arguments passes for a `Callable` of one, and for a protocol of one; "bias" for `Iterable[str]`.
# - `int` refuses NumPy's whole numbers; with `hint_overrides` that allow them it still takes True.
# - jaxtyping's `Float[Array, "n"]` refuses NumPy arrays and whole numbers; `Real[Any, "n"]` refuses longdouble.
# With the hints rewritten into validators of ours (`Annotated[..., Is[...]]`) it can be had, but then beartype does no
# more than call the functions below: 44 lines with its imports, where `_fits` and `_is_array` have 47; a call with two
# arrays takes 39 microseconds to check instead of 17; and users need a package more.

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray, Bool, Int, Key, Shaped, UInt8

from collapse_jax.checks import numbers

_LARGEST = 2**63
_PLAIN = {
    "str": "a string",
    "bool": "True or False",
    "Mapping": "a mapping",
    "PathLike": "a path",
}
# Where records come from, by the name of their class: an expression that is one. Whoever writes a name, as other
# libraries take it, reads here what to write in its place.
MADE_BY: Mapping[str, str] = {
    "Architecture": "cj.nets.Architecture(layers=2)",
    "Choice": 'cj.choose(cj.UTILITIES["linear"])',
    "Family": 'cj.FAMILIES["gaussian"] or cj.families.gaussian(2)',
    "Fitting": "cj.generative.Fitting(steps=200)",
    "Images": "cj.data.digits().train",
    "LearnedReward": "cj.loop.learned_reward(...)",
    "LimitLaw": 'cj.limit_law(cj.UTILITIES["log"])',
    "Mitigation": 'cj.Mitigation(cj.REGIMES["replace"])',
    "Model": "cj.mlp()",
    "Plan": 'cj.make_plan(cj.REGIMES["replace"], 10, 100)',
    "Process": "cj.make_recursion(...) or cj.make_training(...)",
    "Preferences": 'cj.data.read_preferences("pairs.jsonl")',
    "RankedPrompts": "cj.data.ranking_sets().train",
    "Rankings": "cj.make_rankings(...)",
    "Reader": "cj.data.ngram_reader()",
    "Regime": 'cj.REGIMES["replace"]',
    "Schemes": 'cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])})',
    "Selection": "cj.selections.best_of(...)",
    "Source": "cj.data.python_docs()",
    "Template": "cj.data.TEMPLATES[0]",
    "Tokenizer": "cj.data.byte_tokenizer()",
    "Training": "cj.reward.Training(steps=1000)",
    "Utility": 'cj.UTILITIES["log"]',
}


class _Kind(NamedTuple):
    """What an array holds: dtypes, the hint that a number fits which is no array, words for many and for one."""

    dtypes: tuple[Any, ...]
    alone: Any
    many: str
    one: str


_NUMBERS = _Kind((jnp.integer, jnp.floating), float, "numbers", "a number")
_WHOLE = _Kind((jnp.integer,), int, "whole numbers", "a whole number")
# By jaxtyping's class; those that aren't named, as `Float`, stand for real numbers of any kind, and not for masks.
_KINDS: dict[Any, _Kind] = {
    Bool: _Kind((jnp.bool_,), bool, "True and False", "True or False"),
    Int: _WHOLE,
    UInt8: _WHOLE,
    Key: _Kind((jax.dtypes.extended,), jax.Array, "keys of jax.random", "a key of jax.random"),
    Shaped: _Kind((jnp.number, jnp.bool_), float, "numbers", "a number"),
}


def _options(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union; a TypeVar, or no annotation, allows anything."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(option for member in typing.get_args(annotation) for option in _options(member))
    return (annotation,)


def problem(value: Any, hint: Any, *, may_be_empty: bool = False) -> str:
    """Return what is needed in the place of `value`, empty if it is what the hint says.

    Within a `jaxtyped("context")` axes of one name must be alike; arrays may be empty only if `may_be_empty`.
    """
    options = _options(hint)
    if any(_fits(value, option, may_be_empty) for option in options):
        return ""
    words: list[str] = []
    for one in dict.fromkeys(map(_described, options)):
        words.append("a mapping to such" if one in [f"a mapping to {word}" for word in words] else one)
    return " or ".join(words)


def culprit(name: str, value: Any, hint: Any) -> tuple[str, Any, Any]:
    """Return the name, value and hint of what doesn't fit in a value that doesn't: of a mapping, its first such entry.

    A value that may be several things, one of which is a mapping, is looked into if it is a mapping.
    """
    mappings = [one for one in _options(hint) if typing.get_origin(one) is Mapping]
    if len(mappings) == 1 and isinstance(value, Mapping):
        member = typing.get_args(mappings[0])[1]
        return next(culprit(f"{name}[{key!r}]", one, member) for key, one in value.items() if problem(one, member))
    return name, value, hint


def _fits(value: Any, option: Any, may_be_empty: bool) -> bool:
    if _is_array_type(option):
        return _is_array(value, option, may_be_empty)
    if option is Any:
        return True
    if option is None or option is type(None):
        return value is None
    if option is bool:
        return isinstance(value, bool | np.bool_)
    if option in (int, float):
        # JAX can't take a longer whole number of Python's, not even in the place of a float.
        fits = _is_whole(value) if option is int else _is_number(value)
        return fits and (not isinstance(value, int) or abs(value) < _LARGEST)
    origin = typing.get_origin(option)
    if origin is typing.Literal:
        return isinstance(value, str | int) and value in typing.get_args(option)
    if origin is Callable or _is_function_type(option):
        return takes(value, _arguments(option))
    members = typing.get_args(option)
    if origin in (Sequence, tuple):
        is_sequence = isinstance(value, Sequence) or (isinstance(value, np.ndarray | jax.Array) and value.ndim == 1)
        if not is_sequence or isinstance(value, str | bytes):
            return False
        if origin is tuple and ... not in members:
            pairs = list(zip(value, members, strict=False))
            return len(value) == len(members) and not any(problem(one, member) for one, member in pairs)
        return not any(problem(one, members[0]) for one in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and not any(problem(one, members[1]) for one in value.values())
    if origin is Iterable:
        # The entries of an iterator aren't looked at: it can be gone through only once.
        entries = value if isinstance(value, Collection) and _is_several(value) else ()
        return (
            isinstance(value, Iterable) and _is_several(value) and not any(problem(one, members[0]) for one in entries)
        )
    if origin is list:
        return isinstance(value, list) and not any(problem(one, members[0]) for one in value)
    if origin is not None and isinstance(origin, type):
        return isinstance(value, origin)
    if isinstance(option, type) and option is not inspect.Parameter.empty:
        return isinstance(value, option)
    return True


def _is_array(value: Any, option: Any, may_be_empty: bool) -> bool:
    """Return whether an array has the axes of a hint of jaxtyping's and its kind of numbers."""
    kind = _KINDS.get(option.dtype, _NUMBERS)
    if not isinstance(value, np.ndarray | np.generic | jax.Array):
        return option.dim_str == "" and _fits(value, kind.alone, may_be_empty)
    holds = any(jnp.issubdtype(value.dtype, dtype) for dtype in kind.dtypes)
    return holds and (may_be_empty or 0 not in value.shape) and isinstance(value, _any_array(option.dim_str))


@functools.cache
def _any_array(axes: str) -> Any:
    return Shaped[Any, axes]


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


def protocol_of(hint: Any) -> Any:
    """Return the protocol of functions that a hint allows, or None."""
    return next((option for option in _options(hint) if _is_function_type(option)), None)


@functools.cache
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
        axes, kind = option.dim_str, _KINDS.get(option.dtype, _NUMBERS)
        return f"an array ({axes}) of {kind.many}, axes of one name alike" if axes else kind.one
    if option in (int, float):
        return "a whole number" if option is int else "a number"
    if typing.get_origin(option) is Callable or _is_function_type(option):
        arguments = _arguments(option)
        return f"a function of {len(arguments)} arguments" if isinstance(arguments, list) else "a function"
    if typing.get_origin(option) is tuple and ... not in typing.get_args(option):
        each = [problem(object(), member) for member in typing.get_args(option)]
        if len(set(each)) > 1:
            return f"a sequence, such as a list, of {', '.join(each)}"
    if typing.get_origin(option) is list:
        return f"a list, each {problem(object(), typing.get_args(option)[0])}"
    if typing.get_origin(option) in (Sequence, Iterable, tuple):
        member = typing.get_args(option)[0]
        such_as, needed = "a list or range(20)" if member is int else "a list", problem(object(), member)
        return f"a sequence, such as {such_as}" + (f", each {needed}" if needed else "")
    if typing.get_origin(option) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(option)))}"
    if typing.get_origin(option) is Mapping:
        return f"a mapping to {problem(object(), typing.get_args(option)[1]) or 'anything'}"
    if option in (None, type(None)):
        return "None"
    name = getattr(typing.get_origin(option) or option, "__name__", str(option))
    if name in _PLAIN:
        return _PLAIN[name]
    words = f"a record of type {name}" if name in MADE_BY or hasattr(option, "_fields") else f"a {name}"
    return f"{words}, such as {MADE_BY[name]}" if name in MADE_BY else words
