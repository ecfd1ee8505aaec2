"""Utilities as functions on the whole line: the extension that is trained, and float64 values and slopes on the host.

A user writes U on (0, 1] only. Training needs it at any gap, also at the negative gap of a wrongly ordered pair, with a
slope that pulls the pair apart: `extend` shifts U by `offset` and continues it below `min_gap` by its tangent. The laws
need the same function in float64, whatever the device: `on_host`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Scalar = float | Float[Array, ""]
Function = Callable[[Array], Array]
HostArray = Float[np.ndarray, "..."]


def extend(fn: Function, offset: Scalar = 0.0, min_gap: Scalar = 0.0) -> Function:
    """Return gap -> fn(gap + offset), continued below `min_gap` by its tangent there.

    The result is once differentiable on the whole line, and concave if `fn` is. `fn` must have a finite slope at
    `min_gap + offset`; it is never evaluated below that point, so no NaN can come from there.
    """

    def shifted(gap: Array) -> Array:
        return fn(gap + offset)

    def extended(gap: Array) -> Array:
        edge = jnp.asarray(min_gap, gap.dtype)
        value, slope = jax.jvp(shifted, (edge,), (jnp.ones_like(edge),))
        beyond = gap > edge
        # The argument is cleaned first: `where` alone would let a NaN of the branch not taken into the gradient.
        return jnp.where(beyond, shifted(jnp.where(beyond, gap, edge)), value + slope * (gap - edge))

    return extended


class HostFunction(NamedTuple):
    """A scalar function and its first two derivatives, NumPy float64 in and out, for arrays of any shape."""

    value: Callable[[HostArray], HostArray]
    slope: Callable[[HostArray], HostArray]
    curvature: Callable[[HostArray], HostArray]


def on_host(fn: Function, offset: float = 0.0, min_gap: float = 0.0) -> HostFunction:
    """Return `extend(fn, offset, min_gap)` for gaps in [0, 1], in float64 on the CPU whatever the default device is.

    With `min_gap` 0 the function is not extended: an infinite value or slope at gap 0 stays infinite. Raises TypeError
    for a function that isn't elementwise.
    """

    def shifted(gap: Array) -> Array:
        return fn(gap + offset)

    with jax.enable_x64(True):
        out = jax.eval_shape(shifted, jax.ShapeDtypeStruct((), np.float64))
    if getattr(out, "shape", None) != () or not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(f"for a gap, a float of shape (), it returns {out}")
    effective = extend(fn, offset, min_gap) if min_gap > 0.0 else shifted
    slope = jax.grad(effective)

    def host(scalar_function: Function) -> Callable[[HostArray], HostArray]:
        compiled = jax.jit(jax.vmap(scalar_function))

        def evaluate(gap: HostArray) -> HostArray:
            gap = np.asarray(gap, np.float64)
            # Filled up to a power of two: solvers ask for arrays of every length, and each length compiles anew.
            padded = np.full(1 << max(gap.size - 1, 63).bit_length(), 0.5)
            padded[: gap.size] = gap.ravel()
            with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
                return np.array(compiled(padded)[: gap.size], np.float64).reshape(gap.shape)

        return evaluate

    return HostFunction(host(effective), host(slope), host(jax.grad(slope)))
