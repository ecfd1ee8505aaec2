"""A probe: a function with arguments that are right, of which one at a time is spoiled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.fuzz.refusals import Attempt, attempt
from tests.fuzz.values import made, spoiled


class Probe(NamedTuple):
    """A function, its arguments, and by argument other words that an error may name it by.

    `strategies` replace `spoiled` for single arguments; `fixed` are left as they are.
    """

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    words: Mapping[str, Sequence[str]] = {}
    strategies: Mapping[str, st.SearchStrategy[Any]] = {}
    fixed: Sequence[str] = ()
    may_be_nan: bool = False


def of(function: Callable[..., Any], /, **arguments: Any) -> Probe:
    """Return the probe of a function by its own name."""
    return Probe(function.__name__, function, arguments)


def draw_attempt(kind: str, probes: Sequence[Probe], data: st.DataObject) -> Attempt:
    """Return what comes of one probe with one of its arguments spoiled."""
    probe = data.draw(st.sampled_from(probes))
    argument = data.draw(st.sampled_from([name for name in probe.arguments if name not in probe.fixed]))
    strategy = probe.strategies.get(argument)
    value = data.draw(spoiled(probe.arguments[argument]) if strategy is None else strategy)
    return attempt(
        kind,
        probe.name,
        argument,
        value,
        lambda: probe.function(**{**probe.arguments, argument: made(value)}),
        words=probe.words.get(argument, ()),
        may_be_nan=probe.may_be_nan,
    )
