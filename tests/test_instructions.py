"""Instructions and templates: what files hold comes back, and what is wrong with one is named with file and line."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.data import (
    TEMPLATES,
    Instruction,
    Template,
    byte_tokenizer,
    read_instructions,
    read_templates,
    seed_instructions,
    tokenize_templates,
)

DATA = Path(os.environ.get("COLLAPSE_DATA_DIR", Path(__file__).resolve().parents[1] / "../shared/data"))
SEEDS = DATA / "self_instruct" / "seed_tasks.jsonl"

ONE = {
    "id": "a",
    "name": "n",
    "instruction": "Add.",
    "instances": [{"input": "1, 2", "output": "3"}, {"input": "", "output": "none"}],
    "is_classification": False,
}
OTHER = {**ONE, "id": "b", "instruction": "Say\u2028\u00e9\nor no.", "is_classification": True}
DEEPEN, BROADEN = (
    {"operator": "deepen", "template": "{instruction}"},
    {"operator": "broaden", "template": "{instruction}."},
)


def write(path, *lines):
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def test_instructions_are_read_in_order(tmp_path):
    expected = (
        Instruction("a", "Add.", "1, 2", "3", False),
        Instruction("b", "Say\u2028\u00e9\nor no.", "1, 2", "3", True),
    )
    file = write(tmp_path / "f.jsonl", ONE, json.dumps(OTHER, ensure_ascii=False))
    assert read_instructions(file) == expected
    # Other line ends, no line end after the last line, a byte-order mark.
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes()[:-1].replace(b"}\n", b"}\r\n"))
    assert read_instructions(str(file)) == expected


@pytest.mark.skipif(not SEEDS.is_file(), reason=f"no Self-Instruct seeds in {DATA}; set COLLAPSE_DATA_DIR")
def test_self_instructs_seeds_are_read_whole():
    found = read_instructions(SEEDS)
    raw = SEEDS.read_text("utf-8")
    assert len(found) == raw.count('"is_classification": ') == 175
    assert sum(one.is_classification for one in found) == raw.count('"is_classification": true') == 26
    for one, line in zip(found, raw.split("\n"), strict=False):
        for text in (one.identifier, one.instruction, one.input, one.output):
            assert json.dumps(text, ensure_ascii=False) in line or json.dumps(text) in line


def test_the_seeds_at_hand_are_short_distinct_tasks():
    seeds = seed_instructions()
    assert len({one.identifier for one in seeds}) == len({one.instruction for one in seeds}) == len(seeds) == 60
    assert all(10 < len(one.instruction) < 80 and one.instruction[-1] in ".?" for one in seeds)
    assert not any(one.input or one.output for one in seeds)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "b", ', "not JSON (Expecting property name"),
        ("[" * 100_000, "not JSON ("),
        ("", "not JSON (Expecting value"),
        ("[1]", "'[1]' is no JSON object; each line must be one"),
        ({}, "'instances' is missing, a list; there is nothing"),
        ({**ONE, "instances": []}, "instances is []; it must begin with an object"),
        ({**ONE, "instances": ["x"]}, "instances is ['x']; it must begin with an object"),
        ({**ONE, "instances": "x"}, "instances is 'x'; it must be a list"),
        ({**ONE, "instances": [{"input": ""}]}, "first instance: 'output' is missing, a text; there is input"),
        ({**ONE, "instances": [{"input": None, "output": ""}]}, "first instance: input is None; it must be a text"),
        ({**ONE, "instruction": " \n"}, "instruction is empty"),
        ({**ONE, "instruction": 3}, "instruction is 3; it must be a text"),
        ({**ONE, "id": 3}, "id is 3; it must be a text"),
        ({**ONE, "is_classification": 0}, "is_classification is 0; it must be true or false"),
        ({k: v for k, v in ONE.items() if k != "is_classification"}, "'is_classification' is missing, true or false"),
        (ONE, "id 'a' is that of line 1 too"),
        ({**ONE, "instruction": "\ud83d"}, "instruction has '\\ud83d', half of a surrogate pair"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    file = write(tmp_path / "f.jsonl", ONE, line, OTHER)
    with pytest.raises(ValueError, match=re.escape(f"{file}, line 2")) as caught:
        read_instructions(file)
    assert message in str(caught.value)


@pytest.mark.parametrize("read", [read_instructions, read_templates])
def test_bad_files_are_named(tmp_path, read):
    file = tmp_path / "f.jsonl"
    with pytest.raises(FileNotFoundError, match=re.escape(f"{file}: no such file; name one with")):
        read(file)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape(f"{file}: the file is empty")):
        read(file)
    file.write_bytes(json.dumps(ONE).encode() + b"\n\xff")
    with pytest.raises(ValueError, match=re.escape(f"{file}, line 2: byte 0xff")):
        read(file)


# Templates


def test_templates_are_read_in_order(tmp_path):
    assert read_templates(write(tmp_path / "t.jsonl", BROADEN, DEEPEN)) == (
        Template("broaden", "{instruction}."),
        Template("deepen", "{instruction}"),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"operator": "deepen"}, "'template' is missing, a text; there is operator"),
        ({**DEEPEN, "template": ["{instruction}"]}, "template is ['{instruction}']; it must be a text"),
        ({**DEEPEN, "operator": "widen"}, "operator is 'widen'; it must be 'deepen' or 'broaden'"),
        (
            {**DEEPEN, "template": "{Instruction}"},
            "'{Instruction}' has 0 slots; it must have {instruction} exactly once",
        ),
        ({**DEEPEN, "template": "{instruction}{instruction}"}, "has 2 slots"),
        ({**BROADEN, "template": "Task: {instruction}"}, "ends with its slot"),
    ],
)
def test_a_bad_template_is_named(tmp_path, line, message):
    file = write(tmp_path / "t.jsonl", BROADEN, line, DEEPEN)
    with pytest.raises(ValueError, match=re.escape(f"{file}, line 2")) as caught:
        read_templates(file)
    assert message in str(caught.value)


def test_a_bad_template_is_named_by_its_number():
    with pytest.raises(ValueError, match="template 1: 'x' has 0 slots"):
        tokenize_templates(byte_tokenizer(), [*TEMPLATES[:1], Template("deepen", "x"), *TEMPLATES[1:]])


def test_each_operator_needs_a_template(tmp_path):
    file = write(tmp_path / "t.jsonl", BROADEN)
    with pytest.raises(ValueError, match=re.escape(f"{file}: no template for 'deepen'; there must be one at least")):
        read_templates(file)
    with pytest.raises(ValueError, match="templates: no template for 'deepen' and 'broaden'"):
        tokenize_templates(byte_tokenizer(), [])


def test_tokens_give_the_templates_back():
    tokenizer = byte_tokenizer()
    prefixes, suffixes, deepens = tokenize_templates(tokenizer)
    assert prefixes.dtype == suffixes.dtype == np.int32
    assert len(TEMPLATES) == len(prefixes) == len(suffixes) == len(deepens)
    for one, before, after, deepen in zip(TEMPLATES, prefixes, suffixes, deepens, strict=True):
        # Padding stands to the right alone.
        assert (np.diff((before >= 0).astype(int)) <= 0).all()
        assert one.text.format(instruction="X") == f"{tokenizer.decode(before)}X{tokenizer.decode(after)}"
        assert deepen == (one.operator == "deepen")
    assert set(deepens.tolist()) == {True, False}
