"""Recursions against exact laws, 20,000 lineages each: the laws share no code with what they predict."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative import families, laws

LINEAGES = 20_000
GENERATIONS = 5
WHOLE = ["replace", "accumulate", "augment", "real_fraction_fresh", "golden_ratio", "growing", "sliding_window(5)"]

pytestmark = pytest.mark.slow


def run(process, axes, *, lineages=LINEAGES, first=0):
    """Return the records of independent lineages, without dimensions of one label."""
    seeds = range(first, first + lineages)
    return cj.sweep(process, {**axes, "seed": seeds}, vmap_members=1000, progress=False).squeeze()


def z_of(values, expected):
    """Return (mean - expected) / standard error over seeds; 0 where nothing varies and the mean is right."""
    mean, error = values.mean("seed"), values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])
    off = (mean - expected).to_numpy()
    error = error.to_numpy()
    # Float32 records of what doesn't vary are right to rounding.
    return np.where((error < 1e-9) & (abs(off) < 1e-6), 0.0, off / np.maximum(error, 1e-12))


FAMILIES = {
    "gaussian": lambda: families.gaussian(1),
    "gaussian, unbiased": lambda: families.gaussian(2, unbiased=True),
    "categorical": lambda: families.categorical(6, exponent=1.0),
}


@functools.cache
def moments(name, kind, bias=1.0):
    """Return normalised variance and mean error of every regime, with the laws that they must follow."""
    family = FAMILIES[name]()
    true = family.moments(family.truth)

    def measure(key, params):
        found = family.moments(params)
        return {
            "variance": found.variance / true.variance,
            "mean_error": jnp.sum((found.mean - true.mean) ** 2) / true.variance,
        }

    if bias != 1.0:
        regimes = [cj.REGIMES[one] for one in WHOLE[:3]]
    elif kind == "examples":
        regimes = [one for one in cj.REGIMES.values() if one.models == 1]
    else:
        regimes = [cj.REGIMES[one] for one in WHOLE]
    plan = cj.make_plan(regimes, GENERATIONS, samples=8, ratios=0.25)
    decoding = ["bias"] if bias != 1.0 else []
    swept = run(
        cj.make_recursion(family, plan, by=kind, decoding=decoding, measure=measure),
        {"regime": plan.axes["regime"], **({"bias": [bias]} if decoding else {})},
    )
    return swept, cj.predict_moments(plan, family, decoding=dict.fromkeys(decoding, bias)).squeeze(drop=True)


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("kind", ["examples", "statistics"])
@pytest.mark.parametrize("name", FAMILIES)
def test_moments_follow_the_law_in_every_regime(name, kind):
    swept, law = moments(name, kind)
    assert not swept["diverged"].any()
    for what in ("variance", "mean_error"):
        z = z_of(swept[what], law[what])
        assert np.abs(z).max() < 4, (what, dict(zip(law["regime"].to_numpy(), np.abs(z).max(axis=1), strict=True)))


def test_moments_follow_the_law_under_bias():
    swept, law = moments("gaussian, unbiased", "examples", bias=0.6)
    for what in ("variance", "mean_error"):
        assert np.abs(z_of(swept[what], law[what])).max() < 4, what


@pytest.mark.parametrize("by", ["examples", "statistics"])
def test_logarithms_under_replace(by):
    plan = cj.make_plan(cj.REGIMES["replace"], 6, samples=7)
    swept = run(cj.make_recursion(families.gaussian(1, unbiased=True), plan, by=by), {})
    log = np.log(swept["variance"])
    mean, variance = laws.replace_log_variance(7, 6)
    assert np.abs(z_of(log, mean)).max() < 4
    spread = (log - log.mean("seed")) ** 2
    # Dividing by n - 1 is what makes the sample variance unbiased.
    assert np.abs(z_of(spread * LINEAGES / (LINEAGES - 1), variance)).max() < 4


def test_log_determinant_under_replace():
    d = 3
    plan = cj.make_plan(cj.REGIMES["replace"], 4, samples=12)
    family = families.gaussian(d, unbiased=True)
    swept = run(
        cj.make_recursion(
            family, plan, by="statistics", measure=lambda key, p: {"x": jnp.linalg.slogdet(p.covariance)[1]}
        ),
        {},
    )
    assert np.abs(z_of(swept["x"], laws.replace_log_determinant(12, d, 4))).max() < 4


def test_wasserstein_under_replace_and_growth():
    plan = cj.make_plan([cj.REGIMES["replace"], cj.REGIMES["growing"]], 5, samples=10)

    def measure(key, params):
        return {"x": cj.metrics.frechet_distance(params.mean, params.covariance, jnp.zeros(1), jnp.eye(1))}

    process = cj.make_recursion(families.gaussian(1, unbiased=True), plan, measure=measure)
    swept = run(process, {"regime": plan.axes["regime"]})
    law = np.stack([laws.replace_wasserstein([10] * 5), laws.replace_wasserstein([10 * t for t in range(1, 6)])])
    assert np.abs(z_of(swept["x"], law)).max() < 4


@pytest.mark.parametrize("by", ["examples", "statistics"])
def test_survivors_and_missing_mass_by_the_transition_matrix(by):
    family = families.categorical(8, exponent=0.7)
    truth = np.asarray(family.truth, np.float64)
    truth /= truth.sum()
    plan = cj.make_plan(cj.REGIMES["replace"], 12, samples=15)

    def measure(key, p):
        return {"alive": cj.metrics.survivors(p), "missing": cj.metrics.missing_mass(p, jnp.asarray(truth, p.dtype))}

    swept = run(cj.make_recursion(family, plan, by=by, measure=measure), {})
    assert np.abs(z_of(swept["alive"], laws.survivors(truth, [15] * 12))).max() < 4
    alive = laws.survival_probability(truth, [15] * 12)
    assert np.abs(z_of(swept["missing"], 1 - alive @ truth)).max() < 4


@pytest.mark.parametrize(
    ("same", "regime", "law"),
    [
        (True, "replace", laws.regression_replace),
        (False, "replace", laws.regression_replace),
        (True, "accumulate", laws.regression_accumulate),
    ],
)
def test_regression_on_its_own_labels(same, regime, law):
    family = families.regression(3)
    plan = cj.make_plan(cj.REGIMES[regime], 5, samples=16)
    process = cj.make_recursion(
        family, plan, respond=same, measure=lambda key, w: {"x": jnp.sum((w - jnp.asarray(family.truth)) ** 2)}
    )
    assert np.abs(z_of(run(process, {})["x"], law(16, 3, 1.0, 5))).max() < 4


@pytest.mark.parametrize("by", ["examples", "statistics"])
def test_regression_accumulating_on_fresh_inputs(by):
    family = families.regression(3)
    plan = cj.make_plan(cj.REGIMES["accumulate"], 5, samples=16)
    process = cj.make_recursion(
        family, plan, by=by, measure=lambda key, w: {"x": jnp.sum((w - jnp.asarray(family.truth)) ** 2)}
    )
    assert np.abs(z_of(run(process, {})["x"], laws.regression_accumulate_fresh(16, 3, 1.0, 5))).max() < 4


@pytest.mark.parametrize("kernel", ["gaussian", "top_hat"])
@pytest.mark.parametrize(("regime", "law"), [("replace", laws.kernel_replace), ("accumulate", laws.kernel_accumulate)])
def test_kernel_densities_grow(kernel, regime, law):
    # A kernel model trained on M examples emits their empirical variance and mean, and its own width on top.
    family = families.kde(1, bandwidth=0.5, kernel=kernel)
    plan = cj.make_plan(cj.REGIMES[regime], 4, samples=6)

    def measure(key, params):
        mean, variance = family.moments(params)
        return {"x": variance + mean[0] ** 2}

    swept = run(cj.make_recursion(family, plan, measure=measure), {})
    # The law counts examples: the model that fits them adds its own kernel.
    assert np.abs(z_of(swept["x"], law(0.5, 4) + 0.25)).max() < 4


@pytest.mark.parametrize("models", [2, 3])
def test_ecosystem_by_coalescence(models):
    plan = cj.make_plan(cj.generative.ecosystem(models), 5, samples=6)
    swept = run(cj.make_recursion(families.categorical(5, exponent=0.0), plan), {})
    law = laws.ecosystem_heterozygosity(0.8, models, 6, 5)
    assert np.abs(z_of(swept["variance"].mean("model"), law.within)).max() < 4
    p = swept["mean"]
    both = ((p.sum("model") ** 2).sum("dim") - (p**2).sum(["dim", "model"])) / (models * (models - 1))
    assert np.abs(z_of(1 - both, law.across)).max() < 4


def test_the_expected_total_is_conserved():
    # With an unbiased fit of resampled examples, variance within plus squared drift stays where it began.
    swept, _ = moments("categorical", "examples")
    total = swept["variance"] + swept["mean_error"]
    assert np.abs(z_of(total, 1.0)).max() < 4
