"""Utilities: what a ranking objective pays for the gap between a better and a worse completion's rewards.

A reward model trained on rankings maximises the sum of U(better - worse) over pairs. A `Utility` holds U as a pure
function of a gap in (0, 1]; a `Choice` is a utility with its parameters fixed and examined. Every utility also takes

- `offset`: U(gap + offset) is trained instead, as in the published code (.1 there); negative, it is a margin;
- `min_gap`: below this gap U is continued by its tangent, so that a wrongly ordered pair still has a gradient.

Add your own with `@utility`; see `UTILITIES` for those at hand.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, overload, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.checks import numbers
from collapse_jax.registry import Table
from collapse_jax.reward.calculus import Scalar, on_host
from collapse_jax.reward.shape import Shape, examine

COMMON = {"offset": 0.0, "min_gap": 0.0}
# Of the laws that take parameters, and of the axes beside which parameters are swept.
_RESERVED = (
    *("utility", "schemes", "n_items", "pairs", "centring", "closed_form", "rewards", "type", "item", "seed"),
    *("weights", "margins", "bounded", "rankings", "test", "prompt", "labels", "tolerance", "memberships", "fold"),
)

Law = Callable[..., Any]
"""Maps a utility's parameters, by name, to the `LimitLaw` that it leads to, or to None where no formula covers them."""


@runtime_checkable
class UtilityFn(Protocol):
    """What a pair pays: an increasing function of the gap between the better and the worse reward."""

    # Type checkers take `*_: Any, **params: Any` for `...`: a utility has the parameters that it names, or none.
    def __call__(self, gap: Float[Array, "*gaps"], /, *_: Any, **params: Any) -> Float[Array, "*gaps"]:
        """Return U at gaps in (0, 1], elementwise and in jax.numpy, as it is traced and differentiated.

        `params` are numbers or traced scalars, one for each name in the utility's `defaults`, and keyword arguments.
        """

    def __hash__(self) -> int:
        """Return a hash, as every function has one: what was found out about U is kept under it."""


class Utility(NamedTuple):
    """An increasing function of the reward gap, with the defaults of its parameters.

    `law(**parameters)` returns the closed form of the limit law, or None where there is none for those parameters. The
    laws of the table below are attached in `reward.laws.closed_forms`, so that nothing which trains reaches them.

    One that is `two_sided` means what it says below gap 0 as well: finite and concave on [-1, 1], as log σ is. Graded
    labels, which weigh both sides of a pair, and raw logits take it there as it is, and need it: `require_two_sided`.
    """

    name: str
    fn: UtilityFn
    defaults: Mapping[str, float] = {}
    law: Law | None = None
    source: str = ""
    two_sided: bool = False


class Choice(NamedTuple):
    """A utility with all its parameters, `offset` and `min_gap` included, and the shape examined for just these."""

    utility: Utility
    params: Mapping[str, float]
    shape: Shape

    @property
    def fn(self) -> Callable[[Array], Array]:
        """U as a function of the gap alone, without `offset` and `min_gap`."""
        own = {name: value for name, value in self.params.items() if name not in COMMON}
        return lambda gap: self.utility.fn(gap, **own)

    @property
    def label(self) -> str:
        """The name with the parameters that differ from their defaults, e.g. log_sigmoid(scale=1, offset=0.1)."""
        default = {**COMMON, **self.utility.defaults}
        changed = [f"{name}={value:g}" for name, value in self.params.items() if value != default[name]]
        return f"{self.utility.name}({', '.join(changed)})" if changed else self.utility.name


def choose(utility: Utility, **params: float) -> Choice:
    """Return the utility with `params` fixed and the rest at their defaults, examined on gaps in (0, 1].

    Raises ValueError for an unknown or non-finite parameter, a negative `min_gap`, or a function that, with these
    parameters, is not finite, increasing and differentiable there, or is neither concave nor convex.
    """
    require_utility(utility)
    known = {**utility.defaults, **COMMON}
    for name, value in params.items():
        if name not in known:
            raise ValueError(f"utility {utility.name!r} has no parameter {name!r}; it takes {', '.join(known)}")
        if not numbers.is_finite(value):
            raise ValueError(f"parameter {name} of utility {utility.name!r} is {value}; it must be a finite number")
    full = {name: float(params.get(name, default)) for name, default in known.items()}
    if not 0.0 <= full["min_gap"] < 1.0:
        raise ValueError(f"min_gap of utility {utility.name!r} is {full['min_gap']}; it must lie in [0, 1)")
    return Choice(utility, full, _shape(utility.fn, utility.name, tuple(full.items())))


def as_choice(utility: Utility | Choice, params: Mapping[str, float]) -> Choice:
    """Return the choice itself, or the one that `choose` makes of a utility: what laws are asked with.

    Raises ValueError as `choose` does, and for params beside a choice, which has its own.
    """
    if not isinstance(utility, Choice):
        return choose(utility, **params)
    require_utility(utility.utility)
    if params:
        raise ValueError(
            f"{', '.join(params)} can't be set beside the choice {utility.label!r}, whose parameters are fixed; make "
            "another choice by cj.choose"
        )
    return choose(utility.utility, **utility.params)


def require_utility(utility: Any) -> None:
    """Raise ValueError unless it is a `Utility` with a function, numbers as its own defaults, and a law."""
    if not isinstance(utility, Utility):
        raise ValueError(
            f"utility is {utility!r:.100}; it must be a record such as cj.UTILITIES['log'], or, where a law is asked "
            "for, a choice made by cj.choose"
        )
    for field, fits, needed in (
        ("name", isinstance(utility.name, str), "a string"),
        ("fn", callable(utility.fn), "a function"),
        ("defaults", isinstance(utility.defaults, Mapping), "a mapping from parameter to number"),
        ("law", utility.law is None or callable(utility.law), "a function or None"),
        ("two_sided", isinstance(utility.two_sided, bool), "True or False"),
    ):
        if not fits:
            raise ValueError(f"utility has {field} = {getattr(utility, field)!r}; it must be {needed}")
    for name, value in utility.defaults.items():
        if name in COMMON or name in _RESERVED:
            raise ValueError(
                f"utility {utility.name!r} must not define {name!r}: the name means something else already"
            )
        if not numbers.is_finite(value):
            raise ValueError(f"utility {utility.name!r} has the default {name} = {value!r}; it must be a finite number")


@functools.lru_cache(maxsize=1024)  # the laws, schemes and experiments choose the same few utilities again and again
def _shape(fn: UtilityFn, name: str, params: tuple[tuple[str, float], ...]) -> Shape:
    own = {parameter: value for parameter, value in params if parameter not in COMMON}
    label = f"utility {name!r} with {', '.join(f'{parameter}={value:g}' for parameter, value in params)}"
    try:
        return examine(label, on_host(lambda gap: fn(gap, **own), dict(params)["offset"], dict(params)["min_gap"]))
    except (TypeError, AttributeError, IndexError, jax.errors.JAXTypeError) as error:
        raise ValueError(
            f"{label} can't be traced by JAX: write it in jax.numpy, elementwise, with no Python `if` on gaps ({error})"
        ) from error


UTILITIES: Table[Utility] = Table("utility")


@overload
def utility(fn: UtilityFn, /) -> Utility: ...
@overload
def utility(
    *, name: str = "", law: Law | None = None, source: str = "", two_sided: bool = False, overwrite: bool = False
) -> Callable[[UtilityFn], Utility]: ...
def utility(
    fn: UtilityFn | None = None,
    /,
    *,
    name: str = "",
    law: Law | None = None,
    source: str = "",
    two_sided: bool = False,
    overwrite: bool = False,
) -> Utility | Callable[[UtilityFn], Utility]:
    """Enter a function gap -> U(gap, **parameters) in `UTILITIES` and return its record (a decorator).

    Parameters are keywords with numbers as defaults. The name is the function's own unless given. `two_sided` says that
    the function is to be taken as it is below gap 0, where others go on by their tangent.

    >>> @utility(source="a textbook")
    ... def arctan(gap, *, steepness=5.0):
    ...     return jnp.arctan(steepness * gap)
    >>> UTILITIES["arctan"].defaults
    {'steepness': 5.0}

    Raises ValueError if the name is taken (unless `overwrite`), or as `choose` does for the default parameters.
    """

    return UTILITIES.enter(
        fn,
        lambda function, name: _record(function, name, law, source, two_sided),
        choose,
        name=name,
        overwrite=overwrite,
    )


def _record(fn: UtilityFn, name: str, law: Law | None, source: str, two_sided: bool) -> Utility:
    defaults: dict[str, float] = {}
    for parameter in list(inspect.signature(fn).parameters.values())[1:]:
        if not numbers.is_finite(parameter.default):
            raise ValueError(f"parameter {parameter.name!r} of utility {name!r} needs a number as its default")
        defaults[parameter.name] = float(parameter.default)
    return Utility(name, fn, defaults, law, source, two_sided)


def _builtin(*, source: str = "", two_sided: bool = False) -> Callable[[Callable[..., Array]], Utility]:
    # Examining a utility compiles it: for those below the tests do so, not every import.
    return lambda fn: UTILITIES.add(_record(fn, fn.__name__, None, source, two_sided))


_PAPER = "Song, Cai, Lee, Su, Reward Collapse in Aligning Large Language Models, arXiv 2305.17608"


@_builtin(source=_PAPER, two_sided=True)
def linear(gap: Float[Array, "..."]) -> Float[Array, "..."]:
    """U = t: half of the rewards at 0, half at 1."""
    return gap


@_builtin(source=_PAPER)
def power(gap: Float[Array, "..."], *, gamma: Scalar = 0.5) -> Float[Array, "..."]:
    """U = t^γ, γ > 0: Beta((1-γ)/2, (1-γ)/2) for γ < 1, two points from 1 on (convex beyond)."""
    return gap**gamma


@_builtin(source=_PAPER)
def log(gap: Float[Array, "..."]) -> Float[Array, "..."]:
    """U = log t: the arcsine law, whose n-item optima are the Gauss-Lobatto points."""
    return jnp.log(gap)


@_builtin(source=_PAPER)
def inverse_power(gap: Float[Array, "..."], *, gamma: Scalar = 1.0) -> Float[Array, "..."]:
    """U = -t^-γ, γ > 0: Beta((1+γ)/2, (1+γ)/2) for γ < 1, uniform from 1 on."""
    return -(gap**-gamma)


@_builtin(source="Bradley, Terry 1952; Ouyang et al., arXiv 2203.02155", two_sided=True)
def log_sigmoid(gap: Float[Array, "..."], *, scale: Scalar = 0.25) -> Float[Array, "..."]:
    """U = log σ(t/scale), the Bradley-Terry likelihood at a temperature: atoms at both ends, a density between."""
    return jax.nn.log_sigmoid(gap / scale)


@_builtin(source=_PAPER, two_sided=True)
def exponential(gap: Float[Array, "..."], *, scale: Scalar = 0.25) -> Float[Array, "..."]:
    """U = -exp(-t/scale): equal atoms at both ends and a constant density between."""
    return -jnp.exp(-gap / scale)


@_builtin(two_sided=True)
def quadratic(gap: Float[Array, "..."], *, b: Scalar = 2.0, c: Scalar = 1.0) -> Float[Array, "..."]:
    """U = b·t - c·t², b ≥ 2c: equal atoms at both ends and a constant density between."""
    return b * gap - c * gap**2


@_builtin(two_sided=True)
def hinge(gap: Float[Array, "..."], *, width: Scalar = 0.5) -> Float[Array, "..."]:
    """U = min(t, width): atoms only, at the multiples of `width` counted from either end."""
    return jnp.minimum(gap, width)


@_builtin()
def sine(gap: Float[Array, "..."], *, a: Scalar = 1.5) -> Float[Array, "..."]:
    """U = sin(a·t), 0 < a ≤ π/2: equal atoms at both ends and a constant density between."""
    return jnp.sin(a * gap)


@_builtin()
def log_sine(gap: Float[Array, "..."], *, a: Scalar = 1.5) -> Float[Array, "..."]:
    """U = log sin(a·t), 0 < a ≤ π/2: a density between the arcsine law (a → 0) and one heavier at the ends."""
    return jnp.log(jnp.sin(a * gap))


@_builtin(source="label smoothing of the Bradley-Terry likelihood", two_sided=True)
def smoothed_log_sigmoid(
    gap: Float[Array, "..."], *, scale: Scalar = 1.0, smoothing: Scalar = 0.1
) -> Float[Array, "..."]:
    """U = (1-ε) log σ(t/scale) + ε log σ(-t/scale), increasing on (0, 1] if scale ≥ 1 / log((1-ε)/ε)."""
    x = gap / scale
    return (1 - smoothing) * jax.nn.log_sigmoid(x) + smoothing * jax.nn.log_sigmoid(-x)
