"""What the arguments of selections must be, with clear errors."""

from typing import Any


def require_function(name: str, value: Any) -> None:
    """Raise ValueError unless `value` can be called."""
    if not callable(value):
        raise ValueError(f"{name} is {value!r}; it must be a function")


def require_whole(name: str, value: Any, least: int) -> None:
    """Raise ValueError unless `value` is a whole number from `least` on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} on")
