"""The same networks in PyTorch on the same device, a member at a time; the writing also by transformers' `generate`."""

import importlib.util
from collections.abc import Callable
from functools import partial

from experiments.benchmark.stages import Row, Values
from experiments.benchmark.stages.works import Work, works

USES_DEVICE = False
_REPEATS = 3


def rows(small: bool, folder: object) -> list[Row]:
    """Return one row for each loop; without PyTorch, one row that says so."""
    if importlib.util.find_spec("torch") is None:
        return [Row("PyTorch", 5.0, lambda: {"device": "not installed"})]
    found = []
    for work in works(small):
        found.append(Row(work.name, 30.0, partial(_loop, work)))
        if work.sizes is not None and importlib.util.find_spec("transformers") is not None:
            found.append(Row(f"{work.name}, generate", 30.0, partial(_generate, work)))
    # NumPy's loops, which the families have, are for a CPU.
    return [row for row in found if not row.name.endswith(("by examples", "by statistics"))]


def _loop(work: Work) -> Values:
    loop = work.make(1).loop
    assert loop is not None
    return _measured(work, loop)


def _generate(work: Work) -> Values:
    from experiments.benchmark import torch_loops

    assert work.sizes is not None
    _, _, rows, length = work.sizes
    sizes = work.sizes
    return _measured(work, lambda: rows * length / torch_loops.generate_language_model(*sizes))


def _measured(work: Work, loop: Callable[[], float]) -> Values:
    from experiments.benchmark.torch_loops import DEVICE

    return {"device": DEVICE, "unit": work.make(1).unit, "a second": [loop() for _ in range(_REPEATS)]}
