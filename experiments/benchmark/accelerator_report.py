"""What `accelerator` says, in Markdown: the machine, and for each stage a table with a line for each row."""

import statistics
from collections.abc import Mapping
from typing import Any

BEGIN, END = "<!-- accelerator -->", "<!-- end of accelerator -->"
ONE_BY_ONE = "one by one under jit, a second"
TITLES = {
    "right": "Right?",
    "ceilings": "Ceilings",
    "rates": "Rates",
    "loops": "The same in PyTorch",
    "filling": "Fills the memory",
    "surviving": "Survives SIGKILL",
}


def markdown(report: Mapping[str, Any]) -> str:
    """Return the section, between its marks."""
    lines = [BEGIN, "", *_machine(report)]
    for stage in _beside(report["stages"]):
        lines += ["", f"### {TITLES.get(stage['stage'], stage['stage'])}", "", *_stage(stage)]
    return "\n".join([*lines, "", END, ""])


def _machine(report: Mapping[str, Any]) -> list[str]:
    outside = report["machine"]
    inside: dict[str, Any] = next((stage["machine"] for stage in report["stages"] if stage["machine"]), {})
    devices = inside.get("devices", [])
    limit = inside.get("bytes_limit")
    parts = [
        outside["card"] or "no NVIDIA card",
        "JAX devices " + (", ".join(f"{devices.count(kind)} × {kind}" for kind in sorted(set(devices))) or "not asked"),
        f"memory for JAX {limit / 2**30:.1f} GiB" if limit else "",
        f"Python {outside['python']}",
        ", ".join(f"{name} {version}" for name, version in outside["versions"].items()),
        inside.get("runtime", ""),
        f"jax_default_matmul_precision {inside.get('jax_default_matmul_precision', 'not asked')}",
        outside["date"],
    ]
    small = ["Sizes are tiny (`--small`): these numbers tell only that all of it runs.", ""] * report["small"]
    return [*small, "; ".join(part for part in parts if part) + ".", "", "A cell is a median (lowest–highest)."]


def _beside(stages: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return stages, in which the rates of other ways stand in the lines of the population that does the same work."""
    rows = {stage["stage"]: {row["row"]: row["values"] for row in stage["rows"]} for stage in stages}
    rates = rows.get("rates", {})

    def others(name: str) -> dict[str, Any]:
        work = name.rsplit(", ", 1)[0]
        given = {
            ONE_BY_ONE: rates.get(f"{work}, P = 1", {}).get(ONE_BY_ONE),
            "PyTorch loop, a second": rows.get("loops", {}).get(work, {}).get("a second"),
            "transformers' generate, a second": rows.get("loops", {}).get(f"{work}, generate", {}).get("a second"),
        }
        return {way: rate for way, rate in given.items() if rate is not None}

    def filled(row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**row, "values": {**row["values"], **others(row["row"])}}

    return [
        {**stage, "rows": [filled(row) for row in stage["rows"]]} if stage["stage"] == "rates" else stage
        for stage in stages
    ]


def _stage(stage: Mapping[str, Any]) -> list[str]:
    rows = stage["rows"]
    columns = list(dict.fromkeys(name for row in rows for name in row["values"]))
    lines = [stage["error"], ""] if stage["error"] else []
    if not rows:
        return lines or ["Nothing was run."]
    lines += [_line(["", *columns, "seconds", "outcome"]), "|---" * (len(columns) + 3) + "|"]
    for row in rows:
        cells = [_cell(row["values"].get(name, "")) for name in columns]
        lines.append(_line([row["row"], *cells, f"{row['seconds']:.3g}", row["error"] or "as it should be"]))
    return lines


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _cell(value: str | float | list[float]) -> str:
    """Return a word, a number, or the median of several with the lowest and the highest."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return _number(value)
    return f"{_number(statistics.median(value))} ({_number(min(value))}–{_number(max(value))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
