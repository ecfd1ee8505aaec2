"""The collapse profile: eight definitions of model collapse in use, each measured against a control on real data.

Schaeffer et al., arXiv 2503.03150, find that papers on model collapse mean eight different things. A profile reports
all of them, generation by generation, as the difference of a population of lineages from its control, which is trained
on fresh real data only (α = 1). A difference of 0 is "as the control":

| definition | difference | unit | collapse |
|---|---|---|---|
| risk_rises_much | risk / control's risk - 1 | multiples of the control's risk | above MUCH - 1: it has doubled |
| risk_rises | risk | the risk's | above 0 |
| risk_diverges | growth beyond saturation, see `risk_diverges` | the risk's, a generation | above 0 |
| scaling_law_changes | slope of log risk against log samples | 1 | above 0: more data helps less |
| variance_collapses | (v - c) / (v + c), c the control's variance | 1, from -1: none left | below 0 |
| modes_merge | number of modes | 1 | below 0 |
| tail_disappears | share of the real tail that is covered | 1 | below 0 |
| off_support_appears | mass off the real support | 1 | above 0 |

A definition that holds says that the difference is there, not that it is large: its size is the value. Ratios of risks
and variances are compared as logarithms, and told in the units above.

**Verdicts rest on ranks**, see `rank_intervals`, and not on Student's t. Risks and variances of lineages are
heavy-tailed: six of which each has at least 23 times its control's risk have a standard error as large as their mean,
so that a t interval includes 0, and the worse the worst lineage is, the less evident the rise. By ranks a stronger
collapse of any lineage never makes a verdict less sure, and where the population is as its control each side is found
with a chance of at most (1 - level) / 2, for any distribution and any number of lineages.

The price is that few lineages are too few. At a level of .95, pairs decide from six lineages on: five alike pairs all
differ to one side with a chance of 1/32, more than the 1/40 that is allowed. With four or five, pairs are judged as two
independent groups. That is right too, if less sharp, where a shared seed makes two lineages more alike than others,
as shared randomness does. With three or fewer there is no verdict: bounds are infinite, and a warning says so.
"""

import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.rank_intervals import Shift, rank_sum, shift, signed_rank

__all__ = ["collapse_profile"]

MUCH = 2.0
"""The factor by which the risk must exceed the control's to have risen much."""

Contrast = tuple[xr.DataArray, xr.DataArray]
"""A statistic of each lineage of the population and of the control: by how much is the first above the second?"""


class Definition(NamedTuple):
    """What a definition of collapse compares: collapse is beyond `threshold` in the direction of `sign`, +1 or -1."""

    variable: str
    sign: int
    threshold: float
    contrasts: Callable[[xr.DataArray, xr.DataArray], list[Contrast]]
    unit: Callable[[xr.DataArray], xr.DataArray] = lambda apart: apart
    """From a difference of the contrast's statistics to the difference that is reported, rising."""


def logarithms(population: xr.DataArray, control: xr.DataArray) -> list[Contrast]:
    """Return the contrast of the variable's logarithm; NaN below 0."""
    return [(_log(population), _log(control))]


def _log(values: xr.DataArray) -> xr.DataArray:
    logarithm: xr.DataArray = xr.apply_ufunc(np.log, values.where(values >= 0))
    return logarithm


def _excess(log_ratio: xr.DataArray) -> xr.DataArray:
    """Return r - 1 of a ratio r."""
    excess: xr.DataArray = xr.apply_ufunc(np.expm1, log_ratio)
    return excess


def _relative(log_ratio: xr.DataArray) -> xr.DataArray:
    """Return (r - 1) / (r + 1) of a ratio r, in [-1, 1]."""
    relative: xr.DataArray = xr.apply_ufunc(np.tanh, log_ratio / 2)
    return relative


def difference(population: xr.DataArray, control: xr.DataArray) -> list[Contrast]:
    """Return the contrast of the variable itself."""
    return [(population, control)]


def risk_diverges(population: xr.DataArray, control: xr.DataArray) -> list[Contrast]:
    """Return two contrasts, both positive where the excess risk grows without showing a bound, by generation t.

    The first is the least-squares slope of the risk over the late half of the generations, t/2 to t. The second is by
    how much it exceeds what a saturating curve, a - b/√t, would keep of the slope over t/4 to t/2. When t doubles, the
    slope of a linear rise stays, that of log t, the slowest usual divergence, falls to 1/2, that of a - b/√t to 0.35,
    that of a - b/t to 1/4, and that of an approach at a constant rate to less. The value is the smaller of the two.
    A risk that is infinite at t has diverged: both are infinite, however early it became so. NaN before t = 3. No
    finite record can tell a bound that is out of sight from divergence.
    """
    generation = population["generation"].to_numpy().astype(float)
    ends = range(1, len(generation) + 1)
    quarter, half = (np.searchsorted(generation, np.ceil(generation / parts)).tolist() for parts in (4, 2))
    late, early = list(zip(half, ends, strict=True)), [(q, h + 1) for q, h in zip(quarter, half, strict=True)]
    saturating = xr.DataArray(-(generation**-0.5), {"generation": population["generation"]}, "generation")
    kept = _slopes(saturating, late) / _slopes(saturating, early)

    def beyond(now: xr.DataArray, before: xr.DataArray) -> xr.DataArray:
        # What is infinite now is so beyond any slope before, be that infinite too.
        return (now - kept * before).where(np.isfinite(now) | before.isnull(), now)

    growth = [_slopes(curve, late) for curve in (population, control)]
    excess = [beyond(now, _slopes(curve, early)) for now, curve in zip(growth, (population, control), strict=True)]
    return [(growth[0], growth[1]), (excess[0], excess[1])]


def scaling_law_changes(population: xr.DataArray, control: xr.DataArray) -> list[Contrast]:
    """Return the contrast of the least-squares slope of log risk against log samples; NaN for a risk of 0 or less.

    A risk that is infinite at the largest number of samples is one that no data help: its slope is infinite.
    """

    def slope(risk: xr.DataArray) -> xr.DataArray:
        log_risk = _log(risk.where(risk > 0)).sortby("samples")
        log_samples = np.log(log_risk["samples"].to_numpy().astype(float))
        of_row = functools.partial(_slope, at=log_samples)
        against: xr.DataArray = xr.apply_ufunc(of_row, log_risk, input_core_dims=[["samples"]])
        return against

    return [(slope(population), slope(control))]


DEFINITIONS = {
    "risk_rises_much": Definition("risk", 1, MUCH - 1, logarithms, _excess),
    "risk_rises": Definition("risk", 1, 0.0, difference),
    "risk_diverges": Definition("risk", 1, 0.0, risk_diverges),
    "scaling_law_changes": Definition("risk", 1, 0.0, scaling_law_changes),
    "variance_collapses": Definition("variance", -1, 0.0, logarithms, _relative),
    "modes_merge": Definition("modes", -1, 0.0, difference),
    "tail_disappears": Definition("tail", -1, 0.0, difference),
    "off_support_appears": Definition("off_support", 1, 0.0, difference),
}
VARIABLES = tuple(dict.fromkeys(definition.variable for definition in DEFINITIONS.values()))


@checked
def collapse_profile(dataset: xr.Dataset, control: xr.Dataset, *, level: float = 0.95) -> xr.Dataset:
    """Return value, interval, rate and verdict of the eight definitions by generation, over dataset's other dimensions.

    `dataset` and `control` have dimensions and coordinates `seed` and `generation` and hold, each lineage at each
    generation: `risk` (test loss or error, lower is better), `variance`, `modes` (their number), `tail` (share of the
    real tail still covered) and `off_support` (mass). The scaling law needs a dimension `samples`. Other dimensions of
    the dataset are kept; those that the control lacks are compared with the same control.

    `value` is the difference from the control in the units of the module's table, a Hodges-Lehmann estimate: the median
    of averages of two lineages' differences where both have the same seeds, which share their randomness, else of all
    differences between a lineage and one of the control. `lower` and `upper` are its interval by ranks at `level`, a
    generation at a time; see above for what it rests on. A bound is the end of the unit's range where there are too few
    lineages for it; the upper one of risk_diverges, whose conditions are two, needs more of them than others: at a
    level of .95 seven pairs, or two groups of five. `rate` is the least-squares slope of `value` from the first
    generation that has one, a generation. `holds` is 1 where the interval lies on the side of collapse of `threshold`,
    -1 where it lies on the other, 0 where it includes it. The attribute `intervals` says whether pairs or groups were
    judged.

    Infinite values are results, and lineages that are infinite in both are equal. A slope is infinite where its last
    value is; where the last is finite again, the slope is infinite towards it.

    What was not measured is NaN, and named in the attribute `not_measured`; a value is NaN where one lineage is. Warns
    where there are too few lineages for any verdict. Raises ValueError for fewer than two seeds, no known variable, and
    dimensions or labels that don't match.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1")
    dataset, control, paired = _matched(dataset, control)
    _warn_of_too_few(dataset.sizes["seed"], control.sizes["seed"], level)
    rows, not_measured = [], []
    for name, definition in DEFINITIONS.items():
        row, variable = xr.Dataset(coords={"generation": dataset["generation"]}), definition.variable
        if variable in dataset and variable in control and (name != "scaling_law_changes" or _scales(dataset, control)):
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                contrasts = definition.contrasts(dataset[variable].astype(float), control[variable].astype(float))
                apart = _smallest(contrasts, paired, (1 - level) / 2)
                for key, part in apart._asdict().items():
                    row[key] = definition.unit(part)
                row["rate"] = _rate(row["value"])
            row["holds"] = _verdict(row["lower"], row["upper"], definition)
        else:
            not_measured.append(name)
            row = row.assign(dict.fromkeys(("value", "lower", "upper", "rate", "holds"), row["generation"] * np.nan))
        rows.append(row)
    profile = xr.concat(xr.broadcast(*rows), xr.Variable("definition", list(DEFINITIONS)), coords="minimal")
    profile = profile.assign_coords(
        sign=("definition", [definition.sign for definition in DEFINITIONS.values()]),
        threshold=("definition", [definition.threshold for definition in DEFINITIONS.values()]),
    )
    profile["holds"].attrs = {"flag_values": [-1, 0, 1], "flag_meanings": "other_side undecided collapse"}
    profile.attrs = {
        "level": level,
        "intervals": _intervals(paired, dataset.sizes["seed"], (1 - level) / 2),
        "not_measured": ", ".join(not_measured),
    }
    return profile.transpose("definition", "generation", ...)


def _matched(dataset: xr.Dataset, control: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset, bool]:
    """Return the known variables of both, the control's seeds in the dataset's order, and whether they are the same."""
    known = []
    for name, given in (("dataset", dataset), ("control", control)):
        given = given[[variable for variable in VARIABLES if variable in given]]
        if not given.data_vars:
            raise ValueError(f"{name} holds none of the variables {', '.join(VARIABLES)}")
        for needed in ("seed", "generation"):
            if needed not in given.indexes or any(needed not in variable.dims for variable in given.values()):
                raise ValueError(f"{name} needs dimension and coordinate {needed!r} in each of {list(given.data_vars)}")
        seeds, generations = given.indexes["seed"], given.indexes["generation"]
        if len(seeds) < 2 or not seeds.is_unique:
            raise ValueError(f"{name} needs at least two different seeds for intervals, not {seeds.tolist()}")
        if not (generations.is_monotonic_increasing and generations.is_unique and generations[0] > 0):
            raise ValueError(f"{name} needs ascending generations from 1 on, not {generations.tolist()}")
        if "samples" in given.dims and not np.all(given["samples"].to_numpy() > 0):
            raise ValueError(f"{name} needs positive numbers of samples, not {given['samples'].to_numpy().tolist()}")
        known.append(given.drop_vars(set(given.coords) - set(given.dims)))
    dataset, control = known
    for dim in set(control.dims) - {"seed"}:
        if dim not in dataset.dims:
            raise ValueError(f"control has a dimension {dim!r}, which dataset lacks: {list(map(str, dataset.dims))}")
        ours, theirs = dataset[dim].to_numpy(), control[dim].to_numpy()
        if not np.array_equal(ours, theirs):
            raise ValueError(f"{dim} of control, {theirs.tolist()}, must be that of dataset, {ours.tolist()}")
    if set(dataset.indexes["seed"]) != set(control.indexes["seed"]):
        return dataset, control, False
    return dataset, control.sel(seed=dataset["seed"]), True


def _scales(dataset: xr.Dataset, control: xr.Dataset) -> bool:
    """Return whether a slope against samples can be fitted to both."""
    return all("samples" in given["risk"].dims and given.sizes["samples"] > 1 for given in (dataset, control))


def _slope(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the least-squares slopes of values, along their last axis, against ascending `at`.

    Infinite values have no line. Where the last one is infinite, the slope is as infinite, also where all are: a
    stronger rise never has a smaller slope. Where the last is finite again, the slope is infinite towards it; NaN after
    infinite values of both signs.
    """
    centred = at - at.mean()
    slope = (values * centred).sum(-1) / (centred @ centred)
    last, earlier = values[..., -1], values[..., :-1].sum(-1)
    towards = np.where(np.isinf(last), last, last - earlier)
    infinite = np.isinf(values).any(-1) & ~np.isnan(values).any(-1)
    chosen: np.ndarray = np.where(infinite, towards, slope)
    return chosen


def _slopes(curve: xr.DataArray, windows: list[tuple[int, int]]) -> xr.DataArray:
    """Return, generation by generation, the least-squares slope over its window of positions; NaN for under two."""
    generation, curve = curve["generation"].to_numpy().astype(float), curve.transpose(..., "generation")
    slopes = curve.copy(data=np.full(curve.shape, np.nan))
    for index, (start, stop) in enumerate(windows):
        if stop - start > 1:
            slopes[..., index] = _slope(curve.to_numpy()[..., start:stop], generation[start:stop])
    return slopes


def _rate(value: xr.DataArray) -> xr.DataArray:
    """Return the slope of value over all generations so far, from the first at which any member has one."""
    measured = np.isfinite(value.transpose("generation", ...).to_numpy()).reshape(value.sizes["generation"], -1).any(1)
    first = int(np.argmax(measured))
    return _slopes(value, [(first, stop) for stop in range(1, len(measured) + 1)])


def _smallest(contrasts: list[Contrast], paired: bool, alpha: float) -> Shift:
    """Return the smallest shift of several contrasts: that of the condition which is furthest from being met.

    It is above a threshold where all are, so that each lower bound may be wrong with a chance of alpha. It is below one
    where any is: the upper bounds share alpha, and are infinite where there are too few lineages for their share.
    """
    shared = alpha / len(contrasts)
    by_pairs = paired and _pairs_decide(contrasts[0][0].sizes["seed"], alpha)
    shifts = [shift(*contrast, paired=by_pairs, alpha=alpha, alpha_upper=shared) for contrast in contrasts]
    return Shift(*(parts[0] if len(parts) == 1 else np.minimum(*parts) for parts in zip(*shifts, strict=True)))


def _pairs_decide(lineages: int, alpha: float) -> bool:
    """Return whether signs of so many pairs can be rarer than alpha."""
    return signed_rank(lineages, alpha) > 0


def _intervals(paired: bool, lineages: int, alpha: float) -> str:
    if not paired:
        return "unpaired (rank sums)"
    if not _pairs_decide(lineages, alpha):
        return "unpaired (rank sums), as there are too few pairs"
    return "paired by seed (signed ranks)"


def _warn_of_too_few(lineages: int, others: int, level: float) -> None:
    """Warn where not even groups without any overlap are rarer than the level asks."""
    if not rank_sum(lineages, others, (1 - level) / 2):
        warnings.warn(
            f"{lineages} lineages beside {others} of the control are too few for a verdict at level={level}, whatever "
            "they show: intervals are infinite, and every definition is undecided. Four of each are enough at .95",
            stacklevel=4,
        )


def _verdict(lower: xr.DataArray, upper: xr.DataArray, definition: Definition) -> xr.DataArray:
    above, below = lower > definition.threshold, upper < definition.threshold
    side = definition.sign * (above.astype(int) - below.astype(int))
    return side.where(lower.notnull() & upper.notnull())
