"""Tiny Shakespeare (Karpathy, 2015): speeches from Shakespeare's plays, 1.1 MB."""

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collapse_jax.checks.annotations import checked
from collapse_jax.data.download import download, downloads
from collapse_jax.data.passages import MIN_WORDS, Passage, Source, read_utf8
from collapse_jax.data.words import word_ends

# By its commit and so immutable.
SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
    "data/tinyshakespeare/input.txt"
)

# About 1,600 words, a scene or two.
_PASSAGES_PER_TITLE = 10
_SPEAKERS_PER_TITLE = 3


class _Excerpt(NamedTuple):
    speakers: tuple[str, ...]
    text: str


@checked
def tiny_shakespeare(
    path: str | os.PathLike[str] | None = None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    url: str = SHAKESPEARE_URL,
) -> Source:
    """Return consecutive speeches, whole and with their speakers and line breaks, joined until they have 100 words.

    Words are what single spaces separate. The file has no headings, so ten consecutive passages share a title, a number
    with the three who speak there most often: a split by title holds out parts of plays. `path` is the text; without
    it the file is looked for in `<data_dir>/downloads/manual/tiny_shakespeare/input.txt`, then among the downloads,
    then downloaded. Raises FileNotFoundError for a missing file, ValueError with file and line for a speech without
    speaker or too short a text, and ConnectionError within seconds where `url` is out of reach.
    """
    file = Path(path) if path is not None else _find_or_download(downloads(data_dir), url)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; name the text, or use python_docs(), which is offline")
    excerpts = list(_excerpts(_speeches(file)))
    if not excerpts:
        raise ValueError(f"{file}: its speeches do not make a passage of {MIN_WORDS} words")
    passages = []
    for number, part in enumerate(_batches(excerpts, _PASSAGES_PER_TITLE), 1):
        counts = Counter(speaker for excerpt in part for speaker in excerpt.speakers)
        names = ", ".join(name for name, _ in counts.most_common(_SPEAKERS_PER_TITLE))
        passages += [Passage(f"Part {number}: {names}", excerpt.text) for excerpt in part]
    return Source("tiny_shakespeare", tuple(passages), request="Continue the play: {title}.")


def _speeches(file: Path) -> Iterator[tuple[str, str]]:
    line = 1
    for block in re.split(r"(\n(?:[ \t]*\n)+)", read_utf8(file).replace("\r\n", "\n")):
        if speech := block.strip("\n"):
            speaker = speech.split("\n", 1)[0]
            if not re.fullmatch(r"\S.*:", speaker):
                start = line + block.index(speech[0])
                raise ValueError(
                    f"{file}, line {start}: {speaker!r:.60} does not begin a speech as 'NAME:' does; "
                    "text_files(folder) reads other texts"
                )
            yield speaker[:-1], speech
        line += block.count("\n")


def _excerpts(speeches: Iterator[tuple[str, str]]) -> Iterator[_Excerpt]:
    speakers: list[str] = []
    texts: list[str] = []
    for speaker, speech in speeches:
        speakers.append(speaker)
        texts.append(speech)
        if len(word_ends(text := "\n\n".join(texts))) >= MIN_WORDS:
            yield _Excerpt(tuple(speakers), text)
            speakers, texts = [], []


def _batches(excerpts: list[_Excerpt], size: int) -> Iterator[list[_Excerpt]]:
    remaining = iter(excerpts)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _find_or_download(folder: Path, url: str) -> Path:
    manual = folder / "manual" / "tiny_shakespeare" / "input.txt"
    target = folder / "tiny_shakespeare" / "input.txt"
    if manual.exists():
        return manual
    if not target.exists():
        advice = f"put the text at {manual}, or use the offline default, python_docs()"
        download("Tiny Shakespeare", url, target, advice=advice)
    return target
