"""What `benchmark` says: the machine, a table of every way beside its bound, and how time and memory grow."""

import contextlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import psutil
import xarray as xr

from collapse_jax.io.files import write_atomically
from experiments.benchmark.roofline import LIMITS
from experiments.benchmark.workloads import LOOP, ONE_BY_ONE, POPULATION, WAYS
from experiments.shared.machine import cores, processor

_VERSIONS = ("jax", "jaxlib", "numpy", "torch")
_SCALES = {"operations": (1e9, "GFLOP/s"), "bytes": (1e9, "GB/s")}


def provenance(dtype: str) -> str:
    """Return the machine and the versions as JSON."""
    return json.dumps(
        {
            "cores": cores(),
            "memory_bytes": psutil.virtual_memory().total,
            "devices": [device.device_kind for device in jax.devices()],
            "processor": processor(),
            "dtype": dtype,
            "generator": str(jax.random.key_impl(jax.random.key(0))),
            "python": platform.python_version(),
            "versions": installed(_VERSIONS),
        }
    )


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def markdown(dataset: xr.Dataset) -> str:
    """Return the tables in Markdown: the machine and its limits, every piece of work, and growth where measured."""
    return "\n".join([*_machine(dataset), "", *_work(dataset), *_growth(dataset)])


def write(path: Path, part: str, text: str) -> None:
    """Put text between the marks `<!-- part -->` and `<!-- end of part -->` of a file.

    Raises FileNotFoundError without the file, ValueError without the marks.
    """
    if not path.exists():
        raise FileNotFoundError(f"path is {path}, which is not there: run this where BENCHMARKS.md is")
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before = path.read_text()
    found = re.search(f"{re.escape(begin)}.*{re.escape(end)}", before, re.DOTALL)
    if found is None:
        raise ValueError(f"path is {path}, which lacks the lines {begin} and {end}")
    after = f"{before[: found.start()]}{begin}\n{text}\n{end}{before[found.end() :]}"
    write_atomically(path, lambda temporary: temporary.write_text(after))


def _machine(dataset: xr.Dataset) -> list[str]:
    found = json.loads(dataset.attrs["provenance"])
    devices = ", ".join(f"{found['devices'].count(kind)} × {kind}" for kind in sorted(set(found["devices"])))
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    offered = []
    for name, what in LIMITS.items():
        scale, unit = _SCALES.get(name, (1e6, "million/s"))
        rates = dataset["limits"].sel(resource=name).to_numpy() / scale
        offered.append(f"{what} {rates.max():,.0f} {unit} (median {np.median(rates):,.0f})")
    return [
        f"Machine: {found['processor']}, {found['cores']} cores, {found['memory_bytes'] / 2**30:.0f} GiB; JAX devices "
        f"{devices}; Python {found['python']}, {versions}; random numbers by {found['generator']}.",
        f"Best of {dataset.sizes['repeat']} measurements, all devices at once, products in {found['dtype']}: "
        + "; ".join(offered)
        + ".",
    ]


def _work(dataset: xr.Dataset) -> list[str]:
    lines = [
        "| work | unit | loop, a second | one by one, jitted | population | to the loop (range) | bound, a second "
        "| binds | fraction of it | what holds it back |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dataset["work"].to_numpy():
        one = dataset.sel(work=name)
        rates = {way: one["speed"].sel(way=way) for way in WAYS}
        shown = [_number(float(rates[way].median())) for way in (LOOP, ONE_BY_ONE, POPULATION)]
        ratio = (rates[POPULATION] / rates[LOOP]).to_numpy()
        against = "" if np.isnan(ratio).any() else f"{np.median(ratio):.2g} ({ratio.min():.2g}–{ratio.max():.2g})"
        fraction = float(rates[POPULATION].median() / one["bound"])
        cells = [name, one["unit"].item(), *shown, against, _number(float(one["bound"]))]
        cells += [LIMITS[one["binding"].item()], f"{100 * fraction:.2g} %", one["holds_back"].item()]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _growth(dataset: xr.Dataset) -> list[str]:
    if "run_seconds" not in dataset:
        return []
    lines = [
        "",
        "| along | size | seconds of run | slope from the size before | predicted memory, MiB | resident, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for axis in np.unique(dataset["along"].to_numpy()):
        points = dataset.isel(point=np.flatnonzero(dataset["along"] == axis))
        sizes, seconds = points["size"].to_numpy(), points["run_seconds"].to_numpy()
        for i in range(len(sizes)):
            slope = f"{np.log(seconds[i] / seconds[i - 1]) / np.log(sizes[i] / sizes[i - 1]):.2f}" if i else ""
            memory = [_number(float(points[name][i]) / 2**20) for name in ("predicted_bytes", "resident_bytes")]
            lines.append(f"| {' | '.join([str(axis), str(sizes[i]), f'{seconds[i]:.3g}', slope, *memory])} |")
    return lines


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
