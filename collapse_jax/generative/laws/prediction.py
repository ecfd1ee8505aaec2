"""What a recursion must come to, for every regime, size and real share of its plan, from the records that run."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from collapse_jax.checks.annotations import checked
from collapse_jax.generative import laws
from collapse_jax.generative.family import Draw, Family, MomentMatching, Params, Resampling
from collapse_jax.generative.laws.moment_law import MomentLaw, moment_law
from collapse_jax.generative.recursion.plan import Plan
from collapse_jax.generative.recursion.regimes import Rows
from collapse_jax.generative.selection import Selection

__all__ = ()


@checked
def predict_moments(
    plan: Plan,
    family: Family,
    truth: Draw | Params | None = None,
    *,
    initial: Draw | Params | None = None,
    decoding: Mapping[str, float] | None = None,
    curate: Selection | None = None,
    reweigh: Selection | None = None,
) -> xr.Dataset:
    """Return the exact expectations of the total variance and of the squared error of the mean, by generation.

    Both are in units of the true total variance, with the dimensions `regime`, `samples`, `ratio`, `generation`. The
    arguments are the records that `make_recursion` runs, with the value of each decoding in the place of its name. The
    law holds for families that declare their `matching` of moments, whose fits don't depend on where they start: warm
    starts and growing compute change nothing.

    >>> from collapse_jax.generative.families import kde
    >>> from collapse_jax.generative.recursion.plan import make_plan
    >>> from collapse_jax.generative.recursion.regimes import REGIMES
    >>> plan = make_plan(REGIMES["replace"], generations=10, samples=20)
    >>> round(predict_moments(plan, kde(bandwidth=0.3))["variance"].isel(generation=-1).item(), 4)
    1.321

    Raises ValueError, which names the record, for what has no such law: a family without `matching`, a selection, a
    biased start, a truth that draws from given examples (they are not independent), a decoding that does more than
    scale the variance, an ecosystem of several models, a regime that draws from unequally weighted examples, one
    example a generation where the fitted variance is without bias; and where the family adds variance to that of a
    truth of which it isn't known.
    """
    matching = _require_a_law(plan, family, initial, {"curate": curate, "reweigh": reweigh})
    truth = family.truth if truth is None else truth
    bias, units = _bias(family, matching, decoding or {}), _units(family, matching, truth)
    shape = (len(plan.regimes), len(plan.samples), len(plan.ratios), plan.generations)
    variance, mean_error = np.empty(shape), np.empty(shape)
    for i, j, k in np.ndindex(shape[:3]):
        variance[i, j, k], mean_error[i, j, k] = _law(plan.table[i][j][k], family, matching, units, bias)
    over = ("regime", "samples", "ratio", "generation")
    return xr.Dataset(
        {"variance": (over, variance), "mean_error": (over, mean_error)},
        {
            "regime": [one.name for one in plan.regimes],
            "samples": list(plan.samples),
            "ratio": list(plan.ratios),
            "generation": np.arange(1, plan.generations + 1),
        },
    )


def _require_a_law(
    plan: Plan, family: Family, initial: Draw | Params | None, selections: Mapping[str, Selection | None]
) -> MomentMatching:
    """Return how the family matches moments; ValueError where it doesn't, or something else changes them."""
    if plan.models > 1:
        raise ValueError(f"predict_moments is for one model, this plan has {plan.models}: see ecosystem_heterozygosity")
    for name, selection in selections.items():
        if selection is not None:
            raise ValueError(
                f"{name} is selection {selection.name!r}, and what it keeps has other moments than what was emitted: "
                f"only recursions without selection have the law of moments{_see(selection.name)}"
            )
    if family.matching is None:
        raise ValueError(
            f"family {family.name!r} declares no `matching`, how its models have the moments of their examples: "
            f"without it there is no law of moments{_see(family.name)}"
        )
    if initial is not None:
        raise ValueError(
            "initial is given: the law of moments is for a fixed real set that is drawn from the truth, not from a "
            "biased start"
        )
    return family.matching


def _see(name: str) -> str:
    """Return a pointer to the laws that are called as a record is, if there are any."""
    words = re.findall(r"[a-z_]+", name)
    found = [law for law in laws.__all__ if any(law == word or law.startswith(f"{word}_") for word in words)]
    return f"; see {', '.join(found)} in cj.generative.laws" if found else ""


def _bias(family: Family, matching: MomentMatching, decoding: Mapping[str, float]) -> float:
    """Return by what all decodings together multiply the variance of what is emitted."""
    bias = 1.0
    for name, value in decoding.items():
        if name not in family.decodings:
            known = ", ".join(family.decodings) or "none"
            raise ValueError(f"family {family.name!r} has no decoding {name!r}; it has {known}")
        one = family.decodings[name]
        if not one.low <= value <= one.high:
            raise ValueError(f"decoding {name!r} is {value}; it must lie in [{one.low:g}, {one.high:g}]")
        if name in matching.emitted:
            bias *= matching.emitted[name](float(value))
            if not 0.0 < bias < math.inf:
                raise ValueError(
                    f"decoding {name!r} is {value}, at which what is emitted has {bias:g} times the variance of the "
                    "model; the law of moments needs a finite multiple above 0"
                )
        elif value != one.neutral:
            raise ValueError(
                f"decoding {name!r} of family {family.name!r} is {value:g}, which does more than scale the variance of "
                f"what is emitted: it has the law of moments at {one.neutral:g} alone, where it changes nothing; see "
                "iterate_decoding in cj.generative.laws"
            )
    return bias


class _Units(NamedTuple):
    """The variance that a fit sees of the truth, what each fit adds to it, and what it rounds away, as parts of all."""

    seen: float
    added: float
    within: float


def _units(family: Family, matching: MomentMatching, truth: Draw | Params | None) -> _Units:
    if isinstance(truth, Resampling):
        raise ValueError(
            "truth draws from given examples without replacement: these are not independent, and the law of moments is "
            "for independent real examples"
        )
    if not (matching.added or matching.within):
        return _Units(1.0, 0.0, 0.0)
    if not callable(truth) and truth is not None and family.moments is not None:
        variance = float(family.moments(truth).variance)
    elif truth is not None and truth is matching.truth and matching.truth_variance is not None:
        variance = matching.truth_variance
    else:
        raise ValueError(
            f"truth is {truth!r:.80}, whose total variance isn't known, and family {family.name!r} adds "
            f"{matching.added + matching.within:g} to it: give the truth as parameters of the family, or ask "
            "moment_law with what is `added` in units of the truth's variance"
        )
    if not matching.within < variance < math.inf:
        raise ValueError(
            f"truth has the total variance {variance:g}; the law is in units of it, which must be above "
            f"{matching.within:g} and finite"
        )
    return _Units(1.0 - matching.within / variance, matching.added / variance, matching.within / variance)


def _law(one: Rows, family: Family, matching: MomentMatching, units: _Units, bias: float) -> MomentLaw:
    # A regime that keeps all that it counts draws nothing, and then its weights may be unequal.
    everything = (one.draws == one.counts.sum(axis=1)).all()
    law = moment_law(
        one.counts,
        among=one.among,
        draws=None if everything else one.draws,
        weights=one.weights,
        gain=_gain(one, family, matching),
        added=units.added / units.seen,
        bias=bias,
    )
    return MomentLaw(units.seen * law.variance + units.within, units.seen * law.mean_error)


def _gain(one: Rows, family: Family, matching: MomentMatching) -> Float[np.ndarray, " generation"]:
    """Return by what the variance of the weighted examples is multiplied in each generation."""
    if matching.gain is None:
        return np.ones(len(one.counts))
    mass = one.counts * one.weights
    squares = (mass * one.weights).sum(axis=1) / mass.sum(axis=1) ** 2
    squares = np.where(one.draws < one.counts.sum(axis=1), 1.0 / one.draws, squares)
    if (squares > 1.0 - 1e-12).any():
        raise ValueError(
            f"family {family.name!r} needs two examples or more, generation {int(squares.argmax()) + 1} has one"
        )
    return np.array([matching.gain(float(value)) for value in squares])
