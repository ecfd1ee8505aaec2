"""Run every experiment of the repository, one after another.

    python -m experiments.all --small             each in its small setting
    python -m experiments.all --write             take the rows of experiments/README.md anew: hours
    python -m experiments.all --stale             name the rows that are no longer those of the code
    python -m experiments.all --only tails mixture ...

Arguments that are not named here are passed on to each experiment. Those that fail are named at the end, and then the
exit status is 1. `--write` needs committed code, since a row names its commit; called again on the same commit it goes
on where it was stopped, in a folder of results of its own, and takes no row twice.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

_FOLDER = Path(__file__).parent
_SCRIPTS = {path.stem for path in _FOLDER.glob("*.py")} - {"__init__", Path(__file__).stem}
_PACKAGES = {path.parent.name for path in _FOLDER.glob("*/__main__.py")}
EXPERIMENTS = tuple(sorted(_SCRIPTS | _PACKAGES))
"""The experiments: every script beside this one, and every package that runs as a command."""
TABLED = tuple(sorted(_SCRIPTS))
"""Those with a row in the table; the packages write tables of their own."""


def main() -> None:
    """Run each experiment in a process of its own, or write or check the rows of their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--write", action="store_true", help="take the rows of the table anew, and write them")
    way.add_argument("--stale", action="store_true", help="name the rows that are no longer those of the code")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run N side by side; each prints when it ends")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, metavar="NAME", help="these")
    asked, passed_on = parser.parse_known_args()
    if (asked.write or asked.stale) and passed_on:
        parser.error(f"{' '.join(passed_on)}: a row is taken with the arguments that its script declares")
    if asked.jobs < 1 or (asked.jobs > 1 and (asked.write or asked.stale)):
        parser.error(f"--jobs is {asked.jobs}; it must be from 1 on, and 1 where rows are taken, as they tell minutes")
    try:
        failed = (
            _stale(asked.only)
            if asked.stale
            else _write(asked.only)
            if asked.write
            else _run(asked.only, passed_on, asked.jobs)
        )
    except ValueError as error:
        sys.exit(f"error: {error}")
    if failed:
        sys.exit(f"error: these {'rows are stale' if asked.stale else 'experiments failed'}: {', '.join(failed)}")


def _run(names: Sequence[str], arguments: Sequence[str], jobs: int) -> list[str]:
    """Return those that fail."""
    commands = [[sys.executable, "-m", f"experiments.{name}", *arguments] for name in names]
    if jobs == 1:
        statuses = [_call(name, command) for name, command in zip(names, commands, strict=True)]
    else:
        with ThreadPoolExecutor(jobs) as pool:
            statuses = list(pool.map(partial(_call, captured=True), names, commands))
    return [name for name, status in zip(names, statuses, strict=True) if status]


def _call(name: str, command: Sequence[str], *, captured: bool = False) -> int:
    """Run a command and return its status; what it prints is shown as it comes, or when it has ended."""
    begin = time.perf_counter()
    if not captured:
        print(f"\n=== {name} ===", flush=True)
    pipe = subprocess.PIPE if captured else None
    done = subprocess.run(command, check=False, stdout=pipe, stderr=pipe and subprocess.STDOUT, text=True)
    if captured:
        print(f"\n=== {name} ===\n{done.stdout}", end="")
    print(f"({time.perf_counter() - begin:.0f} s)", flush=True)
    if done.returncode == 130:
        sys.exit(130)
    return done.returncode


def _write(names: Sequence[str]) -> list[str]:
    """Take the rows that this commit hasn't yet; return those that fail."""
    from experiments.shared import pages, rows

    at, failed = rows.commit(), []
    for name in names:
        if name not in TABLED:
            failed += [name] if _call(name, [sys.executable, "-m", f"experiments.{name}", "--write"]) else []
        elif pages.taken().get(name, {}).get("commit") != at:
            status = rows.take(name, Path("results") / f"rows-{at}", partial(_call, name))
            failed += [name] if status else []
            rows.write_pages()
    return failed


def _stale(names: Sequence[str]) -> list[str]:
    """Name the rows that are no longer those of the code, each with the reason; return their names."""
    from experiments.shared import rows

    found = rows.changed([name for name in names if name in TABLED])
    for name, reason in found.items():
        print(f"{name}: {reason}")
    return list(found)


if __name__ == "__main__":
    main()
