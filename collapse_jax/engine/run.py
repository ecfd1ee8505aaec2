"""The loop over chunks of members and segments of steps: how many fit at once, where to go on, what to keep."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree
from tqdm.std import tqdm

from collapse_jax.devices import POPULATION
from collapse_jax.engine import hosts
from collapse_jax.engine.checkpoint import Store
from collapse_jax.engine.memory import capacity, fitting, gibibytes, is_out_of_memory
from collapse_jax.engine.program import Compiled, Program
from collapse_jax.engine.stopping import deferred

Piece = dict[str, np.ndarray]
"""The records of one segment of one chunk: (member, step, ...) arrays."""


class Layout(NamedTuple):
    """What is run: so many members and steps in so many segments, on the devices of a mesh."""

    members: int
    steps: int
    segment: int
    mesh: Mesh

    @property
    def segments(self) -> int:
        """The number of segments; the last may reach past the last step."""
        return -(-self.steps // self.segment)

    def chunk(self, most: int) -> int:
        """Return the size of the fewest equal chunks of at most `most` members.

        A last one that is nearly empty would cost as much as a full one.
        """
        return -(-self.members // -(-self.members // min(max(most, 1), self.members)))

    def width(self, chunk: int) -> int:
        """Return the number of members of a chunk, padded to the devices."""
        parts: int = self.mesh.shape[POPULATION]
        return -(-chunk // parts) * parts


class Run(NamedTuple):
    """The records of all segments of all chunks, and what it took to get them: in this call, or with those before."""

    pieces: list[Piece]
    chunk: int
    programs_compiled: int
    compile_seconds: float
    run_seconds: float
    calls: int
    memory: dict[str, int]


def run_population(
    program: Program, layout: Layout, store: Store | None, *, max_members: int | None, progress: bool
) -> Run:
    """Run every member, or what the store's directory doesn't hold yet.

    Without `max_members`, chunks are those that the directory began with, or as large as the devices' memory allows.
    Raises MemoryError, naming `max_members` and what fits, where the memory is too small.
    """
    chunk = store.chunk if store and max_members is None else None
    if max_members is not None:
        chunk = layout.chunk(max_members)
    pieces: list[Piece] = []
    if store and chunk:
        store.start(chunk)
        pieces = store.read(layout.segments * -(-layout.members // chunk))
        if len(pieces) == layout.segments * -(-layout.members // chunk):
            compiling, running, calls = store.add_seconds(0.0, 0.0)
            return Run(pieces, chunk, 0, compiling, running, calls, {})
    results = layout.members * layout.steps * program.record_bytes
    silent = not (progress and hosts.is_first())
    with tqdm(total=layout.segments, unit="segment", disable=silent, desc="compiling") as bar:
        bar.refresh()
        begin = time.perf_counter()
        chunk, compiled, count, memory = _compile(program, layout, chunk, results)
        compile_seconds = time.perf_counter() - begin
        if store:
            store.start(chunk)
        chunks = -(-layout.members // chunk)
        bar.total = chunks * layout.segments
        bar.set_description(f"{layout.members} members")
        begin = time.perf_counter()
        try:
            _advance(compiled, layout, chunk, store, pieces, bar)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise _too_large(layout, chunk // 2, "it ran out") from error
        run_seconds = time.perf_counter() - begin
    calls = 1
    if store:
        compile_seconds, run_seconds, calls = store.add_seconds(compile_seconds, run_seconds)
    return Run(pieces, chunk, count, compile_seconds, run_seconds, calls, memory)


def _compile(
    program: Program, layout: Layout, chunk: int | None, results: int
) -> tuple[int, Compiled, int, dict[str, int]]:
    """Return a chunk (the one given, or the largest that fits), its program, how many were compiled, the memory."""
    parts = layout.mesh.shape[POPULATION]
    free, total = capacity(layout.mesh, results)
    if total <= 0:
        raise MemoryError(
            f"the records of {layout.members} members take {gibibytes(results)}, more than the host has: record less, "
            "or fewer steps"
        )
    given = chunk is not None
    limit = total if given else free
    chunk = chunk or layout.chunk(max(free // program.member_bytes, 1) * parts)
    compiled, count = program.compile(layout.width(chunk)), 2
    while compiled.memory is not None and compiled.memory > limit:
        if compiled.width == parts and compiled.memory <= total:
            break  # what others hold now they may give back
        fits, more = _fitting(program, compiled, parts, limit)
        if given or fits < 1:
            raise _too_large(layout, fits, f"{gibibytes(compiled.memory)} are needed, {gibibytes(limit)} are there")
        chunk = layout.chunk(min(fits, chunk - 1))
        compiled, count = program.compile(layout.width(chunk)), count + more + 2
    known = {"limit_bytes": total, "members": compiled.width // parts}
    return chunk, compiled, count, {} if compiled.memory is None else {"predicted_bytes": compiled.memory} | known


def _fitting(program: Program, compiled: Compiled, parts: int, limit: int) -> tuple[int, int]:
    """Return how many members fit, where those of `compiled` don't, and how many programs it took to find out."""

    def needed(members: int) -> int:
        return program.compile(members * parts).memory or 0

    members, more, fits = compiled.width // parts, 0, 1
    if members > 2 and compiled.memory is not None:
        # Two points give the line. One member alone lies below it: a loop over one holds no copies.
        fits, more = fitting(limit, (2, needed(2)), (members, compiled.memory)), 2
    if fits < 2:
        fits, more = int(members > 1 and needed(1) <= limit), more + 2
    return fits * parts, more


def _too_large(layout: Layout, fits: int, why: str) -> MemoryError:
    if fits < 1:
        return MemoryError(
            f"the memory of a device does not hold one member: {why}. Let several devices share a member, with "
            "cj.make_mesh(model=...), or make its model or its batches smaller"
        )
    return MemoryError(
        f"the memory of a device does not hold so many members at once: {why}. Give max_members={layout.chunk(fits)}, "
        "which fits"
    )


def _advance(
    program: Compiled, layout: Layout, chunk: int, store: Store | None, pieces: list[Piece], bar: tqdm
) -> None:
    """Append the records of every segment that is missing to `pieces`."""
    for number, start in enumerate(range(0, layout.members, chunk)):
        first, end = number * layout.segments, (number + 1) * layout.segments
        if len(pieces) >= end:
            continue
        members = np.minimum(np.arange(start, start + program.width), layout.members - 1)
        real = min(chunk, layout.members - start)
        hyper, seeds = program.place(members)
        position, state = store.restore(first, len(pieces), program, real) if store else (first, None)
        if state is None:
            state = program.init(hyper, seeds)
        elif real < program.width:
            # Rows that only fill the devices up may have come back as zeros, on which a step may do anything.
            state = _fill(state, program.init(hyper, seeds), real)
        del pieces[position:]
        bar.n = position
        bar.refresh()
        with deferred(store is not None) as stop:
            for done in range(position + 1, end + 1):
                state, records, finite = program.advance(state, hyper, (done - 1 - first) * layout.segment)
                piece = {name: hosts.whole(values)[:real] for name, values in records.items()}
                piece["diverged"] = ~hosts.whole(finite)[:real]
                if store:
                    own = hosts.own_rows(finite)
                    own = own[own < real]
                    # Nobody goes on from the last segment of a chunk: its records are all that is kept.
                    kept = state if done < end else None
                    store.save(done, {name: values[own] for name, values in piece.items()}, own, kept, program.width)
                pieces.append(piece)
                bar.update()
                stop()


@jax.jit
def _fill(state: PyTree, other: PyTree, real: Any) -> PyTree:
    """Return `state` with the rows from `real` on of `other`."""

    def one(leaf: jax.Array, new: jax.Array) -> jax.Array:
        there = jnp.arange(leaf.shape[0]) < real
        return jnp.where(there.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, new)

    filled: PyTree = jax.tree.map(one, state, other)
    return filled
