"""Bad input: every function, file and record of the user's is tried with arguments that are wrong, and must say so.

Claim    No traceback from inside a library where the argument can be named, no hang, no silent nonsense.
Command  python -m tests.fuzz --examples 2000
Minutes  about 10 on a CPU
Expected 0 in the columns unnamed, deep, silent and hang; exit status 1 otherwise, with the smallest example of each

Needs hypothesis, of the extra `test`.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from collapse_jax.packages import require
from tests.fuzz import commands, files, laws, measures, records, settings, sweeps
from tests.fuzz.probes import draw_attempt
from tests.fuzz.refusals import DEFECTS, OUTCOMES, Attempt

Draw = Callable[[st.DataObject], Attempt]

KINDS: Mapping[str, Callable[[], Draw]] = {
    "laws": lambda: partial(draw_attempt, "laws", laws.probes()),
    "generative": lambda: partial(draw_attempt, "generative", settings.generative()),
    "reward": lambda: partial(draw_attempt, "reward", settings.reward()),
    "data": lambda: partial(draw_attempt, "data", settings.data()),
    "sweeps": lambda: partial(draw_attempt, "sweeps", sweeps.probes()),
    "records": lambda: partial(draw_attempt, "records", records.probes()),
    "files": lambda: partial(files.draw_attempt, files.readers()),
    "commands": lambda: commands.draw_attempt,
    "metrics": lambda: partial(draw_attempt, "metrics", measures.probes()),
}
"""How to make the strategy of each kind of input; making it may take a moment, so only of those that are asked for."""


@dataclass(frozen=True)
class Config:
    """What is tried."""

    kinds: tuple[str, ...] = tuple(KINDS)
    """Kinds of input."""
    examples: int = 300
    """Attempts of each kind."""
    seed: int = 0
    """Another seed tries other input."""


def run(config: Config) -> list[Attempt]:
    """Return all attempts; raises ValueError for an unknown kind, and numbers out of range."""
    for kind in config.kinds:
        if kind not in KINDS:
            raise ValueError(f"kinds has {kind!r}; known: {', '.join(KINDS)}")
    for name, least in (("examples", 1), ("seed", 0)):
        if getattr(config, name) < least:
            raise ValueError(f"{name} is {getattr(config, name)}; it must be {least} or more")
    return [one for kind in config.kinds for one in _attempts(KINDS[kind](), config.examples, config.seed)]


def _attempts(draw: Draw, examples: int, seed: int) -> list[Attempt]:
    found: list[Attempt] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(st.data())
    def collect(data: st.DataObject) -> None:
        found.append(draw(data))

    collect()
    return found


def table(attempts: Sequence[Attempt]) -> str:
    """Return what came of the attempts, by kind, and the shortest of each defect."""
    counts = Counter((one.kind, one.outcome) for one in attempts)
    kinds = list(dict.fromkeys(one.kind for one in attempts))
    lines = [f"{'kind':<12}{'tried':>8}" + "".join(f"{outcome:>10}" for outcome in OUTCOMES)]
    for kind in [*kinds, "all"]:
        row = [sum(n for (k, o), n in counts.items() if kind in (k, "all") and o == outcome) for outcome in OUTCOMES]
        lines.append(f"{kind:<12}{sum(row):>8}" + "".join(f"{number:>10}" for number in row))
    smallest: dict[tuple[str, ...], Attempt] = {}
    for one in sorted(attempts, key=lambda one: len(one.value), reverse=True):
        if one.outcome in DEFECTS:
            smallest[one.signature] = one
    for one in sorted(smallest.values()):
        lines.append(f"{one.outcome}: {one.kind}: {one.call}({one.argument}={one.value}): {one.error}")
    return "\n".join(lines)


def main(config: Config) -> None:
    """Try, print, and exit with status 1 if there is a defect."""
    try:
        attempts = run(config)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(table(attempts))
    sys.exit(int(any(one.outcome in DEFECTS for one in attempts)))


def command() -> None:
    """Run what the command line says."""
    main(require("tyro", "the command line of the fuzzer").cli(Config, description=__doc__))
