import http.server
import importlib
import json
import os
import re
import socket
import threading
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from collapse_jax.data import Passage, Source, longform, python_docs, text_files
from collapse_jax.data.passages import topic_passages

DATA = Path(os.environ.get("COLLAPSE_DATA_DIR", Path(__file__).resolve().parents[1] / "../shared/data"))
# The package exports a function under the module's name.
longform_module = importlib.import_module("collapse_jax.data.longform")


def words(prefix, count):
    return " ".join(f"{prefix}{number}" for number in range(count))


def prose(letter, count):
    return " ".join(letter * (1 + number % 9) for number in range(count))


# Source


def test_fingerprint_changes_with_every_part_and_with_nothing_else():
    base = Source("mine", (Passage("t", "a b"), Passage("u", "c")))
    others = [
        Source("yours", base.passages),
        Source("mine", base.passages, request="What is {title}?"),
        Source("mine", base.passages[::-1]),
        Source("mine", base.passages[:1]),
        Source("mine", (Passage("t", "a B"), Passage("u", "c"))),
        Source("mine", (Passage("ta", " b"), Passage("u", "c"))),
    ]
    assert len({source.fingerprint for source in [base, *others]}) == 7
    assert base.fingerprint == Source("mine", tuple(Passage(*p) for p in base.passages)).fingerprint
    assert re.fullmatch("[0-9a-f]{32}", base.fingerprint)
    assert "a b" not in repr(base)


@pytest.mark.parametrize("name", ["", "a/b", "..", "two words"])
def test_source_name_must_do_as_a_folder(name):
    with pytest.raises(ValueError, match=r"source name .* must start with a letter"):
        Source(name, ())


def test_request_must_hold_the_title():
    with pytest.raises(ValueError, match=r"request 'Explain' of source mine must contain {title}"):
        Source("mine", (), request="Explain")


# python_docs


def test_topics_become_passages():
    shared, own = prose("s", 60), prose("o", 70)
    topics = {
        "b-long": (
            f'The "long" topic\n****************\n\n   stmt ::= "long" {own}\n\n{own}\n\n'
            f"Inner heading of six words\n==========================\n\n{shared}\n\n>>> x = 1\n\n"
            f"+-----+\n| {own} |\n+-----+\n\n   def f(): x(1); y[2]; z = {{3: 4}}\n\n{prose('q', 40)}\n\nshort rest\n"
        ),
        "a-short": f"\nShort\n*****\n\n{shared}\n\n   {prose('k', 20)}\n   {prose('k', 20)}\n",
    }
    # The shared paragraph goes to the shorter topic, so "b-long" joins `own` and `q`.
    assert topic_passages(topics) == (
        Passage("Short", f"{shared} {prose('k', 20)} {prose('k', 20)}"),
        Passage('The "long" topic', f"{own} {prose('q', 40)}"),
    )


def test_python_docs_are_titled_prose_without_repetition():
    source = python_docs()
    assert 280 <= len(source.passages) <= 400
    assert 50 <= len({passage.title for passage in source.passages}) <= 65
    assert 'The "with" statement' in {passage.title for passage in source.passages}
    owner: dict[str, str] = {}
    for title, text in source.passages:
        tokens = text.split(" ")
        assert len(tokens) >= 100
        assert tokens == text.split()
        assert not re.search(r"::=|\*{4}|={4}|-{4}", text)
        for start in range(len(tokens) - 40):
            shingle = " ".join(tokens[start : start + 40])
            assert owner.setdefault(shingle, title) == title
    assert source == python_docs()


# text_files


def test_text_files_by_heading_and_paragraph(tmp_path):
    (tmp_path / "deep").mkdir()
    markdown = [
        words("before", 100),
        f"# First *title* #\n\n{words('a', 60)}\n{words('b', 10)}\n\n## Inner\n{words('c', 30)}",
        f"```\n# no title\n{words('code', 200)}\n\n```",
        words("lost", 99),
        f"# Second\n\n{words('d', 120)}\n{words('e', 100)}",
    ]
    (tmp_path / "b.md").write_text("\n\n".join(markdown))
    wiki = [
        "\ufeff" + words("x", 50),
        "",
        "\t" + words("y", 50),
        "",
        " = Wiki title = ",
        " ",
        " = = Inner = = ",
        words("z", 101),
    ]
    (tmp_path / "deep" / "a.txt").write_text("\r\n".join(wiki), encoding="utf-8", newline="")
    (tmp_path / "ignored.rst").write_text(words("r", 200))
    assert text_files(tmp_path).passages == (
        Passage("b", words("before", 100)),
        Passage("First *title*", f"{words('a', 60)} {words('b', 10)} {words('c', 30)}"),
        Passage("Second", words("d", 120)),
        Passage("Second", words("e", 100)),
        Passage("a", f"{words('x', 50)} {words('y', 50)}"),
        Passage("Wiki title", words("z", 101)),
    )


def test_text_files_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing: no such folder or file; .* python_docs\(\)"):
        text_files(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"no \*\.txt or \*\.md file"):
        text_files(tmp_path)
    file = tmp_path / "one.txt"
    file.write_text("\n " + words("w", 99))
    with pytest.raises(ValueError, match="none of its 1 files has a passage of 100 words"):
        text_files(tmp_path)
    file.write_bytes(b"first\nsecond\nth\xefrd\n")
    with pytest.raises(ValueError, match=r"one\.txt, line 3: byte 0xef at offset 15 is not UTF-8"):
        text_files(tmp_path)
    file.write_text(" \n")
    with pytest.raises(ValueError, match=r"one\.txt: the file is empty"):
        text_files(tmp_path)


@pytest.mark.skipif(not (DATA / "wikitext2").is_dir(), reason=f"no WikiText-2 in {DATA}; set COLLAPSE_DATA_DIR")
def test_wikitext_has_its_articles_and_its_long_paragraphs():
    source = text_files(DATA / "wikitext2")
    files = [DATA / "wikitext2" / name for name in ("test.txt", "valid.txt")]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").split("\n")]
    articles = {" ".join(line.strip(" =").split()) for line in lines if line.startswith(" = ") and line[3] != "="}
    long = [" ".join(line.split()) for line in lines if len(line.split()) >= 100]
    assert len(long) == 2090
    titles = {passage.title for passage in source.passages}
    assert titles <= articles
    assert len(titles) >= len(articles) - 3, "three table legends look like titles, and hold no passage"
    # Each long line closes a passage.
    assert sum(passage.text.endswith(tuple(long)) for passage in source.passages) == len(long)


# longform


def rows():
    return [
        {"input": "Tell  me", "output": words("a", 50) + "\n" + words("b", 51), "source": "C4", "subset": "x"},
        {"input": "Short", "output": words("c", 99)},
        {"input": "Line\u2028break", "output": words("d", 98) + "  end"},
    ]


def write(path, content):
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    else:
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in content) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_longform_keeps_outputs_of_100_space_separated_words_as_they_are(tmp_path, suffix):
    source = longform(write(tmp_path / f"train{suffix}", rows()))
    # The first has 50 + 51 words of which a line break joins two; in the third, two spaces enclose an empty word.
    assert source.passages == (
        Passage("Tell  me", words("a", 50) + "\n" + words("b", 51)),
        Passage("Line\u2028break", words("d", 98) + "  end"),
    )
    assert source.request == "{title}"


def test_longform_json_may_hold_an_object_a_line(tmp_path):
    file = write(tmp_path / "rows.jsonl", rows()).rename(tmp_path / "rows.json")
    assert len(longform(file).passages) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"input": "x", "output": "y"}\n\n{"input": "x"}\n', r"a\.jsonl, line 3: .* found the keys input"),
        ("a.jsonl", '{"input": "x", "output": 5}\n', r"a\.jsonl, line 1: output must be a string, found 5"),
        ("a.jsonl", '{"input": null, "output": "y"}\n', r"a\.jsonl, line 1: input must be a string, found None"),
        ("a.jsonl", '{"input": "x", "output": "y"}\n{"input"\n', r"a\.jsonl, line 2: malformed JSON"),
        ("a.jsonl", "3\n", r"a\.jsonl, line 1: expected an object .* found 3"),
        ("a.json", '[{"input": "x", "output": "y"},\n {}]', r"a\.json, row 2: .* found the keys \(none\)"),
        ("a.json", '[{"input": "x",\n "output": }]', r"a\.json, line 2: malformed JSON"),
        ("a.json", "[]", r"a\.json: no row has an output of 100 words"),
        ("a.json", "", r"a\.json: the file is empty"),
        ("a.parquet", "no parquet", r"a\.parquet: not a parquet file"),
        ("a.csv", "input,output", r"a\.csv: LongForm is read from \.json, \.jsonl, \.parquet files"),
    ],
)
def test_longform_names_the_file_and_the_row_of_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        longform(tmp_path / name)


def test_longform_other_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: no such file; .* python_docs\(\)"):
        longform(tmp_path / "none.json")
    (tmp_path / "bad.jsonl").write_bytes(b'{}\n"\xff"')
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 2: byte 0xff at offset 4 is not UTF-8"):
        longform(tmp_path / "bad.jsonl")
    bad = write(tmp_path / "bad.parquet", [{"input": "x", "output": 1}])
    with pytest.raises(ValueError, match=r"bad\.parquet, row 1: output must be a string, found 1"):
        longform(bad)


def test_longform_in_the_manual_folder(tmp_path):
    manual = tmp_path / "downloads" / "manual" / "longform"
    manual.mkdir(parents=True)
    file = write(manual / "train.jsonl", rows())
    assert longform(data_dir=tmp_path, url="http://127.0.0.1:9/unused").fingerprint == longform(file).fingerprint
    write(manual / "train-00000-of-00001.parquet", rows())
    with pytest.raises(ValueError, match=r"several training files, train-.*parquet, train\.jsonl; leave one"):
        longform(data_dir=tmp_path)


class Server:
    """Serves `body` on the loopback address, says that it has `size` bytes, and may hold the line."""

    def __init__(self, body, size=None, hold=False):
        done = self.done = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) if size is None else size))
                self.end_headers()
                self.wfile.write(body)
                if hold:
                    done.wait(30)

            def log_message(self, *args):
                pass

        class Quiet(http.server.HTTPServer):
            def handle_error(self, *args):  # The client went away.
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/train.jsonl"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self.url

    def __exit__(self, *_):
        self.done.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_longform_is_downloaded_once(tmp_path):
    file = write(tmp_path / "rows.jsonl", rows())
    with Server(file.read_bytes()) as url:
        first = longform(data_dir=tmp_path, url=url)
    assert first == longform(file) == longform(data_dir=tmp_path, url=url)
    assert [path.name for path in (tmp_path / "downloads" / "longform").iterdir()] == ["train.jsonl"]


def test_a_download_cut_short_leaves_nothing(tmp_path):
    with Server(b"{}", size=1000) as url, pytest.raises(ConnectionError, match="received 2 of 1000 bytes"):
        longform(data_dir=tmp_path, url=url)
    assert not list((tmp_path / "downloads" / "longform").iterdir())


def test_offline_fails_within_seconds_and_says_what_to_do(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/train.parquet"
    start = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        longform(data_dir=tmp_path, url=url)
    assert time.monotonic() - start < 5
    for hint in (url, str(tmp_path / "downloads" / "manual" / "longform"), "python_docs()"):
        assert hint in str(caught.value)


def test_a_stalled_download_fails_within_the_time_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(longform_module, "_CONNECT_SECONDS", 0.3)
    with Server(b"{", size=1000, hold=True) as url:
        start = time.monotonic()
        with pytest.raises(ConnectionError, match=r"could not download LongForm .*timed out"):
            longform(data_dir=tmp_path, url=url)
        assert time.monotonic() - start < 5


def test_a_slow_name_server_fails_within_the_time_limit(tmp_path, monkeypatch):
    def look_up(*args):
        time.sleep(10)
        raise OSError("no such host")

    monkeypatch.setattr(longform_module, "_CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"could not download LongForm .*no answer within 0\.3 s"):
        longform(data_dir=tmp_path, url="http://nowhere.invalid/train.parquet")
    assert time.monotonic() - start < 5
