"""The loop over chunks of members and segments of steps: how many fit at once, where to go on, what to keep."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree
from tqdm.std import tqdm

from collapse_jax.engine import hosts
from collapse_jax.engine.checkpoint import Store
from collapse_jax.engine.devices import POPULATION
from collapse_jax.engine.keys import as_keys, is_key
from collapse_jax.engine.memory import capacity, gibibytes, is_out_of_memory, most_that_fit
from collapse_jax.engine.program import Compiled, Program
from collapse_jax.engine.stopping import deferred

_log = logging.getLogger(__name__)

Piece = dict[str, np.ndarray]
"""The records of one segment of one chunk: (member, step, ...) arrays."""
_TOO_MUCH = 2**61  # stands for the bytes of a program that can't even be compiled in the memory there is


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

    def total(self, chunk: int) -> int:
        """Return the number of segments of all chunks of so many members."""
        return self.segments * -(-self.members // chunk)

    def sizes(self, chunk: int) -> list[int]:
        """Return the number of members of each chunk of so many; the last one may have fewer."""
        return [min(chunk, self.members - start) for start in range(0, self.members, chunk)]

    def width(self, chunk: int) -> int:
        """Return the number of members of a chunk, padded to the devices."""
        parts: int = self.mesh.shape[POPULATION]
        return -(-chunk // parts) * parts


class Place(NamedTuple):
    """Where a segment stands: how many are done with it, of how many, and its first member."""

    done: int
    total: int
    member: int


Report: TypeAlias = Callable[[Place, Piece, bool], None]
"""Says that a segment is finished, or `restored`, if the sweep's directory had it."""


class Run(NamedTuple):
    """The records of all segments of all chunks, what they cost, and their members' final states.

    `programs_compiled` and `memory` (bytes of a device) are those of this call; `calls` and the seconds also count the
    earlier calls that ran to their end in the same directory. `finals` holds the states of each chunk, leaves (member,
    ...) on the host, or is None where they weren't asked for.
    """

    pieces: list[Piece]
    chunk: int
    programs_compiled: int
    compile_seconds: float
    run_seconds: float
    calls: int
    memory: dict[str, int]
    finals: list[PyTree] | None = None


def run_population(
    program: Program,
    layout: Layout,
    store: Store | None,
    *,
    max_members: int | None,
    finals: bool,
    progress: bool,
    report: Report,
) -> Run:
    """Run every member, or what the store's directory doesn't hold yet; `report` is called for every segment.

    With `finals` the final states come back too; they are kept in the directory, and where it has the records of a
    chunk without them, the chunk goes on from its last checkpoint.
    Without `max_members`, chunks are those that the directory began with, or as large as the devices' memory allows.
    Raises MemoryError, naming `max_members` and what fits, where the memory is too small.
    """
    chunk = store.chunk if store and max_members is None else None
    if max_members is not None:
        chunk = layout.chunk(max_members)
    pieces: list[Piece] = []
    states: list[PyTree] | None = [] if finals else None
    if store and chunk:
        store.start(chunk)
        pieces = store.read(layout.total(chunk))
        if finals:
            states = store.read_finals(program.state, layout.sizes(chunk), len(pieces) // layout.segments)
        if len(pieces) == layout.total(chunk) and (states is None or len(states) == len(layout.sizes(chunk))):
            _report_restored(layout, chunk, pieces, range(len(pieces)), report)
            compiling, running, calls = store.add_seconds(0.0, 0.0)
            return Run(pieces, chunk, 0, compiling, running, calls, {}, states)
    results = layout.members * (layout.steps * program.record_bytes + finals * program.state_bytes)
    what = "records and final states" if finals else "records"
    silent = not (progress and hosts.is_first())
    with tqdm(total=layout.segments, unit="segment", disable=silent, desc="compiling") as bar:
        bar.refresh()
        begin = time.perf_counter()
        chunk, compiled, count, memory = _compile(program, layout, chunk, results, what)
        compile_seconds = time.perf_counter() - begin
        if store:
            store.start(chunk)
        bar.total = layout.total(chunk)
        _log.info("compiled for %d members in %.1f s; they run in chunks of %d", layout.members, compile_seconds, chunk)
        bar.set_description(f"{layout.members} members")
        begin = time.perf_counter()
        try:
            _advance(compiled, layout, chunk, store, pieces, states, bar, report)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise _too_large(layout, chunk // 2, "it ran out") from error
        run_seconds = time.perf_counter() - begin
    calls = 1
    if store:
        compile_seconds, run_seconds, calls = store.add_seconds(compile_seconds, run_seconds)
    return Run(pieces, chunk, count, compile_seconds, run_seconds, calls, memory, states)


def _compile(
    program: Program, layout: Layout, chunk: int | None, results: int, what: str
) -> tuple[int, Compiled, int, dict[str, int]]:
    """Return the chunk, its program, how many programs were compiled, and the memory that the program needs.

    The chunk is the one given, or the largest that fits. `results` are the bytes that all records take on the host, or
    `what` else is kept there.
    """
    parts = layout.mesh.shape[POPULATION]
    data = _place_data(program)
    free, total = capacity(layout.mesh, results)
    free += data  # what is there already needs no room, and is part of what a program needs
    if total <= 0:
        raise MemoryError(
            f"the {what} of {layout.members} members take {gibibytes(results)}, more than the host has: record less, "
            "or fewer steps"
        )
    trials = _Trials(program, parts)

    def most(members: int, limit: int) -> int:
        return most_that_fit(
            trials.needed,
            lambda few: layout.width(layout.chunk(few * parts)) // parts,
            members,
            limit,
            least=program.member_bytes,
            data=data,
        )

    if chunk is None:
        whole = layout.width(layout.members) // parts
        # Memory that other programs hold now may be free soon: one member is tried if the whole device could hold it.
        fits = most(whole, free) or int(trials.needed(1) <= total)
        if not fits:
            raise _too_large(layout, 0, _compared(trials.needed(1), free))
        chunk = layout.chunk(fits * parts)
    else:
        members = layout.width(chunk) // parts
        needed = data + members * program.member_bytes  # at the least
        if needed > total or (needed := trials.needed(members)) > total:
            raise _too_large(layout, most(members - 1, total) * parts, _compared(needed, total))
    compiled = trials.compiled(layout.width(chunk) // parts)
    assert compiled is not None  # as it fits
    known = {"limit_bytes": total, "members": compiled.width // parts}
    memory = {} if compiled.memory is None else {"predicted_bytes": compiled.memory} | known
    return chunk, compiled, trials.programs, memory


class _Trials:
    """The programs compiled so far, by the number of members on a device."""

    def __init__(self, program: Program, parts: int) -> None:
        self._program, self._parts = program, parts
        self._known: dict[int, Compiled | None] = {}

    @property
    def programs(self) -> int:
        """How many programs were compiled, of two functions each."""
        return 2 * len(self._known)

    def compiled(self, members: int) -> Compiled | None:
        """Return the program of so many members a device, None if it took more memory than there is to compile it."""
        if members not in self._known:
            try:
                self._known[members] = self._program.compile(members * self._parts)
            except jax.errors.JaxRuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._known[members] = None
        return self._known[members]

    def needed(self, members: int) -> int:
        """Return the bytes of a device that so many members need: the highest number over all processes."""
        compiled = self.compiled(members)
        own = _TOO_MUCH if compiled is None else compiled.memory
        return -hosts.lowest(-(members * self._program.member_bytes if own is None else own))


def _place_data(program: Program) -> int:
    """Put the data on the devices and return their bytes on each. Raises MemoryError if a device can't hold them."""
    try:
        return program.place_data()
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError("the memory of a device does not hold the arrays that the process closes over") from error


def _compared(needed: int, limit: int) -> str:
    need = "more than there is to compile it" if needed >= _TOO_MUCH else gibibytes(needed)
    return f"{need} is needed, {gibibytes(limit)} is there"


def _too_large(layout: Layout, fits: int, why: str) -> MemoryError:
    if fits < 1:
        return MemoryError(
            f"the memory of a device does not hold one member: {why}. Let several devices share a member, with "
            "cj.engine.make_mesh(model=...), or make its model or its batches smaller"
        )
    return MemoryError(
        f"the memory of a device does not hold so many members at once: {why}. Give max_members={layout.chunk(fits)}, "
        "which fits"
    )


def _report_restored(layout: Layout, chunk: int, pieces: list[Piece], positions: range, report: Report) -> None:
    """Report the segments at some positions of `pieces`, which come from the directory."""
    for at in positions:
        report(Place(at + 1, layout.total(chunk), at // layout.segments * chunk), pieces[at], True)


def _advance(
    program: Compiled,
    layout: Layout,
    chunk: int,
    store: Store | None,
    pieces: list[Piece],
    finals: list[PyTree] | None,
    bar: tqdm,
    report: Report,
) -> None:
    """Append the records of every segment that is missing to `pieces`, and report all segments in order.

    The final states of every chunk that is missing are appended to `finals`, unless it is None.
    """
    for number, start in enumerate(range(0, layout.members, chunk)):
        first, end = number * layout.segments, (number + 1) * layout.segments
        if len(pieces) >= end and (finals is None or len(finals) > number):
            _report_restored(layout, chunk, pieces, range(first, end), report)
            continue
        members = np.minimum(np.arange(start, start + program.width), layout.members - 1)
        real = min(chunk, layout.members - start)
        hyper, seeds = program.place(members)
        position, state = store.restore(first, min(len(pieces), end), program, real) if store else (first, None)
        if state is None:
            state = program.init(hyper, seeds)
        elif real < program.width:
            # Rows that only fill up the devices may be restored as zeros, which are perhaps no state that a step can
            # take: they get states that `init` makes.
            state = _fill(state, program.init(hyper, seeds), real)
        del pieces[position:]
        if finals is not None:
            del finals[number:]
        _report_restored(layout, chunk, pieces, range(first, position), report)
        bar.n = position
        bar.refresh()
        with deferred(store is not None) as stop:
            for done in range(position + 1, end + 1):
                state, records, finite = program.advance(state, hyper, (done - 1 - first) * layout.segment)
                piece = {name: hosts.whole(values)[:real] for name, values in records.items()}
                piece["diverged"] = ~hosts.whole(finite)[:real]
                if finals is not None and done == end:
                    finals.append(jax.tree.map(partial(_on_host, real), state))
                    if store:
                        # Before the records of the segment: where these are, the states are there too.
                        store.save_final(number, finals[-1])
                if store:
                    own = hosts.own_rows(finite)
                    own = own[own < real]
                    # No run goes on from the end of a chunk, so the state there is not kept.
                    kept = state if done < end else None
                    store.save(done, {name: values[own] for name, values in piece.items()}, own, kept, program.width)
                pieces.append(piece)
                bar.update()
                report(Place(done, layout.total(chunk), start), piece, False)
                stop()


def _on_host(real: int, leaf: jax.Array) -> np.ndarray | jax.Array:
    """Return the first `real` rows of an array that is spread over devices, on the host; of keys, as keys."""
    if is_key(leaf):
        return as_keys(hosts.whole(jax.random.key_data(leaf))[:real], leaf)
    return hosts.whole(leaf)[:real]


@jax.jit
def _fill(state: PyTree, other: PyTree, real: Any) -> PyTree:
    """Return `state` with the rows from `real` on of `other`."""

    def one(leaf: jax.Array, new: jax.Array) -> jax.Array:
        there = jnp.arange(leaf.shape[0]) < real
        return jnp.where(there.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, new)

    filled: PyTree = jax.tree.map(one, state, other)
    return filled
