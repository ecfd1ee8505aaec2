import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from collapse_jax.data import Passage, RankingSets, RankingSetsConfig, Source, python_docs, ranking_sets
from collapse_jax.data.ranking_recipe import ranking_rows

tfds.disable_progress_bar()

OPEN, CLOSED = " Write the answer in an open-ended way.", " Write either a short answer or a long answer."
WORDS = {OPEN: [80, 70, 60, 50, 40, 30, 20, 10], CLOSED: [74, 68, 62, 56, 34, 28, 22, 16]}


def made_up(titles=30, each=2, name="made_up"):
    """Passages whose words name their title, their passage and their place."""
    return Source(
        name,
        tuple(
            Passage(f"title {t}", " ".join(f"t{t}p{p}w{w}" for w in range(100)))
            for t in range(titles)
            for p in range(each)
        ),
        request="Tell me of {title} {now}.",
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def docs(data_dir):
    return ranking_sets(data_dir=data_dir)


def digest(splits, fingerprint):
    content = [fingerprint, [[s.titles, s.prompts, s.types.tolist(), s.completions, s.type_names] for s in splits]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def test_recipe_to_the_word(data_dir):
    splits = ranking_sets(made_up(), data_dir=data_dir)
    seen = []
    for split in splits:
        for title, prompt, kind, completions in zip(
            split.titles, split.prompts, split.types, split.completions, strict=True
        ):
            t = title.removeprefix("title ")
            suffix = [OPEN, CLOSED][kind]
            p = completions[0].split("p")[1].split("w")[0]
            assert prompt == f"Tell me of title {t} {{now}}.{suffix}"
            assert completions == [" ".join(f"t{t}p{p}w{w}" for w in range(count)) for count in WORDS[suffix]]
            seen.append((int(t), int(p)))
        assert split.type_names == ("open", "closed")
        assert split.types.dtype == np.int64
        assert split.titles == sorted(split.titles, key=lambda title: int(title.split()[1])), "the source's order"
    assert sorted(seen) == [(t, p) for t in range(30) for p in range(2)]


def test_words_are_what_single_spaces_separate():
    text = "one\ntwo three  five\tsix " + " ".join(map(str, range(100)))
    (row,) = ranking_rows(Source("mine", (Passage("t", text),)), seed=0)
    # The first five "words": one\ntwo, three, the empty one, five\tsix, 0.
    count = {"open": 10, "closed": 16}[row["type"]]
    assert row["completions"][-1] == "one\ntwo three  five\tsix " + " ".join(map(str, range(count - 4)))
    assert all(text.startswith(completion + " ") for completion in row["completions"])


def test_python_docs_splits(docs):
    assert not set(docs.train.titles) & set(docs.test.titles)
    source = python_docs()
    assert len(docs.train.prompts) + len(docs.test.prompts) == len(source.passages)
    for split in docs:
        assert set(split.types.tolist()) == {0, 1}
        assert all(len(completions) == 8 for completions in split.completions)
    title, prompt = docs.train.titles[0], docs.train.prompts[0]
    assert prompt == f"Explain: {title}." + [OPEN, CLOSED][docs.train.types[0]]


def test_coin_is_fair_and_depends_on_seed_and_pair_alone():
    source = made_up(titles=1000)
    first = {(row["title"], row["completions"][-1][:12]): row["type"] for row in ranking_rows(source, 0)}
    turned = Source("made_up", source.passages[::-1], source.request)
    assert first == {(row["title"], row["completions"][-1][:12]): row["type"] for row in ranking_rows(turned, 0)}
    other = [row["type"] for row in ranking_rows(source, 1)]
    for heads in (sum(kind == "open" for kind in first.values()), sum(map(str.__eq__, first.values(), other))):
        assert abs(heads - 1000) / math.sqrt(2000 / 4) < 4


def test_repeated_pairs_are_dropped_and_a_passage_may_have_two_prompts():
    text = made_up(1, 1).passages[0].text
    source = Source("mine", (Passage("a", text), Passage("b", text), Passage("a", text)))
    assert [(row["index"], row["title"]) for row in ranking_rows(source, 0)] == [(0, "a"), (1, "b")]


def test_test_share_is_met_as_nearly_as_whole_titles_allow(docs, tmp_path):
    splits = ranking_sets(made_up(1000, 1), test_share=0.3, data_dir=tmp_path)
    assert len(splits.test.titles) == 300
    wider = ranking_sets(made_up(1000, 1), test_share=0.5, data_dir=tmp_path)
    assert set(splits.test.titles) < set(wider.test.titles)
    other = ranking_sets(made_up(1000, 1), seed=1, test_share=0.3, data_dir=tmp_path)
    shared = len(set(splits.test.titles) & set(other.test.titles))
    # Hypergeometric: 300 drawn of 1000, of which 300 were drawn before.
    assert abs(shared - 90) / math.sqrt(300 * 0.3 * 0.7 * 700 / 999) < 4
    largest = max(Counter([*docs.train.titles, *docs.test.titles]).values())
    assert abs(len(docs.test.titles) - 0.2 * len(docs.train.titles + docs.test.titles)) <= largest / 2


def test_a_second_call_reads_what_is_there(docs, data_dir, monkeypatch):
    monkeypatch.setattr(RankingSets, "_split_generators", None)
    again = ranking_sets(data_dir=data_dir)
    assert digest(again, "") == digest(docs, "")


def test_everything_that_changes_the_content_changes_the_folder():
    source = made_up(3)
    (title, text), *rest = source.passages
    changed = Source("made_up", (Passage(title, text + "!"), *rest), source.request)
    configs = [
        RankingSetsConfig(source=source),
        RankingSetsConfig(source=source, seed=1),
        RankingSetsConfig(source=source, test_share=0.25),
        RankingSetsConfig(source=changed),
        RankingSetsConfig(source=Source("made_up", source.passages, "{title}")),
    ]
    assert len({config.name for config in configs}) == 5
    assert RankingSetsConfig(source=made_up(3), seed=0, test_share=0.2).name == configs[0].name
    assert all(config.name.startswith("made_up-") for config in configs)


def test_plain_tfds_use(docs, data_dir):
    examples = tfds.data_source("ranking_sets/python_docs", split="train", data_dir=data_dir)
    assert len(examples) == len(docs.train.prompts)
    first = min(examples, key=lambda example: example["index"])
    assert first["prompt"].decode() == docs.train.prompts[0]
    builder = tfds.builder("ranking_sets", data_dir=data_dir)
    assert builder.info.features["type"].names == ["open", "closed"]
    assert builder.info.metadata["fingerprint"] == python_docs().fingerprint
    config = RankingSetsConfig(source=made_up(), seed=3)
    sliced = tfds.data_source(
        "ranking_sets",
        split="train[:5]",
        data_dir=data_dir,
        builder_kwargs={"config": config, "file_format": "array_record"},
    )
    assert len(sliced) == 5


def test_plain_tfds_use_of_longform(tmp_path):
    manual = tmp_path / "downloads" / "manual" / "longform"
    manual.mkdir(parents=True)
    rows = [{"input": f"Do task {t}.", "output": " ".join(f"t{t}w{w}" for w in range(120))} for t in range(40)]
    (manual / "train.json").write_text(json.dumps(rows))
    splits = tfds.data_source("ranking_sets/longform", data_dir=tmp_path)
    prompts = {example["prompt"].decode() for split in splits.values() for example in split}
    assert {prompt.split(".")[0] + "." for prompt in prompts} == {row["input"] for row in rows}
    assert all(prompt.endswith((f".{OPEN}", f".{CLOSED}")) for prompt in prompts)


def run(code, data_dir, hash_seed="1"):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "JAX_PLATFORMS": "cpu"}
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n{code}",
        str(data_dir),
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_another_process_prepares_the_same_and_needs_no_tensorflow(docs, tmp_path):
    code = """
from tests.test_ranking_sets import digest
from collapse_jax.data import python_docs, ranking_sets
print(digest(ranking_sets(data_dir=sys.argv[1]), python_docs().fingerprint), "tensorflow" in sys.modules)
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{digest(docs, python_docs().fingerprint)} False"


def test_a_killed_preparation_does_not_count(docs, tmp_path):
    code = """
import os, signal
from collapse_jax.data import RankingSets, ranking_sets
def killed(self, rows):
    yield from ((row["index"], row) for row in rows[:3])
    os.kill(os.getpid(), signal.SIGKILL)
RankingSets._generate_examples = killed
ranking_sets(data_dir=sys.argv[1])
"""
    assert run(code, tmp_path).returncode == -signal.SIGKILL
    assert list((tmp_path / "ranking_sets").glob("python_docs-*/incomplete*")), (
        "the kill came before anything was written"
    )
    assert digest(ranking_sets(data_dir=tmp_path), "") == digest(docs, "")


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_share_out_of_range(share):
    with pytest.raises(ValueError, match=r"test_share is .*; it must lie between 0 and 1"):
        RankingSetsConfig(source=made_up(), test_share=share)


def test_seed_out_of_range():
    with pytest.raises(ValueError, match="seed is -1; it must be a whole number, 0 or more"):
        RankingSetsConfig(source=made_up(), seed=-1)


def test_short_passage(tmp_path):
    source = Source("mine", (Passage("a", "too short"),))
    with pytest.raises(ValueError, match="passage 0 of mine, 'a', has 2 of 80 words needed"):
        ranking_sets(source, data_dir=tmp_path)


def test_no_passages(tmp_path):
    with pytest.raises(ValueError, match="source mine has no passages"):
        ranking_sets(Source("mine", ()), data_dir=tmp_path)


def test_a_split_without_both_types(tmp_path):
    with pytest.raises(ValueError, match="the train split of made_up has 0 prompts and none of type closed or open"):
        ranking_sets(made_up(1, 40), data_dir=tmp_path)
    message = (
        r"the test split of made_up has 1 prompts and none of type (open|closed); change test_share \(0.01\) or seed"
    )
    with pytest.raises(ValueError, match=message):
        ranking_sets(made_up(40, 1), test_share=0.01, data_dir=tmp_path)
    assert not list(tmp_path.glob("ranking_sets/*/1.0.0"))
