"""Files of rows: every format gives the same rows, texts come through whole, and errors name file and place."""

import csv
import gzip
import io
import itertools
import json
import re

import pyarrow
import pyarrow.parquet
import pytest

from collapse_jax.data import read_preferences, rows

TEXTS = ["plain", 'comma, "quote"\nand line', "東京\u2028は 👩‍👩‍👧 e\u0301", "tab\there\r\n", "[{]}\\"]
PAIRS = [{"prompt": f"{i} {text}", "chosen": text, "rejected": "no"} for i, text in enumerate(TEXTS)]


def delimited(delimiter):
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, PAIRS[0], delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(PAIRS)
    return stream.getvalue()


def json_lines(pairs=PAIRS):
    return "\n".join(json.dumps(pair, ensure_ascii=False) for pair in pairs)


def parquet():
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(PAIRS), stream, row_group_size=2)
    return stream.getvalue()


CONTENTS = {
    "a.jsonl": json_lines().encode(),
    "blank_lines.jsonl": json_lines().replace("\n", "\n\n \n").encode() + b"\n",
    "line_ends.jsonl": json_lines().replace("\n", "\r\n").encode(),
    "ascii.jsonl": "\n".join(map(json.dumps, PAIRS)).encode(),
    "a.json": json.dumps(PAIRS).encode(),
    "pretty.json": json.dumps(PAIRS, indent=2, ensure_ascii=False).encode(),
    "lines.json": json_lines().encode(),
    "array.jsonl": json.dumps(PAIRS).encode(),
    "a.csv": delimited(",").encode(),
    "a.tsv": delimited("\t").encode(),
    "tabs.txt": delimited("\t").encode(),
    "no_ending": delimited(",").encode(),
    "a.parquet": parquet(),
    "parquet_by_content.data": parquet(),
    "mark.jsonl": b"\xef\xbb\xbf" + json_lines().encode(),
    "mark.csv": b"\xef\xbb\xbf" + delimited(",").encode(),
    "little.jsonl": b"\xff\xfe" + json_lines().encode("utf-16-le"),
    "big.csv": b"\xfe\xff" + delimited(",").encode("utf-16-be"),
}


@pytest.mark.parametrize("block", [67, 2**18])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", CONTENTS)
def test_every_format_gives_the_same_rows(tmp_path, monkeypatch, name, packed, block):
    # Small blocks end inside letters, strings and line ends.
    monkeypatch.setattr(rows, "_BLOCK", block)
    file = tmp_path / (f"{name}.gz" if packed else name)
    file.write_bytes(gzip.compress(CONTENTS[name]) if packed else CONTENTS[name])
    assert [row for _, row in rows.rows_of_file(file)] == PAIRS


def test_gzip_is_told_by_content(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(json_lines().encode()))
    assert read_preferences(tmp_path / "a.jsonl").prompts == [pair["prompt"] for pair in PAIRS]


def test_places_are_lines_and_rows(tmp_path):
    plain = [{"a": i} for i in range(3)]
    expected = {
        "a.jsonl": ("\n\n".join(map(json.dumps, plain)), [1, 3, 5]),
        "a.json": (json.dumps(plain, indent=1), [2, 5, 8]),
        "a.csv": ('a,b\n0,"x\ny"\n\n1,\n2,\n', [2, 5, 6]),
    }
    for name, (content, numbers) in expected.items():
        (tmp_path / name).write_text(content)
        assert [place for place, _ in rows.rows_of_file(tmp_path / name)] == [
            f"{tmp_path / name}, line {number}" for number in numbers
        ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(plain), tmp_path / "a.parquet")
    places = [place for place, _ in rows.rows_of_file(tmp_path / "a.parquet")]
    assert places == [f"{tmp_path / 'a.parquet'}, row {number}" for number in range(3)]


LINES = json_lines(PAIRS[:1] * 3).encode()
DEEP = b"[" * 100_000
BAD = {
    "empty.jsonl": (b"", "the file is empty"),
    "spaces.csv": (b" \n\n", "the file is empty"),
    "prose.txt": (b"Once upon a time", "begins with 'Once upon a time'; it must be JSON lines"),
    "cut.jsonl": (LINES[:-4], "line 3: not JSON (Unterminated string"),
    "not.jsonl": (LINES + b"\n{nothing}", "line 4: not JSON (Expecting property name"),
    "numbers.jsonl": (b'{"prompt": ' + b"1" * 5000 + b"}", "line 1: not JSON (Exceeds the limit"),
    "deep.jsonl": (b'{"prompt": ' + DEEP, "line 1: not JSON"),
    "deep.json": (b'[{"prompt": ' + DEEP, "not JSON"),
    "no_object.jsonl": (LINES + b"\n[1]", "line 4: [1] is no JSON object"),
    "no_rows.json": (b'{"data": [{"prompt": "p"}]}', "no answers among the columns 'data'"),
    "one_number.json": (b"17", "line 1: 17 is no JSON object"),
    "array_of_lists.json": (b"[[1, 2]]", "line 1: [1, 2] is no JSON object"),
    "no_end.json": (json.dumps(PAIRS).encode()[:-1], """not JSON (the file's end where ',' or ']' must be)"""),
    "cut.json": (json.dumps(PAIRS, indent=1).encode()[:-40], "line 24: not JSON (Unterminated string"),
    "comma.json": (LINES.replace(b"{", b"[{", 1), """line 2: not JSON ('{' where ',' or ']' must be)"""),
    "trailing_comma.json": (b"[" + LINES.split(b"\n")[0] + b",\n]", "line 2: not JSON (Expecting value)"),
    "more.json": (json.dumps(PAIRS).encode() + b"\n[]", "line 2: there is more after the end of the JSON array"),
    "empty_array.json": (b"[ ]", "has no rows"),
    "header.csv": (b"prompt,chosen,rejected\n", "has no rows"),
    "ragged.csv": (b"prompt,chosen,rejected\np,a,b\np,a\n", "line 3 has 2 fields, and the header 3: prompt, chosen"),
    "longer.csv": (b"prompt,chosen,rejected\np,a,b,c\n", "line 2 has 4 fields, and the header 3"),
    "quote.csv": (b'prompt,chosen,rejected\np,a,b\np,"a,b\n', "line 3: not CSV (unexpected end of data)"),
    "twice.csv": (b"prompt,prompt\np,a\n", "line 1: the header names the column 'prompt' twice"),
    "scores.csv": (
        b"prompt,answer_1,answer_2,score_1,score_2\np,a,b,1,good\n",
        "line 2: score_2 is 'good'; it must be",
    ),
    "nan.jsonl": (b'{"prompt": "p", "responses": ["a", "b"], "scores": [1, NaN]}', "line 1: scores is nan; it must be"),
    "surrogate.jsonl": (b'{"prompt": "\\ud800", "chosen": "a", "rejected": "b"}', "half of a surrogate pair"),
    "latin.csv": (
        "prompt,chosen,rejected\np,é,b\n".encode("latin-1"),
        "line 2: byte 0xe9 at offset 25 is not UTF-8; convert the file",
    ),
    "mixed.jsonl": (LINES + b"\n\xff", f"line 4: byte 0xff at offset {len(LINES) + 1} is not UTF-8"),
    "cut_letter.jsonl": (LINES + b"\n\xe6\x9d", f"line 4: byte 0xe6 at offset {len(LINES) + 1} is not UTF-8"),
    "half.csv": (b"\xff\xfea\0,\0b\0\n\0\x00\xd8,\0", "line 2: byte 0x00 at offset 10 is not UTF-16-LE"),
    "no_mark.csv": ("prompt,chosen".encode("utf-16-le"), "line 1 has a NUL byte: it is binary, or UTF-16 without"),
    "nul.jsonl": (LINES + b"\n\0", "line 4 has a NUL byte"),
    "wide.jsonl": (LINES.decode().encode("utf-32"), "is UTF-32; it must be"),
    "archive.zip": (b"PK\x03\x04rest", "is a zip archive"),
    "a.jsonl.bz2": (b"BZh91AY", "is packed by bzip2"),
    "twice.gz": (gzip.compress(gzip.compress(LINES)), "is gzipped twice"),
    "cut.jsonl.gz": (gzip.compress(LINES)[:-9], "not a whole gzipped file (Compressed file ended"),
    "flipped.jsonl.gz": (gzip.compress(LINES)[:-8] + b"\0" * 8, "not a whole gzipped file (CRC check failed"),
    "tail.jsonl.gz": (gzip.compress(LINES) + b"tail", "not a whole gzipped file (Not a gzipped file"),
    "cut.parquet": (parquet()[:-9], "not a whole Parquet file"),
    "start.parquet": (b"PAR1", "not a whole Parquet file"),
    "cut.parquet.gz": (gzip.compress(parquet()[:-9]), "not a whole Parquet file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_its_file_and_place(tmp_path, name):
    content, message = BAD[name]
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        read_preferences(file)
    assert str(file) in str(raised.value)
    assert len(str(raised.value)) < 700
    assert [*tmp_path.iterdir()] == [file]


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is a folder; name a file of JSON lines"):
        read_preferences(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl: no such file"):
        read_preferences(str(tmp_path / "none.jsonl"))
    with pytest.raises(FileNotFoundError, match="no name of a file"):
        read_preferences(json.dumps(PAIRS * 9))


def test_a_gzipped_file_that_swells_is_refused_before_it_is_held(tmp_path, monkeypatch):
    file = tmp_path / "bomb.jsonl.gz"
    file.write_bytes(gzip.compress(b" " * 2**22))
    assert file.stat().st_size < 2**13
    monkeypatch.setattr(rows, "FREE_SWELLING", 2**20)
    monkeypatch.setattr(rows, "_BLOCK", 2**16)
    with pytest.raises(ValueError, match=r"bomb\.jsonl\.gz swells beyond 1048576 bytes; it may to 200 times its size"):
        read_preferences(file)
    monkeypatch.setattr(rows, "FREE_SWELLING", 2**22)
    with pytest.raises(ValueError, match="the file is empty"):
        read_preferences(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json_lines() + "\n" + "x" * 1000, "line 6 has more than 400 characters"),
        (json.dumps(PAIRS, indent=1)[:-1] + ', {"a": "' + "x" * 1000, "line 27: the row has more than 400 characters"),
        ('a,b\n0,1\n0,"' + "x\n" * 1000, "line 3: not CSV (field larger than field limit (400))"),
        (" \n" * 1000, "the file is empty"),
    ],
)
def test_a_row_has_a_bound(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(rows, "MOST_CHARACTERS", 400)
    monkeypatch.setattr(rows, "_BLOCK", 64)
    (tmp_path / "a").write_bytes(content.encode())
    with pytest.raises(ValueError, match=re.escape(message)):
        for _ in rows.rows_of_file(tmp_path / "a"):
            pass
    assert csv.field_size_limit() == 131072


def test_rows_come_while_the_file_is_read(tmp_path):
    """What is wrong further on doesn't keep the rows before it from being read: nothing is read ahead but a block."""
    for name, content in {
        "a.jsonl": LINES + b"\n",
        "a.json": json.dumps(PAIRS).encode()[:-1] + b",",
        "a.csv": b"prompt,chosen,rejected\np,a,b\n",
    }.items():
        file = tmp_path / name
        file.write_bytes(content + b" " * 2**19 + b"\xff")
        assert len([*itertools.islice(rows.rows_of_file(file), 1)]) == 1
        with pytest.raises(ValueError, match="byte 0xff"):
            [*rows.rows_of_file(file)]
