"""Does a sweep survive SIGKILL: killed in the midst and called again, it must end in the bits of one left in peace.

Each call is a process of its own, which alone holds the device. First with the folder of compiled programs, so that
both sweeps run the same ones; then without, where a GPU's compiler may choose other kernels for another directory.

    python -m experiments.benchmark.stages.surviving training DIRECTORY RECORDS.npz
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.stages import NotMet, Row, Values

USES_DEVICE = False
_NAME = "experiments.benchmark.stages.surviving"
_SEGMENTS = {"training": 12, "recursion": 12}
_MEMBERS = 16
_KILL_AT = 0.4  # share of the segments that are saved when the blow falls


def rows(small: bool, folder: Path) -> list[Row]:
    """Return one row for each kind of sweep."""
    asked = [("training", True), ("training", False), ("recursion", True)][: 1 if small else None]
    return [
        Row(f"{kind}, {'same programs' if kept else 'compiled anew'}", 120.0, partial(_killed, kind, folder, kept))
        for kind, kept in asked
    ]


def sweep(kind: str, directory: Path, records: Path) -> None:
    """Sweep on the device, saving each segment, and write the records."""
    import collapse_jax as cj
    from experiments.benchmark.reward_workloads import perceptron_training

    if kind == "training":
        process = perceptron_training(steps=2 * _SEGMENTS[kind], prompts=8, records=_SEGMENTS[kind])
    else:
        plan = cj.make_plan(cj.REGIMES["accumulate"], _SEGMENTS[kind], 200)
        process = cj.make_recursion(cj.families.gaussian(4), plan)
    # Side by side, as an accelerator does by default.
    swept = cj.sweep(
        process,
        {"seed": range(_MEMBERS)},
        directory=directory,
        segment=1,
        vmap_members=_MEMBERS,
        progress=False,
    )
    arrays: dict[str, Any] = {str(name): values.to_numpy() for name, values in swept.data_vars.items()}
    np.savez(records, **arrays)


def _killed(kind: str, folder: Path, kept: bool) -> Values:
    """Return when the blow fell. Raises NotMet where records differ from those of a sweep left in peace."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        place = Path(own)
        _call(kind, place / "peace", place / "peace.npz", kept)
        saved = _strike(kind, place / "struck", place / "struck.npz", kept)
        _call(kind, place / "struck", place / "struck.npz", kept)
        with np.load(place / "peace.npz") as peace, np.load(place / "struck.npz") as struck:
            differ = {
                name: float(np.nanmax(abs(peace[name].astype(float) - struck[name].astype(float))))
                for name in peace.files
                if peace[name].tobytes() != struck[name].tobytes()
            }
    values: dict[str, str | float | list[float]] = {
        "segments": float(_SEGMENTS[kind]),
        "saved at the kill": float(saved),
        "bits": "the same" if not differ else "different",
    }
    if differ:
        told = ", ".join(f"{name} by up to {most:.3g}" for name, most in differ.items())
        raise NotMet(f"records differ: {told}", values)
    return values


def _strike(kind: str, directory: Path, records: Path, kept: bool) -> int:
    """Start a sweep and kill it once a share of its segments is saved; return how many were."""
    child = _start(kind, directory, records, kept)
    try:
        while child.poll() is None and _saved(directory) < _KILL_AT * _SEGMENTS[kind]:
            time.sleep(0.002)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    if records.exists() or child.returncode != -signal.SIGKILL:
        raise OSError(f"the sweep ended with status {child.returncode} before it was killed")
    return _saved(directory)


def _saved(directory: Path) -> int:
    return len(list((directory / "records").glob("*"))) if (directory / "records").is_dir() else 0


def _call(kind: str, directory: Path, records: Path, kept: bool) -> None:
    """Run a sweep to its end. Raises OSError where it fails."""
    child = _start(kind, directory, records, kept)
    if child.wait():
        raise OSError(f"the sweep ended with status {child.returncode}; what it said is in the log of this stage")


def _start(kind: str, directory: Path, records: Path, kept: bool) -> "subprocess.Popen[bytes]":
    own = {name: value for name, value in os.environ.items() if kept or name != "JAX_COMPILATION_CACHE_DIR"}
    # In this process's group, which ends with it where the stage runs over its time.
    return subprocess.Popen([sys.executable, "-m", _NAME, kind, str(directory), str(records)], env=own)


if __name__ == "__main__":
    sweep(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
