"""Does a population fill the device's memory: as many members as are predicted to fit run, twice as many are refused.

On a CPU, which doesn't tell what its memory is used for, sweeps are told of a memory of 24 MiB.
"""

import json
import re
from functools import cache, partial

import jax
import numpy as np
import xarray as xr

import collapse_jax as cj
from collapse_jax.engine import run
from collapse_jax.engine.memory import is_out_of_memory
from experiments.benchmark.reward_workloads import perceptron_training
from experiments.benchmark.stages import NotMet, Row, Values
from experiments.benchmark.stages.rates import most_that_fit, program_of
from experiments.benchmark.stages.works import FEW

SIMULATED = 24 * 2**20
_SHARES = (1.0, 0.98, 0.96, 0.94, 0.92)  # of the members that a memory without fragments would hold
_LEAST = 0.9


def rows(small: bool, folder: object) -> list[Row]:
    """Return the three rows."""
    if jax.default_backend() == "cpu":
        setattr(run, "capacity", lambda mesh, results: (int(0.9 * SIMULATED), SIMULATED))  # noqa: B010
    return [
        Row("the most members that fit", 120.0, partial(_most, small)),
        Row("twice as many at once", 60.0, partial(_refused, small)),
        Row("twice as many, as sweep divides them", 120.0, partial(_divided, small)),
    ]


@cache
def _process(small: bool) -> cj.engine.Process:
    return perceptron_training(steps=2 if small else 8, prompts=4 if small else 32)


@cache
def _predicted(small: bool) -> int:
    """Return how many members fit all of the memory, by the line through what XLA plans for a few."""
    return most_that_fit(program_of(_process(small), 1), FEW, _limit())


def _limit() -> int:
    return int((jax.devices()[0].memory_stats() or {}).get("bytes_limit", SIMULATED))


def _most(small: bool) -> Values:
    """Return how much of the memory the largest population used that ran. Raises NotMet for less than 90 %."""
    told: list[str] = []
    for share in _SHARES:
        members = int(share * _predicted(small))
        try:
            swept = _sweep(small, members, max_members=members)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if not (isinstance(error, MemoryError) or is_out_of_memory(error)):
                raise
            told.append(f"{members}: {str(error)[:200]}")
            continue
        predicted = json.loads(swept.attrs["provenance"])["memory"]["predicted_bytes"]
        peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        values: dict[str, str | float | list[float]] = {
            "members": float(members),
            "limit, MiB": _limit() / 2**20,
            "predicted, MiB": predicted / 2**20,
            "used, MiB": "not told" if peak is None else peak / 2**20,
            "share of the limit, %": 100 * (predicted if peak is None else peak) / _limit(),
            "before": "; ".join(told) or "none refused",
        }
        ran_out = [one for one in told if "it ran out" in one or "RESOURCE_EXHAUSTED" in one]
        if ran_out:
            raise NotMet(f"predicted to fit, and ran out of memory: {ran_out[0]}", values)
        if (predicted if peak is None else peak) < _LEAST * _limit():
            raise NotMet("less than 90 % of the limit is used", values)
        return values
    raise NotMet("none of these populations ran", {"before": "; ".join(told)})


def _refused(small: bool) -> Values:
    """Return what is said of twice the members at once. Raises NotMet where it names nothing that fits."""
    members = 2 * _predicted(small)
    try:
        _sweep(small, members, max_members=members)
    except MemoryError as error:
        named = re.search(r"max_members=(\d+)", str(error))
        values: dict[str, str | float | list[float]] = {"members": float(members), "before": str(error)}
        if named is None:
            raise NotMet("the refusal names no max_members", values) from error
        return {**values, "named": float(named.group(1))}
    raise NotMet("they ran, though they need twice the memory", {"members": float(members)})


def _divided(small: bool) -> Values:
    """Return the number of chunks in which twice the members ran. Raises NotMet for one, and for rewards not finite."""
    members = 2 * _predicted(small)
    swept = _sweep(small, members)
    told = json.loads(swept.attrs["provenance"])
    values: dict[str, str | float | list[float]] = {
        "members": float(members),
        "chunks": float(told["chunks"]),
        "predicted, MiB": told["memory"]["predicted_bytes"] / 2**20,
    }
    if told["chunks"] < 2:
        raise NotMet("they ran at once, though they need twice the memory", values)
    if not np.isfinite(swept["rewards"].to_numpy()).all():
        raise NotMet("rewards are not finite", values)
    return values


def _sweep(small: bool, members: int, max_members: int | None = None) -> xr.Dataset:
    process = _process(small)
    return cj.sweep(
        process, {"seed": range(members)}, segment=process.num_steps, max_members=max_members, progress=False
    )
