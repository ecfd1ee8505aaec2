"""Walking through traced programs, as they are on one platform."""

from collections.abc import Iterator
from typing import Any


def inside(equation: Any, platform: str) -> Iterator[Any]:
    """Yield the jaxprs inside an equation, leaving out what other platforms run in the place of one's own."""
    params = dict(equation.params)
    platforms = params.pop("branches_platforms", None)
    if platforms is not None:
        own = [number for number, names in enumerate(platforms) if names is not None and platform in names]
        params["branches"] = (params["branches"][own[0] if own else platforms.index(None)],)
    for value in params.values():
        for inner in value if isinstance(value, (tuple, list)) else (value,):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield inner
