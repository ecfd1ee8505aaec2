"""Rows of files, one by one: JSON lines, a JSON array, CSV, TSV or Parquet, each also gzipped, told by their content.

Nothing is held but a block of the file and the row at hand. Every row comes with its place, which errors name.
"""

import codecs
import csv
import gzip
import itertools
import json
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import Any

__all__ = ()

Row = tuple[str, Mapping[str, Any]]

MOST_CHARACTERS = 2**26
"""Characters of one row, of a line, or of white space before the first row."""
MOST_SWELLING = 200
"""Bytes that a byte of gzip may become; a file that stays below `FREE_SWELLING` may have more."""
FREE_SWELLING = 2**26
_BLOCK = 2**18
_BATCH = 256

_INK = re.compile(r"[^ \t\r\n]")
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_OTHERS: Mapping[bytes, str] = {
    _GZIP: "gzipped twice",
    b"PK\x03\x04": "a zip archive",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"ARROW1": "an Arrow file",
    b"PARE": "an encrypted Parquet file",
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
}
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_FORMATS = "JSON lines, a JSON array of objects, CSV, TSV or Parquet, each also gzipped"


def rows_of_iterable(rows: Iterable[Any]) -> Iterator[Row]:
    """Yield each row with its place; raises ValueError for one that is no mapping."""
    if isinstance(rows, Mapping):
        raise ValueError(
            f"path_or_rows is a mapping of {', '.join(map(repr, itertools.islice(rows, 8)))}; it must be rows, each a "
            "mapping of columns: of several splits name one, and of a table's columns make rows"
        )
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(
                f"row {number} of path_or_rows is {row!r:.60}; it must be a mapping of columns, as a dict is (those of "
                'a pandas frame are frame.to_dict("records"))'
            )
        yield f"row {number} of path_or_rows", row


def rows_of_file(file: Path) -> Iterator[Row]:
    """Yield each row with file and line, or file and row.

    Raises FileNotFoundError for a missing file, and ValueError for a folder, an empty file, one that is cut off or of
    another format, another encoding than UTF-8 or, by its mark, UTF-16, and for what is over a bound.
    """
    try:
        is_folder, is_file = file.is_dir(), file.is_file()
    except OSError as error:
        raise FileNotFoundError(f"{file!s:.100}: no name of a file ({error.strerror})") from None
    if is_folder:
        raise ValueError(f"{file} is a folder; name a file of {_FORMATS}")
    if not is_file:
        raise FileNotFoundError(f"{file!s:.200}: no such file; name one of {_FORMATS}, or give rows")
    with file.open("rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        blocks = _unpacked(file, raw) if packed else iter(lambda: raw.read(_BLOCK), b"")
        first = next(blocks, b"")
        if first.startswith(_PARQUET):
            with tempfile.TemporaryFile() if packed else file.open("rb") as whole:
                if packed:
                    whole.writelines(itertools.chain([first], blocks))
                yield from _parquet_rows(file, whole)
        else:
            yield from _text_rows(file, _decoded(file, first, blocks))


def _unpacked(file: Path, raw: BufferedIOBase) -> Iterator[bytes]:
    """Yield the blocks of a gzipped file."""
    allowed = max(MOST_SWELLING * file.stat().st_size, FREE_SWELLING)
    size = 0
    with gzip.GzipFile(fileobj=raw) as stream:
        while True:
            try:
                block = stream.read(_BLOCK)
            except (EOFError, OSError, zlib.error) as error:
                raise ValueError(f"{file}: not a whole gzipped file ({error}) after {size} bytes of content") from None
            if not block:
                return
            size += len(block)
            if size > allowed:
                raise ValueError(
                    f"{file} swells beyond {allowed} bytes; it may to {MOST_SWELLING} times its size, and to "
                    f"{FREE_SWELLING} bytes: unpack it, if it is right"
                )
            yield block


def _decoded(file: Path, first: bytes, blocks: Iterator[bytes]) -> Iterator[str]:
    """Yield the text of a file, block by block; raises ValueError with the place of what is no text."""
    for start, what in _OTHERS.items():
        if first.startswith(start):
            raise ValueError(f"{file} is {what}; it must be {_FORMATS}, text in UTF-8")
    mark = next((mark for mark in _MARKS if first.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line = len(mark), 1
    for block in itertools.chain([first[len(mark) :]], blocks, [b""]):
        waiting = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].decode(encoding).count("\n")
            raise ValueError(
                f"{file}, line {line}: byte 0x{error.object[error.start]:02x} at offset "
                f"{offset - waiting + error.start} is not {encoding.upper()}; convert the file to UTF-8"
            ) from None
        if "\0" in text:
            line += text[: text.index("\0")].count("\n")
            raise ValueError(
                f"{file}, line {line} has a NUL byte: it is binary, or UTF-16 without its mark; it must be {_FORMATS}"
            )
        offset += len(block)
        line += text.count("\n")
        yield text


def _text_rows(file: Path, texts: Iterator[str]) -> Iterator[Row]:
    """Yield the rows of a file of text: by its ending where that says CSV or TSV, else by how it begins."""
    start = ""
    for text in texts:
        start += text
        if start.strip() or len(start) > MOST_CHARACTERS:
            break
    begins = start.lstrip()[:1]
    if not begins:
        raise ValueError(f"{file}: the file is empty; it must be {_FORMATS}")
    texts = itertools.chain([start], texts)
    ending = Path(file.name.lower().removesuffix(".gz")).suffix
    head = start.lstrip().partition("\n")[0]
    if ending in (".csv", ".tsv") or (begins not in "[{" and any(mark in head for mark in "\t,")):
        tabs = ending == ".tsv" or (ending != ".csv" and "\t" in head)
        yield from _csv_rows(file, _lines(file, texts), "\t" if tabs else ",")
    elif begins == "[":
        yield from _array_rows(file, texts)
    elif begins == "{" or ending in (".json", ".jsonl", ".ndjson"):
        yield from _json_rows(file, _lines(file, texts))
    else:
        raise ValueError(f"{file} begins with {head!r:.60}; it must be {_FORMATS}")


def _lines(file: Path, texts: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers, from 1 on. Only a line feed ends one: JSON may hold other separators."""
    parts, size, number = list[str](), 0, 1
    for text in texts:
        *whole, rest = text.split("\n")
        for line in whole:
            yield number, "".join([*parts, line])
            parts, size, number = [], 0, number + 1
        parts.append(rest)
        size += len(rest)
        if size > MOST_CHARACTERS:
            raise ValueError(
                f"{file}, line {number} has more than {MOST_CHARACTERS} characters; a row may have no more"
            )
    if size:
        yield number, "".join(parts)


def _json_rows(file: Path, lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for number, line in lines:
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{place}: not JSON ({error}); each line must be one object, or the file one array of objects"
            ) from None
        yield place, _object(place, row)


def _object(place: str, row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{place}: {row!r:.60} is no JSON object; each row must be one, of columns")
    return row


def _array_rows(file: Path, texts: Iterator[str]) -> Iterator[Row]:
    """Yield the objects of a JSON array without holding it."""
    ahead = _Ahead(file, texts)
    ahead.mark("[")
    mark = "," if ahead.sees() != "]" else ahead.mark("]")
    while mark == ",":
        ahead.sees()
        place = f"{file}, line {ahead.line}"
        yield place, _object(place, ahead.value())
        mark = ahead.mark(",]")
    if ahead.sees():
        raise ValueError(f"{file}, line {ahead.line}: there is more after the end of the JSON array")


class _Ahead:
    """What is read of a file of JSON and not yet used: `text` from `at` on, which is on `line`."""

    def __init__(self, file: Path, texts: Iterator[str]) -> None:
        self.file, self.texts, self.text, self.at, self.line = file, texts, "", 0, 1

    def sees(self) -> str:
        """Go to the next character that is no white space, and return it; at the end, nothing."""
        while not (found := _INK.search(self.text, self.at)):
            self._move(len(self.text))
            more = next(self.texts, None)
            if more is None:
                return ""
            self.text, self.at = more, 0
        self._move(found.start())
        return self.text[self.at]

    def mark(self, marks: str) -> str:
        """Go beyond the next character, which must be one of `marks`, and return it."""
        seen = self.sees()
        if not seen or seen not in marks:
            found, wanted = repr(seen) if seen else "the file's end", " or ".join(map(repr, marks))
            raise ValueError(f"{self.file}, line {self.line}: not JSON ({found} where {wanted} must be)")
        self._move(self.at + 1)
        return seen

    def value(self) -> Any:
        """Return the value that begins here. One that is not whole yet is tried again with more text."""
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                # Of a value that is cut off the error is in its last string, or in its last few characters.
                cut = "Unterminated" in error.msg or error.pos > len(self.text) - len("-Infinity")
                if not (cut and self._read_on()):
                    line = self.line + self.text.count("\n", self.at, error.pos)
                    raise ValueError(f"{self.file}, line {line}: not JSON ({error.msg})") from None
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{self.file}, line {self.line}: not JSON ({error})") from None
            else:
                self._move(end)
                return value

    def _move(self, at: int) -> None:
        self.line += self.text.count("\n", self.at, at)
        self.at = at

    def _read_on(self) -> bool:
        """Read as much as there is ahead, so that a long value is not tried after every block; False at the end."""
        parts, size, known = [self.text[self.at :]], 0, len(self.text) - self.at
        if known > MOST_CHARACTERS:
            raise ValueError(
                f"{self.file}, line {self.line}: the row has more than {MOST_CHARACTERS} characters; none may have more"
            )
        for text in self.texts:
            parts.append(text)
            size += len(text)
            if size >= known:
                break
        self.text, self.at = "".join(parts), 0
        return size > 0


def _csv_rows(file: Path, lines: Iterable[tuple[int, str]], delimiter: str) -> Iterator[Row]:
    """Yield the rows below the header; a row's place is the line that it begins on."""
    reader = csv.reader((f"{line}\n" for _, line in lines), delimiter=delimiter, strict=True)
    before = csv.field_size_limit(MOST_CHARACTERS)
    try:
        header = _header(file, _csv_row(file, reader))
        while True:
            place = f"{file}, line {reader.line_num + 1}"
            row = _csv_row(file, reader)
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"{place} has {len(row)} fields, and the header {len(header)}: {', '.join(header):.100}; quote "
                    "texts that hold the delimiter, a quote or a line end"
                )
            yield place, dict(zip(header, row, strict=True))
    finally:
        csv.field_size_limit(before)


def _csv_row(file: Path, reader: Any) -> list[str] | None:
    line = reader.line_num + 1
    try:
        row: list[str] | None = next(reader, None)
    except csv.Error as error:
        raise ValueError(f"{file}, line {line}: not CSV ({error})") from None
    return row


def _header(file: Path, header: list[str] | None) -> list[str]:
    names = header or []
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{file}, line 1: the header names the column {twice[0]!r} twice")
    return names


def _parquet_rows(file: Path, stream: BufferedIOBase) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                yield f"{file}, row {number}", row
                number += 1
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not a whole Parquet file ({error!s:.200}) after {number} rows") from None
