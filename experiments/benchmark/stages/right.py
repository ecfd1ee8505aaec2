"""Is what the device computes right: every kind of work there and on the host's CPU, in two layouts, beside its law.

Random bits are the same on every platform, so a member on the device is its twin on the host but for the rounding of
floats. Products in both are asked for in float32 ("highest"). What rounding becomes depends on the kind:

- records of moments and their recursions: it stays rounding, 1e-3 of the record's standard deviation over members;
- networks: Adam divides by the root of a gradient's square, so that where that is small rounding decides a step: 1e-2
  after the first record's few steps;
- draws among choices compare a random number with a threshold, which by rounding falls on the other side in few
  members: the median over members must be below 2e-2.

Later records may part for good, where rounding has changed a choice: there the means over members must agree within 4
standard errors, as of independent members. The precision that users get where they ask for none (TF32 on a GPU,
bfloat16 on a TPU) must give finite numbers that follow the laws all the same; how far it lies off is told, but fails no
row.
"""

import json
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh

import collapse_jax as cj
from experiments.benchmark.stages import NotMet, Row, Values
from experiments.benchmark.stages.kinds import Kind, kinds

_MOST = 4.0  # standard errors


def rows(small: bool, folder: object) -> list[Row]:
    """Return one row for each kind of work; with `small`, for those that it takes."""
    return [Row(kind.name, 90.0, partial(compare, kind, small)) for kind in kinds() if kind.small or not small]


def compare(kind: Kind, small: bool) -> Values:
    """Return how far the device is from the host and from the law. Raises NotMet where that is too far."""
    members = min(kind.members, 4 if kind.law is None else 100) if small else kind.members
    device, host = jax.devices()[0], jax.devices("cpu")[0]
    runs: dict[str, Callable[[], xr.Dataset]] = {
        "device": partial(_sweep, kind, members, device, vmap=None, precision="highest"),
        "host": partial(_sweep, kind, members, host, vmap=1, precision="highest"),
    }
    if device.platform != "cpu":
        runs["one by one"] = partial(_sweep, kind, members, device, vmap=1, precision="highest")
        runs["as users run it"] = partial(_sweep, kind, members, device, vmap=None, precision=None)
    # Compiling takes most of the time, and goes on side by side. Members that diverge are found below: their warnings
    # would come from several threads, where filters of warnings undo each other.
    with warnings.catch_warnings(), ThreadPoolExecutor(len(runs)) as pool:
        warnings.simplefilter("ignore")
        found = dict(zip(runs, pool.map(lambda run: run(), runs.values()), strict=True))
    values: dict[str, str | float | list[float]] = {"members": float(members)}
    wrong = [f"{name}: members are not finite" for name, one in found.items() if not _finite(one)]
    # On a CPU the host's run is the one in which members run one by one.
    for name, one in [("host", found["host"]), ("one by one", found.get("one by one"))]:
        if one is None:
            continue
        first, last = apart(found["device"], one)
        values |= {f"first record from {name}, σ": first, f"last means from {name}, standard errors": last}
        wrong += [f"the first record lies {first:.2g} σ from {name}, allowed {kind.first}"] * (not first <= kind.first)
        wrong += [f"the last means lie {last:.2g} standard errors from {name}"] * (not last < _MOST)
    if "as users run it" in found:
        first, last = apart(found["as users run it"], found["host"])
        values |= {"default precision: first record from host, σ": first, "its last means, standard errors": last}
    if kind.law is not None:
        for name in ("device", "as users run it"):
            if name in found:
                missed = kind.law(found[name])
                values[f"{name}: from the law (below 4)"] = missed
                wrong += [f"{name}: {missed:.2g} from the law"] * (not missed < _MOST)
    values["compile seconds"] = _compile_seconds(found["device"])
    if wrong:
        raise NotMet("; ".join(wrong), values)
    return values


def apart(one: xr.Dataset, other: xr.Dataset) -> tuple[float, float]:
    """Return how far two runs of the same members lie apart, the largest of all records.

    First the difference of first records, in standard deviations of the record: the largest over its numbers, the
    median over members. Then the difference of the last records' means over members, in the standard errors of
    independent members.
    """
    first = last = 0.0
    for name in set(other.data_vars) - {"diverged"}:
        a, b = (_by_member(dataset, str(name)) for dataset in (one, other))
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return np.inf, np.inf
        a, b = np.nan_to_num(a), np.nan_to_num(b)
        # A record that is the same in all members is compared with its size.
        scale = b.std() or abs(b).max() or 1.0
        first = max(first, float(np.median(abs(a - b)[:, 0].max(axis=1)) / scale))
        ends, others = a[:, -1], b[:, -1]
        error = np.sqrt((ends.var(axis=0, ddof=1) + others.var(axis=0, ddof=1)) / len(ends)) + 1e-3 * scale
        last = max(last, float((abs(ends.mean(axis=0) - others.mean(axis=0)) / error).max()))
    return first, last


def _by_member(dataset: xr.Dataset, name: str) -> np.ndarray:
    """Return a record as floats (member, step, number)."""
    time = "generation" if "generation" in dataset.dims else "step"
    axes = [dim for dim in dataset["diverged"].dims if dim != time]
    one = dataset[name].astype(float).transpose(*axes, time, ...)
    members = int(np.prod([one.sizes[axis] for axis in axes]))
    return one.to_numpy().reshape(members, one.sizes[time], -1)


def _sweep(kind: Kind, members: int, device: jax.Device, *, vmap: int | None, precision: str | None) -> xr.Dataset:
    with jax.default_device(device), jax.default_matmul_precision(precision):
        process, axes = kind.make(members)
        # On a CPU, side by side must be asked for.
        width = members * (2 if "refit" in axes else 1) if vmap is None and device.platform == "cpu" else vmap
        mesh = Mesh(np.array([device]), ("population",))
        return cj.sweep(process, axes, mesh=mesh, vmap_members=width, segment=process.num_steps, progress=False)


def _finite(dataset: xr.Dataset) -> bool:
    return not bool(dataset["diverged"].any())


def _compile_seconds(dataset: xr.Dataset) -> float:
    return float(json.loads(dataset.attrs["provenance"])["compile_seconds"])
