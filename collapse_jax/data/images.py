"""Images with labels, prepared as a TFDS data set: real handwritten digits, small at hand offline or MNIST's."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.data.image_sources import ImageSource, digits_source, mnist_source
from collapse_jax.data.mnist_files import MNIST_URL
from collapse_jax.data.splitting import uniform


class Images(NamedTuple):
    """Images in [0, 1], float32, with the class of each, an index into `class_names`."""

    images: Float[np.ndarray, "sample height width 1"]
    labels: Int[np.ndarray, " sample"]
    class_names: tuple[str, ...]


class ImageSplits(NamedTuple):
    """Images to train on, and others to test on."""

    train: Images
    test: Images


@checked
def digits(*, seed: int = 0, test_share: float = 0.2, data_dir: str | os.PathLike[str] | None = None) -> ImageSplits:
    """Return scikit-learn's 1,797 handwritten digits of 8 by 8 pixels, at hand offline; prepared once, then from disk.

    `data_dir` is TFDS's, by default ~/tensorflow_datasets. Raises ValueError for a seed below 0 and a `test_share` that
    is not between 0 and 1. Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    return _image_splits(digits_source(), seed, test_share, data_dir)


@checked
def mnist(
    folder: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    test_share: float = 0.2,
    data_dir: str | os.PathLike[str] | None = None,
    url: str = MNIST_URL,
) -> ImageSplits:
    """Return MNIST (LeCun et al., 1998), 28 by 28 pixels, from its idx files, plain or .gz, under their usual names.

    They lie in `folder`, by default in `<data_dir>/downloads/manual/mnist` or else among the downloads, where they are
    put if need be (12 MB). All four files make the official splits; a folder with the two of one split does as well,
    and is split by `seed` and `test_share`. Raises FileNotFoundError for missing files, ValueError with file and byte
    for bad ones, and ConnectionError within seconds where `url`, the mirror, is out of reach.
    """
    return _image_splits(mnist_source(folder, data_dir, url), seed, test_share, data_dir)


@checked
def minority(images: Images, label: int | Sequence[int], share: float, *, seed: int = 0) -> Images:
    """Return as many of the images as possible such that the class or classes `label` have a `share` of them.

    Only the minority or only the rest is thinned out, by a seeded draw: whatever is kept for a smaller number is also
    kept for a larger one. The order stays. The share is met as nearly as whole images allow. Raises ValueError for a
    share that is not between 0 and 1, for unknown classes, and where one side would have no image.

    >>> ten = Images(np.zeros((10, 1, 1, 1), np.float32), np.arange(10) % 2, ("even", "odd"))
    >>> minority(ten, 1, 1 / 6).labels.tolist()
    [0, 0, 0, 1, 0, 0]
    """
    wanted = sorted({label} if isinstance(label, int) else set(label))
    if not wanted or wanted[0] < 0 or wanted[-1] >= len(images.class_names):
        raise ValueError(f"label is {label}; it must be one or more of 0 to {len(images.class_names) - 1}")
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; it must lie between 0 and 1, both excluded")
    chosen = np.isin(images.labels, wanted)
    have, others = int(chosen.sum()), int((~chosen).sum())
    minor = min(have, round(others * share / (1 - share)))
    major = min(others, round(have * (1 - share) / share))
    if not (minor and major):
        raise ValueError(
            f"share is {share} and label {label}: {have} images of it and {others} others leave {minor} and {major}; "
            "neither may be 0"
        )
    keep = _drawn(chosen, minor, seed) | _drawn(~chosen, major, seed)
    return Images(images.images[keep], images.labels[keep], images.class_names)


def _drawn(among: Bool[np.ndarray, " sample"], count: int, seed: int) -> Bool[np.ndarray, " sample"]:
    places = np.flatnonzero(among)
    order = np.argsort([uniform(seed, "minority", str(place)) for place in places])
    drawn = np.zeros_like(among)
    drawn[places[order[:count]]] = True
    return drawn


def _image_splits(
    source: ImageSource, seed: int, test_share: float, data_dir: str | os.PathLike[str] | None
) -> ImageSplits:
    from collapse_jax.data.builders import GreyImages, GreyImagesConfig, read_splits

    config = GreyImagesConfig(source=source, seed=seed, test_share=test_share)
    splits = read_splits(GreyImages(config=config, data_dir=data_dir))
    return ImageSplits(**{split: _images(rows, source) for split, rows in splits.items()})


def _images(rows: list[dict[str, Any]], source: ImageSource) -> Images:
    images = np.stack([row["image"] for row in rows]).astype(np.float32) / np.float32(source.levels)
    return Images(images, np.array([row["label"] for row in rows], np.int64), source.class_names)
