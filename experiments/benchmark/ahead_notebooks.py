"""What the notebooks jit and sweep, compiled ahead in their full setting: none of it runs, so that takes minutes.

A notebook's code is executed as it stands. Where it would jit a function or sweep a process, the program is compiled
for the target, and zeros of the right shapes come back. What it does outside of both runs here, an operation at a time.
"""

import contextlib
import os
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib

from experiments.benchmark.described import Reading, Target, compiled_ahead, jitted_ahead
from experiments.shared.programs import jitted_by

_FOLDER = Path(__file__).parents[2] / "colab"
NOTEBOOKS = sorted(path.with_suffix(".py") for path in _FOLDER.glob("*.ipynb"))
"""The scripts that the notebooks are made of."""


def compile_notebook(path: Path, target: Target) -> list[Reading]:
    """Compile what a notebook jits and sweeps for a target; return what each program says, in its order."""
    matplotlib.use("agg")
    with compiled_ahead(target) as readings:

        def jit_ahead(fn: Any, *_: Any, **__: Any) -> Any:
            return jitted_ahead(fn, target, readings)

        with (
            jitted_by(jit_ahead, str(path)),
            mock.patch.dict(os.environ, COLLAPSE_SMALL=""),
            contextlib.redirect_stdout(sys.stderr),
        ):
            runpy.run_path(str(path), run_name=path.stem)
    return [one._replace(name=f"{path.stem}, {number}: {one.name}") for number, one in enumerate(readings, 1)]
