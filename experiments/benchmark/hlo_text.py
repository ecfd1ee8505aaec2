"""The text of a compiled program (HLO), read into computations and instructions, with the lines that ask for them."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(r"(?:condition|body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_CALLERS = 4


class Instruction(NamedTuple):
    """A line of a computation: its shape and attributes as text, the names of its operands, where it was written."""

    name: str
    shape: str
    op: str
    operands: list[str]
    attributes: str
    source: str
    root: bool


class Module(NamedTuple):
    """A program: its computations by name, and the one that it enters at."""

    computations: dict[str, dict[str, Instruction]]
    entry: str


def parse(text: str) -> Module:
    """Return the program of a text as `as_text()` gives it. Raises ValueError for a text without an entry."""
    computations: dict[str, dict[str, Instruction]] = {}
    current: dict[str, Instruction] | None = None
    entry, sources = "", _sources(text)
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and " = " in line:
            instruction = _instruction(line, sources)
            current[instruction.name] = instruction
    if not entry:
        raise ValueError("text holds no ENTRY computation: it is no compiled HLO program")
    return Module(computations, entry)


def root_of(computation: dict[str, Instruction]) -> Instruction:
    """Return the instruction whose value a computation returns."""
    return next(one for one in computation.values() if one.root)


def called(one: Instruction, what: str) -> str:
    """Return the name of the computation that an instruction calls as `what`. Raises ValueError where it calls none."""
    found = re.search(rf"{what}=%?([\w.\-]+)", one.attributes)
    if found is None:
        raise ValueError(f"instruction {one.name} has no {what}: {one.attributes}")
    return found[1]


def branches(one: Instruction) -> list[str]:
    """Return the names of all computations that an instruction calls."""
    listed = re.search(r"branch_computations=\{([^}]*)\}", one.attributes)
    return re.findall(r"%?([\w.\-]+)", listed[1]) if listed else _CALLED.findall(one.attributes)


def _instruction(line: str, sources: dict[str, str]) -> Instruction:
    left, right = line.split(" = ", 1)
    end = _closing(right) + 1 if right.startswith("(") else right.index(" ")
    shape, right = right[:end], right[end:].lstrip()
    op, right = right.split("(", 1)
    end = _closing("(" + right) - 1
    operands, attributes = right[:end], right[end + 1 :]
    # A constant's value stands where others name their operands.
    names = [operands] if op == "constant" else re.findall(r"%([\w.\-]+)", operands)
    frame = re.search(r"stack_frame_id=(\d+)", attributes)
    source = sources.get(frame[1], "") if frame else ""
    name = left.replace("ROOT", "").strip().lstrip("%")
    return Instruction(name, shape, op, names, attributes, source, left.strip().startswith("ROOT"))


def _closing(text: str) -> int:
    """Return where the bracket closes that a text begins with."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return at
    raise ValueError(f"the bracket of {text[:80]!r} doesn't close")


def _sources(text: str) -> dict[str, str]:
    """Return the frames of a program by their number: the innermost line of this project, then some of its callers."""
    tables: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        if line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
            current = tables.setdefault(line, {})
        elif row := re.match(r"^(\d+) (.*)$", line):
            current[row[1]] = row[2]
        elif _HEAD.match(line):
            break
    places, parents = {}, {}
    for number, frame in tables.get("StackFrames", {}).items():
        location, parent = re.findall(r"=(\d+)", frame)
        fields = dict(re.findall(r"(\w+)=(\d+)", tables["FileLocations"][location]))
        file = tables["FileNames"][fields["file_name_id"]].strip('"')
        places[number], parents[number] = f"{file}:{fields['line']}", str(int(parent) - 1)
    return {number: " < ".join(islice(_own(number, places, parents), _CALLERS)) for number in places}


def _own(number: str, places: dict[str, str], parents: dict[str, str]) -> Iterator[str]:
    """Yield the lines of a frame and its callers that belong to this project, the innermost first."""
    while number in places:
        if found := re.search(r"(?:collapse_jax/(?!engine/|checks/)|experiments/|colab/)\S+$", places[number]):
            yield found[0]
        number = parents[number]
