"""Mitigations of collapse, side by side: each a regime with its selections, in as few programs as shapes allow."""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.checks.annotations import checked
from collapse_jax.engine import OnSegment, sweep
from collapse_jax.engine.arms import with_arms
from collapse_jax.generative.family import Family
from collapse_jax.generative.recursion.plan import make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import REGIMES, Regime
from collapse_jax.generative.selection import Selection, require_signatures
from collapse_jax.generative.selections.composition import alternatives

NONE = "none"


class Mitigation(NamedTuple):
    """What is done against collapse: a regime, what is chosen of what is emitted, and how what trains is weighed.

    With `respond` a generation answers the inputs of the real set anew (real prompts, or real text that is edited).
    `family` is the family that this needs, if it isn't the one that is compared in. To give a selection other
    parameters, replace its `defaults`; to fix a real share, use `with_share`.
    """

    regime: Regime = REGIMES["replace"]
    curate: Selection | None = None
    reweigh: Selection | None = None
    respond: bool = False
    family: Family | None = None


class Spent(NamedTuple):
    """What a mitigation uses up, in examples, over all generations.

    `real` different real examples, shown `real_shown` times to a generation's training set; `generated_shown` those
    that models emitted; `written`, what they emit for it, candidates included.
    """

    real: int
    real_shown: int
    generated_shown: int
    written: int


@checked
def data_spent(mitigation: Mitigation, generations: int, samples: int) -> Spent:
    """Return what a mitigation uses up; raises ValueError as `make_plan` does.

    >>> data_spent(Mitigation(REGIMES["accumulate"]), 3, 100)
    Spent(real=100, real_shown=300, generated_shown=300, written=200)

    A regime that draws from a larger pool shows real examples in proportion. With `respond` the real set is what is
    answered: it counts as used, not as shown. The last generation trains, but nothing is trained on what it emits.
    """
    one = make_plan(mitigation.regime, generations, samples).rows(mitigation.regime.name)
    kept = one.draws / one.counts.sum(axis=1)
    shown = one.counts * kept[:, None]
    fresh, stored = int(one.counts[:, 0].sum()), int(one.among[:, 1].max())
    if mitigation.respond:
        stored = samples
    real, generated = shown[:, :2].sum(), shown[:, 2:].sum()
    times = mitigation.curate.oversample if mitigation.curate is not None else 1
    written = int(sum(one.among[:, s].max() for s in range(2, one.among.shape[1]))) * times
    return Spent(fresh + stored, round(float(real)), round(float(generated)), written)


@checked
def compare_mitigations(
    family: Family,
    mitigations: Mapping[str, Mitigation],
    *,
    generations: int,
    samples: int,
    seeds: Sequence[int],
    directory: str | Path | None = None,
    progress: bool = True,
    on_segment: OnSegment | None = None,
    **options: Any,
) -> xr.Dataset:
    """Return the records of labelled mitigations by `mitigation`, `seed` and `generation`: one training a seed.

    Mitigations share a program where they emit as many candidates for each example, in the same way, with the same
    family: one such program takes them all, whatever their regimes and selections. `program` numbers the one of each
    mitigation. `seeds` are those of the lineages, as in `sweep`: `range(20)` for twenty of them. `options` go to
    `make_recursion` (`truth`, `measure`, `inspect`, `warm_start`, ...). What a selection records is NaN for mitigations
    without it. `directory`, `progress`, `on_segment` and resuming as in `sweep`: a segment holds mitigations of one
    program, which its labels name, and counts the segments of that program.

    Raises ValueError for no mitigations, and as `make_plan`, `make_recursion` and `sweep` do.
    """
    if not mitigations:
        raise ValueError("mitigations is empty; give at least one")
    for label, one in mitigations.items():
        if not isinstance(one, Mitigation):
            raise ValueError(f"mitigation {label!r} is {one!r}; it must be a record such as cj.Mitigation()")
        for selection in (one.curate, one.reweigh):
            if selection is not None:
                require_signatures(selection)
    groups: dict[Hashable, dict[str, Mitigation]] = {}
    for label, one in mitigations.items():
        times = one.curate.oversample if one.curate is not None else 1
        groups.setdefault((id(one.family or family), one.respond, times), {})[label] = one

    found = []
    for number, group in enumerate(groups.values()):
        dataset = _sweep_group(
            family,
            group,
            generations=generations,
            samples=samples,
            seeds=seeds,
            directory=None if directory is None else Path(directory) / _folder(number, group),
            progress=progress,
            on_segment=on_segment,
            options=options,
        )
        found.append(dataset.assign(program=("mitigation", np.full(len(group), number))))
    merged: xr.Dataset = xr.concat(found, "mitigation", data_vars="all", join="outer", combine_attrs="drop")
    # What ran, where and for how long, by program.
    attributes = {name: json.dumps([json.loads(one.attrs[name]) for one in found]) for name in found[0].attrs}
    return merged.sel(mitigation=list(mitigations)).assign_attrs(attributes)


def _sweep_group(
    family: Family,
    group: Mapping[str, Mitigation],
    *,
    generations: int,
    samples: int,
    seeds: Sequence[int],
    directory: Path | None,
    progress: bool,
    on_segment: OnSegment | None,
    options: Mapping[str, Any],
) -> xr.Dataset:
    first = next(iter(group.values()))
    regimes = list({id(one.regime): one.regime for one in group.values()}.values())
    plan = make_plan(regimes, generations, samples)
    curate, curates = _either([one.curate for one in group.values()], "curated")
    reweigh, reweighs = _either([one.reweigh for one in group.values()], "reweighed")
    process = make_recursion(
        first.family or family,
        plan,
        curate=curate,
        reweigh=reweigh,
        respond=first.respond,
        # Random numbers are those of examples in every group, so that equal seeds share their real data.
        **{"by": "examples", **options},
    )
    arms: dict[str, dict[str, Any]] = {}
    for i, (label, one) in enumerate(group.items()):
        arms[label] = {"regime": one.regime.name}
        arms[label] |= {"curated": curates[i]} if curate else {}
        arms[label] |= {"reweighed": reweighs[i]} if reweigh else {}
    process = with_arms(process, arms, "mitigation")
    # By name, so that a single mitigation has its dimension too.
    axes = {"mitigation": list(arms), "seed": seeds}
    return sweep(process, axes, directory=directory, segment=1, progress=progress, on_segment=on_segment)


def _either(selections: list[Selection | None], name: str) -> tuple[Selection | None, list[str]]:
    """Return the distinct selections as alternatives (None where there is none at all), and the label of each."""
    distinct = list({id(one): one for one in selections}.values())
    if distinct == [None]:
        return None, []
    labels = {id(one): NONE if one is None else f"{i}: {one.name}" for i, one in enumerate(distinct)}
    return alternatives({labels[id(one)]: one for one in distinct}, name), [labels[id(one)] for one in selections]


def _folder(number: int, group: Mapping[str, Mitigation]) -> str:
    """Return a folder's name for a group: its number and its first mitigation, in letters and digits."""
    return f"{number}-" + re.sub(r"\W+", "-", next(iter(group))).strip("-")
