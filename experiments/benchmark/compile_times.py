"""How long each experiment compiles at its first start, and at its second through JAX's persistent compilation cache.

    python -m experiments.benchmark.compile_times                      all experiments, small, twice
    python -m experiments.benchmark.compile_times recursion_gaussian   those named
    python -m experiments.benchmark.compile_times --write              also puts the table into BENCHMARKS.md

Each start is a process of its own, in an empty folder of results, with one cache for both. The seconds are those spent
in tracing, lowering and compiling (or fetching what was compiled), in any thread, counted once, as JAX reports them. A
sweep runs one segment of each chunk, whose records stand for the others': enough for a script to come to its end.
"""

import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from collapse_jax.engine import run
from collapse_jax.engine.program import Compiled
from experiments.all import EXPERIMENTS
from experiments.benchmark import report

_EVENTS = "/jax/core/compile/"
# The benchmark compiles the programs of the others, and times them for minutes.
_NO_COMPILING = {"benchmark"}


def measure(name: str, arguments: list[str], cache: Path, results: Path) -> tuple[float, int]:
    """Return the compile seconds of one start of an experiment, and how many programs it compiled or fetched.

    Raises OSError if the experiment fails.
    """
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    told = results / "compile.json"
    results.mkdir(parents=True)
    command = [sys.executable, "-m", "experiments.benchmark.compile_times", "--report", str(told), name]
    command += ["--results", str(results), "--no-progress", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{name} failed:\n{done.stderr}")
    found = json.loads(told.read_text())
    return found["seconds"], found["programs"]


def union(intervals: list[tuple[float, float]]) -> float:
    """Return the length that intervals (begin, end) cover together: nested and concurrent ones count once."""
    covered, until = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        covered += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return covered


def table(names: list[str], arguments: list[str]) -> str:
    """Return first and second compile seconds of experiments, in Markdown, measured."""
    lines = ["| experiment | programs | first start, s | second start, s |", "|---|---|---|---|"]
    for name in names:
        print(f"compiling {name}, twice", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            starts = [measure(name, arguments, Path(folder, "cache"), Path(folder, number)) for number in "12"]
        (first, programs), (second, _) = starts
        lines.append(f"| {name} | {programs} | {first:.1f} | {second:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    given = sys.argv[1:]
    if given[:1] == ["--report"]:
        return _report(Path(given[1]), given[2], given[3:])
    names = [name for name in given if name != "--write"] or [name for name in EXPERIMENTS if name not in _NO_COMPILING]
    if unknown := set(names) - set(EXPERIMENTS):
        sys.exit(f"error: no experiment {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}")
    text = table(names, ["--small"])
    print(text)
    if "--write" in given:
        report.write(Path("BENCHMARKS.md"), "compile times", text)
    return None


def _report(path: Path, name: str, arguments: list[str]) -> None:
    """Run an experiment and write to `path`, in the end, what it compiled."""
    intervals: list[tuple[float, float]] = []
    programs: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event.startswith(_EVENTS):
            now = time.perf_counter()
            intervals.append((now - duration_secs, now))
            programs.extend([event] if event.endswith("backend_compile_duration") else [])

    def write() -> None:
        path.write_text(json.dumps({"seconds": union(intervals), "programs": len(programs)}))

    run._advance = _first_segments
    jax.monitoring.register_event_duration_secs_listener(listen)
    atexit.register(write)
    sys.argv = [name, *arguments]
    importlib.import_module(f"experiments.{name}").main()


def _first_segments(
    program: Compiled,
    layout: run.Layout,
    chunk: int,
    store: object,
    pieces: list[run.Piece],
    finals: list[PyTree] | None,
    bar: object,
    report: object,
) -> None:
    """Append the records of the first segment of every chunk, once for each segment."""
    for start in range(0, layout.members, chunk):
        members = np.minimum(np.arange(start, start + program.width), layout.members - 1)
        hyper, seeds = program.place(members)
        state, records, finite = program.advance(program.init(hyper, seeds), hyper, 0)
        piece = {name: np.asarray(values) for name, values in (records | {"diverged": ~finite}).items()}
        real = {name: values[: min(chunk, layout.members - start)] for name, values in piece.items()}
        pieces += [real] * layout.segments
        if finals is not None:
            finals.append(jax.tree.map(lambda leaf: leaf[: len(real["diverged"])], state))  # noqa: B023 - called here


if __name__ == "__main__":
    main()
