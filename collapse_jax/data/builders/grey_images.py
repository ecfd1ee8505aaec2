"""The builder of images: small grey ones with labels as a TFDS data set."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from collapse_jax.data.builders.base import ArrayRecordBuilder, SplitConfig, tfds
from collapse_jax.data.image_sources import ImageSource, digits_source, mnist_source
from collapse_jax.data.mnist_files import MNIST_URL
from collapse_jax.data.splitting import held_out_titles


@dataclasses.dataclass(eq=False)
class GreyImagesConfig(SplitConfig):
    """Images, a seed and the share to hold out; the last two have no effect where the images have a test split."""

    source: ImageSource = dataclasses.field(default_factory=digits_source)


class GreyImages(ArrayRecordBuilder):
    """Small grey images with labels as a TFDS dataset, in array_record files, which need no TensorFlow.

    `tfds.data_source("grey_images/digits")` and ".../mnist" work; other seeds, shares and images go in as
    `builder_kwargs={"config": GreyImagesConfig(seed=1)}`. Rows come shuffled; `index` restores their order.
    """

    # Part of the folder's name: raise it when the features change.
    VERSION = tfds.core.Version("1.0.0")
    NAMED = {
        "digits": lambda _: GreyImagesConfig(),
        "mnist": lambda data_dir: GreyImagesConfig(source=mnist_source(None, data_dir, MNIST_URL)),
    }
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in NAMED)

    def _info(self) -> Any:
        source = self.builder_config.source
        shape = (*source.pixels.shape[1:], 1)
        return self._dataset_info(
            {
                # Without an encoding, TFDS would store every pixel as an integer of 64 bits.
                "image": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
                "label": tfds.features.ClassLabel(names=source.class_names),
            }
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        config, source = self.builder_config, self.builder_config.source
        rows = [
            {"index": index, "image": image[..., None], "label": int(label)}
            for index, (image, label) in enumerate(zip(source.pixels, source.labels, strict=True))
        ]
        if source.held_out:
            start = len(rows) - source.held_out
            is_test = [index >= start for index in range(len(rows))]
        else:
            names = [str(index) for index in range(len(rows))]
            held_out = held_out_titles(names, config.seed, config.test_share)
            is_test = [name in held_out for name in names]
        if all(is_test):
            raise ValueError(
                f"test_share ({config.test_share}) leaves none of the {len(rows)} images of {source.name} to train on"
            )
        return {
            "train": self._generate_examples([row for row, test in zip(rows, is_test, strict=True) if not test]),
            "test": self._generate_examples([row for row, test in zip(rows, is_test, strict=True) if test]),
        }
