"""The law of moments, asked with the records that run: right for families that declare it, else refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative import families, selections
from tests.test_families import exponential

PLAN = cj.make_plan(cj.REGIMES["replace"], 10, samples=20)
CASES = {
    "kde(h=.3)": (families.kde(bandwidth=0.3), {}, 1.32101),
    "unbiased": (families.gaussian(unbiased=True), {}, 1.0),
    "biased": (families.gaussian(), {}, 0.95**10),
    "bias": (families.gaussian(2), {"bias": 0.9, "temperature": 1.1}, 0.95**10 * 0.99**9),
    "scott": (families.kde(), {}, (0.95 + 0.05**0.4) ** 10),
    "silverman": (families.kde(2, bandwidth="silverman", kernel="top_hat"), {}, (0.95 + 0.05 ** (1 / 3)) ** 10),
    "ecdf": (families.ecdf(), {}, 0.95**10),
    "categorical": (families.categorical(5), {"temperature": 1.0}, 0.95**10),
    "histogram": (families.histogram(-5.0, 5.0, 10), {}, None),
    "mixture": (families.mixture(2, 1, floor=0.1), {}, None),
}


def after(family, options, plan=PLAN):
    """Return the predicted variance of the last generation, and the measured one of many lineages with its error."""
    law = cj.predict_moments(plan, family, decoding=options)["variance"].isel(generation=-1).item()
    process = cj.make_recursion(family, plan, decoding=list(options))
    axes = {name: [value] for name, value in options.items()}
    swept = cj.sweep(process, {**axes, "seed": range(1500)}, vmap_members=500, progress=False)["variance"]
    values = swept.isel(generation=-1).to_numpy().astype(float).ravel()
    truth = family.matching.truth_variance or float(family.moments(family.truth).variance)
    return law, values.mean() / truth, values.std(ddof=1) / truth / len(values) ** 0.5


@pytest.mark.parametrize("name", CASES)
def test_the_law_of_a_family_in_closed_form(name):
    family, options, expected = CASES[name]
    law = cj.predict_moments(PLAN, family, decoding=options)
    if name == "histogram":
        # A bin's own twelfth is no part of what is lost: it is there in every generation.
        total = float(family.moments(family.truth).variance)
        expected = 0.95**10 * (1 - 1 / 12 / total) + 1 / 12 / total
    if name == "mixture":
        # One twentieth is lost and the floor of .1 added, of a total of 5: centres at -2 and 2.
        expected = 0.95**10 + 0.02 * (1 - 0.95**10) / 0.05
    assert law["variance"].isel(generation=-1).item() == pytest.approx(expected, rel=1e-5)
    assert law["variance"].dims == ("regime", "samples", "ratio", "generation")


@pytest.mark.parametrize(
    "name", ["kde(h=.3)", "unbiased", *(pytest.param(one, marks=pytest.mark.slow) for one in list(CASES)[2:])]
)
def test_the_law_is_that_of_what_runs(name):
    """Once the law of a Gaussian MLE, .599, was given for kde(h=.3), which measures 1.33, and an unbiased fit, 1.04."""
    law, mean, error = after(*CASES[name][:2])
    assert abs(mean - law) < 4 * error


def test_the_variance_of_any_truth_is_the_unit():
    family = families.kde(bandwidth=0.3)
    wide = families.gaussian().truth._replace(covariance=jnp.array([[9.0]]))
    narrow = cj.predict_moments(PLAN, families.gaussian())
    np.testing.assert_allclose(cj.predict_moments(PLAN, families.gaussian(), wide)["variance"], narrow["variance"])
    points = family.init(jax.random.key(0), jnp.array([[-3.0], [3.0]]), jnp.ones(2))._replace(
        bandwidth=jnp.array([0.0])
    )
    law = cj.predict_moments(PLAN, family, points)["variance"].isel(generation=-1).item()
    # A variance of 9: the kernel's own is a ninth of what it is for the standard normal.
    assert law == pytest.approx(0.95**10 + 0.01 * (1 - 0.95**10) / 0.05, rel=1e-6)


UNEVEN = cj.generative.Regime(
    "uneven",
    cj.REGIMES["accumulate"].counts,
    draws=lambda generation, samples, ratio: samples,
    weights=lambda generation, source, samples, ratio: 1.0 + source,
)
GAUSSIAN = families.gaussian()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((PLAN, exponential()), {}, "family 'exponential' declares no `matching`, .* there is no law of moments$"),
        ((PLAN, families.regression()), {}, "family 'regression' declares no .* see regression_accumulate, .*_replace"),
        ((PLAN, families.ngram()), {}, "family 'ngram' declares no `matching`"),
        (
            (PLAN, families.token_edited(families.categorical(5), threshold=0.5)),
            {},
            r"family 'token_edited\(categorical\)' declares no .*; see token_edited in",
        ),
        (
            (PLAN, GAUSSIAN),
            {"curate": selections.curated(lambda x: x[:, 0])},
            r"curate is selection 'curated\(2\)', .* has other moments .*; see curated, .* in cj.generative.laws",
        ),
        (
            (PLAN, GAUSSIAN),
            {"reweigh": selections.importance_resampled(selections.calibrated_detector(lambda x: x[:, 0]))},
            "reweigh is selection 'importance_resampled.*; see importance_resampled in",
        ),
        (
            (PLAN, GAUSSIAN),
            {"curate": selections.alternatives({"none": None, "best": selections.best_of(lambda x: x[:, 0], 2)})},
            "curate is selection 'selection'",
        ),
        ((PLAN, GAUSSIAN), {"initial": GAUSSIAN.truth}, "initial is given: .* not from a biased start"),
        ((PLAN, GAUSSIAN, cj.resample(np.zeros((20, 1)))), {}, "truth draws from given examples without replacement"),
        ((PLAN, GAUSSIAN), {"decoding": {"top_p": 0.9}}, "family 'gaussian' has no decoding 'top_p'; it has bias, "),
        ((PLAN, GAUSSIAN), {"decoding": {"bias": -1.0}}, r"decoding 'bias' is -1.0; it must lie in \[0, inf\]"),
        (
            (PLAN, GAUSSIAN),
            {"decoding": {"bias": 0.0}},
            "decoding 'bias' is 0.0, at which what is emitted has 0 times the variance",
        ),
        (
            (PLAN, families.categorical(5)),
            {"decoding": {"temperature": 0.9}},
            "decoding 'temperature' of family 'categorical' is 0.9, .* at 1 alone, where it changes nothing",
        ),
        (
            (PLAN, families.mixture()),
            {"decoding": {"bias": 0.9}},
            "decoding 'bias' of family 'mixture' is 0.9, which does more than scale the variance",
        ),
        (
            (PLAN, families.kde(bandwidth=0.3), lambda key, n: jnp.zeros((n, 1))),
            {},
            "total variance isn't known, and family 'kde' adds 0.09 to it: give the truth as parameters",
        ),
        (
            (PLAN, families.kde(bandwidth=0.3)._replace(truth=lambda key, n: 3 * jax.random.normal(key, (n, 1)))),
            {},
            "total variance isn't known, and family 'kde' adds 0.09 to it: give the truth as parameters",
        ),
        (
            (PLAN, families.histogram(), lambda key, n: jnp.zeros((n, 1))),
            {},
            "total variance isn't known, and family 'histogram' adds",
        ),
        (
            (PLAN, families.mixture(1, 1), families.mixture(1, 1).truth._replace(covariances=jnp.zeros((1, 1, 1)))),
            {},
            "truth has the total variance 0; the law is in units of it",
        ),
        (
            (cj.make_plan(cj.REGIMES["replace"], 3, 1), families.gaussian(unbiased=True)),
            {},
            "family 'gaussian_unbiased' needs two examples or more, generation 1 has one",
        ),
        ((cj.make_plan(cj.generative.ecosystem(2), 2, 5), GAUSSIAN), {}, "for one model, this plan has 2"),
        ((cj.make_plan(UNEVEN, 3, 5), GAUSSIAN), {}, "draws with unequal weights .* no exact law"),
    ],
)
def test_what_has_no_law_of_moments_is_refused_by_name(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        cj.predict_moments(*arguments, **options)


def test_equal_weights_of_any_size_are_none():
    even = UNEVEN._replace(weights=lambda generation, source, samples, ratio: 2.0)
    known = cj.predict_moments(cj.make_plan(cj.REGIMES["accumulate_subsample"], 3, 5), GAUSSIAN)
    np.testing.assert_allclose(cj.predict_moments(cj.make_plan(even, 3, 5), GAUSSIAN)["variance"], known["variance"])


@pytest.mark.parametrize("family", [families.gaussian(unbiased=True), families.kde()])
def test_fits_to_draws_and_to_unequal_weights_know_how_many_they_have(family):
    plan = cj.make_plan([cj.REGIMES["accumulate_subsample"], cj.REGIMES["golden_ratio"]], 4, 8, 0.25)
    law = cj.predict_moments(plan, family).squeeze()
    swept = cj.sweep(cj.make_recursion(family, plan), {"seed": range(1500)}, vmap_members=500, progress=False)
    values = swept["variance"].squeeze()
    z = (values.mean("seed") - law["variance"]) / (values.std("seed", ddof=1) / 1500**0.5)
    assert abs(z).max() < 4
