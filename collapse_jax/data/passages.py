"""Passages: titled pieces of prose of at least 100 words, from which ranking sets are cut.

White space separates words; where a script has none, each letter is one, so that Chinese texts have passages too.

Each function here returns a `Source`, which is plain data; write your own as `Source("mine", passages)`.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from collapse_jax.checks.annotations import checked
from collapse_jax.data.words import split_words

__all__ = ["Passage", "Source", "python_docs", "text_files"]

MIN_WORDS = 100

_TABLE_OR_GRAMMAR = re.compile(r"::=|>>>|^\s*\+[-=]", re.MULTILINE)
_UNDERLINE = re.compile(r"\n\s*([*=~^-])\1{2,}\s*\Z")
_PLAIN_WORD = re.compile(r"\(?[A-Za-z\u2019'-]+[)\].,;:!?]*")
_MIN_PLAIN_SHARE = 0.7
_TITLE_LINE = {".md": re.compile(r"#\s+(.+?)\s*#*"), ".txt": re.compile(r"\s*=\s+([^=\s].*?)\s+=\s*")}
_SUBTITLE_LINE = {".md": re.compile(r"#{2,6}\s.*"), ".txt": re.compile(r"\s*=(\s*=)+\s.*\s=(\s*=)+\s*")}


class Passage(NamedTuple):
    """A text and what it is about."""

    title: str
    text: str


@dataclass(frozen=True)
class Source:
    """Passages in a fixed order, and the request that turns a title into a prompt."""

    name: str
    passages: tuple[Passage, ...] = field(repr=False)
    request: str = "Explain: {title}."

    def __post_init__(self) -> None:
        for field_name, value in (("name", self.name), ("request", self.request)):
            if not isinstance(value, str):
                raise ValueError(f"{field_name} of the source is {value!r}; it must be a string")
        if not isinstance(self.passages, tuple | list):
            raise ValueError(f"passages of source {self.name} is {self.passages!r:.80}; it must be a tuple of Passage")
        for passage in self.passages:
            if not (
                isinstance(passage, tuple) and len(passage) == 2 and all(isinstance(part, str) for part in passage)
            ):
                raise ValueError(f"passages of source {self.name} has {passage!r:.80}; it must be Passage(title, text)")
        # The name becomes part of a folder's name.
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", self.name):
            raise ValueError(
                f"source name {self.name!r} must start with a letter and have only letters, digits, _ and -"
            )
        if "{title}" not in self.request:
            raise ValueError(f"request {self.request!r} of source {self.name} must contain {{title}}")

    @functools.cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that change with the name, the request and every character of the passages."""
        digest = hashlib.blake2b(json.dumps([self.name, self.request]).encode(), digest_size=16)
        if not isinstance(self.passages, tuple | list):
            raise ValueError(f"passages of source {self.name} is {self.passages!r:.80}; it must be a tuple of Passage")
        for passage in self.passages:
            digest.update(json.dumps(passage).encode())
        return digest.hexdigest()


def python_docs() -> Source:
    """Return the running Python's own language reference, at hand offline: some 320 passages under 57 titles.

    The title is a topic's heading; grammar, code, tables and inner headings are dropped, by the rule in `is_prose`. A
    paragraph that several topics print goes to the shortest of them alone, so no text stands under two titles. The text
    differs between Python versions, and the fingerprint with it. Source: `pydoc_data.topics`.
    """
    from pydoc_data.topics import topics

    return Source("python_docs", topic_passages(topics))


def topic_passages(topics: dict[str, str]) -> tuple[Passage, ...]:
    """Return the passages of pydoc-like topics, in the order of their keys."""
    taken: set[str] = set()
    found = {}
    for key in sorted(topics, key=lambda key: (len(topics[key]), key)):
        heading, *paragraphs = re.split(r"\n\s*\n", topics[key].strip())
        fresh = [p for p in dict.fromkeys(_one_line(p) for p in paragraphs if is_prose(p)) if p not in taken]
        taken.update(fresh)
        title = _one_line(_UNDERLINE.sub("", heading))
        found[key] = [Passage(title, text) for text in merge(fresh)]
    return tuple(passage for key in sorted(topics) for passage in found[key])


def is_prose(paragraph: str) -> bool:
    """Whether it is no heading, grammar, table or doctest, and of its 6 words or more at least 7 in 10 are plain."""
    if _UNDERLINE.search(paragraph) or _TABLE_OR_GRAMMAR.search(paragraph):
        return False
    words = paragraph.split()
    return len(words) >= 6 and sum(bool(_PLAIN_WORD.fullmatch(w)) for w in words) >= _MIN_PLAIN_SHARE * len(words)


@checked
def text_files(path: str | os.PathLike[str]) -> Source:
    """Return the passages of a UTF-8 `*.txt` or `*.md` file, or of all below a folder, in the order of their paths.

    A first-level heading gives the title: `# Title` in Markdown, ` = Title = ` in a text file, as in WikiText; without
    one it is the file's name less its ending. Deeper headings and fenced code are dropped. A paragraph ends at a blank
    line, and a line of 100 words or more is one by itself. Raises FileNotFoundError for a missing file or folder or one
    without such files, and ValueError for an empty file, one that is not UTF-8, or no passage of 100 words at all.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder or file; name *.txt or *.md files, or use python_docs()")
    if root.is_file() and root.suffix not in _TITLE_LINE:
        raise ValueError(f"{root}: text is read from {' and '.join(f'*{ending}' for ending in _TITLE_LINE)} files")
    found = [root] if root.is_file() else root.rglob("*")
    files = sorted(path for path in found if path.suffix in _TITLE_LINE and path.is_file())
    if not files:
        raise FileNotFoundError(f"{root}: no *.txt or *.md file in this folder or below it")
    passages = tuple(passage for path in files for passage in _file_passages(path))
    if not passages:
        raise ValueError(f"{root}: none of its {len(files)} files has a passage of {MIN_WORDS} words under one title")
    return Source("text_files", passages)


def read_utf8(path: Path) -> str:
    """Return a file's text, without a byte-order mark.

    Raises ValueError, with the file and where there is one the line, for an empty file or bytes that are not UTF-8.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8; convert it"
        ) from None
    if not text.strip():
        raise ValueError(f"{path}: the file is empty; fill it or remove it")
    return text


def merge(paragraphs: Iterable[str]) -> Iterator[str]:
    """Yield consecutive paragraphs joined until they have 100 words, single spaces between them; a short rest is lost.

    >>> [len(text.split()) for text in merge(["one two " * 30, "three " * 45, "four " * 120, "five"])]
    [105, 120]
    """
    parts, words = list[str](), 0
    for paragraph in paragraphs:
        parts.append(_one_line(paragraph))
        words += len(split_words(paragraph))
        if words >= MIN_WORDS:
            yield " ".join(filter(None, parts))
            parts, words = [], 0


def _file_passages(path: Path) -> Iterator[Passage]:
    title, paragraphs, lines, fenced = path.stem, list[str](), list[str](), False
    # The empty last line closes the last paragraph.
    for line in [*read_utf8(path).splitlines(), ""]:
        is_fence = path.suffix == ".md" and line.lstrip().startswith(("```", "~~~"))
        fenced ^= is_fence
        heading = None if fenced else _TITLE_LINE[path.suffix].fullmatch(line)
        is_boundary = is_fence or heading or not line.strip() or _SUBTITLE_LINE[path.suffix].fullmatch(line)
        is_long = len(split_words(line)) >= MIN_WORDS
        if (is_boundary or is_long) and lines:
            paragraphs.append(" ".join(lines))
            lines = []
        if heading:
            yield from (Passage(title, text) for text in merge(paragraphs))
            title, paragraphs = _one_line(heading[1]), []
        elif is_long and not fenced:
            paragraphs.append(line)
        elif not (is_boundary or fenced):
            lines.append(line)
    yield from (Passage(title, text) for text in merge(paragraphs))


def _one_line(text: str) -> str:
    return " ".join(text.split())
