"""What can be wrong with an argument, given a value that is right: strategies of hypothesis."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

STRANGE: tuple[Any, ...] = (None, "3", "", [], {}, [1, 2], object, 1j, np.zeros(2), np.array("x"), b"\0")
NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    1,
    True,
    0.5,
    1.5,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    10**30,
    -(10**30),
)


def spoiled(value: Any) -> SearchStrategy[Any]:
    """Return values to put in the place of `value`, most of them wrong: in kind, in size, in shape or inside."""
    strange = st.sampled_from(STRANGE)
    if isinstance(value, np.ndarray | jax.Array):
        return st.one_of(strange, _arrays(np.asarray(value)))
    if isinstance(value, bool | int | float | np.number):
        numbers = st.sampled_from(NUMBERS)
        return st.one_of(strange, numbers, numbers, st.integers(-3, 20), st.floats(-2.0, 50.0))
    if isinstance(value, str):
        return st.one_of(strange, st.sampled_from(NUMBERS), st.text(max_size=5))
    if hasattr(value, "_asdict"):
        return st.one_of(strange, _within(value._asdict()).map(lambda fields: type(value)(**fields)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return st.one_of(strange, _within(fields).map(lambda found: _Made(type(value), found)))
    if isinstance(value, Mapping):
        unknown = st.just({**value, "no such name": 1.0})
        return st.one_of(strange, unknown, _within(dict(value))) if value else st.one_of(strange, unknown)
    if isinstance(value, list | tuple | range) and len(value):
        kind = list if isinstance(value, range) else type(value)
        entries = _within(dict(enumerate(value))).map(lambda found: kind(found.values()))
        return st.one_of(strange, st.just(kind([*value, value[0]])), st.just(kind()), entries)
    if callable(value):
        return st.one_of(
            st.sampled_from((None, 3, "log", [], lambda: 1.0, lambda *_, **__: None, lambda *_, **__: "x"))
        )
    return st.one_of(strange, st.sampled_from(NUMBERS))


class _Made:
    """A dataclass that is made only when the argument is used, since making it may refuse."""

    def __init__(self, kind: type, fields: dict[str, Any]) -> None:
        self.kind, self.fields = kind, fields

    def __repr__(self) -> str:
        return f"{self.kind.__name__}({', '.join(f'{name}={value!r:.40}' for name, value in self.fields.items())})"


def made(value: Any) -> Any:
    """Return a spoiled value, a dataclass being made now."""
    return value.kind(**value.fields) if isinstance(value, _Made) else value


def _within(entries: dict[Any, Any]) -> SearchStrategy[dict[Any, Any]]:
    return st.sampled_from(sorted(entries, key=str)).flatmap(
        lambda name: spoiled(entries[name]).map(lambda bad: {**entries, name: made(bad)})
    )


def _arrays(array: np.ndarray) -> SearchStrategy[Any]:
    found: list[Any] = [
        array[None],
        array.astype(str),
        array.astype(object),
        array.tolist(),
        np.zeros(0),
        np.zeros((0, 2)),
    ]
    if array.ndim:
        found += [array[..., 0], array[:0], array[:-1], np.concatenate([array, array[-1:]])]
    if array.size and array.dtype.kind in "f":
        for number in (np.nan, np.inf, -np.inf, -1.0, 2.0, 1e30):
            one = array.copy()
            one.flat[one.size // 2] = number
            found.append(one)
        found += [-array, 0.0 * array, array * np.nan, array + 1j]
    if array.size and array.dtype.kind in "iu":
        one = array.copy()
        one.flat[0] = np.iinfo(array.dtype).max
        found += [one, -array - 1, array + 0.5]
    if array.size and array.dtype.kind == "b":
        found += [~array, np.zeros_like(array), array.astype(float)]
    return st.sampled_from(found)
