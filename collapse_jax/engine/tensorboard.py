"""Curves of a sweep for TensorBoard, written while it runs."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.axes import SEED
from collapse_jax.engine.watching import MEMBER, OnSegment, Segment
from collapse_jax.packages import require


@checked
def to_tensorboard(folder: str | Path) -> OnSegment:
    """Return what writes curves into a folder that TensorBoard reads: give it to `sweep` as `on_segment`.

    Every combination of labels but the seed's is a run of its own, in a folder of that name: its curves are means over
    the seeds and over the axes that a record has of its own, of what is not NaN. Where chunks of members part the seeds
    of a run, each chunk after the first has a run too. A sweep that goes on writes its curves from the start, and what
    an earlier call wrote of them is hidden.

    Raises ModuleNotFoundError, when it is made, where tensorboardX is missing (`pip install tensorboardX`).
    """
    board = require("tensorboardX", "to_tensorboard")
    folder = Path(folder)
    began: dict[str, int] = {}

    def write(segment: Segment) -> None:
        first = int(segment.records[MEMBER][0])
        for run, members in _runs(segment.records).items():
            # The same labels in another chunk.
            name = run if began.setdefault(run, first) == first else f"{run or 'all'}, from member {first}"
            # Files are read by the second in which they were begun, then by their suffix. Each hides what is of its
            # steps or later ones in those before it: those of an earlier call may be of the same second.
            steps, suffix = _steps(members), f".{segment.done:06d}"
            options: dict[str, Any] = {"filename_suffix": suffix, "purge_step": int(steps[0])}
            with board.SummaryWriter(str(folder / name), **options) as writer:
                _write(writer, members)

    return write


def _runs(records: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the records of each combination of labels but the seed's, by its name; one run has no name."""
    axes = [str(name) for name, one in records.coords.items() if one.dims == (MEMBER,) and name not in (MEMBER, SEED)]
    columns = [[f"{name}={label}".replace("/", "_") for label in records[name].to_numpy().tolist()] for name in axes]
    members: dict[str, list[int]] = {}
    for member in range(records.sizes[MEMBER]):
        members.setdefault(", ".join(column[member] for column in columns), []).append(member)
    return {name: records.isel({MEMBER: own}) for name, own in members.items()}


def _steps(records: xr.Dataset) -> np.ndarray:
    return records[records["diverged"].dims[1]].to_numpy().astype(int)


def _write(writer: Any, members: xr.Dataset) -> None:
    time = members["diverged"].dims[1]
    for name, values in members.data_vars.items():
        means = values.astype(float).mean([dim for dim in values.dims if dim != time])
        for step, mean in zip(_steps(members), means.to_numpy(), strict=True):
            if np.isfinite(mean):
                writer.add_scalar(str(name), float(mean), int(step))
