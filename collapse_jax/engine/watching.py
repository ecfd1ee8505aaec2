"""Looking at a sweep while it runs: every finished segment is handed out, outside the compiled program."""

import logging
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from collapse_jax.engine import hosts
from collapse_jax.engine.axes import Population
from collapse_jax.engine.process import Process
from collapse_jax.engine.run import Layout, Piece, Place, Report

_log = logging.getLogger(__name__)
MEMBER = "member"


class Segment(NamedTuple):
    """A finished segment of a sweep.

    `records` holds what was recorded in its steps, with the dimensions of the results but for the population's: these
    are one, `member`, whose coordinates are the labels of all axes. Members that don't fit in memory at once run in
    chunks, one after the other: a segment has the members of one. `done` of `total` segments are finished, over all
    chunks, and `restored` tells those that a sweep found in its directory from those that it has run.
    """

    records: xr.Dataset
    done: int
    total: int
    restored: bool


@runtime_checkable
class OnSegment(Protocol):
    """What is done with every finished segment: a line in a file, a point in a curve that somebody watches."""

    def __call__(self, segment: Segment, /) -> object:
        """Look at a segment; what is returned is not used, what is raised stops the sweep."""


def make_report(process: Process, population: Population, layout: Layout, on_segment: OnSegment | None) -> Report:
    """Return what the run calls for each of its segments in order: it logs a line and calls `on_segment`.

    Of several processes the first one does; if `on_segment` raises there, all of them stop. Raises ValueError where an
    axis of the process has the name of that of the members.
    """
    own = {dim for names in process.dims.values() for dim in names}
    if on_segment is not None and MEMBER in {process.time, *process.coords, *own, *population.labels}:
        raise ValueError(f"on_segment gets segments with a dimension {MEMBER!r}; this process has one of that name")

    def report(place: Place, piece: Piece, restored: bool) -> None:
        start = (place.done - 1) % layout.segments * layout.segment
        steps = slice(start, min(start + layout.segment, layout.steps))
        if hosts.is_first():
            seen = "restored" if restored else "done"
            _log.info("segment %d of %d %s: %s %d", place.done, place.total, seen, process.time, steps.stop)
        if on_segment is not None:
            coords = xr.Dataset(coords={process.time: np.arange(process.num_steps), **process.coords})
            records = _labelled(process, population, piece, place.member, coords.isel({process.time: steps}))
            _call(on_segment, Segment(records, place.done, place.total, restored))

    return report


def _labelled(process: Process, population: Population, piece: Piece, first: int, coords: xr.Dataset) -> xr.Dataset:
    """Return the records of members from the first on, of steps whose coordinates are given."""
    steps = coords.sizes[process.time]
    members = np.arange(first, first + len(piece["diverged"]))
    place = np.unravel_index(members, population.shape)
    labels = {name: (MEMBER, labels[at]) for (name, labels), at in zip(population.labels.items(), place, strict=True)}
    variables = {
        name: ((MEMBER, process.time, *process.dims.get(name, ())), values[:, :steps]) for name, values in piece.items()
    }
    return coords.assign_coords({MEMBER: members, **labels}).assign(variables)


def _call(on_segment: OnSegment, segment: Segment) -> None:
    failure: Exception | None = None
    if hosts.is_first():
        try:
            on_segment(segment)
        except Exception as error:
            error.add_note(
                f"on_segment raised this at segment {segment.done} of {segment.total}; with a directory the same sweep "
                "goes on from there, and hands this segment out again"
            )
            failure = error
    if not hosts.lowest(failure is None):
        raise failure or RuntimeError("on_segment raised in the first process of this run; its message tells why")
