"""Sweeps over axes, layouts and processes that are wrong. What is accepted compiles, so that these are few."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import collapse_jax as cj
from tests.fuzz.probes import Probe
from tests.fuzz.values import NUMBERS, STRANGE

_SIDES = np.zeros(2, np.float32)


def process() -> cj.engine.Process:
    """Return a walk that is right in every way."""

    def init(key: Any, hyper: Any) -> Any:
        return {"place": jnp.zeros(2) + hyper["rate"]}

    def step(state: Any, hyper: Any, index: Any) -> Any:
        place = hyper["rate"] * state["place"] + hyper["shift"]["sides"] + hyper["number"]
        return {"place": place}, {"place": place, "index": index}

    hyper = {"rate": 0.5, "number": 1, "shift": {"sides": _SIDES}}
    return cj.engine.Process(
        init, step, 4, hyper, {"place": ("side",)}, {"side": [0, 1]}, "step", {"rate": (0.0, 1.0)}, lambda state: state
    )


def probes() -> Sequence[Probe]:
    """Return the probes of `sweep`: of its axes one by one, and of everything else."""
    right, axes = process(), {"rate": [0.1, 0.2], "seed": [0, 1]}
    inside = {"sides": np.zeros((2, 2), np.float32)}

    def sweep(**arguments: Any) -> Any:
        options = {"process": right, "axes": axes, "progress": False, **arguments}
        return cj.sweep(options.pop("process"), options.pop("axes"), **options)

    def along(name: str) -> Any:
        return lambda values: sweep(axes={name: values})

    def labelled(values: Any, labels: Any) -> Any:
        return sweep(axes={"shift": cj.engine.Axis(values, labels)})

    ragged = st.sampled_from(
        [[[1, 2], [3]], [1, "a"], [None], [2**32], [-1], [1e300], [0.5, 0.5], [[0.1]], [[]], {0.5}]
    )
    wrong = st.one_of(ragged, st.sampled_from(STRANGE), st.sampled_from(NUMBERS), st.lists(st.sampled_from(NUMBERS)))
    layout: dict[str, Any] = {"segment": 2, "max_members": 2, "vmap_members": 1}
    fields = ["init", "step", "num_steps", "hyper", "dims", "coords", "time", "ranges", "watch"]
    return [
        Probe("sweep", sweep, {"axes": axes, **layout}, words={"axes": ["axis"]}),
        Probe("sweep", sweep, {"process": right}, words={"process": [*fields, "record", "state", "axis"]}),
        *(
            Probe("sweep", along(n), {"values": [0]}, strategies={"values": wrong}, words={"values": [n]})
            for n in ("rate", "number", "seed", "shift", "no such name")
        ),
        Probe(
            "Axis",
            labelled,
            {"values": inside, "labels": ["a", "b"]},
            words=dict.fromkeys(("values", "labels"), ("shift",)),
        ),
    ]
