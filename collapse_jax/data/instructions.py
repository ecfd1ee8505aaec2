"""Instructions for data evolution, in Self-Instruct's format, and the prompts by which a model rewrites them."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.data.blocks import PADDING
from collapse_jax.data.passages import read_utf8
from collapse_jax.data.seed_instructions import SEED_INSTRUCTIONS
from collapse_jax.data.tokenizers import Tokenizer

__all__ = [
    "TEMPLATES",
    "Instruction",
    "Template",
    "TokenTemplates",
    "read_instructions",
    "read_templates",
    "seed_instructions",
    "tokenize_templates",
]

OPERATORS = ("deepen", "broaden")
SLOT = "{instruction}"

Record = TypeVar("Record")


class Instruction(NamedTuple):
    """A task in words, with an input it may need and one right output, empty where none is given."""

    identifier: str
    instruction: str
    input: str
    output: str
    is_classification: bool


class Template(NamedTuple):
    """A prompt with one slot, `{instruction}`, by which a model deepens the instruction or broadens to another one.

    The model writes on after the prompt. Where the prompt ends with the slot, what is written is added to the
    instruction, else it takes its place. `operator` is "deepen" or "broaden".
    """

    operator: str
    text: str


TEMPLATES = (
    # What Evol-Instruct asks for, in our own words: one more condition, reasons, something concrete.
    Template("deepen", "A condition added to a task.\nTask: {instruction}"),
    Template("deepen", "The same task, now with reasons.\nTask: {instruction}\nTask: "),
    Template("deepen", "The same task, now made concrete.\nTask: {instruction}\nTask: "),
    # Self-Instruct's list, which the model goes on with.
    Template("broaden", "Task: {instruction}\nTask: "),
    Template("broaden", "Tasks of all kinds.\nTask: {instruction}\nTask: "),
)


class TokenTemplates(NamedTuple):
    """Templates as tokens: what stands before the slot and after it, padded with -1, and which templates deepen."""

    prefixes: Int[np.ndarray, "template before"]
    suffixes: Int[np.ndarray, "template after"]
    deepens: Bool[np.ndarray, " template"]


def seed_instructions() -> tuple[Instruction, ...]:
    """Return 60 short instructions of many kinds, at hand offline, without inputs and outputs."""
    return tuple(Instruction(f"seed_{i}", text, "", "", False) for i, text in enumerate(SEED_INSTRUCTIONS))


@checked
def read_instructions(path: str | os.PathLike[str]) -> tuple[Instruction, ...]:
    """Return the instructions of a file in Self-Instruct's format, in its order, each with its first instance.

    A line is a JSON object with the texts `id` and `instruction`, a list `instances` of objects with the texts `input`
    and `output`, and `is_classification`, true or false; other keys are ignored. Raises FileNotFoundError for a missing
    file, and ValueError with file and line for anything else, an `id` that comes twice, and an empty `instruction`.
    Source: Wang et al., arXiv 2212.10560.
    """
    file = _existing(path, "instructions in Self-Instruct's format, or use seed_instructions()")
    found = tuple(_records(file, _instruction))
    lines: dict[str, int] = {}
    for line, one in enumerate(found, 1):
        if one.identifier in lines:
            raise ValueError(f"{file}, line {line}: id {one.identifier!r} is that of line {lines[one.identifier]} too")
        lines[one.identifier] = line
    return found


@checked
def read_templates(path: str | os.PathLike[str]) -> tuple[Template, ...]:
    """Return the templates of a file, a JSON object with the texts `operator` and `template` a line.

    Raises FileNotFoundError for a missing file, ValueError with file and line for any other line and for a template
    that `tokenize_templates` refuses, and ValueError with the file if an operator has no template.
    """
    file = _existing(path, "templates, or use TEMPLATES")
    templates = tuple(_records(file, _template))
    _require_operators(templates, str(file))
    return templates


@checked
def tokenize_templates(tokenizer: Tokenizer, templates: Sequence[Template] = TEMPLATES) -> TokenTemplates:
    """Return templates as tokens; the fields of what is returned are arguments of `rewriting`.

    Raises ValueError for a template without a slot or with two, an unknown operator, one that broadens and ends with
    the slot, and an operator without a template.
    """
    for number, one in enumerate(templates):
        _require_template(one, f"template {number}")
    _require_operators(templates, "templates")
    before, after = zip(*(one.text.split(SLOT) for one in templates), strict=True)
    return TokenTemplates(
        _padded([tokenizer.encode(text) for text in before]),
        _padded([tokenizer.encode(text) for text in after]),
        np.array([one.operator == "deepen" for one in templates]),
    )


def _padded(rows: Sequence[np.ndarray]) -> Int[np.ndarray, "row token"]:
    longest = max(row.size for row in rows)
    return np.stack([np.pad(row, (0, longest - row.size), constant_values=PADDING) for row in rows]).astype(np.int32)


def _existing(path: str | os.PathLike[str], advice: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; name one with {advice}")
    return file


def _records(file: Path, build: Callable[[Mapping[str, Any], str], Record]) -> Iterator[Record]:
    """Yield what `build(object, place)` makes of each line of a JSON lines file."""
    # Not splitlines: a JSON string may hold other line separators.
    for number, line in enumerate(read_utf8(file).removesuffix("\n").split("\n"), 1):
        place = f"{file}, line {number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: not JSON ({error}); each line must be one JSON object") from None
        if not isinstance(content, dict):
            raise ValueError(f"{place}: {line!r:.60} is no JSON object; each line must be one")
        yield build(content, place)


def _instruction(content: Mapping[str, Any], place: str) -> Instruction:
    instances = _value(content, "instances", list, place)
    if not instances or not isinstance(instances[0], dict):
        raise ValueError(f"{place}: instances is {instances!r:.60}; it must begin with an object of input and output")
    text = _value(content, "instruction", str, place)
    if not text.strip():
        raise ValueError(f"{place}: instruction is empty; give it words or remove the line")
    return Instruction(
        _value(content, "id", str, place),
        text,
        _value(instances[0], "input", str, f"{place}, first instance"),
        _value(instances[0], "output", str, f"{place}, first instance"),
        _value(content, "is_classification", bool, place),
    )


def _template(content: Mapping[str, Any], place: str) -> Template:
    one = Template(_value(content, "operator", str, place), _value(content, "template", str, place))
    _require_template(one, place)
    return one


_KINDS = {str: "a text", list: "a list", bool: "true or false"}


def _value(content: Mapping[str, Any], key: str, kind: type, place: str) -> Any:
    if key not in content:
        raise ValueError(f"{place}: {key!r} is missing, {_KINDS[kind]}; there is {', '.join(content) or 'nothing'}")
    value = content[key]
    if not isinstance(value, kind):
        raise ValueError(f"{place}: {key} is {value!r:.60}; it must be {_KINDS[kind]}")
    if isinstance(value, str) and (half := [char for char in value if "\ud800" <= char <= "\udfff"]):
        raise ValueError(f"{place}: {key} has {half[0]!a}, half of a surrogate pair, which is no character")
    return value


def _require_template(one: Template, place: str) -> None:
    if one.operator not in OPERATORS:
        raise ValueError(f"{place}: operator is {one.operator!r}; it must be {' or '.join(map(repr, OPERATORS))}")
    if (slots := one.text.count(SLOT)) != 1:
        raise ValueError(f"{place}: {one.text!r:.60} has {slots} slots; it must have {SLOT} exactly once")
    if one.operator == "broaden" and one.text.endswith(SLOT):
        raise ValueError(
            f"{place}: {one.text!r:.60} ends with its slot, so what is written would be added to the instruction; one "
            "that broadens must go on after it, and have the instruction replaced"
        )


def _require_operators(templates: Sequence[Template], place: str) -> None:
    if missing := [name for name in OPERATORS if name not in {one.operator for one in templates}]:
        raise ValueError(f"{place}: no template for {' and '.join(map(repr, missing))}; there must be one at least")
