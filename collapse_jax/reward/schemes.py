"""Schemes: which utility each type of prompt is trained with, as data that a sweep can vary.

A scheme is a row of integers, the utility of each type of prompt, with a row of parameters: so a fixed utility, the
same one at another scale, and a prompt-aware choice are rows of one array, and all of them share one trace.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Axis
from collapse_jax.reward.calculus import extend
from collapse_jax.reward.utilities import COMMON, Choice, Utility

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


@checked
def make_schemes(schemes: Mapping[str, Scheme], type_names: Sequence[str] = ("open", "closed")) -> Schemes:
    """Return the axis over labelled schemes: each a choice for all prompts, or a mapping from prompt type to choice.

    Raises ValueError for no schemes, a prompt-aware one whose keys are not `type_names`, or a utility that can't be
    trained because its slope at gap 0 is infinite.
    """
    if not schemes:
        raise ValueError("schemes is empty; give at least one labelled choice of a utility")
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
        for choice in choices[label]:
            if not choice.shape.bounded:
                raise ValueError(
                    f"scheme {label!r}: {choice.label} has an infinite slope at gap 0: equal rewards get no gradient; "
                    "choose min_gap > 0 (1e-3, say) or offset > 0"
                )
    branches: list[Utility] = []
    for choice in (choice for row in choices.values() for choice in row):
        if choice.utility not in branches:
            branches.append(choice.utility)
    width = len(COMMON) + max(len(branch.defaults) for branch in branches)

    def params(choice: Choice) -> list[float]:
        values = [choice.params[name] for name in _parameters(choice.utility)]
        return values + [0.0] * (width - len(values))

    row = Row(
        np.array([[branches.index(choice.utility) for choice in row] for row in choices.values()], np.int32),
        np.array([[params(choice) for choice in row] for row in choices.values()], np.float32),
        np.array([[choice.shape.concave for choice in row] for row in choices.values()]),
    )
    return Schemes(tuple(branches), Axis(row, list(choices)), choices, tuple(type_names))


def apply_utility(
    branches: Sequence[Utility], branch: Int[Array, ""], params: Float[Array, " parameter"], gap: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return the extended utility number `branch` at `gap`, with its offset, min_gap and own `params`."""

    def evaluate(number: int, utility: Utility) -> Array:
        names = _parameters(utility)
        # Under vmap every branch runs, also with parameters that are not its own: JAX lets no NaN of it through.
        offset, min_gap, *rest = (params[i] for i in range(len(names)))
        return extend(partial(utility.fn, **dict(zip(utility.defaults, rest, strict=True))), offset, min_gap)(gap)

    result: Array = jax.lax.switch(branch, [partial(evaluate, number, u) for number, u in enumerate(branches)])
    return result


def _parameters(utility: Utility) -> list[str]:
    return [*COMMON, *utility.defaults]
