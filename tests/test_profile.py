"""The collapse profile, on synthetic populations whose trends are known."""

import itertools

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from collapse_jax.metrics.profile import DEFINITIONS, VARIABLES, collapse_profile
from collapse_jax.metrics.rank_intervals import rank_sum, signed_rank
from collapse_jax.plotting.profile import collapse_profile as plot

T, SEEDS = 24, 12
TIME = np.arange(1, T + 1)
COLLAPSE_ONLY = [name for name in DEFINITIONS if name != "scaling_law_changes"]


def labelled(seeds=SEEDS, **variables):
    """Return arrays (seed, generation) as a dataset."""
    return xr.Dataset(
        {name: (("seed", "generation"), values) for name, values in variables.items()},
        {"seed": np.arange(seeds), "generation": np.arange(1, next(iter(variables.values())).shape[1] + 1)},
    )


def population(rng, strength, seeds=SEEDS, samples=None):
    """Return lineages of all variables, which collapse at a rate of `strength` a generation."""
    grown = np.broadcast_to(strength * (TIME - 1.0), (seeds, T))
    dataset = labelled(
        seeds,
        risk=1 + grown + 0.1 * rng.normal(size=(seeds, T)),
        variance=np.exp(-grown + 0.1 * rng.normal(size=(seeds, T))),
        modes=np.round(5 - 2 * grown + 0.4 * rng.normal(size=(seeds, T))),
        tail=0.9 * np.exp(-grown) + 0.02 * rng.normal(size=(seeds, T)),
        off_support=0.1 + 0.1 * grown + 0.02 * rng.normal(size=(seeds, T)),
    )
    if samples is not None:
        # Risk falls like samples^-(1 - grown/4): more slowly with each generation.
        size = xr.DataArray(samples, {"samples": samples}, "samples")
        exponent = 1 - (dataset["generation"] - 1) * strength / 4
        dataset["risk"] = dataset["risk"] * size**-exponent
    return dataset


def test_a_collapsing_population_is_told_from_a_stable_one():
    rng = np.random.default_rng(0)
    samples = np.array([30.0, 100.0, 300.0])
    collapsing, stable, control = (population(rng, s, samples=samples) for s in (0.1, 0.0, 0.0))
    last = collapse_profile(collapsing, control, level=0.999).isel(generation=-1)
    assert (last["holds"] == 1).all()
    assert (np.sign(last["rate"]).drop_vars("sign")[:2] == 1).all()
    last = collapse_profile(stable, control, level=0.999).isel(generation=-1)
    assert (last["holds"] <= 0).all()


def test_values_are_the_known_trends():
    grown = np.broadcast_to(0.1 * (TIME - 1.0), (4, T))
    flat = np.ones((4, T))
    dataset = labelled(4, risk=2 + grown, variance=np.exp(-grown), tail=0.9 - 0.03 * grown, modes=5 - grown)
    control = labelled(4, risk=2 * flat, variance=flat, tail=0.9 * flat, modes=5 * flat)
    profile = collapse_profile(dataset, control)

    def row(name, key="value"):
        return profile[key].sel(definition=name).to_numpy()

    np.testing.assert_allclose(row("risk_rises_much"), grown[0] / 2, atol=1e-12)
    np.testing.assert_allclose(row("risk_rises"), grown[0], atol=1e-12)
    np.testing.assert_allclose(row("variance_collapses"), -np.tanh(grown[0] / 2), atol=1e-12)
    np.testing.assert_allclose(row("modes_merge"), -grown[0], atol=1e-12)
    np.testing.assert_allclose(row("risk_rises", "rate")[1:], 0.1, atol=1e-12)
    np.testing.assert_allclose(row("modes_merge", "rate")[1:], -0.1, atol=1e-12)
    assert np.isnan(profile["rate"].isel(generation=0)).all()
    # Without any spread, the verdict follows the values: from generation 2 on there is a difference,
    assert row("risk_rises", "holds").tolist() == [0] + [1] * (T - 1)
    # and the risk of 2 doubles at generation 21, where it is on the threshold up to rounding.
    assert row("risk_rises_much", "holds")[[18, 19, 21, 22]].tolist() == [-1, -1, 1, 1]


def test_the_scaling_law_is_a_slope_against_samples():
    rng = np.random.default_rng(1)
    samples = np.array([10.0, 40.0, 90.0, 1000.0])
    dataset, control = (population(rng, s, samples=samples) for s in (0.03, 0.0))
    for given in (dataset, control):
        given["risk"] = given["risk"] * np.exp(0.1 * rng.normal(size=given["risk"].shape))
    profile = collapse_profile(dataset, control).sel(definition="scaling_law_changes")

    def slope(given, generation):
        logs = np.log(given["risk"].sel(generation=generation)).transpose("seed", "samples").to_numpy()
        return np.array([scipy.stats.linregress(np.log(samples), log).slope for log in logs])

    for generation in (1, 17):
        averages = walsh(slope(dataset, generation) - slope(control, generation))
        got = profile.sel(generation=generation, samples=40.0)
        # Of twelve differences, the critical value of signed ranks at 2.5 % a side is 13 in the usual tables.
        want = [np.median(averages), averages[13], averages[-14]]
        np.testing.assert_allclose([got["value"], got["lower"], got["upper"]], want, rtol=1e-9)


def walsh(differences):
    """Return all averages of two differences, or of one with itself, in ascending order."""
    pairs = itertools.combinations_with_replacement(differences, 2)
    return np.sort([(first + second) / 2 for first, second in pairs])


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_are_what_wilcoxons_tests_dont_reject(level):
    rng = np.random.default_rng(2)
    dataset, control = labelled(7, risk=rng.normal(size=(7, 3))), labelled(7, risk=rng.normal(size=(7, 3)) * 2)
    unpaired = labelled(9, risk=rng.normal(size=(9, 3)) * 2)
    ours = dataset["risk"].to_numpy()

    def signed_ranks(shift, side):
        return scipy.stats.wilcoxon(ours - control["risk"].to_numpy() - shift, alternative=side, mode="exact").pvalue

    def rank_sums(shift, side):
        return scipy.stats.mannwhitneyu(
            ours, unpaired["risk"].to_numpy() + shift, alternative=side, method="exact"
        ).pvalue

    # Lineages are paired by the label of their seed, wherever they stand.
    for given, p_values in ((control.isel(seed=[3, 5, 0, 1, 4, 2, 6]), signed_ranks), (unpaired, rank_sums)):
        row = collapse_profile(dataset, given, level=level).sel(definition="risk_rises")
        for bound, side, inwards in (("lower", "greater", 1e-6), ("upper", "less", -1e-6)):
            at = row[bound].to_numpy()
            assert (p_values(at - inwards, side) <= (1 - level) / 2).all()
            assert (p_values(at + inwards, side) > (1 - level) / 2).all()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("definition", COLLAPSE_ONLY)
def test_intervals_cover_as_often_as_they_say(definition, paired):
    # Many independent repetitions of one experiment, as another dimension.
    rng, repetitions, generations, seeds = np.random.default_rng(3), 4000, 8, 8
    dims, shape = ("repetition", "seed", "generation"), (repetitions, seeds, generations)
    coords = {"seed": np.arange(seeds), "generation": np.arange(1, generations + 1)}
    shared = rng.normal(size=shape)

    def lineages(grown, offset):
        # Half of the noise is shared by equal seeds. The variance does not change.
        noise = 0.05 * ((shared if paired else rng.normal(size=shape)) + rng.normal(size=shape))
        values = {name: (dims, 1 + grown * (name != "variance") + noise) for name in VARIABLES}
        return xr.Dataset(values, coords | {"seed": np.arange(seeds) + offset})

    grown = np.arange(generations) / 10
    profile = collapse_profile(lineages(grown, 0), lineages(0.0, 0 if paired else 100), level=0.9)
    assert profile.attrs["intervals"].startswith("paired" if paired else "unpaired")
    row = profile.sel(definition=definition).isel(generation=-1)
    known = {"variance_collapses": 0.0, "risk_diverges": 0.1 * (1 - kept(generations))}
    truth = known.get(definition, grown[-1])
    inside = float(((row["lower"] <= truth) & (truth <= row["upper"])).mean())
    # Ranks are discrete: the usual tables have 5 and 15 for at most 5 % a side, whose exact chances these are.
    exact = 1 - 2 * (10 / 2**8 if paired else 0.0415)
    z = (inside - exact) / np.sqrt(exact * (1 - exact) / repetitions)
    # The smaller of two conditions has a lower bound that is the smaller of two.
    assert z > -4 if definition == "risk_diverges" else abs(z) < 4


def kept(t):
    """Return how much of its slope over t/4 ... t/2 a curve 1/√ keeps over t/2 ... t, by regression."""
    late, early = (np.arange(int(np.ceil(t / a)), int(np.ceil(t / b)) + 1) for a, b in ((2, 1), (4, 2)))
    return scipy.stats.linregress(late, late**-0.5).slope / scipy.stats.linregress(early, early**-0.5).slope


CURVES = {
    "linear": (TIME, True),
    "quadratic": (TIME**2, True),
    "square root": (np.sqrt(TIME), True),
    "logarithm": (np.log(TIME), True),
    "partial sums of 1/i^2": (np.cumsum(1.0 / TIME**2), False),
    "partial sums of 2^-i": (1 - 0.5**TIME, False),
    "constant rate": (1 - 0.8**TIME, False),
    "fall": (-np.log(TIME), False),
    "fall to a bound": (0.8**TIME, False),
}


@pytest.mark.parametrize("name", CURVES)
def test_divergence_is_told_from_saturation(name):
    curve, diverges = CURVES[name]
    rng = np.random.default_rng(4)
    noise = 1e-3 * np.abs(curve).max() * rng.normal(size=(2, SEEDS, T))
    profile = collapse_profile(labelled(risk=5 + curve + noise[0]), labelled(risk=5 + noise[1]))
    assert float(profile["holds"].sel(definition="risk_diverges")[-1]) == (1 if diverges else -1)


def test_divergence_on_a_thinned_record_of_generations():
    rng = np.random.default_rng(5)
    curves = {
        name: labelled(risk=5 + curve + 1e-3 * rng.normal(size=(SEEDS, T))) for name, (curve, _) in CURVES.items()
    }
    control = labelled(risk=5 + 1e-3 * rng.normal(size=(SEEDS, T)))
    for name in ("linear", "partial sums of 1/i^2"):
        thin = collapse_profile(
            curves[name][{"generation": slice(2, None, 3)}], control[{"generation": slice(2, None, 3)}]
        )
        assert float(thin["holds"].sel(definition="risk_diverges")[-1]) == (1 if CURVES[name][1] else -1)


def test_what_was_not_measured_is_nan_and_named():
    rng = np.random.default_rng(6)
    dataset, control = population(rng, 0.1), population(rng, 0.0).drop_vars(["tail"])
    profile = collapse_profile(dataset.drop_vars("modes"), control)
    assert profile.attrs["not_measured"] == "scaling_law_changes, modes_merge, tail_disappears"
    missing = profile.sel(definition=profile.attrs["not_measured"].split(", "))
    assert all(np.isnan(missing[name]).all() for name in ("value", "lower", "upper", "rate", "holds"))
    rest = profile.drop_sel(definition=missing["definition"]).isel(generation=slice(3, None))
    assert all(np.isfinite(rest[name]).all() for name in ("value", "lower", "upper", "rate", "holds"))


def test_a_lineage_that_is_not_a_number_spoils_its_generations_alone():
    rng = np.random.default_rng(7)
    dataset, control = population(rng, 0.1), population(rng, 0.0)
    dataset["risk"][3, 10:] = np.nan
    dataset["variance"][3, 10:] = np.nan
    profile = collapse_profile(dataset, control)
    spoiled = profile.sel(definition=["risk_rises_much", "risk_rises", "risk_diverges", "variance_collapses"])
    assert np.isnan(spoiled["holds"].isel(generation=slice(10, None))).all()
    assert np.isnan(spoiled["value"].isel(generation=slice(10, None))).all()
    assert np.isfinite(spoiled["holds"].isel(generation=slice(2, 10))).all()


def test_infinite_risks_and_lost_variances_are_results():
    rng = np.random.default_rng(8)
    dataset, control = population(rng, 0.0), population(rng, 0.0)
    dataset["risk"][:, -1] = np.inf
    dataset["variance"][:, -1] = 0.0
    last = collapse_profile(dataset, control).isel(generation=-1)
    for name in ("risk_rises", "risk_rises_much"):
        row = last.sel(definition=name)
        assert [float(row[key]) for key in ("value", "lower", "upper", "holds")] == [np.inf, np.inf, np.inf, 1]
    row = last.sel(definition="variance_collapses")
    assert [float(row[key]) for key in ("value", "lower", "upper", "holds")] == [-1, -1, -1, 1]


def test_one_infinite_risk_among_many_decides_nothing():
    rng = np.random.default_rng(8)
    dataset, control = population(rng, 0.0), population(rng, 0.0)
    dataset["risk"][0, -1] = np.inf
    for given in (control, control.assign_coords(seed=np.arange(SEEDS) + 100)):
        last = collapse_profile(dataset, given).isel(generation=-1).sel(definition=["risk_rises", "risk_rises_much"])
        assert np.isfinite(last["value"]).all()
        assert (last["holds"] <= 0).all()
        # Where the control is as infinite, there is no difference.
        both = [one.assign(risk=one["risk"] + np.inf) for one in (dataset, given)]
        last = collapse_profile(*both).isel(generation=-1).sel(definition="risk_rises")
        assert [float(last[key]) for key in ("value", "lower", "upper", "holds")] == [0, 0, 0, 0]


RISKS = np.array([92.7, 318, 303.4, 9248, 2338.3, 144.8])
"""Risks of six lineages of a mixture, whose control has 3.94."""


@pytest.mark.parametrize("first_seed", [0, 100])
def test_a_rise_that_every_lineage_shows_is_found_however_unequal(first_seed):
    noise = 1 + 0.01 * np.random.default_rng(12).normal(size=(6, 1))
    control = labelled(6, risk=3.94 * noise).assign_coords(seed=np.arange(6) + first_seed)
    for risk in (RISKS, np.minimum(RISKS, 300)):
        last = collapse_profile(labelled(6, risk=risk[:, None]), control).isel(generation=-1)
        assert last["holds"].sel(definition=["risk_rises", "risk_rises_much"]).values.tolist() == [1, 1]


def rising(strength, generations=16):
    """Return six lineages whose risk rises by strength a generation, each a little differently, from 3.94."""
    rise = strength * np.linspace(1, 1.5, 6)[:, None] * np.arange(1, generations + 1)
    return labelled(6, risk=3.94 + rise)


@pytest.mark.parametrize("lineages", [1, 6])
@pytest.mark.parametrize("after", [0, 2, 4, 8])
@pytest.mark.parametrize("first_seed", [0, 100])
def test_a_risk_that_becomes_infinite_diverges(first_seed, after, lineages):
    dataset, control = rising(0.3), rising(0.0).assign_coords(seed=np.arange(6) + first_seed)
    dataset["risk"][:lineages, after:] = np.inf
    row = collapse_profile(dataset, control).sel(definition="risk_diverges")
    assert np.isnan(row["holds"][:2]).all()
    assert (row["holds"][2:] == 1).all()
    # It is no more than a control that is as infinite, and less than one that alone is.
    both = collapse_profile(dataset, dataset.assign_coords(seed=control["seed"])).sel(definition="risk_diverges")
    assert (both["value"][2:] == 0).all()
    assert (both["holds"][2:] == 0).all()
    less = collapse_profile(control, dataset).sel(definition="risk_diverges")[
        {"generation": slice(max(after, 2), None)}
    ]
    assert (less["value"] < 0).all()
    assert (less["lower"] < 0).all()


def test_a_risk_that_is_finite_again_has_not_diverged():
    dataset = rising(0.3)
    dataset["risk"][:, 7] = np.inf
    profile = collapse_profile(dataset, rising(0.0))
    assert profile["rate"].sel(definition="risk_rises")[6:9].values.tolist() == [pytest.approx(0.375), np.inf, -np.inf]
    row = profile.sel(definition="risk_diverges")
    assert row["value"].sel(generation=[8, 9, 16]).values.tolist() == [np.inf, -np.inf, -np.inf]
    dataset["risk"][0, 9] = np.nan
    dataset["risk"][0, 15] = np.inf
    assert np.isnan(collapse_profile(dataset, rising(0.0))["holds"].sel(definition="risk_diverges", generation=16))


@pytest.mark.parametrize("lineages", [1, 6])
@pytest.mark.parametrize(
    ("infinite", "holds"), [([10, 40, 90], {1: 1, 6: 1}), ([90], {1: 1, 6: 1}), ([10], {1: 0, 6: -1})]
)
def test_infinite_risks_have_an_infinite_slope_against_samples(infinite, holds, lineages):
    # The sizes are not in order: it is the largest that decides.
    size = xr.DataArray([90.0, 10.0, 40.0], {"samples": [90.0, 10.0, 40.0]}, "samples")
    exponents = xr.DataArray(0.01 * np.arange(6), {"seed": np.arange(6)}, "seed")
    control = xr.Dataset({"risk": (size ** -(1 + exponents)).expand_dims(generation=[1])})
    dataset = xr.Dataset({"risk": (size ** -(0.5 + exponents)).expand_dims(generation=[1])})
    assert (collapse_profile(dataset, control)["holds"].sel(definition="scaling_law_changes") == 1).all()
    infinite = size.isin(infinite) & (exponents["seed"] < lineages)
    row = collapse_profile(dataset.where(~infinite, np.inf), control).sel(definition="scaling_law_changes")
    assert (row["holds"] == holds[lineages]).all()
    if lineages == 6:
        assert (row["value"] == (np.inf if 1 in holds.values() else -np.inf)).all()


def test_six_pairs_are_judged_as_pairs_in_every_definition():
    # Seeds share their trend, which hides what each lineage has above its own control from groups.
    shared = 100 + np.array([-7.0, 3, 11, -2, 6, -10])[:, None] * TIME
    row = collapse_profile(labelled(6, risk=shared + 0.5 * TIME), labelled(6, risk=shared))
    assert row.attrs["intervals"] == "paired by seed (signed ranks)"
    diverges = row.sel(definition="risk_diverges").isel(generation=slice(2, None))
    assert (diverges["holds"] == 1).all()
    np.testing.assert_allclose(diverges["lower"][-1], 0.5 * (1 - kept(T)), rtol=1e-6)
    # Two conditions share the chance of an upper bound: 1/64 for each of them is too much for 1/40.
    assert (diverges["upper"] == np.inf).all()
    assert np.isfinite(row["upper"].sel(definition="risk_rises")).all()


def test_fewer_pairs_than_decide_are_told_to_be_groups():
    shared = 100 + np.array([-7.0, 3, 11, -2, 6])[:, None] * TIME
    row = collapse_profile(labelled(5, risk=shared + 0.5 * TIME), labelled(5, risk=shared))
    assert row.attrs["intervals"] == "unpaired (rank sums), as there are too few pairs"
    assert (row["holds"].sel(definition=["risk_rises", "risk_diverges"])[:, 2:] == 0).all()


def alike(rng, seeds, repetitions, shape):
    """Return lineages without trend, all variables of one distribution, many times over."""
    dims = ("repetition", "seed", "generation", "samples")
    values = {name: (dims, shape(rng, (repetitions, len(seeds), 4, 2))) for name in VARIABLES}
    return xr.Dataset(values, {"seed": seeds, "generation": [1, 2, 3, 4], "samples": [10.0, 100.0]})


SHAPES = {
    "normal": lambda rng, shape: 9 + rng.normal(size=shape),
    "skewed, without a mean": lambda rng, shape: np.exp(np.abs(rng.standard_cauchy(shape)).clip(0, 200)),
    "few values": lambda rng, shape: rng.integers(1, 4, shape).astype(float),
}
STRONGER = {
    "risk": lambda dataset, by: dataset["risk"] + by * dataset["generation"] * np.log(dataset["samples"]),
    "variance": lambda dataset, by: dataset["variance"] / (1 + by),
    "modes": lambda dataset, by: dataset["modes"] - by,
    "tail": lambda dataset, by: dataset["tail"] - by,
    "off_support": lambda dataset, by: dataset["off_support"] + by,
}


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("lineages", [4, 6, 10])
@pytest.mark.parametrize("name", SHAPES)
def test_without_collapse_each_side_is_found_once_in_forty_at_most(name, lineages, paired):
    rng, repetitions = np.random.default_rng(13), 6000
    seeds = np.arange(lineages)
    dataset, control = (alike(rng, seeds + k, repetitions, SHAPES[name]) for k in (0, 0 if paired else 100))
    last = collapse_profile(dataset, control).isel(generation=-1, samples=0)
    # A risk that must double is not there by half.
    null = last.drop_sel(definition="risk_rises_much")
    highest = 0.025 + 4 * np.sqrt(0.025 * 0.975 / repetitions)
    for side in (1, -1):
        assert ((null["holds"] == side).mean("repetition") <= highest).all()
    # No verdict is out of reach: a collapse that is larger than any noise is found.
    dataset, control = dataset.isel(repetition=slice(20)), control.isel(repetition=slice(20))
    for name, stronger in STRONGER.items():
        dataset[name] = stronger(dataset, 1e300 if name == "variance" else 1e100)
    last = collapse_profile(dataset, control).isel(generation=-1, samples=0)
    assert (last["holds"].drop_sel(definition="scaling_law_changes") == 1).all()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("lineages", [4, 6, 10])
def test_a_stronger_collapse_of_a_lineage_never_makes_a_verdict_less_sure(lineages, paired):
    rng = np.random.default_rng(14)

    def skewed(rng, shape):
        return np.exp(np.abs(rng.standard_cauchy(shape)).clip(0, 10))

    repetitions, seeds = 500, np.arange(lineages)
    dataset, control = (alike(rng, seeds + k, repetitions, skewed) for k in (0, 0 if paired else 100))
    onset = xr.DataArray(np.arange(repetitions) % 4, dims="repetition")
    # More risk is, for the scaling law, an exponent that is nearer to none.
    for ways in (STRONGER, {"risk": lambda dataset, by: dataset["risk"] * dataset["samples"] ** (by / 10)}):
        # Some have collapsed by about the noise, and are undecided; then one lineage of each collapses further.
        for strength in (0.0, 1.0, 5.0):
            before = dataset.assign({name: stronger(dataset, strength) for name, stronger in ways.items()})
            more = xr.DataArray(skewed(rng, repetitions).clip(0, 500), dims="repetition")
            # A fifth of them without bound, from the first generation on or from a later one.
            more = more.where((np.arange(repetitions) >= 100) | (dataset["generation"] <= onset), np.inf)
            more = more.where(dataset["seed"] == 1, 0.0)
            after = before.assign({name: stronger(before, more) for name, stronger in ways.items()})
            only = ["scaling_law_changes"] if len(ways) == 1 else COLLAPSE_ONLY
            was, now = (collapse_profile(one, control).sel(definition=only) for one in (before, after))
            assert was["holds"].notnull().isel(generation=-1).all()
            assert (now["holds"] >= was["holds"]).where(was["holds"].notnull(), True).all()
            assert len(np.unique(was["holds"].isel(generation=-1))) > 1
            for bound in ("lower", "upper"):
                rises = was["sign"] * (now[bound] - was[bound])
                assert (rises.fillna(0.0) >= -1e-9 * abs(was[bound].where(np.isfinite(was[bound]), 1.0)).clip(1)).all()


@pytest.mark.parametrize(("lineages", "level"), [(3, 0.95), (2, 0.9)])
def test_too_few_lineages_have_no_verdict_and_say_so(lineages, level):
    dataset = labelled(lineages, risk=np.full((lineages, 2), 9.0), tail=np.zeros((lineages, 2)))
    control = labelled(lineages, risk=np.ones((lineages, 2)), tail=np.ones((lineages, 2)))
    with pytest.warns(UserWarning, match=f"{lineages} lineages beside {lineages} of the control are too few"):
        profile = collapse_profile(dataset, control, level=level)
    assert (profile["holds"].sel(definition=["risk_rises", "tail_disappears"]) == 0).all()
    assert np.isinf(profile["upper"].sel(definition="risk_rises")).all()


@pytest.mark.parametrize("lineages", [12, 30, 50])
def test_ranks_of_many_lineages_are_nearly_those_of_few(lineages, monkeypatch):
    exact = signed_rank(lineages, 0.025), rank_sum(lineages, lineages + 8, 0.025)
    for one in (signed_rank, rank_sum):
        one.cache_clear()
    monkeypatch.setattr("collapse_jax.metrics.rank_intervals.EXACT", 0)
    normal = signed_rank(lineages, 0.025), rank_sum(lineages, lineages + 8, 0.025)
    for one in (signed_rank, rank_sum):
        one.cache_clear()
    assert all(few - 3 <= many <= few for few, many in zip(exact, normal, strict=True))


def test_risks_that_are_not_positive_have_no_ratio():
    rng = np.random.default_rng(9)
    dataset, control = population(rng, 0.1) - 9.0, population(rng, 0.0) - 9.0
    last = collapse_profile(dataset, control).isel(generation=-1)
    assert np.isnan(last["holds"].sel(definition="risk_rises_much"))
    assert float(last["holds"].sel(definition="risk_rises")) == 1


def test_the_order_of_dimensions_does_not_matter_and_the_control_is_broadcast():
    rng = np.random.default_rng(10)
    samples = np.array([10.0, 100.0])
    members = [population(rng, s, samples=samples) for s in (0.0, 0.05, 0.1)]
    dataset = xr.concat(members, xr.Variable("ratio", [1.0, 0.5, 0.0]))
    control = population(rng, 0.0, samples=samples)
    want = collapse_profile(dataset, control)
    assert want["value"].dims[:2] == ("definition", "generation")
    assert dict(want.sizes) == {"definition": 8, "generation": T, "ratio": 3, "samples": 2}
    for order in itertools.islice(itertools.permutations(["ratio", "seed", "generation", "samples"]), 0, None, 5):
        turned = collapse_profile(dataset.transpose(*order), control.transpose(*order, missing_dims="ignore"))
        xr.testing.assert_allclose(turned.transpose(*want.dims), want, rtol=1e-9)
    for position, member in enumerate(members):
        alone = collapse_profile(member, control.assign_coords(ratio=1.0))
        xr.testing.assert_allclose(alone, want.isel(ratio=position, drop=True), rtol=1e-9)


def valid():
    return population(np.random.default_rng(0), 0.0)


@pytest.mark.parametrize(
    ("dataset", "control", "message"),
    [
        (valid().drop_vars(VARIABLES), valid(), "dataset holds none of the variables risk, variance, modes"),
        (valid(), valid().isel(seed=0), "control needs dimension and coordinate 'seed'"),
        (valid().drop_vars("generation"), valid(), "dataset needs dimension and coordinate 'generation'"),
        (valid(), valid().isel(seed=[0]), r"control needs at least two different seeds for intervals, not \[0\]"),
        (valid().isel(seed=[1, 1]), valid(), r"dataset needs at least two different seeds for intervals, not \[1, 1\]"),
        (valid(), valid().isel(generation=slice(3)), r"generation of control, \[1, 2, 3\], must be that of dataset"),
        (valid().isel(generation=[1, 0]), valid(), r"dataset needs ascending generations from 1 on, not \[2, 1\]"),
        (valid(), valid().expand_dims(ratio=[1.0]), "control has a dimension 'ratio', which dataset lacks"),
        (
            valid().expand_dims(ratio=[0.5]),
            valid().expand_dims(ratio=[1.0]),
            r"ratio of control, \[1.0\], must be that",
        ),
        (valid().expand_dims(samples=[0, 9]), valid(), r"dataset needs positive numbers of samples, not \[0, 9\]"),
    ],
)
def test_what_cant_be_compared_is_refused(dataset, control, message):
    with pytest.raises(ValueError, match=message):
        collapse_profile(dataset, control)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ValueError, match=f"level={level} must be between 0 and 1"):
        collapse_profile(valid(), valid(), level=level)


def test_the_figure_has_a_panel_a_definition_and_a_line_a_member():
    rng = np.random.default_rng(11)
    dataset = xr.concat([population(rng, s) for s in (0.1, 0.0)], xr.Variable("ratio", [0.0, 1.0]))
    profile = collapse_profile(dataset.drop_vars("modes"), population(rng, 0.0))
    panels = {ax.get_title(): ax for ax in plot(profile).axes}
    assert len(panels) == 8
    risk = panels["risk rises"].get_lines()
    assert [line.get_label() for line in risk] == ["control", "ratio 0.0", "ratio 1.0"]
    np.testing.assert_array_equal(risk[1].get_ydata(), profile["value"].sel(definition="risk_rises", ratio=0.0))
    assert panels["modes merge"].texts[0].get_text() == "not measured"
    assert len(plot(profile.isel(ratio=0)).axes) == 8
