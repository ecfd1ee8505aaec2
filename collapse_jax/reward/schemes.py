"""Schemes: which utility each type of prompt is trained with, as data that a sweep can vary.

A scheme is a row of integers, the utility of each type of prompt, with a row of parameters: so a fixed utility, the
same one at another scale, and a prompt-aware choice are rows of one array, and all of them share one trace.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Axis
from collapse_jax.reward.calculus import extend
from collapse_jax.reward.utilities import COMMON, Choice, Utility, choose

Scheme = Choice | Mapping[str, Choice]


class Row(NamedTuple):
    """One scheme, or with leading axes many: by type of prompt, a utility's number, parameters and concavity."""

    branch: Int[Array | np.ndarray, "*row type"]
    params: Float[Array | np.ndarray, "*row type parameter"]
    concave: Bool[Array | np.ndarray, "*row type"]


class Schemes(NamedTuple):
    """Labelled schemes: the utilities that occur, and the `axis` that chooses among them, a `Row` a label."""

    branches: tuple[Utility, ...]
    axis: Axis
    choices: dict[str, tuple[Choice, ...]]
    type_names: tuple[str, ...]

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters of utilities, `offset` and `min_gap` included, that a sweep may vary, with their values.

        A parameter that has one value, in all schemes whose utility has it, goes by its name (`gamma`). One that has
        several goes by type of prompt (`open.gamma`) for those types in which it has one value.
        """
        values: dict[str, dict[str, set[float]]] = {}
        for choices in self.choices.values():
            for kind, choice in zip(self.type_names, choices, strict=True):
                for name, value in choice.params.items():
                    values.setdefault(name, {}).setdefault(kind, set()).add(value)
        found: dict[str, set[float]] = {}
        for name, by_type in values.items():
            whole = set().union(*by_type.values())
            found |= {name: whole} if len(whole) == 1 else {f"{kind}.{name}": own for kind, own in by_type.items()}
        return {name: own.pop() for name, own in found.items() if len(own) == 1}


@checked
def make_schemes(schemes: Mapping[str, Scheme], type_names: Sequence[str] | None = None) -> Schemes:
    """Return the axis over labelled schemes: each a choice for all prompts, or a mapping from prompt type to choice.

    `type_names` are those of the rankings to train on, in their order. By default they are the keys of the first scheme
    that has one choice a type, and a single type "all" where none has.

    Raises ValueError for no schemes, a prompt-aware one whose keys are not `type_names`, or a utility that can't be
    trained because its slope at gap 0 is infinite.
    """
    if not schemes:
        raise ValueError("schemes is empty; give at least one labelled choice of a utility")
    if type_names is None:
        type_names = next((list(one) for one in schemes.values() if isinstance(one, Mapping)), ("all",))
    if not len(type_names) or len(set(type_names)) < len(type_names):
        raise ValueError(f"type_names is {tuple(type_names)}; give at least one name, and none twice")
    choices: dict[str, tuple[Choice, ...]] = {}
    for label, scheme in schemes.items():
        if isinstance(scheme, Choice):
            scheme = dict.fromkeys(type_names, scheme)
        if not (isinstance(scheme, Mapping) and all(isinstance(choice, Choice) for choice in scheme.values())):
            raise ValueError(
                f"scheme {label!r} is {scheme!r}; give cj.choose(utility, ...), or one for each prompt type"
            )
        if set(scheme) != set(type_names):
            raise ValueError(
                f"scheme {label!r} is for the types {', '.join(scheme)}; prompts are {', '.join(type_names)}"
            )
        choices[label] = tuple(scheme[name] for name in type_names)
        _require_trainable(label, choices[label])
    branches: list[Utility] = []
    for choice in (choice for row in choices.values() for choice in row):
        if choice.utility not in branches:
            branches.append(choice.utility)
    rows = [_row(branches, row) for row in choices.values()]
    return Schemes(tuple(branches), Axis(_stacked(rows), list(choices)), choices, tuple(type_names))


def schemes_text(schemes: Schemes, *, values: bool = True) -> str:
    """Return what the labels stand for as text, a coordinate of a sweep and of its laws by which they are compared.

    It is JSON: {label: {type: [utility, {parameter: [value, name]}]}}, with the `name` that the parameter goes by in
    `schemes.parameters`, "" where it has none. Without `values` that of a named one is null: a law has it beside.
    """
    named = schemes.parameters

    def written(kind: str, choice: Choice) -> list[object]:
        names = {one: next((at for at in (one, f"{kind}.{one}") if at in named), "") for one in choice.params}
        own = {one: value if values or not names[one] else None for one, value in choice.params.items()}
        return [choice.utility.name, {one: [own[one], names[one]] for one in own}]

    rows = {label: zip(schemes.type_names, row, strict=True) for label, row in schemes.choices.items()}
    return json.dumps({label: {kind: written(kind, one) for kind, one in row} for label, row in rows.items()})


def set_parameters(schemes: Schemes, values: Mapping[str, float]) -> Schemes:
    """Return the schemes with other values of some of their `parameters`.

    Raises ValueError for a name that isn't one of these, and for values that `choose` or `make_schemes` refuse.
    """
    if unknown := sorted(set(values) - set(schemes.parameters)):
        raise ValueError(
            f"the schemes have no parameter {unknown[0]!r} with one value; they have {', '.join(schemes.parameters)}"
        )
    changed = {label: _with_values(schemes.type_names, row, values) for label, row in schemes.choices.items()}
    named = {label: dict(zip(schemes.type_names, row, strict=True)) for label, row in changed.items()}
    return make_schemes(named, schemes.type_names)


def resolve_rows(
    schemes: Schemes,
    rows: Row,
    values: Mapping[str, np.ndarray],
    require: Callable[[Sequence[Choice]], None] = lambda choices: None,
) -> Row:
    """Return the row of each member with its own `values` of `parameters`, examined anew; all lead with members.

    `require` raises ValueError for choices of a scheme, one for each type, that don't go with what is trained. Raises
    ValueError for values that `choose` or `make_schemes` refuse in the schemes that these members have, and for a row
    that isn't one of the schemes'.
    """
    default = schemes.parameters
    if all((values[name] == default[name]).all() for name in default):
        return rows
    labels = {_bytes(schemes.axis.values, at): label for at, label in enumerate(schemes.choices)}
    resolved: dict[tuple[str, ...], Row] = {}
    members = []
    for member in range(len(rows.branch)):
        own = {name: float(values[name][member]) for name in default}
        if _bytes(rows, member) not in labels:
            raise ValueError(
                f"axis 'utility' has a row that isn't one of the schemes {', '.join(schemes.choices)}: "
                f"{', '.join(default)} can't be varied for it"
            )
        label = labels[_bytes(rows, member)]
        known = (label, *map(str, own.values()))
        if known not in resolved:
            choices = _with_values(schemes.type_names, schemes.choices[label], own)
            _require_trainable(label, choices)
            require(choices)
            resolved[known] = _row(schemes.branches, choices)
        members.append(resolved[known])
    return _stacked(members)


def _with_values(
    type_names: Sequence[str], choices: Sequence[Choice], values: Mapping[str, float]
) -> tuple[Choice, ...]:
    """Return the choices, one for each type of prompt, with those of the values that are for their parameters."""
    changed = []
    for kind, choice in zip(type_names, choices, strict=True):
        own = {name: values[at] for name in choice.params for at in (name, f"{kind}.{name}") if at in values}
        changed.append(choose(choice.utility, **{**choice.params, **own}))
    return tuple(changed)


def _require_trainable(label: str, choices: Sequence[Choice]) -> None:
    """Raise ValueError for a choice under which equal rewards get no gradient."""
    for choice in choices:
        if not choice.shape.bounded:
            raise ValueError(
                f"scheme {label!r}: {choice.label} has an infinite slope at gap 0: equal rewards get no gradient; "
                "choose min_gap > 0 (1e-3, say) or offset > 0"
            )


def _row(branches: Sequence[Utility], choices: Sequence[Choice]) -> Row:
    """Return one choice for each type of prompt as data; parameters in float64, as they are examined."""
    width = len(COMMON) + max(len(branch.defaults) for branch in branches)
    params = np.zeros((len(choices), width))
    for own, choice in zip(params, choices, strict=True):
        own[: len(choice.params)] = [choice.params[name] for name in _parameters(choice.utility)]
    return Row(
        np.array([branches.index(choice.utility) for choice in choices], np.int32),
        params,
        np.array([choice.shape.concave for choice in choices]),
    )


def _stacked(rows: Sequence[Row]) -> Row:
    return Row(*map(np.stack, zip(*rows, strict=True)))


def _bytes(rows: Row, at: int) -> bytes:
    return b"".join(np.asarray(leaf)[at].tobytes() for leaf in rows)


def apply_utility(
    branches: Sequence[Utility],
    branch: Int[Array, ""],
    params: Float[Array, " parameter"],
    gap: Float[Array, "..."],
    *,
    both_sides: bool = False,
) -> Float[Array, "..."]:
    """Return the extended utility number `branch` at `gap`, with its offset, min_gap and own `params`.

    With `both_sides`, a utility that is two-sided is not extended: it is taken as it is, at any gap.
    """

    def evaluate(number: int, utility: Utility) -> Array:
        names = _parameters(utility)
        # Under vmap every branch runs, also with parameters that are not its own: JAX lets no NaN of it through.
        offset, min_gap, *rest = (params[i] for i in range(len(names)))
        own = partial(utility.fn, **dict(zip(utility.defaults, rest, strict=True)))
        return own(gap + offset) if both_sides and utility.two_sided else extend(own, offset, min_gap)(gap)

    result: Array = jax.lax.switch(branch, [partial(evaluate, number, u) for number, u in enumerate(branches)])
    return result


def _parameters(utility: Utility) -> list[str]:
    return [*COMMON, *utility.defaults]
