"""How the seconds and the memory of a run grow with members, generations and items: the second part of `benchmark`.

Each point is a population in a process of its own, whose peak resident memory is then its alone:

    python -m experiments.benchmark.scaling members 64
"""

import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.benchmark.reward_workloads import perceptron_training
from experiments.benchmark.workloads import compiled_once
from experiments.shared.launch import use_all_cores

_STARTS = {"members": 1, "generations": 64, "items": 4}
_ENDS = {"generations": 10_000}  # the most that a plan takes: its tables grow with their square
_FACTOR = 4
_REPEATS, _SHORT = 3, 1.0
_LINEAGES, _SAMPLES = 32, 1000


def measure(seconds: float, *, progress: bool = True) -> xr.Dataset:
    """Return seconds and bytes of runs of growing sizes, along `point`.

    An axis ends before the point that would run longer than `seconds`, going by the two before it, or that would need
    more memory than there is, going by what was predicted for the last one.
    """
    points: list[dict[str, Any]] = []
    for axis, size in _STARTS.items():
        before = 0.0
        while True:
            if progress:
                print(f"growth: {size} {axis}", file=sys.stderr)
            points.append({"along": axis, "size": size, **_in_child(axis, size)})
            last = points[-1]
            # The next point takes at least as many times longer: with items time grows faster once their pairs
            # dominate.
            growth = max(last["run_seconds"] / before if before else 1.0, _FACTOR)
            before = last["run_seconds"]
            if _FACTOR * size > _ENDS.get(axis, np.inf):
                break
            if growth * before > seconds or _FACTOR**2 * last["predicted_bytes"] > last["limit_bytes"]:
                break
            size *= _FACTOR
    return xr.Dataset({name: ("point", [point[name] for point in points]) for name in points[0]})


def draw(dataset: xr.Dataset) -> Figure:
    """Return seconds and memory by size, a column for each axis, with the line of slope 1 through the largest size."""
    axes = list(_STARTS)
    figure = Figure(figsize=(3.4 * len(axes), 5.6), layout="constrained")
    grid = figure.subplots(2, len(axes), sharey="row")
    for column, axis in enumerate(axes):
        points = dataset.isel(point=np.flatnonzero(dataset["along"] == axis))
        size = points["size"].to_numpy()
        top, bottom = grid[0, column], grid[1, column]
        seconds = points["run_seconds"].to_numpy()
        top.plot(size, seconds, "o-", color=plotting.COLOURS[0], label="measured")
        top.plot(size, seconds[-1] * size / size[-1], "--", color=plotting.COLOURS[7], label="slope 1")
        for number, (name, label) in enumerate(
            (("predicted_bytes", "predicted"), ("resident_bytes", "resident at most, above the start's"))
        ):
            mebibytes = points[name].to_numpy() / 2**20
            bottom.plot(size, mebibytes, "o-", color=plotting.COLOURS[number], label=label)
        for ax in (top, bottom):
            ax.set(xscale="log", yscale="log")
        bottom.set_xlabel(axis)
    grid[0, 0].set_ylabel("seconds of run")
    grid[1, 0].set_ylabel("MiB")
    for row in grid[:, 0]:
        row.legend(frameon=False, fontsize=8)
    return figure


def process_at(axis: str, size: int) -> tuple[cj.engine.Process, int]:
    """Return the process and the number of members of a point."""
    if axis == "generations":
        plan = cj.make_plan(cj.REGIMES["replace"], size, _SAMPLES)
        return cj.make_recursion(cj.FAMILIES["gaussian"], plan), _LINEAGES
    if axis == "items":
        return perceptron_training(steps=128, prompts=4, items=size), 2
    return perceptron_training(steps=64, prompts=32), size


def run(axis: str, size: int) -> dict[str, float]:
    """Return the seconds of a run, the median of three where it is short, and its bytes, predicted and resident."""
    process, members = process_at(axis, size)
    resident = psutil.Process().memory_info().rss
    seconds: list[float] = []
    with compiled_once():
        while not seconds or (len(seconds) < _REPEATS and seconds[0] < _SHORT):
            swept = cj.sweep(process, {"seed": range(members)}, segment=process.num_steps, progress=False)
            seconds.append(json.loads(swept.attrs["provenance"])["run_seconds"])
    memory = json.loads(swept.attrs["provenance"]).get("memory", {})
    return {
        "run_seconds": statistics.median(seconds),
        # Of all devices: on a CPU they share the memory.
        "predicted_bytes": len(jax.devices()) * memory.get("predicted_bytes", np.nan),
        "limit_bytes": len(jax.devices()) * memory.get("limit_bytes", np.nan),
        "resident_bytes": _peak_resident() - resident,
    }


def _peak_resident() -> int:
    """Return the largest resident memory that this process had, in bytes; on Windows what it has now."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not `getrusage`, which on Linux begins with the peak of the process that started this one.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return 1024 * int(found.group(1))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().rss)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _in_child(axis: str, size: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", __name__, axis, str(size)], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{size} {axis}: the process of this point failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    use_all_cores()
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
