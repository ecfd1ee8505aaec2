"""LongForm (Köksal et al., arXiv:2304.08460): instructions with long human-written answers."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collapse_jax.checks.annotations import checked
from collapse_jax.data.download import CONNECT_SECONDS as _CONNECT_SECONDS
from collapse_jax.data.download import download, downloads
from collapse_jax.data.passages import MIN_WORDS, Passage, Source, read_utf8
from collapse_jax.data.words import word_ends

# Version 1.0 of April 2023, the one that the reward-collapse experiment used, by its commit and so immutable.
LONGFORM_URL = (
    "https://huggingface.co/datasets/akoksal/LongForm/resolve/5cac80c04a23f4f55643e218a6473d3a42a113aa/"
    "data/train-00000-of-00001-367270308b568067.parquet"
)
_FORMATS = (".json", ".jsonl", ".parquet")


@checked
def longform(
    path: str | os.PathLike[str] | None = None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    url: str = LONGFORM_URL,
) -> Source:
    """Return the outputs of at least 100 words of LongForm's training split: 15,025 of its 23,652 rows.

    `path` is a .json (an array, or an object a line), .jsonl or .parquet file of rows with the strings `input`, the
    title and prompt, and `output`, the passage. Without it the file is looked for in TFDS's manual folder,
    `<data_dir>/downloads/manual/longform/train*`, then among the downloads, then downloaded (38 MB). Words are what
    single spaces separate, as in the paper, so line breaks stay inside them; where a script has no spaces, letters.
    Raises FileNotFoundError for a missing file, ValueError with file and row for a bad one, and ConnectionError within
    seconds where `url` is out of reach.
    """
    file = Path(path) if path is not None else _find_or_download(downloads(data_dir), url)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; name a LongForm file, or use python_docs(), which is offline")
    if file.suffix not in _FORMATS:
        raise ValueError(f"{file}: LongForm is read from {', '.join(_FORMATS)} files")
    rows = (_passage(row, where) for where, row in (_parquet_rows if file.suffix == ".parquet" else _json_rows)(file))
    passages = tuple(passage for passage in rows if len(word_ends(passage.text)) >= MIN_WORDS)
    if not passages:
        raise ValueError(f"{file}: no row has an output of {MIN_WORDS} words")
    return Source("longform", passages, request="{title}")


def _passage(row: Any, where: str) -> Passage:
    for key in ("input", "output"):
        if not isinstance(row, dict) or key not in row:
            raise ValueError(f"{where}: expected an object with the keys input and output, found {_shown(row)}")
        if not isinstance(row[key], str):
            raise ValueError(f"{where}: {key} must be a string, found {row[key]!r:.60}")
    return Passage(row["input"], row["output"])


def _shown(row: Any) -> str:
    return f"the keys {', '.join(row) or '(none)'}" if isinstance(row, dict) else f"{row!r:.60}"


def _json_rows(file: Path) -> Iterator[tuple[str, Any]]:
    text = read_utf8(file)
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}, line {error.lineno}: malformed JSON: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file}: malformed JSON: {error}") from None
        yield from ((f"{file}, row {number}", row) for number, row in enumerate(rows, 1))
        return
    # Not splitlines(): JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{file}, line {number}: malformed JSON: {error}") from None
            yield f"{file}, line {number}", row


def _parquet_rows(file: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{file}: not a parquet file: {error}; remove it to download it again") from None
    yield from ((f"{file}, row {number}", row) for number, row in enumerate(table.to_pylist(), 1))


def _find_or_download(folder: Path, url: str) -> Path:
    manual = folder / "manual" / "longform"
    found = sorted(path for path in manual.glob("train*") if path.suffix in _FORMATS)
    if len(found) > 1:
        raise ValueError(
            f"{manual}: several training files, {', '.join(p.name for p in found)}; leave one, or pass path"
        )
    target = folder / "longform" / url.rsplit("/", 1)[-1]
    if not found and not target.exists():
        advice = (
            f"put its training file into {manual} as train.parquet, train.json or train.jsonl, or use the offline "
            "default, python_docs()"
        )
        download("LongForm", url, target, advice=advice, seconds=_CONNECT_SECONDS)
    return found[0] if found else target
