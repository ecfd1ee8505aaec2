"""The table of experiments/README.md and experiments/RESULTS.md, made of the rows that were taken.

A row is a file `experiments/rows/<name>.json`, written by `python -m experiments.all --write`.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "rows"
README = ROOT / "experiments" / "README.md"
RESULTS = ROOT / "experiments" / "RESULTS.md"
_NOT_TAKEN = ("—", "not taken yet", "—")
_HEAD = """# What the experiments print

Written by `python -m experiments.all --write`: for each script, where and when it ran, and its table of *measured*
beside *predicted*. The claims stand in [README.md](README.md).
"""


def taken() -> dict[str, dict[str, Any]]:
    """Return the rows that have been taken, by the name of their experiment."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def with_rows(readme: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of experiments/README.md with the rows in its table, whose first three columns stay."""
    lines = []
    for line in readme.splitlines():
        named = re.match(r"\| \[(\w+)\]\(\w+\.py\) \|", line)
        lines.append(_line(line, rows.get(named[1])) if named else line)
    return "\n".join(lines) + "\n"


def _line(line: str, row: Mapping[str, Any] | None) -> str:
    kept = re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |"))[:3]
    own = _NOT_TAKEN
    if row is not None:
        setting = f" (`{' '.join(row['arguments'])}`)" if row["arguments"] else ""
        own = (f"{row['minutes']:g}{setting}", row["summary"].replace("|", "\\|"), f"{row['date']}, {row['commit']}")
    return f"| {' | '.join([*kept, *own])} |"


def results_page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of experiments/RESULTS.md."""
    parts = [_HEAD]
    for name, row in rows.items():
        command = " ".join([f"python -m experiments.{name}", *row["arguments"]])
        where = f"{row['date']}, commit {row['commit']}, {row['machine']}; {row['minutes']:g} minutes."
        parts.append(f"## {name}\n\n`{command}`: {where}\n\n```text\n{row['table'].strip()}\n```\n")
    return "\n".join(parts)


def in_step(readme: str) -> dict[Path, str]:
    """Return the text of both pages, the table with the rows in that of experiments/README.md."""
    rows = taken()
    return {README: with_rows(readme, rows), RESULTS: results_page(rows)}
