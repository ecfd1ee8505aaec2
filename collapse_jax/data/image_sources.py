"""Where images come from, with the digits that are at hand: what a data set on disk is prepared of."""

import dataclasses
import functools
import hashlib
import json
import os

import numpy as np
from jaxtyping import UInt8

from collapse_jax.data.mnist_files import mnist_arrays

__all__ = ()

DIGIT_NAMES = tuple("0123456789")


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSource:
    """Images of `levels + 1` grey levels; the last `held_out` are the test split; if that is 0, a seeded draw is."""

    name: str
    pixels: UInt8[np.ndarray, "sample height width"] = dataclasses.field(repr=False)
    labels: UInt8[np.ndarray, " sample"] = dataclasses.field(repr=False)
    levels: int
    held_out: int = 0
    class_names: tuple[str, ...] = DIGIT_NAMES

    @functools.cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that change with every part of the content."""
        parts = [self.name, self.pixels.shape, self.levels, self.held_out, self.class_names]
        digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16)
        digest.update(self.pixels.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


def digits_source() -> ImageSource:
    """Return scikit-learn's images, 17 grey levels each."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return ImageSource("digits", bunch.images.astype(np.uint8), bunch.target.astype(np.uint8), levels=16)


def mnist_source(
    folder: str | os.PathLike[str] | None, data_dir: str | os.PathLike[str] | None, url: str
) -> ImageSource:
    """Return the images of `mnist`, 256 grey levels each."""
    pixels, labels, held_out = mnist_arrays(folder, data_dir, url)
    return ImageSource("mnist", pixels, labels, levels=255, held_out=held_out)
