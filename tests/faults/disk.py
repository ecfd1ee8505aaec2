"""What lies on disk: whether every file with its final name is whole, how files are damaged, and a disk too small."""

import contextlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import orbax.checkpoint as ocp
import xarray as xr

from collapse_jax.io import results


def _read_records(path: Path) -> None:
    # NumPy leaves a file that it opened itself open, if that is no archive.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        dict(archive)


_READERS: dict[str, Callable[[Path], Any]] = {
    ".npz": _read_records,
    ".json": lambda path: json.loads(path.read_text()),
    ".nc": lambda path: results.load(path.parent),
    ".png": matplotlib.image.imread,
}


def half_written(folder: Path) -> dict[str, str]:
    """Return, by name, what is wrong with each file below `folder` that has its final name but can't be read whole.

    A checkpoint counts as one. Of checkpoints the newest two do: an older one may be on its way out.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in _READERS and not hidden and "checkpoints" not in path.parts:
            try:
                _READERS[path.suffix](path)
            except Exception as error:
                found[str(path.relative_to(folder))] = f"{type(error).__name__}: {error}"
        elif path.name == "checkpoints":
            found |= _broken_checkpoints(path)
    return found


def _broken_checkpoints(folder: Path) -> dict[str, str]:
    found = {}
    for path in newest_checkpoints(folder):
        try:
            # As NumPy arrays: a checkpoint of another number of devices is a whole one too.
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
                names = checkpointer.metadata(path / "default").item_metadata.tree
                checkpointer.restore(
                    path / "default", restore_args={name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
                )
        except Exception as error:
            found[f"checkpoint {path.name}"] = f"{type(error).__name__}: {error}"
    return found


def newest_checkpoints(folder: Path) -> list[Path]:
    """Return the folders of the two newest complete checkpoints, or of as many as there are, the newest first."""
    complete = [path for path in folder.iterdir() if path.name.isdigit()]
    return sorted(complete, key=lambda path: int(path.name), reverse=True)[:2]


def differences(ours: xr.Dataset, expected: xr.Dataset) -> list[str]:
    """Return the names of the variables and coordinates that differ, in any bit."""
    names = sorted({*ours.variables, *expected.variables}, key=str)
    return [str(name) for name in names if _bits(ours, name) != _bits(expected, name)]


def _bits(dataset: xr.Dataset, name: Any) -> Any:
    if name not in dataset.variables:
        return None
    values = dataset.variables[name]
    array = values.to_numpy()
    return values.dims, values.shape, str(array.dtype), array.tolist() if array.dtype == object else array.tobytes()


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """Make a folder for a trial; yield it and what takes a reason to keep it, without which it is removed."""
    folder.mkdir(parents=True)
    reasons: list[str] = []
    yield folder, reasons.append
    if reasons:
        (folder / "why.txt").write_text("\n".join(reasons) + "\n")
    else:
        shutil.rmtree(folder)


def truncate(path: Path, generator: random.Random) -> None:
    """Cut a file at a random byte before its end."""
    with path.open("r+b") as file:
        file.truncate(generator.randrange(max(path.stat().st_size, 1)))


def flip(path: Path, generator: random.Random) -> None:
    """Change a random byte of a file."""
    content = bytearray(path.read_bytes())
    if content:
        content[generator.randrange(len(content))] ^= generator.randrange(1, 256)
        path.write_bytes(content)


def empty(path: Path, generator: random.Random) -> None:
    """Take a file's content away."""
    path.write_bytes(b"")


def remove(path: Path, generator: random.Random) -> None:
    """Remove a file."""
    path.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "truncated": truncate,
    "with a byte changed": flip,
    "emptied": empty,
    "removed": remove,
}


def unseal(folder: Path) -> None:
    """Let files be written below `folder` again."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[int], bool] | None]:
    """Mount a disk of that size on `folder`; yield what gives it another size, or None where mounting is refused."""
    folder.mkdir(parents=True, exist_ok=True)

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return shutil.which("mount") is not None and not subprocess.run(command, capture_output=True).returncode

    if not mount(f"size={kilobytes}k"):
        yield None
        return
    try:
        yield lambda size: mount(f"remount,size={size}k")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
