"""Files that are not what they are named: every reader refuses them, with the file's name, and runs nothing in them."""

import gzip
import io
import json
import pickle
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from hypothesis import strategies as st

import collapse_jax as cj
from collapse_jax.io import results
from collapse_jax.reward.saving import build_model
from collapse_jax.reward.scoring import expected_params
from tests.fuzz.arguments import functions_of, is_reader
from tests.fuzz.refusals import Attempt, attempt


class Reader(NamedTuple):
    """A reader of one kind of file: the name that the file must have, and content that is right."""

    name: str
    file: str
    read: Callable[[Path], Any]
    content: bytes


class Payload:
    """What runs code when it is unpickled: it would create a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return the call that unpickling makes."""
        return Path.touch, (self.marker,)


def readers() -> list[Reader]:
    """Return every reader of files; those of folders are given the folder that holds the file."""
    words = " ".join(["a plain word of prose"] * 60)
    instruction = {
        "id": "1",
        "instruction": "Do it.",
        "instances": [{"input": "", "output": ""}],
        "is_classification": True,
    }
    templates = [{"operator": name, "template": "One {instruction} more"} for name in ("deepen", "broaden")]
    rows = [{"input": f"title {i}", "output": words} for i in range(3)]
    images = b"\0\0\x08\x03" + struct.pack(">3I", 2, 2, 2) + bytes(8)
    other = "train-labels-idx1-ubyte"
    labels = b"\0\0\x08\x01" + struct.pack(">I", 2) + bytes([0, 1])
    pairs = [{"prompt": f"say {i}", "chosen": words, "rejected": "no"} for i in range(3)]
    table = ",".join(pairs[0]) + "".join(f"\n{','.join(pair.values())}" for pair in pairs)
    speech = "\n\n".join(f"NAME {i}:\n{words}" for i in range(3))
    by_hand = [
        Reader("text_files", "a.txt", cj.data.text_files, words.encode()),
        Reader("text_files", "a.md", cj.data.text_files, f"# Title\n\n{words}".encode()),
        Reader("wikitext", "wiki.txt", cj.data.wikitext, f" = Title = \n\n{words}\n".encode()),
        Reader("tiny_shakespeare", "input.txt", cj.data.tiny_shakespeare, speech.encode()),
        Reader("longform", "a.jsonl", cj.data.longform, _lines(rows)),
        Reader("longform", "a.json", cj.data.longform, json.dumps(rows).encode()),
        Reader("longform", "a.parquet", cj.data.longform, _parquet(rows)),
        Reader("read_instructions", "a.jsonl", cj.data.read_instructions, _lines([instruction])),
        Reader("read_templates", "a.jsonl", cj.data.read_templates, _lines(templates)),
        Reader("read_preferences", "a.jsonl", cj.data.read_preferences, _lines(pairs)),
        Reader("read_preferences", "a.json", cj.data.read_preferences, json.dumps(pairs).encode()),
        Reader("read_preferences", "a.csv", cj.data.read_preferences, table.encode()),
        Reader("read_preferences", "a.parquet", cj.data.read_preferences, _parquet(pairs)),
        Reader("read_preferences", "a.jsonl.gz", cj.data.read_preferences, gzip.compress(_lines(pairs))),
        Reader("load_bpe", "tokenizer.json", cj.data.load_bpe, cj.data.train_bpe([words], 260).content.encode()),
        Reader("mnist", "train-images-idx3-ubyte", _mnist({other: labels}), images),
        Reader("mnist", "train-labels-idx1-ubyte", _mnist({"train-images-idx3-ubyte": images}), labels),
        Reader(
            "mnist", "train-images-idx3-ubyte.gz", _mnist({"train-labels-idx1-ubyte": labels}), gzip.compress(images)
        ),
        *_saved_models(),
        Reader("results.load", "results.nc", lambda file: results.load(file.parent), _netcdf()),
    ]
    known = {reader.name for reader in by_hand}
    others = [one for one in functions_of(cj.data) if is_reader(one) and one.__name__ not in known]
    # What is right for a new reader isn't known here; plain prose is, or is refused by the file's name.
    return [*by_hand, *(Reader(one.__name__, "a.txt", one, words.encode()) for one in others)]


def contents(right: bytes, marker: Path) -> st.SearchStrategy[bytes]:
    """Return what to put in the place of the right content: cut, flipped, of other kinds, or made to run code."""
    pickled = pickle.dumps(Payload(marker))
    objects, archive = io.BytesIO(), io.BytesIO()
    np.save(objects, np.array([Payload(marker)], object), allow_pickle=True)
    np.savez(archive, a=np.array([Payload(marker)], object))
    deep = b"[" * 100_000
    fixed = [
        *(b"", b"\n", b"\0" * 100, b"\xff\xfe\0a", b"\xef\xbb\xbf", b"word " * 100_000, b"\x80abc", b"one line", deep),
        *(b"{}", b"[]", b"null", b"[1, 2]", b'{"a": ' * 5000, b'{"id": 1}', b"NaN", b'"\\ud800"', b"1" * 5000),
        *(pickled, objects.getvalue(), archive.getvalue(), gzip.compress(pickled), gzip.compress(b"\0" * 10_000_000)),
        b'!!python/object/apply:pathlib.Path.touch ["' + str(marker).encode() + b'"]',
        b'__import__("pathlib").Path("' + str(marker).encode() + b'").touch()',
        struct.pack("<Q", 2**40) + b"{}",
        b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1),
        right + b"\0garbage\xff",
        right + pickled,
    ]
    cut = st.integers(0, max(len(right) - 1, 0)).map(lambda n: right[:n])
    flipped = st.tuples(st.integers(0, max(len(right) - 1, 0)), st.integers(1, 255)).map(
        lambda at: right[: at[0]] + bytes([right[at[0]] ^ at[1]]) + right[at[0] + 1 :]
    )
    return st.one_of(st.sampled_from(fixed), cut, flipped, st.binary(max_size=200))


def draw_attempt(given: list[Reader], data: st.DataObject) -> Attempt:
    """Return what comes of one file that is not right. That it ran something counts as silent."""
    reader = data.draw(st.sampled_from(given))
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "marker"
        content = data.draw(contents(reader.content, marker))
        found = try_file(reader, content, Path(folder) / "data")
        ran = marker.exists()
    return found._replace(outcome="silent", error="ran code from the file") if ran else found


def try_file(reader: Reader, content: bytes, folder: Path) -> Attempt:
    """Return what comes of reading one file in a folder of its own."""
    folder.mkdir()
    file = folder / reader.file
    file.write_bytes(content)
    # Text may hold anything, and a byte may be flipped in what nobody checks.
    words = (str(folder), file.name)
    return attempt("files", reader.name, reader.file, content, lambda: reader.read(file), words=words, may_be_nan=True)


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def _parquet(rows: list[dict[str, str]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


def _mnist(others: Mapping[str, bytes]) -> Callable[[Path], Any]:
    def read(file: Path) -> Any:
        for name, content in others.items():
            (file.parent / name).write_bytes(content)
        return cj.data.image_sources.mnist_source(file.parent, None, "http://127.0.0.1:9/")

    return read


def _saved_models() -> list[Reader]:
    """Return a reader for each file of a saved reward model and generator, beside the other, which is right."""
    config = {"kind": "mlp", "hidden": [2], "link": "sigmoid"}
    reader = cj.data.ngram_reader(2, 2, (1,))
    model = build_model(config, Path("here"))
    shapes = expected_params(model, reader)
    reward = cj.reward.make_reward_model(model, jax.tree.map(lambda leaf: np.ones(leaf.shape, "f4"), shapes), reader)
    family = cj.families.gaussian()
    generator = cj.generative.make_generator(family, family.truth)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        cj.reward.save_reward_model(reward, Path(folder) / "load_reward_model")
        cj.generative.save_generator(generator, Path(folder) / "load_generator")
        for load in (cj.reward.load_reward_model, cj.generative.load_generator):
            files = {path.name: path.read_bytes() for path in (Path(folder) / load.__name__).iterdir()}
            found += [Reader(load.__name__, name, _beside(files, load), files[name]) for name in files]
    return found


def _beside(files: Mapping[str, bytes], load: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a reader of a file in a folder that also has the other files."""

    def read(file: Path) -> Any:
        for name, content in files.items():
            if name != file.name:
                (file.parent / name).write_bytes(content)
        return load(file.parent)

    return read


def _netcdf() -> bytes:
    import xarray as xr

    dataset = xr.Dataset({"x": ("a", np.arange(4.0))}, {"a": list("wxyz")}, {"config": "{}"})
    return bytes(dataset.to_netcdf(engine="h5netcdf"))
