"""What each experiment measured, when, where and with which code: the rows of the table in experiments/README.md.

`python -m experiments.all --write` takes them; `pages` makes the table of the files that are kept here.
"""

import datetime
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from collapse_jax.io import results
from collapse_jax.io.files import make_writable, write_atomically, write_json
from experiments.shared import pages
from experiments.shared.launch import Experiment, identity
from experiments.shared.machine import machine

_DERIVED = ("experiments/rows/", "experiments/README.md", "experiments/RESULTS.md", "BENCHMARKS.md")


def experiment(name: str) -> Experiment[Any]:
    """Return what the script of this name declares."""
    declared: Experiment[Any] = importlib.import_module(f"experiments.{name}").main
    return declared


def configuration(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return all that the results of an experiment with these arguments depend on, as JSON holds it."""
    plain: dict[str, Any] = json.loads(results.as_text(identity(experiment(name).configured(arguments))))
    return plain


def commit() -> str:
    """Return the commit that is checked out. Raises ValueError outside of git, and for code that isn't committed."""
    told = [_git("rev-parse", "--short=10", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")]
    changed = [line[3:] for line in told[1].splitlines() if not line[3:].startswith(_DERIVED)]
    if changed:
        raise ValueError(f"a row names its commit, but {', '.join(changed)} differ from it: commit them first")
    return told[0].strip()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=pages.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"a row names its commit, and git tells none here: {done.stderr.strip()}")
    return done.stdout


def programs(name: str, arguments: Sequence[str]) -> str:
    """Return the hash of all programs of an experiment, traced in a process of its own.

    Raises ValueError where the script fails on what was not computed.
    """
    command = [sys.executable, "-m", "experiments.shared.programs", name, *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=pages.ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the programs of {name} can't be told: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.split()[-1]


def take(name: str, folder: Path, run: Callable[[Sequence[str]], int]) -> int:
    """Run an experiment as its row asks, with its results in a folder where it resumes; keep the row.

    `run` takes a command line and returns its exit status, which is returned where it is not 0. Minutes are those of
    all runs that it took to come to the end.
    """
    at, declared = commit(), experiment(name)
    clock = folder / f"{name}.seconds"
    before = float(clock.read_text()) if clock.exists() else 0.0
    begin = time.perf_counter()
    try:
        status = run(
            [sys.executable, "-m", f"experiments.{name}", "--no-progress", "--results", str(folder), *declared.measured]
        )
    finally:
        seconds = before + time.perf_counter() - begin
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(clock, partial(_write, f"{seconds:.1f}"))
    # In a process of its own, since this one must hold no accelerator while the next experiment runs.
    return status or run(
        [sys.executable, "-m", "experiments.shared.rows", name, str(folder), at, f"{seconds / 60:.1f}"]
    )


def keep(name: str, folder: Path, at: str, minutes: float) -> None:
    """Write the row of an experiment whose results are in a folder."""
    declared = experiment(name)
    config = declared.configured(declared.measured)
    dataset = results.load(results.folder(folder, name, identity(config), create=False))
    row = {
        "arguments": list(declared.measured),
        "configuration": configuration(name, declared.measured),
        "programs": programs(name, declared.measured),
        "jax": jax.__version__,
        "minutes": minutes,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": at,
        "machine": machine(),
        "summary": declared.summary(dataset),
        "table": declared.table(dataset),
    }
    write_json(make_writable(pages.FOLDER) / f"{name}.json", row)


def changed(names: Sequence[str]) -> dict[str, str]:
    """Return the rows that are no longer those of the code, each with the reason."""
    rows, found = pages.taken(), {}
    for name in names:
        if name not in rows:
            found[name] = "it has not been taken yet"
        elif rows[name]["configuration"] != configuration(name, rows[name]["arguments"]):
            found[name] = f"its configuration has changed since {rows[name]['commit']}"
        elif rows[name]["jax"] != jax.__version__:
            found[name] = f"it was taken with jax {rows[name]['jax']}, whose programs can't be compared with these"
        elif rows[name]["programs"] != programs(name, rows[name]["arguments"]):
            found[name] = f"its compiled programs have changed since {rows[name]['commit']}"
    return found


def write_pages() -> None:
    """Write the rows into the table of experiments/README.md, and experiments/RESULTS.md."""
    for path, text in pages.in_step(pages.README.read_text()).items():
        write_atomically(path, partial(_write, text))


def _write(text: str, path: Path) -> None:
    path.write_text(text)


if __name__ == "__main__":
    keep(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
