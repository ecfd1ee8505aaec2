"""Small processes that the engine's tests run, the plain loop that they are compared with, and child processes."""

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

from collapse_jax.engine.checkpoint import Store
from collapse_jax.engine.process import Axis, Process

COORDINATES = 8
RATES = Axis(np.array([0.5, 0.9, 1.3]), ["slow", "middle", "fast"])


class Walk(NamedTuple):
    key: jax.Array
    place: jax.Array
    count: jax.Array | int


def make_walk(num_steps: int = 10, *, scale: float = 1.0, turn: Any = None, jitted: bool = False) -> Process:
    """Return a noisy walk, whose state holds a typed key, floats and an integer that starts as a Python number.

    `scale` and `turn` are constants that its step closes over. Products and tanh make it sensitive to rounding.
    """
    turn = np.linspace(-1, 1, COORDINATES**2, dtype=np.float32).reshape(2 * (COORDINATES,)) if turn is None else turn

    def draw(key):
        # Uniform on [0, 1), straight from the bits of a key: a fraction of the time that `normal` takes to compile.
        key, now = jax.random.split(key)
        return key, jax.random.key_data(now)[0] / 2.0**32

    def init(key, hyper):
        # The bits of a new key are its seed.
        place = jnp.arange(COORDINATES) + jnp.sin(jax.random.key_data(key)[-1]) + hyper["shift"]["start"]
        return Walk(key, place, 0)

    def move(place):
        return jnp.tanh(jnp.asarray(turn) @ place)

    def step(state, hyper, index):
        key, noise = draw(state.key)
        place = hyper["rate"] * (jax.jit(move) if jitted else move)(state.place) + scale * noise
        place = place + hyper["shift"]["sides"][index % 2]
        record = {"place": place, "noise": noise, "count": state.count, "positive": place[0] > 0, "index": index}
        return Walk(key, place, state.count + 1), record

    hyper = {"rate": 0.7, "shift": {"start": 0.0, "sides": np.zeros(2, np.int32)}}
    return Process(init, step, num_steps, hyper, dims={"place": ("coordinate",)})


def make_fit(num_steps: int = 6) -> Process:
    """Return least squares by Adam: a training loop with an optimiser's state."""
    inputs = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)

    def loss(weights):
        return jnp.mean((inputs @ weights["linear"] + weights["bias"] - inputs[:, 0] ** 2) ** 2)

    def init(key, hyper):
        weights = {"linear": jnp.sin(jnp.arange(2) + jax.random.key_data(key)[-1]), "bias": jnp.zeros(())}
        return weights, optax.adam(hyper["rate"]).init(weights)

    def step(state, hyper, index):
        weights, optimiser = state
        value, gradient = jax.value_and_grad(loss)(weights)
        change, optimiser = optax.adam(hyper["rate"]).update(gradient, optimiser, weights)
        return (optax.apply_updates(weights, change), optimiser), {"loss": value}

    return Process(init, step, num_steps, {"rate": 0.01})


def walk_axes(seeds: int = 3) -> dict[str, Any]:
    return {"rate": RATES, "seed": range(seeds)}


def loop(process: Process, axes: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the records by Python loops over the product of `axes`, one member and one step at a time."""
    axes = {name: axis.values if isinstance(axis, Axis) else np.asarray(axis) for name, axis in axes.items()}
    lengths = [len(jax.tree.leaves(values)[0]) for values in axes.values()]
    rows = []
    step = jax.jit(process.step)
    for place in itertools.product(*map(range, lengths)):
        chosen = {
            name: jax.tree.map(lambda leaf, i=i: leaf[i], values)
            for (name, values), i in zip(axes.items(), place, strict=True)
        }
        seed = int(chosen.pop("seed", 0))
        hyper = {
            name: jax.tree.map(
                lambda leaf, like: jnp.asarray(leaf, jnp.asarray(like).dtype), chosen.get(name, like), like
            )
            for name, like in process.hyper.items()
        }
        state = process.init(jax.random.key(seed), hyper)
        records = []
        for index in range(process.num_steps):
            state, record = step(state, hyper, jnp.int32(index))
            records.append(record)
        rows.append({name: np.stack([np.asarray(one[name]) for one in records]) for name in records[0]})
    return {name: np.stack([row[name] for row in rows]).reshape(*lengths, *rows[0][name].shape) for name in rows[0]}


def spawn(code: str, *args: Any, **environment: str) -> subprocess.Popen[str]:
    """Start Python on `code`, which may import this module."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> str:
    """Return what a child printed; fail with its last words if it failed."""
    output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors[-3000:]
    return output


@contextlib.contextmanager
def interrupted_at(position: int) -> Iterator[None]:
    """Interrupt what runs in the block once the segment that ends at `position` is saved; fails if it runs on."""
    save = Store.save

    def interrupted(self, now, *given):
        save(self, now, *given)
        if now == position:
            raise KeyboardInterrupt

    with mock.patch.object(Store, "save", interrupted):
        try:
            yield
        except KeyboardInterrupt:
            return
    raise AssertionError(f"no segment that ends at {position} was saved")


@contextlib.contextmanager
def sealed_directory() -> Iterator[Path]:
    """Yield a directory that may be listed and not written to, not even by root."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        root = not os.geteuid()
        if root:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(name, 0o755)


def assert_same(actual: Any, expected: Any) -> None:
    """Assert that two results are equal to the last bit, attributes aside."""
    assert set(actual.variables) == set(expected.variables)
    for name in expected.variables:
        ours, theirs = actual[name].to_numpy(), expected[name].to_numpy()
        assert (actual[name].dims, ours.dtype) == (expected[name].dims, theirs.dtype)
        np.testing.assert_array_equal(ours, theirs, err_msg=str(name))


def listing(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file below a directory with its time of change and content, and every folder."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    }
