"""What the TFDS builders here share: array_record files, which need no TensorFlow, prepared and read without noise."""

import contextlib
import dataclasses
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from collapse_jax.data.passages import python_docs
from collapse_jax.packages import require

__all__ = ["read_splits"]

tfds: Any = require("tensorflow_datasets", "a data set on disk")
for _module in ("importlib_resources", "array_record"):
    # TFDS imports them only when it writes: too late for an error that says what to install.
    require(_module, "a data set on disk")


@runtime_checkable
class Content(Protocol):
    """What a data set is made of."""

    @property
    def name(self) -> str:
        """A name that can be part of a folder's name."""

    @property
    def fingerprint(self) -> str:
        """A text that changes with every part of the content."""


@dataclasses.dataclass(eq=False)
class SplitConfig(tfds.core.BuilderConfig):  # type: ignore[misc]
    """Everything that the content of the splits depends on; a hash of it is in the name, and so in the folder's."""

    name: str = dataclasses.field(init=False)
    source: Content = dataclasses.field(default_factory=python_docs)
    seed: int = 0
    test_share: float = 0.2

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must be a whole number, 0 or more")
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share is {self.test_share}; it must lie between 0 and 1, both excluded")
        content = f"{self.source.fingerprint} {self.seed} {float(self.test_share)!r}"
        self.name = f"{self.source.name}-{blake2b(content.encode(), digest_size=6).hexdigest()}"


class ArrayRecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[misc,call-arg]
    """A builder whose examples are dictionaries with a whole number `index`, their place in the source.

    `NAMED` maps each plain name to a function of the data folder that returns the configuration which the name stands
    for on this machine today; the first name is the default.
    """

    NAMED: ClassVar[Mapping[str, Callable[[str | os.PathLike[str] | None], SplitConfig]]]

    def __init__(
        self,
        *,
        config: str | tfds.core.BuilderConfig | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        file_format: str = "array_record",
        **kwargs: Any,
    ) -> None:
        name = next(iter(self.NAMED)) if config is None else config if isinstance(config, str) else config.name
        if name in self.NAMED:
            config = self.NAMED[name](data_dir)
        super().__init__(config=config, data_dir=data_dir, file_format=file_format, **kwargs)

    def _create_builder_config(self, builder_config: Any, version: Any) -> Any:
        # TFDS would log a warning about a custom configuration each time.
        if isinstance(builder_config, SplitConfig):
            return builder_config
        return super()._create_builder_config(builder_config, version=version)

    def _dataset_info(self, features: dict[str, Any]) -> Any:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"index": np.int64, **features}),
            metadata=tfds.core.MetadataDict(
                source=config.source.name,
                fingerprint=config.source.fingerprint,
                seed=config.seed,
                test_share=config.test_share,
            ),
        )

    def _generate_examples(self, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        # The key decides in which order TFDS shuffles the rows.
        yield from ((row["index"], row) for row in rows)


def read_splits(builder: ArrayRecordBuilder) -> dict[str, list[dict[str, Any]]]:
    """Return a data set's examples by split, in their source's order; prepared once, then read from disk."""
    # TFDS prints about downloads and unknown sizes, although nothing here takes long. Errors are still raised.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        builder.download_and_prepare()
    return {
        split: sorted(builder.as_data_source(split), key=lambda row: int(row["index"])) for split in builder.info.splits
    }
