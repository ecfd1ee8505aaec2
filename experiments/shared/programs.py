"""What experiments compile, told without running any of it: sweeps and jitted functions return zeros meanwhile.

    python -m experiments.shared.programs tails --small    prints the hash of all that this run would compile

The text of a program says what is computed, not on which numbers: equal hashes mean that a table's row is still that of
the code, up to what scripts compute outside of compiled programs.
"""

import contextlib
import hashlib
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from collapse_jax.engine.keys import as_keys, in_data, is_key
from collapse_jax.engine.program import Program
from collapse_jax.engine.run import Layout, Run

# Imported by its name, because `engine.sweep` is the function and not the module of that name.
SWEEP = importlib.import_module("collapse_jax.engine.sweep")
_SCRIPTS = str(Path(__file__).parents[1])


def zeros(program: Program, layout: Layout) -> Run:
    """Return the records of a sweep that did not run: zeros in the right shapes."""
    shapes = program.records | {"diverged": jax.ShapeDtypeStruct((), np.bool_)}
    piece = {n: np.zeros((layout.members, layout.segment, *s.shape), s.dtype) for n, s in shapes.items()}
    return Run([piece] * layout.segments, layout.members, 0, 0.0, 0.0, 1, {}, [_states(program, layout.members)])


def _states(program: Program, members: int) -> PyTree:
    """Return states of zeros, (member, ...), in the right shapes."""

    def leaf(one: jax.ShapeDtypeStruct) -> np.ndarray | jax.Array:
        held = in_data(one)
        values = np.zeros((members, *held.shape), held.dtype)
        return as_keys(values, one) if is_key(one) else values

    return jax.tree.map(leaf, program.state)


@contextlib.contextmanager
def jitted_by(stand_in: Callable[..., Any], path: str) -> Iterator[None]:
    """Let `stand_in` take the place of `jax.jit` meanwhile, for calls from files whose path begins with `path`.

    What the library jits is a part of these programs, or runs as ever.
    """
    jit = jax.jit

    def instead(fn: Any, *args: Any, **options: Any) -> Any:
        asked = sys._getframe(1).f_code.co_filename.startswith(path)
        return (stand_in if asked else jit)(fn, *args, **options)

    with mock.patch.object(jax, "jit", instead):
        yield


@contextlib.contextmanager
def traced_only() -> Iterator[list[str]]:
    """Let sweeps, and what scripts jit, be traced instead of run; yield the texts of their programs, which grow."""
    texts: list[str] = []
    jit = jax.jit

    def run(program: Program, layout: Layout, store: object, **_: Any) -> Run:
        lowered = program.lower(layout.members)
        texts.extend([lowered.init.as_text(), lowered.advance.as_text()])
        return zeros(program, layout)

    def jitted(fn: Any, **options: Any) -> Any:
        def call(*args: Any) -> Any:
            texts.append(jit(fn, **options).lower(*args).as_text())
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fn, *args))

        return call

    with mock.patch.object(SWEEP, "run_population", run), jitted_by(jitted, _SCRIPTS):
        yield texts


def digest(name: str, arguments: list[str]) -> str:
    """Return the hash of all programs that an experiment compiles with these arguments, on one device of a CPU."""
    experiment = importlib.import_module(f"experiments.{name}").main
    with tempfile.TemporaryDirectory() as folder, traced_only() as texts, contextlib.redirect_stdout(sys.stderr):
        config = experiment.configured([*arguments, "--no-progress", "--results", folder])
        experiment.run(config, Path(folder))
    sha = hashlib.sha256()
    for text in texts:
        sha.update(text.encode())
    return sha.hexdigest()[:16]


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    print(digest(sys.argv[1], sys.argv[2:]))
