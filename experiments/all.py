"""Run every experiment of the repository, one after another.

    python -m experiments.all --small

Arguments are passed on to each of them. Those that fail are named at the end, and then the exit status is 1.
"""

import subprocess
import sys
import time
from pathlib import Path

_FOLDER = Path(__file__).parent
_SCRIPTS = {path.stem for path in _FOLDER.glob("*.py")} - {"__init__", Path(__file__).stem}
_PACKAGES = {path.parent.name for path in _FOLDER.glob("*/__main__.py")}
EXPERIMENTS = tuple(sorted(_SCRIPTS | _PACKAGES))
"""The experiments: every script beside this one, and every package that runs as a command."""


def main() -> None:
    """Run each experiment in a process of its own, with the arguments given."""
    failed = []
    for name in EXPERIMENTS:
        print(f"\n=== {name} ===", flush=True)
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", f"experiments.{name}", *sys.argv[1:]], check=False)
        print(f"({time.perf_counter() - begin:.0f} s)", flush=True)
        if done.returncode == 130:
            sys.exit(130)
        failed += [name] if done.returncode else []
    if failed:
        sys.exit(f"error: these experiments failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
