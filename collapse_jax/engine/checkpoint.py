"""The directory of a running sweep: what it computes, the records so far, and states to go on from.

`sweep.json` says what is computed and in which layout; `records/` holds a segment's records, a file for each process,
written before the segment's checkpoint; `checkpoints/` is Orbax's, in which each process writes the members it holds;
`finals/` holds the final states of a chunk, where they are asked for, written before the records of its last segment.
A kill at any moment leaves complete files; whatever came after the last complete checkpoint is computed again, to the
same bits. So is what was damaged: records and states carry checksums.
"""

import gc
import importlib
import json
import shutil
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np
from jaxtyping import PyTree

from collapse_jax.checks import numbers
from collapse_jax.engine import hosts
from collapse_jax.engine.checksum import checksum
from collapse_jax.engine.keys import as_keys, in_data, is_key
from collapse_jax.engine.program import Compiled
from collapse_jax.io.files import make_writable, write_atomically, write_json

_CHECKSUM, _MEMBERS, _RECORD = "checksum", "members", "record "
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class Store:
    """An open directory of one sweep, locked; positions count the segments completed, over all chunks."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        """Open `directory` for the sweep that `config` describes, all but its chunk.

        Raises ValueError if the directory holds another sweep, OSError if it can't be written or is in use.
        """
        self._directory, self._config = directory.absolute(), config
        self._records, self._checkpoints = self._directory / "records", self._directory / "checkpoints"
        self._finals = self._directory / "finals"
        self._lock = filelock.FileLock(self._directory / ".lock", timeout=0)
        # Imported with the first store, as most sweeps have none and it takes long.
        self._ocp = importlib.import_module("orbax.checkpoint")
        self._manager: Any = None
        hosts.in_first(self._open)
        self._chunk = hosts.of_first(_chunk_of(_read(self._directory)))

    @property
    def chunk(self) -> int | None:
        """How many members the sweep runs at once, None if it has not begun."""
        return self._chunk or None

    def _open(self) -> None:
        make_writable(self._directory)
        self._check(self._config)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise OSError(
                f"directory {self._directory} is in use by another run; wait for its end, or give another directory"
            ) from error
        try:
            self._check(self._config)  # again: another run may have begun and ended since
        except BaseException:
            self._lock.release()
            raise

    def _check(self, config: dict[str, Any]) -> None:
        there = _read(self._directory)
        if there is not None:
            _refuse_other(self._directory, there, config)
        # Hidden files are allowed: a kill in the middle of the first write leaves one behind.
        elif any(not entry.name.startswith(".") for entry in self._directory.iterdir()):
            raise ValueError(f"directory {self._directory} is not empty and holds no sweep; give an empty or a new one")

    def start(self, chunk: int) -> None:
        """Begin with chunks of so many members, or go on. Raises ValueError if the directory holds others."""
        config = self._config | {"chunk": chunk}

        def begin() -> None:
            self._check(config)
            if not self._chunk:
                write_json(self._directory / "sweep.json", config)
            make_writable(self._records)

        hosts.in_first(begin)
        self._chunk = chunk

    def read(self, total: int) -> list[dict[str, np.ndarray]]:
        """Return the records of each segment from the first one on, up to the first that is missing or damaged.

        At most those of `total` segments. Warns if records of later segments exist, as these are computed again.
        """
        known = [int(path.name[8:14]) for path in self._records.glob("segment-*.npz")]
        pieces: list[dict[str, np.ndarray]] = []
        while len(pieces) < total and (piece := self._piece(len(pieces) + 1)) is not None:
            pieces.append(piece)
        if len(pieces) < max(known, default=0):
            warnings.warn(
                f"the records {self._path(len(pieces) + 1)} are lost or damaged; they and what follows are computed "
                "again",
                stacklevel=6,
            )
        return pieces[: hosts.lowest(len(pieces))]

    def _piece(self, position: int) -> dict[str, np.ndarray] | None:
        # The number of processes is part of a file's name: a sweep that went on with another number of them may have
        # written the same records in several sets of files. Any complete set will do.
        for path in sorted(self._records.glob(f"segment-{position:06d}.0-of-*.npz")):
            parts = int(path.stem.rpartition("-")[2])
            try:
                archives = [_load(self._path(position, part, parts)) for part in range(parts)]
            except _DAMAGE:
                continue
            order = np.argsort(np.concatenate([archive[_MEMBERS] for archive in archives]))
            return {
                name.removeprefix(_RECORD): np.concatenate([archive[name] for archive in archives])[order]
                for name in archives[0].keys() - {_MEMBERS}
            }
        return None

    def save(
        self, position: int, records: dict[str, np.ndarray], members: np.ndarray, state: PyTree | None, width: int
    ) -> None:
        """Keep the records of the segment that ends at `position`, then the state there, unless it is None.

        Each process gives the records of those `members` that it holds; `state`, of `width` members, is spread over the
        devices of all processes.
        """
        named = {_MEMBERS: members} | {_RECORD + name: values for name, values in records.items()}

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, **named)

        write_atomically(self._path(position), write)
        if state is None:
            return
        sums = checksum(state, width)
        try:
            self._manage().save(position, args=self._ocp.args.StandardSave(_plain(state) | {_CHECKSUM: sums}))
        except Exception as error:
            raise OSError(
                f"could not write the checkpoint at segment {position} under {self._directory} ({error}); all before "
                "it is kept: make room and run the same sweep again"
            ) from error

    def save_final(self, number: int, state: PyTree) -> None:
        """Keep the final states of chunk `number`, leaves (member, ...) on the host; the first process writes them."""

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, **_plain(state))

        hosts.in_first(lambda: write_atomically(make_writable(self._finals) / _final_name(number), write))

    def read_finals(self, state: PyTree, sizes: list[int], complete: int) -> list[PyTree]:
        """Return the final states of each chunk from the first one on, up to the first that is missing or damaged.

        Chunks are of so many members as `sizes` says, whose states are as `state`. Warns if the records of more chunks
        are `complete`: these were swept without keeping states, or the file was lost, and are computed again.
        """
        found: list[PyTree] = []
        while len(found) < len(sizes) and (final := self._final(len(found), state, sizes[len(found)])) is not None:
            found.append(final)
        if len(found) < complete:
            warnings.warn(
                f"the final states {self._finals / _final_name(len(found))} are missing or damaged, of a sweep whose "
                "records are there; they and what follows are computed again",
                stacklevel=6,
            )
        return found[: hosts.lowest(len(found))]

    def _final(self, number: int, state: PyTree, members: int) -> PyTree | None:
        try:
            plain = _load(self._finals / _final_name(number))
            return _of_final(plain, state, members)
        except _DAMAGE:
            return None

    def restore(self, first: int, last: int, program: Compiled, real: int) -> tuple[int, PyTree | None]:
        """Return the position to go on from and the state there: those of the newest undamaged checkpoint.

        Only checkpoints after position `first` and up to position `last` are read; if none of them is undamaged,
        `first` and None come back. Only the checksums of the first `real` members are compared, because the remaining
        members of `program` just fill up the devices. Warns of every damaged checkpoint that was tried, and removes all
        checkpoints after the position returned.
        """
        found, state = first, None
        for position in sorted(self._manage().all_steps(), reverse=True):
            if first < position <= last and state is None:
                state = self._restored(position, program, real)
                found = first if state is None else position
        hosts.in_first(lambda: _remove_beyond(self._checkpoints, found))
        self._manage().reload()
        return found, state

    def _restored(self, position: int, program: Compiled, real: int) -> PyTree | None:
        sums = jax.ShapeDtypeStruct((program.width,), np.uint32, sharding=program.by_member)
        state, fault = None, ""
        try:
            plain = jax.tree.map(_as_stored, _plain(program.state) | {_CHECKSUM: sums})
            # Not strict, because members are padded to a multiple of the devices: on another number of devices the
            # arrays have another length. By the handler, because the manager waits for all processes, and a process
            # that finds damage would never arrive.
            path = self._checkpoints / str(position) / "default"
            saved = self._ocp.StandardCheckpointHandler().restore(
                path, args=self._ocp.args.StandardRestore(plain, strict=False)
            )
        except Exception as error:  # of any kind: Orbax and TensorStore raise many different ones for damaged files
            fault = (str(error) or type(error).__name__).splitlines()[0][:120]
        if fault:
            _forget_unfinished_reads()
        # All processes learn here whether one of them failed, so that they all take the same way from here on.
        if hosts.lowest(not fault):
            state = _typed(saved, program.state)
            if (hosts.whole(checksum(state, program.width)) == hosts.whole(saved[_CHECKSUM]))[:real].all():
                return state
            fault = "its checksums differ"
        warnings.warn(
            f"the checkpoint {self._checkpoints / str(position)} is damaged ({fault or 'in another process'}); "
            "going on from one before it",
            stacklevel=8,
        )
        return None

    def add_seconds(self, compiling: float, running: float) -> tuple[float, float, int]:
        """Add the seconds of a call that ran to its end; return the totals and the number of such calls.

        A call that was killed is not counted: the segments that it saved are kept, but nothing saved its seconds.
        """
        path = self._directory / "seconds.json"
        try:
            calls = [[float(a), float(b)] for a, b in json.loads(path.read_text())]
        except (OSError, ValueError, TypeError):
            calls = []
        if running:
            calls.append([compiling, running])
            hosts.in_first(lambda: write_json(path, calls))
        return sum(call[0] for call in calls), sum(call[1] for call in calls), len(calls)

    def close(self) -> None:
        """Release the directory, and the checkpoint manager's threads."""
        if self._manager is not None:
            self._manager.close()
        self._lock.release()

    def _manage(self) -> Any:
        if self._manager is None:
            options = self._ocp.CheckpointManagerOptions(max_to_keep=2, create=True, enable_async_checkpointing=False)
            self._manager = self._ocp.CheckpointManager(self._checkpoints, options=options)
        return self._manager

    def _path(self, position: int, part: int | None = None, parts: int | None = None) -> Path:
        part, parts = jax.process_index() if part is None else part, parts or jax.process_count()
        return self._records / f"segment-{position:06d}.{part}-of-{parts}.npz"


def _read(directory: Path) -> dict[str, Any] | None:
    path = directory / "sweep.json"
    if not path.exists():
        return None
    try:
        there = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not readable as JSON ({error}); give another directory") from error
    if not isinstance(there, dict):
        raise ValueError(f"{path} describes no sweep; give another directory")
    return there


def _chunk_of(there: dict[str, Any] | None) -> int:
    chunk = there.get("chunk") if there else 0
    if not numbers.is_whole(chunk) or chunk < bool(there):
        raise ValueError(f"sweep.json gives the chunk {chunk!r}, a whole number from 1 on; give another directory")
    return chunk


def _refuse_other(directory: Path, there: dict[str, Any], config: dict[str, Any]) -> None:
    for name, value in config.items():
        if there.get(name) != value:
            raise ValueError(
                f"directory {directory} holds another sweep: its {name} is {there.get(name)}, this one's is {value}; "
                "give another directory, or remove this one if its results are no longer wanted"
            )


def _load(path: Path) -> dict[str, np.ndarray]:
    # Opened here, because NumPy doesn't close a damaged file that it opened itself.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def _remove_beyond(checkpoints: Path, position: int) -> None:
    """Remove checkpoints after `position`, also incomplete ones, as Orbax refuses to write before its newest one."""
    for entry in checkpoints.iterdir():
        number = entry.name.partition(".")[0]
        if number.isdigit() and int(number) > position:
            shutil.rmtree(entry)


def _name(i: int) -> str:
    return f"leaf-{i:04d}"


def _plain(state: PyTree) -> dict[str, Any]:
    """Return the leaves as Orbax takes them: keys as their data, no empty arrays."""
    return {
        _name(i): jax.random.key_data(leaf) if isinstance(leaf, jax.Array) and is_key(leaf) else leaf
        for i, leaf in enumerate(jax.tree.leaves(state))
        if leaf.size
    }


def _as_stored(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Return the shape and type of a leaf in a checkpoint."""
    stored = in_data(leaf)
    return jax.ShapeDtypeStruct(stored.shape, stored.dtype, sharding=leaf.sharding)


def _final_name(number: int) -> str:
    return f"chunk-{number + 1:06d}.npz"


def _of_final(plain: dict[str, np.ndarray], state: PyTree, members: int) -> PyTree:
    """Return the final states of so many members from a file's arrays; ValueError or KeyError if these don't fit."""

    def leaf(i: int, one: jax.ShapeDtypeStruct) -> np.ndarray | jax.Array:
        stored = in_data(one)
        shape = (members, *stored.shape)
        values = plain[_name(i)] if one.size else np.zeros(shape, stored.dtype)
        # NumPy's files hold a type that is not its own, such as bfloat16, as bytes.
        values = (values if values.dtype == stored.dtype else values.view(stored.dtype)).reshape(shape)
        return as_keys(values, one) if is_key(one) else values

    leaves, structure = jax.tree.flatten(state)
    return jax.tree.unflatten(structure, [leaf(i, one) for i, one in enumerate(leaves)])


def _forget_unfinished_reads() -> None:
    """Collect the reads that Orbax left waiting when another of the same checkpoint failed.

    Python would end them at whatever moment it collects them, and each then complains of having been ended, in the
    midst of something else. Nothing of theirs is lost: the whole checkpoint is given up.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        gc.collect()
    finally:
        sys.unraisablehook = hook


def _typed(plain: dict[str, jax.Array], like: PyTree) -> PyTree:
    """Return stored leaves in the structure of `like`, keys typed again."""

    def leaf(i: int, one: jax.ShapeDtypeStruct) -> jax.Array:
        stored = _as_stored(one)
        data = plain[_name(i)] if one.size else hosts.put(np.zeros(stored.shape, stored.dtype), stored.sharding)
        return as_keys(data, one) if is_key(one) else data

    leaves, structure = jax.tree.flatten(like)
    return jax.tree.unflatten(structure, [leaf(i, one) for i, one in enumerate(leaves)])
