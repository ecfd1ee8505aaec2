"""Families of this library as JSON: the function that made one and its arguments, by which it is made again."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from collapse_jax.generative.family import Family
from collapse_jax.generative.fitting import Fitting
from collapse_jax.nets.transformer import Architecture

F = TypeVar("F", bound=Callable[..., Family])

_MAKERS: dict[str, Callable[..., Family]] = {}
_SETTINGS = {"Architecture": Architecture, "Fitting": Fitting}
# What a fit starts from or a recursion draws from: a model that is trained needs neither.
_LEFT_OUT = ("truth", "pretrained")


def rebuildable(make: F) -> F:
    """Return the function that makes a family, whose families then carry their making as `config`.

    It holds all arguments but `truth` and `pretrained`. A family with an argument that JSON can't say, a function say,
    has no `config`.
    """
    signature = inspect.signature(make)

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Family:
        family = make(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            arguments = {name: _said(one) for name, one in bound.arguments.items() if name not in _LEFT_OUT}
        except TypeError:
            return family._replace(config=None)
        return family._replace(config={"name": make.__name__, "arguments": arguments})

    _MAKERS[make.__name__] = made
    return cast(F, made)


def rebuild(config: Any) -> Family:
    """Return the family of a configuration; raises ValueError for one that no family of this library carries."""
    match config:
        case {"name": str(name), "arguments": dict(arguments)} if name in _MAKERS:
            try:
                return _MAKERS[name](**{key: _meant(one) for key, one in arguments.items()})
            except (TypeError, ValueError) as error:
                raise ValueError(f"the family {name} can't be made ({error})") from error
    given = config.get("name") if isinstance(config, Mapping) else config
    raise ValueError(f"the family is {given!r:.60}; this library makes {', '.join(sorted(_MAKERS))}")


def _said(value: Any) -> Any:
    """Return an argument as JSON. Raises TypeError for one that can't be said."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Family) and value.config is not None:
        return {"family": value.config}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [_said(one) for one in value]
    if type(value).__name__ in _SETTINGS:
        return {"settings": type(value).__name__, "values": dataclasses.asdict(value)}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{value!r:.80} is no number, text, list or family of this library")


def _meant(said: Any) -> Any:
    match said:
        case {"family": config}:
            return rebuild(config)
        case {"settings": str(name), "values": dict(values)} if name in _SETTINGS:
            return _SETTINGS[name](**values)
        case dict():
            raise ValueError(f"an argument is {said!r:.80}, which is none of a family's")
    return said
