"""MNIST's four idx files: found, downloaded, read and checked against one another."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from collapse_jax.data.download import download, downloads
from collapse_jax.data.idx import read_idx

__all__ = ()

MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
CLASSES = 10

# The kinds of files, with their numbers of axes.
_KINDS = {"images": 3, "labels": 1}
_SPLITS = ("train", "t10k")


def mnist_arrays(
    folder: str | os.PathLike[str] | None, data_dir: str | os.PathLike[str] | None, url: str
) -> tuple[UInt8[np.ndarray, "sample height width"], UInt8[np.ndarray, " sample"], int]:
    """Return pixels, labels, and how many of the last images are the test split: 0 where there is one split alone.

    Raises as `mnist` does.
    """
    root = Path(folder) if folder is not None else _find_or_download(downloads(data_dir), url)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; name one with MNIST's files, or use digits()")
    files = {(split, kind): _file(root, split, kind) for split in _SPLITS for kind in _KINDS}
    splits = [split for split in _SPLITS if any(files[split, kind] for kind in _KINDS)]
    if not splits:
        raise FileNotFoundError(
            f"{root}: no {_name('train', 'images')} or {_name('t10k', 'images')} there, plain or .gz; "
            "digits() needs no files"
        )
    read = [_read_split(root, split, files[split, "images"], files[split, "labels"]) for split in splits]
    shapes = [images.shape[1:] for images, _ in read]
    if len(set(shapes)) > 1:
        raise ValueError(f"{root}: the training images have the shape {shapes[0]}, the test images {shapes[1]}")
    held_out = len(read[1][1]) if len(read) == 2 else 0
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*read, strict=True))
    return pixels, labels, held_out


def _read_split(
    root: Path, split: str, images_file: Path | None, labels_file: Path | None
) -> tuple[UInt8[np.ndarray, "sample height width"], UInt8[np.ndarray, " sample"]]:
    if images_file is None or labels_file is None:
        missing = _name(split, "labels" if images_file else "images")
        raise FileNotFoundError(f"{root}: {missing} is missing, plain or .gz; images and labels come in pairs")
    images, labels = read_idx(images_file, _KINDS["images"]), read_idx(labels_file, _KINDS["labels"])
    if len(images) != len(labels):
        raise ValueError(f"{images_file} has {len(images)} images, {labels_file} has {len(labels)} labels")
    if (bad := np.flatnonzero(labels >= CLASSES)).size:
        raise ValueError(
            f"{labels_file}: the label at byte {8 + bad[0]} is {labels[bad[0]]}; it must be 0 to {CLASSES - 1}"
        )
    return images, labels


def _name(split: str, kind: str) -> str:
    return f"{split}-{kind}-idx{_KINDS[kind]}-ubyte"


def _file(root: Path, split: str, kind: str) -> Path | None:
    name = _name(split, kind)
    # Some mirrors put a dot before "idx".
    names = [name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"]
    return next((root / name for name in names if (root / name).is_file()), None)


def _find_or_download(folder: Path, url: str) -> Path:
    manual, target = folder / "manual" / "mnist", folder / "mnist"
    if manual.is_dir() and any(_file(manual, split, kind) for split in _SPLITS for kind in _KINDS):
        return manual
    advice = f"put its files into {manual}, or use the offline default, digits()"
    for split in _SPLITS:
        for kind in _KINDS:
            name = f"{_name(split, kind)}.gz"
            if not (target / name).exists():
                download("MNIST", url + name, target / name, advice=advice)
    return target
