"""What one machine's accelerator makes of this library: a table in a few minutes, from one command without a question.

    python -m experiments.benchmark.accelerator --minutes 8 --out FOLDER    on a machine with a GPU or a TPU
    python -m experiments.benchmark.accelerator --small --out FOLDER        on two CPU cores: that all of it still runs
    python -m experiments.benchmark.accelerator --render FOLDER             writes the Markdown anew, from the JSON

Stages, in order of value: is it right there; what the device offers at best; how fast populations run, beside the same
members one by one; the same networks in PyTorch; does a population fill the memory; does a sweep survive SIGKILL. Each
runs in processes of its own, one after another, since a process holds the device's memory: one that fails, hangs or
dies is reported with its error, and the next row or stage begins. After every stage FOLDER/accelerator.json is written,
and FOLDER/accelerator.md, a section for BENCHMARKS.md. Compiled programs are kept in FOLDER/compiled: a second call
compiles little.

This process doesn't start JAX on a device: what it would hold there, the stages would lack.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from collapse_jax.io.files import make_writable, write_atomically, write_json
from experiments.benchmark.accelerator_report import markdown
from experiments.benchmark.report import installed

_START = 90.0  # seconds that a process may take until its first row: imports and the driver
_POLL = 0.05
_LAST = 5.0  # seconds kept for the report
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch", "transformers")


class Stage(NamedTuple):
    """A module of rows, its share of the time, and the environment of its processes."""

    name: str
    module: str
    share: float
    environment: Mapping[str, str] = {}


def _stage(name: str, share: float, **environment: str) -> Stage:
    return Stage(name, f"experiments.benchmark.stages.{name}", share, environment)


STAGES = (
    _stage("right", 0.30),
    _stage("ceilings", 0.10),
    _stage("rates", 0.32, XLA_CLIENT_MEM_FRACTION="0.90"),
    # PyTorch brings CUDA libraries of its own, which JAX's needn't get along with in one process.
    _stage("loops", 0.08, JAX_PLATFORMS="cpu"),
    _stage("filling", 0.12, XLA_CLIENT_MEM_FRACTION="0.95"),
    _stage("surviving", 0.08),
)


def run(stages: Sequence[Stage], out: Path, *, minutes: float, small: bool) -> dict[str, Any]:
    """Run stages within so many minutes; return the report, which is written to `out` after each of them.

    What a stage leaves of its time goes to those after it, in proportion to their shares.
    """
    until = time.monotonic() + 60.0 * minutes - _LAST
    report: dict[str, Any] = {"machine": machine(), "minutes": minutes, "small": small, "stages": []}
    for number, stage in enumerate(stages):
        print(f"{stage.name}:", file=sys.stderr)
        left = until - time.monotonic()
        share = stage.share / sum(later.share for later in stages[number:])
        report["stages"].append(run_stage(stage, out, seconds=max(share * left, 0.0), small=small))
        write_json(out / "accelerator.json", report)
        write_markdown(out, report)
    return report


def run_stage(stage: Stage, out: Path, *, seconds: float, small: bool) -> dict[str, Any]:
    """Run the rows of a stage within so many seconds; return them with what each found, or why it found nothing."""
    begin = time.monotonic()
    file, log = out / f"{stage.name}.jsonl", out / f"{stage.name}.log"
    for old in (file, log):
        old.unlink(missing_ok=True)
    told = Told(file)
    first, why = 0, ""
    while not why and (told.rows is None or first < len(told.rows)) and time.monotonic() < begin + seconds:
        ended = _run_child(stage, out, told, first, until=begin + seconds, small=small)
        last = -1 if told.began is None else told.began
        if last < first and told.rows != []:
            # The process ended before it began a row, and so would the next one.
            why = f"{ended} before its first row: {_last_words(log)}"
        elif last >= first and last not in told.ended:
            after = "" if ended.startswith("ran over") else f": {_last_words(log)}"
            told.ended[last] = {"error": f"{ended}{after}", "seconds": round(time.monotonic() - told.since, 2)}
        first = max(first, last + 1)
    late = f"not begun: the stage's {seconds:.0f} s were over"
    return {
        "stage": stage.name,
        "error": why or (late if told.rows is None else ""),
        "seconds": round(time.monotonic() - begin, 1),
        "machine": told.machine,
        "rows": [
            {"row": name, "values": {}, "error": why or late, "seconds": 0.0, **told.ended.get(number, {})}
            for number, (name, _) in enumerate(told.rows or [])
        ],
    }


def _run_child(stage: Stage, out: Path, told: "Told", first: int, *, until: float, small: bool) -> str:
    """Run the rows of a stage from number `first` on in a process, until one stops it; return how it ended."""
    command = [sys.executable, "-m", "experiments.benchmark.stages.child", stage.module, str(told.file), str(first)]
    with (out / f"{stage.name}.log").open("a") as words:
        child = subprocess.Popen(
            [*command, *["--small"] * small],
            env=environment(stage, out, small=small),
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
        ended = _wait(child, told, first, until)
    told.read()
    return ended


class Told:
    """What the processes of a stage have told the file so far."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.machine: dict[str, Any] = {}
        self.rows: list[tuple[str, float]] | None = None
        self.began: int | None = None
        self.since = time.monotonic()
        self.ended: dict[int, dict[str, Any]] = {}
        self._at = 0

    def read(self) -> None:
        """Read the whole lines that are new."""
        if not self.file.exists():
            return
        content = self.file.read_bytes()
        whole = content[self._at : content.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.splitlines():
            found = json.loads(line)
            self.machine = found.get("machine", self.machine)
            if "rows" in found:
                self.rows = [(name, seconds) for name, seconds in found["rows"]]
            elif "began" in found:
                self.began, self.since = found["began"], time.monotonic()
                print(f"  {self.rows[self.began][0] if self.rows else self.began}", file=sys.stderr)
            elif "ended" in found:
                number = found.pop("ended")
                self.ended[number] = found
                self.since = time.monotonic()
                if found["error"]:
                    print(f"    {found['error']}", file=sys.stderr)


def environment(stage: Stage, out: Path, *, small: bool) -> dict[str, str]:
    """Return the environment of a stage's processes: one card, a common folder of programs, and the CPU besides."""
    settings = {
        "CUDA_VISIBLE_DEVICES": "0",
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str((out / "compiled").absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        **stage.environment,
    }
    if small:
        settings["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"  # compiling takes most of the time
    if "XLA_CLIENT_MEM_FRACTION" in stage.environment:
        settings.pop("XLA_PYTHON_CLIENT_MEM_FRACTION", None)  # its old name: JAX refuses both
    platforms = settings.get("JAX_PLATFORMS", "")
    if platforms and "cpu" not in platforms.split(","):
        settings["JAX_PLATFORMS"] = f"{platforms},cpu"  # the host's CPU, which `right` compares the device with
    return settings


def machine() -> dict[str, Any]:
    """Return what can be told without starting JAX: the card, its driver, and the versions of packages."""
    return {
        "card": _card(),
        "python": platform.python_version(),
        "versions": installed(_PACKAGES),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def write_markdown(out: Path, report: Mapping[str, Any]) -> None:
    """Write the section for BENCHMARKS.md."""
    write_atomically(out / "accelerator.md", lambda temporary: temporary.write_text(markdown(report)))


def _wait(child: "subprocess.Popen[bytes]", told: Told, first: int, until: float) -> str:
    """Wait for a process to end, or end it and all that it started; return how it ended."""
    started = time.monotonic()
    try:
        while child.poll() is None:
            told.read()
            now = time.monotonic()
            running = told.began is not None and told.began >= first and told.began not in told.ended
            allowed = told.rows[told.began][1] if running and told.rows and told.began is not None else _START
            since = max(told.since, started)
            if now > until:
                return "ran over the stage's time"
            if now - since > allowed:
                return f"ran over its {allowed:.0f} s"
            time.sleep(_POLL)
    finally:
        _end(child)
    status = child.returncode
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Kill a process with all that it started; one that the driver holds back is left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(3.0)
    except subprocess.TimeoutExpired:
        print(f"  process {child.pid} doesn't end", file=sys.stderr)


def _last_words(log: Path, longest: int = 300) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][-longest:] if lines else "it said nothing"


def _card() -> str:
    """Return name, driver and memory of the NVIDIA cards, "" where there are none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20.0)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(told.stdout.strip().splitlines()) if told.returncode == 0 else ""


def main() -> None:
    """Run from the command line."""
    names = [stage.name for stage in STAGES]
    parser = argparse.ArgumentParser(
        prog="accelerator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all of it")
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--small", action="store_true", help="tiny sizes, which tell nothing but that all of it runs")
    parser.add_argument("--stages", nargs="+", choices=names, default=names, help="only these")
    parser.add_argument("--render", type=Path, metavar="FOLDER", help="write the Markdown of results that are there")
    given = parser.parse_args()
    if given.render:
        report = json.loads((given.render / "accelerator.json").read_text())
        return write_markdown(given.render, report)
    if given.out is None:
        parser.error("give --out, the folder for the results")
    if not 0.5 <= given.minutes <= 24 * 60:
        parser.error(f"--minutes is {given.minutes}; it must lie in [0.5, 1440]")
    chosen = [stage for stage in STAGES if stage.name in given.stages]
    report = run(chosen, make_writable(given.out), minutes=given.minutes, small=given.small)
    print((given.out / "accelerator.md").read_text())
    failed = [stage["stage"] for stage in report["stages"] if stage["error"] or any(r["error"] for r in stage["rows"])]
    # On an accelerator a table with gaps is worth having; in --small, which CI runs, a gap is a defect.
    return sys.exit(f"error: not all well in {', '.join(failed)}") if failed and given.small else None


if __name__ == "__main__":
    main()
