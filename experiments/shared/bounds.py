"""What every number of a configuration must be, before anything is computed or written."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.shared.launch import Options

_SHARED = {field.name for field in dataclasses.fields(Options)}


def check_config(config: Any, *, may_be_empty: Sequence[str] = (), **ranges: tuple[float, float]) -> None:
    """Raise ValueError, naming the field, for a value out of its range, FileNotFoundError for a path that isn't there.

    A whole number must be 1 or more, another number finite and 0 or more, unless its default is lower or `ranges` gives
    other bounds for it. A tuple must have an entry, unless its default has none or `may_be_empty` names it, and no
    entry twice, unless its default has. What depends on several fields is checked by the experiment itself.
    """
    for label, value, default in _fields(config, ""):
        if isinstance(value, Path) and not value.exists():
            raise FileNotFoundError(f"{label} is {value}; there is no such file or folder")
        if isinstance(value, tuple):
            usual = default if isinstance(default, tuple) else ()
            if not value and usual and label not in may_be_empty:
                raise ValueError(f"{label} is empty; it needs at least one value")
            if len(set(value)) < len(value) and len(set(usual)) == len(usual):
                raise ValueError(f"{label} has a value twice: {', '.join(map(str, value))}")
        else:
            value, usual = (value,), (default,)
        for one in value:
            if isinstance(one, bool) or not isinstance(one, int | float):
                continue
            least = min([0 if isinstance(one, float) else 1, *(u for u in usual if isinstance(u, int | float))])
            low, high = ranges.get(label, (least, math.inf))
            if not (math.isfinite(one) and low <= one <= high):
                kind = "a finite number" if isinstance(one, float) else "a whole number"
                allowed = f"{low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
                raise ValueError(f"{label} is {one}; it must be {kind}, {allowed}")


def _fields(config: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, value and default of every field, nested ones too, without the options of all scripts."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{name}{field.name}.")
        elif name or field.name not in _SHARED:
            yield f"{name}{field.name}", value, field.default
