"""What this machine offers at best, measured with JAX on all devices at once: the other half of a roofline."""

import time
from collections.abc import Callable, Sequence
from functools import cache

import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments.benchmark.roofline import Resources

Probe = Callable[[], float]
_TRIES = 2


def measure(dtype: str = "float32") -> Resources:
    """Return the best rate of each resource, a second: matrix products in `dtype`, the rest in float32.

    Products of square random matrices, in the precision that JAX multiplies `dtype` in; a triad b + 3 c of arrays that
    no cache holds; and `random.normal` and `random.bits` of the generator in use, exponentials and hyperbolic tangents,
    on a CPU on arrays that a cache holds, on an accelerator on as many numbers as keep all of it busy.
    """
    return Resources(*(max(probe() for probe in _kept(resource, dtype)) for resource in Resources._fields))


@cache
def _kept(resource: str, dtype: str) -> tuple[Probe, ...]:
    return probes(resource, dtype)


def probes(resource: str, dtype: str = "float32", *, small: bool = False) -> tuple[Probe, ...]:
    """Return what measures a resource, in several ways of which the best counts; `small` ones measure next to nothing.

    What is measured is compiled here.
    """
    cpu = jax.default_backend() == "cpu"
    # A kernel on 2^20 numbers takes an accelerator hardly longer than its start.
    at_once: tuple[int, ...] = (2**14, 2**16) if cpu else (2**22, 2**26)
    once, operations = (2**22, 8 * 10**9) if cpu else (2**31, 10**13)
    sides: tuple[int, ...]
    sides, triad = ((512, 1024), 2**25) if cpu else ((4096, 8192), 2**28)
    if small:
        at_once, once, operations, sides, triad = (2**14,), 2**18, 10**8, (256,), 2**16
    match resource:
        case "operations":
            return tuple(_products(side, max(operations // side**3, 1), dtype) for side in sides)
        case "bytes":
            return (_triad(triad),)
        case "normals":
            return tuple(_drawing(jax.random.normal, size, once // size) for size in at_once)
        case "words":
            return tuple(_drawing(jax.random.bits, size, once // size) for size in at_once)
    # An array that keeps an accelerator busy doesn't fit its cache: many operations follow each move of a number.
    deep = 1 if cpu else 16
    return tuple(
        _repeating(fn, size, 4 * once // size // deep, deep) for size in at_once for fn in (_exponential, _tangent)
    )


def _exponential(x: Array) -> Array:
    return jnp.exp(-x)


def _tangent(x: Array) -> Array:
    return jnp.tanh(x + 1.0)


def _products(size: int, repeats: int, dtype: str) -> Probe:
    program = jax.jit(lambda a: jax.lax.fori_loop(0, repeats, lambda _, b: a @ b, a))
    # Ones and zeros would draw less power, and a card runs as fast as its power lets it. Powers of such a matrix
    # neither grow nor vanish: its eigenvalues lie in the unit circle.
    matrix = jax.random.normal(jax.random.key(0), (size, size)) * size**-0.5
    return _timed(program, [matrix.astype(dtype)], 2.0 * size**3 * repeats)


def _drawing(draw: Callable[..., Array], size: int, repeats: int) -> Probe:
    def total(seed: Array) -> Array:
        def add(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            key, sums = carry
            key, own_key = jax.random.split(key)
            return key, sums + draw(own_key, (size,))

        zeros = jnp.zeros(size, jax.eval_shape(lambda: draw(jax.random.key(0), (1,))).dtype)
        sums: Array = jax.lax.fori_loop(0, repeats, add, (jax.random.key(seed), zeros))[1]
        return sums

    return _timed(jax.jit(total), [jnp.uint32(0)], float(size * repeats))


def _repeating(fn: Callable[[Array], Array], size: int, repeats: int, deep: int) -> Probe:
    def turn(index: Array, y: Array) -> Array:
        for _ in range(deep):
            y = fn(y)
        return y

    program = jax.jit(lambda x: jax.lax.fori_loop(0, repeats, turn, x))
    return _timed(program, [jnp.linspace(0.0, 1.0, size)], float(size * repeats * deep))


def _timed(program: Callable[..., Array], operands: Sequence[Array], amount: float) -> Probe:
    placed = [[jax.device_put(one, device) for one in operands] for device in jax.devices()]
    jax.block_until_ready([program(*one) for one in placed])

    def probe() -> float:
        best = 0.0
        for _ in range(_TRIES):
            begin = time.perf_counter()
            jax.block_until_ready([program(*one) for one in placed])
            best = max(best, len(placed) * amount / (time.perf_counter() - begin))
        return best

    return probe


def _triad(size: int) -> Probe:
    """Return the probe of memory: two arrays are read, and the first is written in its place."""
    program = jax.jit(lambda b, c: b + 3.0 * c, donate_argnums=0)

    def probe() -> float:
        ones = [jax.device_put(jnp.ones(size), device) for device in jax.devices()]
        others = [one + 0.0 for one in ones]
        jax.block_until_ready((ones, others))
        best = 0.0
        for attempt in range(_TRIES + 1):
            begin = time.perf_counter()
            ones = [program(one, other) for one, other in zip(ones, others, strict=True)]
            jax.block_until_ready(ones)
            # The first call compiles.
            if attempt:
                best = max(best, len(ones) * 12.0 * size / (time.perf_counter() - begin))
        return best

    return probe
