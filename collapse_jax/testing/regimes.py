"""A regime of one's own, checked."""

import numpy as np

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Process
from collapse_jax.engine.sweep import sweep
from collapse_jax.generative import families
from collapse_jax.generative.family import Family
from collapse_jax.generative.laws.prediction import predict_moments
from collapse_jax.generative.recursion.plan import Plan, make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import Regime, rows
from collapse_jax.testing.claims import claim, counted, near, runs_in_one_program

_LINEAGES = 2000


@checked
def check_regime(regime: Regime, *, generations: int = 4, samples: int = 12, ratio: float = 0.5) -> None:
    """Check a regime: that it is one for all sizes and shares, runs in one program, and follows its law.

    Its tables are made for real shares from 0 to 1, and for other numbers of samples and generations too: those of
    fewer generations must begin those of more. It is run with Gaussians, whose normalised variance and error of the
    mean must be what the count matrix predicts, over 2000 lineages; a regime of several models has no such law, and is
    only run.

    Raises ValueError for a table that is none, naming the generation, and AssertionError for what does not hold.
    """
    for size in (samples, 2 * samples + 1):
        for share in (0.0, ratio, 1.0):
            _check_prefix(regime, generations, size, share)
    plan = make_plan(regime, generations, samples, ratio)
    family = families.gaussian(1, unbiased=True)

    def make(calls: list[int]) -> Process:
        return make_recursion(family._replace(fit=counted(family.fit, calls)), plan, by="examples")

    runs_in_one_program(f"regime {regime.name!r}", make)
    if regime.models == 1:
        _check_law(regime, family, plan)


def _check_prefix(regime: Regime, generations: int, samples: int, ratio: float) -> None:
    """Compare the tables for fewer generations with the first rows of those for more."""
    long, short = rows(regime, generations + 1, samples, ratio), rows(regime, generations, samples, ratio)
    for what, more, fewer in zip(long._fields, long, short, strict=True):
        begun = more[:-1, :-1] if more.ndim == 2 else more[:-1]
        bad = np.flatnonzero((begun != fewer).reshape(generations, -1).any(axis=1))
        claim(
            not bad.size,
            f"the {what} of regime {regime.name!r} for generation {bad[:1] + 1} change with the number of generations, "
            f"at samples={samples}, ratio={ratio:g}; they may depend on their own generation alone",
        )


def _check_law(regime: Regime, family: Family, plan: Plan) -> None:
    law = predict_moments(plan, family).squeeze()
    process = make_recursion(family, plan, by="examples")
    swept = sweep(process, {"seed": range(_LINEAGES)}, vmap_members=500, progress=False)
    found = {"variance": swept["variance"], "mean_error": (swept["mean"] ** 2).sum("dim")}
    for what, values in found.items():
        for generation in values["generation"].to_numpy():
            near(
                values.sel(generation=generation).to_numpy().ravel(),
                float(law[what].sel(generation=generation)),
                f"{what} of generation {generation} under regime {regime.name!r}",
            )
