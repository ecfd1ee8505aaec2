"""What the device offers at best: products, bandwidth, random numbers, and what the start of a kernel costs."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments.benchmark import ceilings
from experiments.benchmark.roofline import Resources
from experiments.benchmark.stages import Row, Values

PRODUCTS = {
    "products in bfloat16": ("bfloat16", None),
    "products in TF32": ("float32", "tensorfloat32"),
    "products in float32": ("float32", "highest"),
}
"""Types and precisions. What a device has no unit for, it computes in a better precision: a CPU has no TF32."""
FILE = "ceilings.jsonl"
_REST = {
    "copy bandwidth": ("bytes", "GB/s"),
    "normal draws": ("normals", "billion/s"),
    "random words": ("words", "billion/s"),
    "exponentials, tangents": ("transcendentals", "billion/s"),
}
_UNITS = {"TFLOP/s": 1e12, "GB/s": 1e9, "billion/s": 1e9}
_CHAIN, _TURNS = 32, 100


def rows(small: bool, folder: object) -> list[Row]:
    """Return one row for each ceiling."""
    return [
        *(Row(name, 30.0, partial(_products, *given, small)) for name, given in PRODUCTS.items()),
        *(Row(name, 30.0, partial(_rate, *given, small)) for name, given in _REST.items()),
        Row("a program, called from the host", 20.0, _dispatch),
        Row("a kernel in a straight line", 20.0, partial(_kernels, _CHAIN)),
        Row("a turn of a loop of one kernel", 20.0, partial(_kernels, 1)),
    ]


def read(folder: Path, dtype: str) -> Resources | None:
    """Return what a folder's results say of the device, for float32 work as users run it; None where they don't."""
    file = folder / FILE
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    names: list[tuple[str, float]] = next((line["rows"] for line in found if "rows" in line), [])
    measured = {names[line["ended"]][0]: line["values"] for line in found if line.get("values")}
    rates = {name: max(one["measured"]) * _UNITS.get(one["unit"], 1.0) for name, one in measured.items()}
    platform = next((line["machine"]["platform"] for line in found if "machine" in line), "")
    # Where nothing else is asked for, a GPU multiplies float32 in TF32, a TPU in bfloat16.
    default = {"gpu": "products in TF32", "tpu": "products in bfloat16"}.get(platform, "products in float32")
    product = "products in bfloat16" if dtype == "bfloat16" else default
    if not {product, *_REST} <= set(rates):
        return None
    return Resources(rates[product], *(rates[name] for name in _REST))


def _products(dtype: str, precision: str | None, small: bool) -> Values:
    with jax.default_matmul_precision(precision):
        return _measured(ceilings.probes("operations", dtype, small=small), "TFLOP/s", small)


def _rate(field: str, unit: str, small: bool) -> Values:
    return _measured(ceilings.probes(field, small=small), unit, small)


def _measured(probes: tuple[ceilings.Probe, ...], unit: str, small: bool) -> Values:
    """Return the rates of the probe that is fastest, as often as it was repeated."""
    repeats = 2 if small else 5
    rates = max(([probe() for _ in range(repeats)] for probe in probes), key=max)
    return {"measured": [rate / _UNITS[unit] for rate in rates], "unit": unit}


def _dispatch() -> Values:
    """Return the microseconds that a call of a compiled program takes where nothing waits for its result."""
    add = jax.jit(lambda x: x + 1.0)

    def calls() -> Array:
        x = jnp.zeros(())
        for _ in range(_TURNS):
            x = add(x)
        return x

    return _microseconds(calls, _TURNS)


def _kernels(chain: int) -> Values:
    """Return the microseconds of a kernel on 1024 numbers, `chain` of them in the body of a loop."""

    def body(index: Array, x: Array) -> Array:
        for _ in range(chain):
            # Each waits for the one before it, and the barrier keeps them from being made one.
            x = jax.lax.optimization_barrier(jnp.sin(x))
        return x

    program = jax.jit(lambda x: jax.lax.fori_loop(0, _TURNS, body, x))
    x = jnp.ones(1024)
    return _microseconds(lambda: program(x), _TURNS * chain)


def _microseconds(work: Callable[[], Array], number: int) -> Values:
    jax.block_until_ready(work())
    found = []
    for _ in range(5):
        begin = time.perf_counter()
        jax.block_until_ready(work())
        found.append(1e6 * (time.perf_counter() - begin) / number)
    return {"measured": found, "unit": "µs"}
