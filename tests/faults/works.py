"""The sweeps that are hit: small, but each of a kind that the library runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj


class Work(NamedTuple):
    """A sweep: what runs, over which axes, and with which options."""

    process: cj.engine.Process
    axes: dict[str, Any]
    options: dict[str, Any]


def walk() -> Work:
    """Return noisy walks in two chunks of six segments, the last one of each shorter than the others."""
    turn = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)

    def init(key: jax.Array, hyper: Any) -> Any:
        return key, jnp.arange(8.0), jnp.int32(0)

    def step(state: Any, hyper: Any, index: Any) -> Any:
        key, place, count = state
        key, now = jax.random.split(key)
        place = hyper["rate"] * jnp.tanh(turn @ place) + jax.random.uniform(now, (8,))
        return (key, place, count + 1), {"place": place, "count": count}

    process = cj.engine.Process(init, step, 11, {"rate": 0.7}, dims={"place": ("coordinate",)})
    return Work(process, {"rate": [0.5, 0.9, 1.3], "seed": range(3)}, {"segment": 2, "max_members": 5})


def training() -> Work:
    """Return reward models, trained by Adam on six rankings under two utilities."""
    generator = np.random.default_rng(1)
    features = generator.normal(size=(6, 4, 8)).astype(np.float32)
    rankings = cj.make_rankings(features, np.ones((6, 4), bool), np.arange(6) % 2, ("open", "closed"))
    schemes = cj.make_schemes(
        {name: cj.choose(cj.UTILITIES[name], offset=0.1) for name in ("linear", "log")}, rankings.type_names
    )
    process = cj.make_training(rankings, cj.mlp((16,)), schemes, training=cj.reward.Training(80, 8, batch_size=4))
    return Work(process, {"utility": schemes.axis, "seed": range(3)}, {"segment": 1})


def recursion() -> Work:
    """Return Gaussians on their own samples, replaced and accumulated."""
    plan = cj.make_plan([cj.REGIMES["replace"], cj.REGIMES["accumulate"]], 6, 20)
    process = cj.make_recursion(cj.families.gaussian(2), plan)
    return Work(process, {"regime": plan.axes["regime"], "seed": range(4)}, {"segment": 1, "max_members": 4})


def many() -> Work:
    """Return more members at once than any memory holds: a tebibyte of them, each small enough by itself."""
    return _large(numbers=2**26, members=2**12)


def large() -> Work:
    """Return members of a tebibyte each."""
    return _large(numbers=2**38, members=2)


def _large(numbers: int, members: int) -> Work:
    def step(state: jax.Array, hyper: Any, index: Any) -> Any:
        state = state * hyper["rate"]
        return state, {"mean": state.mean()}

    def init(key: jax.Array, hyper: Any) -> jax.Array:
        return jnp.ones((numbers // 2**20, 2**20))

    return Work(cj.engine.Process(init, step, 2, {"rate": 0.5}), {"seed": range(members)}, {"max_members": members})


WORKS: dict[str, Callable[[], Work]] = {"walk": walk, "training": training, "recursion": recursion}
TOO_LARGE: dict[str, Callable[[], Work]] = {"many": many, "large": large}


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return a figure of one record, so that a figure is among what is written last."""
    figure = Figure(figsize=(2, 2))
    name = min(dataset.data_vars, key=str)
    figure.subplots().plot(dataset[name].astype(float).to_numpy().ravel())
    return {"figure.png": figure}
