"""The builder of corpora: titled documents as a TFDS data set."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from collapse_jax.data.builders.base import ArrayRecordBuilder, SplitConfig, tfds
from collapse_jax.data.passages import Passage, Source, python_docs
from collapse_jax.data.splitting import held_out_titles

__all__ = ["Documents", "DocumentsConfig"]

_PART = 10


@dataclasses.dataclass(eq=False)
class DocumentsConfig(SplitConfig):
    """A source, a seed and the share of passages to hold out."""

    source: Source = dataclasses.field(default_factory=python_docs)
    test_share: float = 0.1


class Documents(ArrayRecordBuilder):
    """Titled documents as a TFDS dataset, in array_record files, which need no TensorFlow.

    `tfds.data_source("documents/python_docs")` works; other sources, seeds and shares go in as
    `builder_kwargs={"config": DocumentsConfig(source=...)}`. Rows come shuffled; `index` restores their order.
    """

    # Part of the folder's name: raise it when documents are made in another way.
    VERSION = tfds.core.Version("1.0.0")
    NAMED = {"python_docs": lambda _: DocumentsConfig()}
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in NAMED)

    def _info(self) -> Any:
        return self._dataset_info({"title": tfds.features.Text(), "text": tfds.features.Text()})

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        config = self.builder_config
        documents: dict[str, list[str]] = {}
        passages = in_parts(tuple(dict.fromkeys(config.source.passages)))
        for title, text in passages:
            documents.setdefault(title, []).append(text)
        if len(documents) < 2:
            raise ValueError(
                f"source {config.source.name} has {len(passages)} passages under {len(documents)} titles; "
                f"a split needs two titles, or one with more than {_PART} passages"
            )
        held_out = held_out_titles([title for title, _ in passages], config.seed, config.test_share)
        if len(held_out) == len(documents):
            raise ValueError(
                f"test_share ({config.test_share}) leaves none of the {len(documents)} documents of "
                f"{config.source.name} to train on; lower it, or add passages under more titles"
            )
        rows = [
            {"index": index, "title": title, "text": "\n".join(texts)}
            for index, (title, texts) in enumerate(documents.items())
        ]
        return {
            "train": self._generate_examples([row for row in rows if row["title"] not in held_out]),
            "test": self._generate_examples([row for row in rows if row["title"] in held_out]),
        }


def in_parts(passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
    """Return the passages of a single title as those of its parts, ten in a row, so that they can be split."""
    if len({passage.title for passage in passages}) != 1:
        return passages
    return tuple(
        Passage(f"{title} (part {number // _PART + 1})", text) for number, (title, text) in enumerate(passages)
    )
