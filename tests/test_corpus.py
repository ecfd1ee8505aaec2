"""Corpora and the sources made for them: documents by title, whole and in order, in splits that share no title."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from collapse_jax.data import (
    Documents,
    DocumentsConfig,
    Passage,
    RankingSetsConfig,
    Source,
    corpus,
    python_docs,
    ranking_sets,
    tiny_shakespeare,
    train_bpe,
    wikitext,
)

tfds.disable_progress_bar()

DATA = Path(os.environ.get("COLLAPSE_DATA_DIR", Path(__file__).resolve().parents[1] / "../shared/data"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def docs(data_dir):
    return corpus(data_dir=data_dir)


def made_up(titles=20):
    first = [Passage(f"t{t}", f"first of {t}\x00") for t in range(titles)]
    return Source("made_up", (*first, Passage("t3", "é\nlast \x00"), Passage("t3", "é\nlast \x00")))


def digest(splits):
    content = [train_bpe(splits.train.texts, size=300).name, [[split.titles, split.texts] for split in splits]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


# corpus


def test_documents_are_the_passages_of_a_title(data_dir):
    splits = corpus(made_up(), test_share=0.25, data_dir=data_dir)
    found = dict(zip(splits.train.titles + splits.test.titles, splits.train.texts + splits.test.texts, strict=True))
    expected = {f"t{t}": f"first of {t}\x00" for t in range(20)}
    expected["t3"] += "\né\nlast \x00"  # once, as the other is its repetition
    assert found == expected
    for split in splits:
        assert list(split.titles) == sorted(split.titles, key=lambda title: int(title[1:])), "the source's order"


def test_python_docs_are_split_by_title_as_the_ranking_sets_are(docs, data_dir):
    source = python_docs()
    words = Counter(word for passage in source.passages for word in passage.text.split())
    assert Counter(word for split in docs for text in split.texts for word in text.split()) == words
    assert not set(docs.train.titles) & set(docs.test.titles)
    passages = Counter(passage.title for passage in source.passages)
    held_out = sum(passages[title] for title in docs.test.titles)
    assert abs(held_out - 0.1 * len(source.passages)) <= max(passages.values()) / 2
    ranked = ranking_sets(seed=3, test_share=0.15, data_dir=data_dir)
    assert set(ranked.test.titles) == set(corpus(seed=3, test_share=0.15, data_dir=data_dir).test.titles)


def test_a_second_call_reads_what_is_there(docs, data_dir, monkeypatch):
    monkeypatch.setattr(Documents, "_split_generators", None)
    assert corpus(data_dir=data_dir) == docs


def test_plain_tfds_use(docs, data_dir):
    examples = tfds.data_source("documents/python_docs", split="train", data_dir=data_dir)
    first = min(examples, key=lambda example: example["index"])
    assert (first["title"].decode(), first["text"].decode()) == (docs.train.titles[0], docs.train.texts[0])
    assert tfds.builder("documents", data_dir=data_dir).info.metadata["fingerprint"] == python_docs().fingerprint


def test_everything_that_changes_the_content_changes_the_folder():
    configs = [
        DocumentsConfig(source=made_up()),
        DocumentsConfig(source=made_up(21)),
        DocumentsConfig(source=made_up(), seed=1),
        DocumentsConfig(source=made_up(), test_share=0.2),
    ]
    assert len({config.name for config in configs}) == 4
    # One rule names both, by content alone.
    assert configs[3].name == RankingSetsConfig(source=made_up()).name


@pytest.mark.slow
def test_another_process_prepares_the_same_and_needs_no_tensorflow(docs, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from tests.test_corpus import corpus, digest\n"
        "print(digest(corpus(data_dir=sys.argv[1])), 'tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{digest(docs)} False"


def test_corpora_that_can_not_be_split(tmp_path):
    with pytest.raises(ValueError, match="source mine has 0 passages under 0 titles; a split needs two titles"):
        corpus(Source("mine", ()), data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"source made_up has [0-9]+ passages under 1 titles"):
        corpus(Source("made_up", made_up().passages[:1]), data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"test_share \(0\.9\) leaves none of the 2 documents of made_up to train on"):
        corpus(Source("made_up", made_up().passages[:2]), test_share=0.9, data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"test_share is 1\.0; it must lie between 0 and 1"):
        corpus(made_up(), test_share=1.0)
    assert not list(tmp_path.glob("documents/*/1.0.0"))


# tiny_shakespeare


def play(speeches=400, words=30):
    """Speeches of two lines and so many words by five speakers, with an empty speech and an odd blank line."""
    return "\n\n".join(
        f"SPEAKER {number * number % 5}:\n" + " ".join(f"s{number}w{w}" for w in range(words)) + f"\nend of {number}."
        for number in range(speeches)
    ).replace("\n\nSPEAKER 1:", "\n\nMUTE:\n\n\nSPEAKER 1:", 1)


def test_speeches_become_passages_and_parts(tmp_path):
    (tmp_path / "play.txt").write_text(play() + "\n")
    source = tiny_shakespeare(tmp_path / "play.txt")
    speeches = play().replace("\n\n\n", "\n\n").split("\n\n")
    joined = "\n\n".join(passage.text for passage in source.passages)
    assert joined == "\n\n".join(speeches[: joined.count("\n\n") + 1]), "nothing is lost, and nothing said twice"
    assert 401 - 4 < len(joined.split("\n\n")) <= 401, "only what is too short for a passage is left out"
    for passage in source.passages:
        assert len(passage.text.split(" ")) >= 100
        assert len("\n\n".join(passage.text.split("\n\n")[:-1]).split(" ")) < 100, "joined no longer than needed"
    titles = [passage.title for passage in source.passages]
    assert [title.split(":")[0] for title in titles] == [f"Part {1 + n // 10}" for n in range(len(titles))]
    first = Counter(re.findall(r"^(.+):$", "\n".join(p.text for p in source.passages[:10]), re.MULTILINE))
    assert titles[0] == "Part 1: " + ", ".join(name for name, _ in first.most_common(3))
    assert "{title}" in source.request
    assert ranking_sets(source, data_dir=tmp_path).test.prompts


def test_shakespeare_errors(tmp_path):
    file = tmp_path / "play.txt"
    file.write_text("ONE:\nHello.\n\n\nno speaker\nhere\n")
    with pytest.raises(ValueError, match=r"play\.txt, line 5: 'no speaker' does not begin a speech as 'NAME:' does"):
        tiny_shakespeare(file)
    file.write_text("\n\nNo speaker either.\n")
    with pytest.raises(ValueError, match=r"play\.txt, line 3: 'No speaker either\.' does not"):
        tiny_shakespeare(file)
    file.write_text(play(3))
    with pytest.raises(ValueError, match=r"play\.txt: its speeches do not make a passage of 100 words"):
        tiny_shakespeare(file)
    file.write_bytes(b"ONE:\nH\xe9")
    with pytest.raises(ValueError, match=r"play\.txt, line 2: byte 0xe9 at offset 6 is not UTF-8"):
        tiny_shakespeare(file)
    file.write_text("")
    with pytest.raises(ValueError, match=r"play\.txt: the file is empty"):
        tiny_shakespeare(file)
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such file; .* python_docs\(\)"):
        tiny_shakespeare(tmp_path / "none.txt")


def test_shakespeare_is_found_downloaded_or_out_of_reach(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}/input.txt"
    manual = tmp_path / "downloads" / "manual" / "tiny_shakespeare" / "input.txt"
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="could not download Tiny Shakespeare") as caught:
        tiny_shakespeare(data_dir=tmp_path, url=nowhere)
    assert time.monotonic() - start < 5
    for hint in (nowhere, str(manual), "python_docs()"):
        assert hint in str(caught.value)
    file = tmp_path / "mirror.txt"
    file.write_text(play(20))
    downloaded = tiny_shakespeare(data_dir=tmp_path, url=file.as_uri())
    assert downloaded == tiny_shakespeare(data_dir=tmp_path, url=nowhere) == tiny_shakespeare(file)
    manual.parent.mkdir(parents=True)
    manual.write_text(play(40))
    assert len(tiny_shakespeare(data_dir=tmp_path, url=nowhere).passages) > len(downloaded.passages)


# wikitext


def test_wikitext_undoes_its_tokens_and_numbers_articles_of_one_name(tmp_path):
    filler = "word " * 99
    (tmp_path / "wiki.txt").write_text(
        f' = A ( town ) = \n \n The " well @-@ known " town ( 1 @.@ 5 km ) , it \'s 2 @,@ 000 ; {filler} end . \n'
        f" = = Inner = = \n {'x @-@ ' * 60}y \n {filler} z \n"
        f" = <unk> = \n \n one {filler} <unk> ! \n = B = \n \n {filler} b \n = <unk> = \n \n two {filler} \n"
    )
    assert wikitext(tmp_path).passages == (
        Passage("A (town)", f'The "well-known" town (1.5 km), it\'s 2,000; {filler}end.'),
        # 121 words at first, of which one is left, so that the next paragraph joins it.
        Passage("A (town)", f"{'x-' * 60}y {filler}z"),
        Passage("<unk>", f"one {filler}<unk>!"),
        Passage("B", f"{filler}b"),
        Passage("<unk> (2)", f"two {filler}".strip()),
    )


@pytest.mark.skipif(not (DATA / "wikitext2").is_dir(), reason=f"no WikiText-2 in {DATA}; set COLLAPSE_DATA_DIR")
def test_the_real_articles_are_documents(data_dir):
    lines = [line for file in (DATA / "wikitext2").glob("*.txt") for line in file.read_text("utf-8").split("\n")]
    articles = [line for line in lines if re.match(" = [^=]", line)]
    source = wikitext(DATA / "wikitext2")
    titles = {passage.title for passage in source.passages}
    assert len(articles) - 3 == len(titles), "three table legends look like titles, and hold no passage"
    text = " ".join(passage.text for passage in source.passages)
    assert not re.search(r"\w @[-.,]@ \w", text)
    splits = corpus(source, data_dir=data_dir)
    assert len(splits.train.titles) + len(splits.test.titles) == len(titles)
