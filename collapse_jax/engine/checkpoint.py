"""The directory of a running sweep: what it computes, the records so far, and the state to go on from.

`sweep.json` says what is computed and in which layout; `records/` holds a file a segment, written before the segment's
checkpoint; `checkpoints/` is Orbax's. A kill at any moment leaves the last complete checkpoint and all records before
it; whatever came later is computed again, to the same bits.
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from collapse_jax.files import make_writable, write_atomically, write_json


class Store:
    """An open directory of one sweep; positions count the segments completed, over all chunks."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        """Open `directory` for the sweep that `config` describes, or start it there.

        Raises ValueError if the directory holds another sweep, OSError if it can't be written.
        """
        self._directory = make_writable(directory.absolute())
        path = self._directory / "sweep.json"
        if path.exists():
            _refuse_other(path, config)
        # A hidden file is what a kill in the middle of the first write leaves behind.
        elif any(not entry.name.startswith(".") for entry in self._directory.iterdir()):
            raise ValueError(f"directory {directory} is not empty and holds no sweep; give an empty or a new one")
        else:
            write_json(path, config)
        self._records = make_writable(self._directory / "records")
        self._manager = ocp.CheckpointManager(
            self._directory / "checkpoints",
            options=ocp.CheckpointManagerOptions(max_to_keep=2, create=True, enable_async_checkpointing=False),
        )

    def position(self) -> int:
        """Return the position of the last complete checkpoint, 0 if there is none."""
        return self._manager.latest_step() or 0

    def save(self, position: int, records: dict[str, np.ndarray], state: PyTree) -> None:
        """Keep the records of the segment that ends at `position`, then the state there (host arrays)."""

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, **records)

        write_atomically(self._path(position), write)
        try:
            self._manager.save(position, args=ocp.args.StandardSave(_plain(state)))
        except Exception as error:
            raise OSError(
                f"could not write the checkpoint at segment {position} under {self._directory} ({error}); all before "
                "it is kept: make room and run the same sweep again"
            ) from error

    def restore(self, position: int, like: PyTree) -> PyTree:
        """Return the state at `position`, host arrays of the structure and types of `like`."""
        plain = self._manager.restore(position, args=ocp.args.StandardRestore(_plain(like)))
        leaves, structure = jax.tree.flatten(like)
        for i, old in enumerate(leaves):
            if old.size:
                leaf = plain[_name(i)]
                leaves[i] = jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(old)) if _is_key(old) else leaf
        return jax.tree.unflatten(structure, leaves)

    def records(self, position: int) -> dict[str, np.ndarray]:
        """Return the records of the segment that ends at `position`."""
        with np.load(self._path(position), allow_pickle=False) as archive:
            return dict(archive)

    def add_seconds(self, compiling: float, running: float) -> tuple[float, float, int]:
        """Add the seconds of a call that ran to its end; return the totals and the number of such calls.

        A call that was killed isn't counted: its segments are, its seconds are lost.
        """
        path = self._directory / "seconds.json"
        calls: list[list[float]] = json.loads(path.read_text()) if path.exists() else []
        if running:
            calls.append([compiling, running])
            write_json(path, calls)
        return sum(call[0] for call in calls), sum(call[1] for call in calls), len(calls)

    def close(self) -> None:
        """Release the checkpoint manager's threads."""
        self._manager.close()

    def _path(self, position: int) -> Path:
        return self._records / f"segment-{position:06d}.npz"


def _refuse_other(path: Path, config: dict[str, Any]) -> None:
    try:
        there = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not readable as JSON ({error}); give another directory") from error
    if not isinstance(there, dict):
        raise ValueError(f"{path} describes no sweep; give another directory")
    for name, value in config.items():
        if there.get(name) != value:
            raise ValueError(
                f"directory {path.parent} holds another sweep: its {name} is {there.get(name)}, this one's is {value}; "
                "give another directory, or remove this one if its results are no longer wanted"
            )


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _name(i: int) -> str:
    return f"leaf-{i:04d}"


def _plain(state: PyTree) -> dict[str, np.ndarray]:
    """Return the leaves as Orbax takes them: no keys, no empty arrays, and never none at all."""
    return {"none": np.zeros(1)} | {
        _name(i): np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for i, leaf in enumerate(jax.tree.leaves(state))
        if leaf.size
    }
