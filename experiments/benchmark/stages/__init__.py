"""The stages of `experiments.benchmark.accelerator`, a file each: what is asked of an accelerator, row by row.

A stage is a module with a function `rows(small, folder)` that returns the same rows in every process. Processes of
their own run them, see `child`. A module whose rows leave the device to other processes says `USES_DEVICE = False`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

Values: TypeAlias = Mapping[str, str | float | list[float]]
"""What a row found, by the heading of its column: a word, a number, or a number measured several times."""


class Row(NamedTuple):
    """A question of a stage: `run()` returns what it found, and may take so many seconds."""

    name: str
    seconds: float
    run: Callable[[], Values]


class NotMet(Exception):
    """What a row raises that ran to its end, and whose answer is not what it should be: with what it found."""

    def __init__(self, why: str, values: Values) -> None:
        super().__init__(why)
        self.values = values
