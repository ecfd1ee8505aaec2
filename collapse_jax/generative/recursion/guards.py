"""Families, truths and selections whose functions say by name what is wrong with what they return."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from jaxtyping import Array

from collapse_jax.checks.user_functions import call, require_examples, require_functions, require_like
from collapse_jax.generative.family import Examples, Family
from collapse_jax.generative.selection import Selection, require_signatures

Record = TypeVar("Record", Family, Selection)

Form = Callable[..., None]
"""(what, found, *args) -> None: raises ValueError, which calls the function `what`, if it may not return `found`."""


def guarded_family(family: Family) -> Family:
    """Return the family; while JAX traces, its functions raise ValueError for results of another form than theirs.

    Raises ValueError for a function that takes other arguments than its class says.
    """
    require_functions(f"of family {family.name!r}", family, family.hyper)
    return _guarded(family, f"of family {family.name!r}", _FAMILY_FORMS)


def guarded_selection(selection: Selection | None) -> Selection | None:
    """Return the selection; while JAX traces, its functions raise ValueError for results of another form.

    Raises ValueError for a function that takes other arguments than its class says.
    """
    if selection is None:
        return None
    require_signatures(selection)
    return _guarded(selection, f"of selection {selection.name!r}", _SELECTION_FORMS)


def guarded_truth(name: str, truth: Callable[..., Examples]) -> Callable[..., Examples]:
    """Return the function (key, n) -> examples; while JAX traces, it raises ValueError for what are not n examples."""
    return _guard(name, truth, lambda what, found, key, n: require_examples(what, found, n))


def guarded_record(name: str, function: Callable[..., Any]) -> Callable[..., Mapping[str, Array]]:
    """Return a function of records; while JAX traces, it raises ValueError for what is no dict of named arrays."""
    return _guard(name, function, _require_named)


def _guarded(record: Record, whose: str, forms: Mapping[str, Form]) -> Record:
    """Return the record with those of its functions guarded that have a form, and that it has."""
    functions = {name: getattr(record, name) for name in forms}
    guarded: Any = {
        name: _guard(f"{name} {whose}", function, forms[name])
        for name, function in functions.items()
        if function is not None
    }
    return record._replace(**guarded)


def _guard(what: str, function: Callable[..., Any], form: Form) -> Callable[..., Any]:
    """Return the function, which raises ValueError for what is no pytree of arrays, or not of the form."""

    def guarded(*args: Any, **params: Any) -> Any:
        found = call(what, function, *args, **params)
        form(what, found, *args)
        return found

    return guarded


def _require_named(what: str, found: Any, *_: Any) -> None:
    if not isinstance(found, Mapping) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{what} must return a dict of named arrays; it returns {found!r:.80}")


def _require_weights(what: str, found: Any, *_: Any) -> None:
    if not hasattr(found, "shape") and not isinstance(found, float | int):
        raise ValueError(f"{what} returns {found!r:.80}; it must return one number for each candidate")


def _require_anything(what: str, found: Any, *_: Any) -> None:
    """Take any pytree of arrays."""


_FAMILY_FORMS: Mapping[str, Form] = {
    "init": _require_anything,
    "fit": lambda what, found, key, params, *_: require_like(what, found, params, "the parameters that init returns"),
    "sample": lambda what, found, key, params, n: require_examples(what, found, n),
    "respond": lambda what, found, key, params, examples: require_like(what, found, examples, "the examples"),
}
_SELECTION_FORMS: Mapping[str, Form] = {
    "weigh": _require_weights,
    "correct": lambda what, found, examples, *_: require_like(what, found, examples, "the examples"),
    "start": _require_anything,
    "learn": lambda what, found, key, candidates, pool, memory: require_like(
        what, found, memory, "the memory that start returns"
    ),
    "inspect": _require_named,
}
