"""Products of matrices in float32 as such: accelerators round what goes into them to 8 or 11 binary digits otherwise.

That is right for networks, and wrong for closed forms: a covariance that is rounded so is not positive definite.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

_P = ParamSpec("_P")
_R = TypeVar("_R")


def exact_products(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return `fn` with all products of matrices in it in full precision, those of functions that it calls too."""

    @functools.wraps(fn)
    def exact(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        # Read while JAX traces, and part of what it keeps compiled functions by.
        with jax.default_matmul_precision("highest"):
            return fn(*args, **kwargs)

    return exact
