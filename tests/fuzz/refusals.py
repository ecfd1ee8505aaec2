"""How a call meets bad input: refused by name, accepted, or one of the ways that are defects."""

import linecache
import math
import signal
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import collapse_jax as cj

ROOT = Path(__file__).parents[2]
_OWN = tuple(str(ROOT / own) for own in ("collapse_jax", "experiments", "tests/fuzz"))

OUTCOMES = ("accepted", "refused", "unnamed", "deep", "silent", "hang")
"""The last four are defects: an error that names no argument, one from inside a library, nonsense, no end."""
DEFECTS = OUTCOMES[2:]


class Attempt(NamedTuple):
    """What was called with which bad argument, what came of it, and the last line of the error if there was one."""

    kind: str
    call: str
    argument: str
    value: str
    outcome: str
    error: str = ""

    @property
    def signature(self) -> tuple[str, ...]:
        """What tells one defect from another: the values that lead to it differ."""
        return self.kind, self.call, self.argument, self.outcome, self.error.split(":")[0]


class _Hang(BaseException):
    """Raised by the alarm; no `except Exception` on the way may swallow it."""


def attempt(
    kind: str,
    name: str,
    argument: str,
    value: Any,
    call: Callable[[], Any],
    *,
    words: Collection[str] = (),
    may_be_nan: bool = False,
    may_refuse: bool = True,
    seconds: float = 20.0,
) -> Attempt:
    """Return how `call`, in which `argument` has the bad `value`, ends.

    It may raise an error of ours that holds `argument` or one of `words`, or return something sane: finite numbers,
    unless `may_be_nan`. An error is ours if the statement that raised it is a `raise` (or an `assert`) of this
    repository's; what NumPy or Python raise in C on our lines counts as theirs.
    """
    outcome, error = "accepted", ""
    try:
        with _alarm(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
            if not may_be_nan and not is_sane(result):
                outcome, error = "silent", f"returned {result!r:.200}"
    except _Hang:
        outcome, error = "hang", f"no end within {seconds:g} s"
    except (Exception, SystemExit) as raised:
        error = f"{type(raised).__name__}: {raised}"
        named = is_users(raised) or any(word.casefold() in str(raised).casefold() for word in (argument, *words))
        outcome = ("refused" if named else "unnamed") if is_ours(raised) else "deep"
        if outcome != "refused":
            where = traceback.extract_tb(raised.__traceback__)[-1]
            error += f" [{Path(where.filename).name}:{where.lineno}]"
    return Attempt(kind, name, argument, shown(value), outcome, " ".join(error.split())[:400])


def shown(value: Any) -> str:
    """Return a short text that stands for a value, whatever its own is."""
    try:
        return " ".join(repr(value).split())[:120]
    except Exception as error:
        return f"<{type(value).__name__} that can't be shown: {error}>"


def is_ours(error: BaseException) -> bool:
    """Whether a statement `raise` of this repository raised the error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if not frame.filename.startswith(_OWN):
        return False
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return line.startswith(("raise ", "sys.exit("))


def is_users(error: BaseException) -> bool:
    """Whether a function that stands for the user's raised the error."""
    return type(error).__name__ == "UserError"


def is_sane(result: Any) -> bool:
    """Whether a result holds no NaN and nothing empty; what isn't numbers is not judged."""
    if isinstance(result, xr.Dataset):
        return all(is_sane(result[name].to_numpy()) for name in result.data_vars)
    if isinstance(result, Mapping):
        return all(map(is_sane, result.values()))
    if isinstance(
        result, cj.reward.Choice | cj.reward.Schemes | cj.Selection | cj.engine.Process | cj.generative.Family
    ):
        return True
    if isinstance(result, tuple | list):
        return all(map(is_sane, result))
    if isinstance(result, float):
        return not math.isnan(result)
    if isinstance(result, np.ndarray | jax.Array | np.generic):
        if jnp.issubdtype(result.dtype, jax.dtypes.extended):
            return True
        array = np.asarray(result)
        return array.size > 0 and not (array.dtype.kind in "fc" and np.isnan(array).any())
    return True


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
