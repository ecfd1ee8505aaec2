"""The builder of ranking sets: ranked prompts as a TFDS data set."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from collapse_jax.data.builders.base import ArrayRecordBuilder, SplitConfig, tfds
from collapse_jax.data.longform import longform
from collapse_jax.data.passages import Source, python_docs
from collapse_jax.data.ranking_recipe import TYPE_NAMES, ranking_rows
from collapse_jax.data.splitting import held_out_titles


@dataclasses.dataclass(eq=False)
class RankingSetsConfig(SplitConfig):
    """A source, a seed and the share of prompts to hold out."""

    source: Source = dataclasses.field(default_factory=python_docs)


class RankingSets(ArrayRecordBuilder):
    """Ranking sets as a TFDS dataset, in array_record files, which need no TensorFlow.

    `tfds.data_source("ranking_sets/python_docs")` and ".../longform" work; other sources, seeds and shares go in as
    `builder_kwargs={"config": RankingSetsConfig(source=...)}`. Rows come shuffled; `index` restores their order.
    """

    # Part of the folder's name: raise it when the recipe changes.
    VERSION = tfds.core.Version("1.0.0")
    NAMED = {
        "python_docs": lambda _: RankingSetsConfig(),
        "longform": lambda data_dir: RankingSetsConfig(source=longform(data_dir=data_dir)),
    }
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in NAMED)

    def _info(self) -> Any:
        return self._dataset_info(
            {
                "title": tfds.features.Text(),
                "prompt": tfds.features.Text(),
                "type": tfds.features.ClassLabel(names=TYPE_NAMES),
                "completions": tfds.features.Sequence(tfds.features.Text()),
            }
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        config = self.builder_config
        rows = list(ranking_rows(config.source, config.seed))
        if not rows:
            raise ValueError(f"source {config.source.name} has no passages")
        held_out = held_out_titles([row["title"] for row in rows], config.seed, config.test_share)
        splits = {
            "train": [row for row in rows if row["title"] not in held_out],
            "test": [row for row in rows if row["title"] in held_out],
        }
        for split, members in splits.items():
            if missing := set(TYPE_NAMES) - {row["type"] for row in members}:
                raise ValueError(
                    f"the {split} split of {config.source.name} has {len(members)} prompts and none of type "
                    f"{' or '.join(sorted(missing))}; change test_share ({config.test_share}) or seed ({config.seed}), "
                    "or add passages under more titles"
                )
        return {split: self._generate_examples(members) for split, members in splits.items()}
