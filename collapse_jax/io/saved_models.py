"""Trained models on disk: a folder with the tensors in a safetensors file and everything else in a JSON beside it.

Reading runs no code and unpickles nothing. The JSON holds its own digest and that of the other file, so that whatever
changed since the model was saved is told, and a table of the tensors, so that what is missing or misshapen is told by
name.
"""

import glob
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from collapse_jax.checks import numbers
from collapse_jax.io.files import make_writable
from collapse_jax.io.tensors import TYPES

CONFIG, TENSORS = "config.json", "model.safetensors"
_FORMAT, _VERSION = "collapse_jax", 1
_LARGEST_CONFIG = 2**28


class Saved(NamedTuple):
    """What a folder holds: the configuration that was given, and the tensors by the names of their paths."""

    config: dict[str, Any]
    tensors: dict[str, np.ndarray]


def save_folder(
    folder: str | os.PathLike[str],
    kind: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    overwrite: bool,
) -> Path:
    """Write a model of some `kind` to a folder, whole or not at all; return the folder.

    Both files are written to a hidden folder beside it, which then gets its name. A model that is there is replaced if
    `overwrite`. Raises ValueError for a folder that exists and is not empty, or that holds something else than a saved
    model; and for a configuration that JSON can't hold; OSError, naming the folder, if it can't be written.
    """
    target = Path(folder).absolute()
    _require_free(target, overwrite)
    content = safetensors.numpy.save(dict(tensors))
    described = {
        "format": _FORMAT,
        "version": _VERSION,
        "kind": kind,
        "library": _library(),
        **config,
        "tensors": {name: {"dtype": one.dtype.name, "shape": list(one.shape)} for name, one in tensors.items()},
        "file": {"name": TENSORS, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
    }
    try:
        plain = json.loads(json.dumps(described, allow_nan=False, default=_plain))
        text = json.dumps(plain | {"digest": digest(plain)}, indent=1, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"the configuration can't be written as JSON: {error}") from error
    make_writable(target.parent)
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:80]}-"))
        _write(temporary / TENSORS, content)
        _write(temporary / CONFIG, text.encode())
        temporary.chmod(0o755)
        _put_in_place(temporary, target)
    except OSError as error:
        message = f"could not save the model in {target} ({error.strerror or error}); it is left as it was"
        raise OSError(*filter(None, [error.errno]), message) from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def load_folder(folder: str | os.PathLike[str], kind: str) -> Saved:
    """Return what `save_folder` wrote, unchanged since.

    Raises FileNotFoundError where there is no such folder or file in it, ValueError, naming the file, for one that is
    damaged, of another version or of another kind, or whose tensors are not those that it names.
    """
    path = Path(folder)
    config = _read_config(path, kind)
    tensors = _read_tensors(path / TENSORS, config)
    return Saved(config, tensors)


def digest(config: Mapping[str, Any]) -> str:
    """Return the sha256 of all entries of a configuration but its own digest, however they are laid out."""
    content = {name: value for name, value in config.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def holds_model(folder: Path) -> bool:
    """Return whether a folder holds a saved model, of whatever kind and version."""
    try:
        return bool(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["format"] == _FORMAT)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _require_free(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise ValueError(f"folder {target} exists and is no folder; give another")
    if not any(target.iterdir()):
        return
    strange = sorted(entry.name for entry in target.iterdir() if entry.name not in (CONFIG, TENSORS))
    if strange or not holds_model(target):
        found = (
            f"holds {', '.join(strange[:3])}, which is no part of a saved model" if strange else "holds no saved model"
        )
        raise ValueError(f"folder {target} {found}; it is left as it is: give an empty or a new one")
    if not overwrite:
        raise ValueError(f"folder {target} holds a saved model; give another, or overwrite=True to replace it")


def _put_in_place(temporary: Path, target: Path) -> None:
    """Give a complete folder its name; a folder that has it is put aside first and removed last."""
    if not target.exists():
        temporary.rename(target)
        return
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=_aside_prefix(target)))
    try:
        target.rename(aside)
        temporary.rename(target)
    except OSError:
        if not target.exists():
            aside.rename(target)
        else:
            aside.rmdir()  # still empty
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _put_aside(folder: Path) -> str:
    """Return where the model lies whose replacing was stopped between the two renames, empty if there is none."""
    target = folder.absolute()
    for aside in sorted(target.parent.glob(f"{glob.escape(_aside_prefix(target))}*")) if not target.exists() else ():
        if holds_model(aside):
            return f"; the one that was to be replaced when saving was killed is whole: rename {aside} to {target}"
    return ""


def _aside_prefix(target: Path) -> str:
    return f".{target.name[:80]}-old-"


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)


def _read_config(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no saved model: there is no {CONFIG} in it{_put_aside(folder)}")
    if path.stat().st_size > _LARGEST_CONFIG:
        raise ValueError(f"{path} is damaged: {path.stat().st_size} bytes are more than any saved model's")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable as JSON ({error or type(error).__name__})") from None
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        raise ValueError(f"{path} describes no model that this library saved")
    if not numbers.is_whole(config.get("version")) or config["version"] != _VERSION:
        raise ValueError(
            f"{path} is of version {config.get('version')!r:.20}; this library reads version {_VERSION}: load it with "
            f"the library that wrote it, {config.get('library')!r:.20}"
        )
    if config.get("digest") != digest(config):
        raise ValueError(f"{path} has changed since it was saved: its digest is that of other entries")
    if config.get("kind") != kind:
        raise ValueError(f"{path} describes a {config.get('kind')!r:.40}, not a {kind!r}")
    table, file = config.get("tensors"), config.get("file")
    if not isinstance(table, dict) or not isinstance(file, dict):
        raise ValueError(f"{path} is damaged: it has no table of tensors")
    return config


def _read_tensors(path: Path, config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the model can't be loaded without it")
    size, known = path.stat().st_size, config["file"]
    if size != known.get("bytes"):
        what = (
            "is truncated" if isinstance(known.get("bytes"), int) and size < known["bytes"] else "is not what was saved"
        )
        raise ValueError(f"{path} {what}: it has {size} bytes, {known.get('bytes')!r:.20} were written")
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != known.get("sha256"):
        raise ValueError(
            f"{path} has changed since it was saved: its sha256 is {found}, not {known.get('sha256')!r:.70}"
        )
    try:
        entries = safetensors.deserialize(content)
    except Exception as error:  # The package raises no narrower one.
        raise ValueError(f"{path} is no safetensors file ({error})") from None
    tensors = {}
    for name, entry in entries:
        dtype = TYPES.get(entry["dtype"])
        if dtype is None:
            raise ValueError(f"{path} has {name!r} of the type {entry['dtype']}, which is not read here")
        tensors[name] = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
    _compare(path, {name: {"dtype": one.dtype.name, "shape": list(one.shape)} for name, one in tensors.items()}, config)
    return tensors


def _compare(path: Path, found: dict[str, Any], config: Mapping[str, Any]) -> None:
    """Raise ValueError, naming it, for a tensor that is not in the table of the configuration, or not as there."""
    table = config["tensors"]
    if missing := [name for name in table if name not in found]:
        raise ValueError(f"{path} lacks the tensor {missing[0]!r}, which {CONFIG} names")
    if unexpected := [name for name in found if name not in table]:
        raise ValueError(f"{path} has the unexpected tensor {unexpected[0]!r:.80}, which {CONFIG} does not name")
    for name, entry in found.items():
        if table[name] != entry:
            raise ValueError(f"{path} has {name!r} as {_shown(entry)}; {CONFIG} has it as {_shown(table[name])}")


def _shown(entry: Any) -> str:
    return (
        f"{entry['dtype']}{entry['shape']}"
        if isinstance(entry, dict) and {"dtype", "shape"} <= set(entry)
        else f"{entry!r:.60}"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r:.80} is no number, string, list or dict")


def _library() -> str:
    try:
        return importlib.metadata.version("collapse-jax")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # run from a checkout that is not installed
