"""Command lines: every field of every experiment's Config with a value of its type that makes no sense.

`run` is called up to where its first population would be compiled: what gets there is accepted.
"""

import dataclasses
import importlib
import tempfile
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from hypothesis import strategies as st

from collapse_jax.engine.axes import make_population
from experiments import reward_collapse
from experiments.all import EXPERIMENTS
from experiments.shared.launch import Options
from tests.fuzz.refusals import Attempt, attempt

_UNKNOWN = "no such name"
_NUMBERS: dict[Any, tuple[Any, ...]] = {
    int: (0, -1),
    float: (float("nan"), float("inf"), -1.0),
    str: ("", _UNKNOWN),
    Path: (Path("/no such place/at all"),),
}
# The benchmark measures the machine before it looks at its settings.
_LEFT_OUT = ("benchmark",)


# The first program that an experiment with a language model compiles trains the model that all members start from.
_PRETRAIN = (
    "experiments.shared.language_models.pretrain",
    "experiments.testbeds.text_groups.pretrain",
    "experiments.testbeds.instruction_groups.pretrain",
)


class Field(NamedTuple):
    """A field of an experiment's configuration, by the names of the dataclasses that it lies in."""

    script: str
    path: tuple[str, ...]
    annotation: Any
    default: Any


class _Reached(Exception):
    """Raised where a population would be compiled."""


def _reach(*args: Any, **kwargs: Any) -> Any:
    raise _Reached


def fields() -> list[Field]:
    """Return every field of every experiment that a command line can set, those that all share left out."""
    found = []
    for script in EXPERIMENTS:
        if script not in _LEFT_OUT:
            found += list(_fields(script, (), importlib.import_module(f"experiments.{script}").Config()))
    shared = {field.name for field in dataclasses.fields(Options)}
    return [one for one in found if one.path[0] not in shared]


def values(field: Field) -> Sequence[Any]:
    """Return the values to try."""
    arguments = typing.get_args(field.annotation)
    if typing.get_origin(field.annotation) is tuple:
        entries = _NUMBERS.get(arguments[0], ())
        return [(), *((entry,) for entry in entries), *([(*field.default, field.default[0])] if field.default else [])]
    kind = next((one for one in (field.annotation, *arguments) if one in _NUMBERS), None)
    return _NUMBERS.get(kind, ())


def draw_attempt(data: st.DataObject) -> Attempt:
    """Return what comes of one command line."""
    field = data.draw(st.sampled_from([one for one in fields() if values(one)]))
    return try_field(field, data.draw(st.sampled_from(values(field))))


def try_field(field: Field, value: Any) -> Attempt:
    """Return what comes of one field's having one value: nothing may be written where it is refused."""
    name = field.path[-1]
    words = [name.replace("_", " "), name.replace("_", "-"), name.removesuffix("s"), *field.path[:-1]]
    with tempfile.TemporaryDirectory() as folder:
        call = _call(field, value, Path(folder))
        found = attempt("commands", field.script, ".".join(field.path), value, call, words=words)
        written = [path for path in Path(folder).rglob("*") if path.is_file()]
        if found.outcome == "refused" and written:
            return found._replace(outcome="silent", error=f"wrote {written[0].name} before it refused: {found.error}")
    return found


def _call(field: Field, value: Any, folder: Path) -> Callable[[], Any]:
    module = importlib.import_module(f"experiments.{field.script}")

    # The text version of an experiment has only defaults of its own.
    run = getattr(module, "run", reward_collapse.run)

    def stop(process: Any, axes: Any, **options: Any) -> Any:
        make_population(process, axes)
        raise _Reached

    def call() -> Any:
        small = dataclasses.replace(module.Config(), **module.SMALL)
        config = _with(small, field.path, value)
        with ExitStack() as stack:
            for place in ("collapse_jax.sweep", "collapse_jax.loop.mitigations.sweep", *_PRETRAIN):
                stack.enter_context(patch(place, stop if place.endswith("sweep") else _reach))
            try:
                run(dataclasses.replace(config, progress=False), folder)
            except _Reached:
                return None

    return call


def _fields(script: str, path: tuple[str, ...], config: Any) -> Iterator[Field]:
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        default = getattr(config, field.name)
        if dataclasses.is_dataclass(default):
            yield from _fields(script, (*path, field.name), default)
        else:
            yield Field(script, (*path, field.name), hints[field.name], default)


def _with(config: Any, path: tuple[str, ...], value: Any) -> Any:
    first, *rest = path
    return dataclasses.replace(config, **{first: _with(getattr(config, first), tuple(rest), value) if rest else value})
