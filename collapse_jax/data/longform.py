"""LongForm (Köksal et al., arXiv:2304.08460): instructions with long human-written answers."""

import http.client
import json
import os
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorflow_datasets.core import constants

from collapse_jax.data.passages import MIN_WORDS, Passage, Source, read_utf8

# Version 1.0 of April 2023, the one that the reward-collapse experiment used, by its commit and so immutable.
LONGFORM_URL = (
    "https://huggingface.co/datasets/akoksal/LongForm/resolve/5cac80c04a23f4f55643e218a6473d3a42a113aa/"
    "data/train-00000-of-00001-367270308b568067.parquet"
)
_CONNECT_SECONDS = 5.0
_FAILURES = (OSError, http.client.HTTPException)
_FORMATS = (".json", ".jsonl", ".parquet")


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
    single spaces separate, as in the paper, so line breaks stay inside them. Raises FileNotFoundError for a missing
    file, ValueError with file and row for a bad one, and ConnectionError within seconds where `url` is out of reach.
    """
    file = Path(path) if path is not None else _find_or_download(Path(data_dir or constants.DATA_DIR), url)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; name a LongForm file, or use python_docs(), which is offline")
    if file.suffix not in _FORMATS:
        raise ValueError(f"{file}: LongForm is read from {', '.join(_FORMATS)} files")
    rows = (_passage(row, where) for where, row in (_parquet_rows if file.suffix == ".parquet" else _json_rows)(file))
    passages = tuple(passage for passage in rows if len(passage.text.split(" ")) >= MIN_WORDS)
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
        yield from ((f"{file}, row {number}", row) for number, row in enumerate(rows, 1))
        return
    # Not splitlines(): JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}, line {number}: malformed JSON: {error.msg}") from None
            yield f"{file}, line {number}", row


def _parquet_rows(file: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{file}: not a parquet file: {error}; remove it to download it again") from None
    yield from ((f"{file}, row {number}", row) for number, row in enumerate(table.to_pylist(), 1))


def _find_or_download(data_dir: Path, url: str) -> Path:
    downloads = data_dir.expanduser() / "downloads"
    manual = downloads / "manual" / "longform"
    found = sorted(path for path in manual.glob("train*") if path.suffix in _FORMATS)
    if len(found) > 1:
        raise ValueError(
            f"{manual}: several training files, {', '.join(p.name for p in found)}; leave one, or pass path"
        )
    target = downloads / "longform" / url.rsplit("/", 1)[-1]
    if not found and not target.exists():
        _download(url, target, manual)
    return found[0] if found else target


def _download(url: str, target: Path, manual: Path) -> None:
    # The name is this process's own: two of them may download at once.
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open(url) as response, partial.open("wb") as file:
            shutil.copyfileobj(response, file)
        # A connection that closes early ends copyfileobj like a complete one.
        if (size := response.headers["Content-Length"]) and int(size) != partial.stat().st_size:
            raise ConnectionError(f"received {partial.stat().st_size} of {size} bytes")
        partial.replace(target)
    except _FAILURES as error:
        partial.unlink(missing_ok=True)
        raise ConnectionError(
            f"could not download LongForm from {url} ({error}); put its training file into {manual} as train.parquet, "
            "train.json or train.jsonl, or use the offline default, python_docs()"
        ) from error


def _open(url: str) -> Any:
    """Return the open response within seconds; urlopen's own timeout does not cover the look-up of the host's name."""
    answer: list[Any] = []

    def connect() -> None:
        try:
            answer.append(urllib.request.urlopen(url, timeout=_CONNECT_SECONDS))
        except _FAILURES as error:
            answer.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS)
    if not answer:
        raise TimeoutError(f"no answer within {_CONNECT_SECONDS:g} s")
    if isinstance(answer[0], _FAILURES):
        raise answer[0]
    return answer[0]
