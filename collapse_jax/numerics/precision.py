"""Products of matrices in full float32: by default accelerators round the factors to 8 or 11 binary digits.

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
        # JAX reads this setting while it traces, and compiles a function anew for each value of it.
        with jax.default_matmul_precision("highest"):
            return fn(*args, **kwargs)

    return exact
