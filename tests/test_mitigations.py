"""Mitigations side by side: the right programs, the laws of each, and what each spends."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import collapse_jax as cj
from collapse_jax.generative import selections
from collapse_jax.plotting import pareto
from tests.test_watching import assert_all_of

TOKENS, SAMPLES, GENERATIONS, SEEDS = 5, 20, 4, 600
FAMILY = cj.families.categorical(TOKENS, exponent=1.0)
TRUTH = np.asarray(FAMILY.truth, np.float64)
FRESH = cj.REGIMES["real_fraction_fresh"]


def measure(key, p):
    return {"diversity": 1.0 - p @ p, "p": p}


def compare(mitigations, seeds=2, **options):
    return cj.compare_mitigations(
        FAMILY,
        mitigations,
        generations=GENERATIONS,
        samples=SAMPLES,
        seeds=range(seeds),
        progress=False,
        measure=measure,
        dims={"p": ("token",)},
        **options,
    )


def reward(tokens):
    return -tokens.astype(float)


DEFENCES = {
    "soft": cj.Mitigation(curate=selections.curated(reward, 2)),
    "replace": cj.Mitigation(),
    "accumulate": cj.Mitigation(cj.REGIMES["accumulate"]),
    "best": cj.Mitigation(curate=selections.best_of(reward, 2)),
    "half fresh": cj.Mitigation(cj.with_share(FRESH, 0.5, "half fresh")),
    "control": cj.Mitigation(cj.with_share(FRESH, 1.0, "control")),
    "detector": cj.Mitigation(
        cj.with_share(FRESH, 0.5, "half, weighed"),
        reweigh=selections.importance_resampled(selections.empirical_detector()),
    ),
    "edited": cj.Mitigation(respond=True, family=cj.families.token_edited(FAMILY, threshold=0.3)),
}


@pytest.fixture(scope="module")
def found():
    return compare(DEFENCES, SEEDS)


def z_of(values, want):
    return float((values.mean("seed") - want) / (values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])))


@pytest.mark.slow
def test_mitigations_share_programs_where_they_emit_alike(found):
    assert list(found["mitigation"].to_numpy()) == list(DEFENCES)
    programs = dict(zip(DEFENCES, found["program"].to_numpy().tolist(), strict=True))
    assert programs["soft"] == programs["best"]
    assert len({programs[name] for name in ("replace", "accumulate", "half fresh", "control", "detector")}) == 1
    assert len(set(programs.values())) == 3


@pytest.mark.slow
def test_segments_of_all_programs_are_handed_out_by_mitigation(tmp_path):
    chosen = {name: DEFENCES[name] for name in ("soft", "replace", "accumulate", "edited")}
    for restored in (False, True):
        seen = []
        found = compare(chosen, directory=tmp_path, on_segment=seen.append)
        assert_all_of(seen, found.drop_vars("program"))
        # A program's segments are counted by themselves, a generation each.
        assert [one.done for one in seen] == [1, 2, 3, 4] * 3
        assert all(one.restored is restored for one in seen)


def test_each_mitigation_follows_its_own_law(found):
    last = found.isel(generation=-1)
    start = 1.0 - TRUTH @ TRUTH
    plain = cj.generative.laws.replace_heterozygosity(start, SAMPLES, GENERATIONS)[-1]
    kept = cj.generative.laws.accumulate_heterozygosity(start, SAMPLES, GENERATIONS)[-1]
    control = start * (1 - 1 / SAMPLES)
    for name, law in (("replace", plain), ("accumulate", kept), ("control", control)):
        assert abs(z_of(last["diversity"].sel(mitigation=name), law)) < 4, name
    # A calibrated detector takes the machine out: on average the model is the truth.
    for token in range(TOKENS):
        assert abs(z_of(last["p"].sel(mitigation="detector", token=token), TRUTH[token])) < 4.5
    assert abs(z_of(last["diversity"].sel(mitigation="soft"), plain)) > 8


def by_best(p):
    # The rewards fall with the token's number: the best of two is the smaller one.
    return np.diff(1.0 - (1.0 - np.minimum(np.cumsum(p), 1.0)) ** 2, prepend=0.0)


MAPS = {
    "soft": lambda p: cj.generative.laws.curated(p / p.sum(), -np.arange(TOKENS, dtype=float), 2),
    "best": by_best,
    "edited": lambda p: cj.generative.laws.token_edited(p / p.sum(), p / p.sum(), 0.3),
}


@pytest.mark.parametrize("name", MAPS)
def test_given_the_first_model_the_second_is_on_average_what_the_map_says(found, name):
    first, second = (found["p"].sel(mitigation=name).isel(generation=i).to_numpy().astype(np.float64) for i in (0, 1))
    gap = second - np.stack([MAPS[name](p) for p in first])
    z = gap.mean(0) / (gap.std(0, ddof=1) / np.sqrt(SEEDS))
    assert np.abs(z).max() < 4, z


def test_only_what_selects_records(found):
    assert np.isnan(found["miscalibration"].sel(mitigation=["replace", "soft", "edited"])).all()
    np.testing.assert_allclose(
        found["miscalibration"].sel(mitigation="detector").isel(generation=slice(1, None)), 0.0, atol=0.6
    )


def test_a_mitigation_alone_is_the_recursion_itself():
    alone = compare({"half fresh": DEFENCES["half fresh"]})
    plan = cj.make_plan(cj.with_share(FRESH, 0.5, "half fresh"), GENERATIONS, SAMPLES)
    process = cj.make_recursion(FAMILY, plan, measure=measure, dims={"p": ("token",)})
    direct = cj.sweep(process, {"seed": range(2)}, progress=False)
    np.testing.assert_array_equal(alone["p"].sel(mitigation="half fresh"), direct["p"])


def test_what_ran_is_told_by_program(found):
    told = json.loads(found.attrs["provenance"])
    assert [one["members"] for one in told] == [2 * SEEDS, 5 * SEEDS, SEEDS]


def test_what_is_spent_meets_its_own_loss():
    ways = ["a", "b", "c"]
    spent = xr.DataArray([1.0, 2.0, 3.0], {"way": ways}, "way")
    loss = xr.DataArray([[9.0, 9.0], [4.0, 6.0], [0.0, np.nan]], {"way": ["c", "b", "a"]}, ("way", "seed"))
    axis = pareto(spent, {"loss": loss}, label="spent").axes[0]
    drawn = {text.get_text(): text.xy for text in axis.texts}
    assert drawn["2"] == (2.0, 5.0)
    assert drawn["3"] == (3.0, 9.0)
    # Of the first a seed is not a number: it is no point of the front.
    assert axis.lines[0].get_xdata().tolist() == [2.0]


def test_a_stopped_comparison_goes_on(tmp_path):
    few = {name: DEFENCES[name] for name in ("replace", "best")}
    first = compare(few, directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    again = compare(few, directory=tmp_path)
    np.testing.assert_array_equal(first["p"], again["p"])


def spent(regime, **options):
    return cj.loop.data_spent(cj.Mitigation(regime, **options), 4, 100)


def test_what_a_mitigation_spends_is_counted():
    assert spent(cj.REGIMES["replace"]) == cj.loop.Spent(100, 100, 300, 300)
    assert spent(cj.with_share(FRESH, 1.0, "control")) == cj.loop.Spent(400, 400, 0, 0)
    assert spent(cj.with_share(FRESH, 0.1, "tenth")) == cj.loop.Spent(130, 130, 270, 270)
    replayed = cj.with_share(cj.REGIMES["real_fraction_replayed"], 0.1, "tenth")
    assert spent(replayed) == cj.loop.Spent(100, 130, 270, 270)
    # Generation 1 trains on the whole set, and any of it may be drawn later.
    resampled = cj.with_share(cj.REGIMES["real_fraction_resampled"], 0.1, "tenth")
    assert spent(resampled) == cj.loop.Spent(100, 130, 270, 270)
    half = cj.REGIMES["replace"]._replace(among=lambda generation, source, samples, ratio: 2 * samples)
    assert spent(half) == cj.loop.Spent(200, 100, 300, 600)
    assert spent(cj.REGIMES["accumulate_subsample"]) == cj.loop.Spent(100, 208, 192, 300)
    four = selections.best_of(reward, 4)
    assert spent(cj.REGIMES["replace"], curate=four) == cj.loop.Spent(100, 100, 300, 1200)


@pytest.mark.slow
@pytest.mark.parametrize("family", cj.FAMILIES.values(), ids=list(cj.FAMILIES))
def test_every_family_takes_selections(family):
    def total(examples):
        leaves = [leaf.reshape(len(leaf), -1).sum(axis=1) for leaf in jax.tree.leaves(examples)]
        return sum(leaves, jnp.zeros(len(leaves[0])))

    chosen = [
        selections.curated(total, 2),
        selections.novel(lambda x, y: jnp.abs(x - y), features=total, threshold=1e-6, oversample=2),
    ]
    detector = selections.learned_detector(lambda examples: total(examples)[:, None])
    weighed = selections.importance_resampled(detector)
    half = cj.with_share(FRESH, 0.5, "half")
    # One program, with everything in it that a selection may do.
    mitigations = {one.name: cj.Mitigation(half, one, weighed) for one in chosen}
    found = cj.compare_mitigations(family, mitigations, generations=2, samples=24, seeds=range(1), progress=False)
    assert not found["diverged"].any()


@pytest.mark.slow
def test_a_selection_that_keeps_nothing_is_flagged_in_a_network_too():
    architecture = cj.nets.Architecture(layers=1, width=8, heads=1)
    family = cj.families.language_model(5, 4, architecture=architecture, fitting=cj.generative.Fitting(2, 4))
    nothing = selections.verified(lambda rows: rows[:, 0] < 0)
    with pytest.warns(UserWarning, match="mitigation=none"):
        found = cj.compare_mitigations(
            family,
            {"all": cj.Mitigation(), "none": cj.Mitigation(curate=nothing)},
            generations=2,
            samples=4,
            seeds=range(1),
            progress=False,
            truth=cj.resample(np.arange(32).reshape(8, 4) % 5),
            warm_start=True,
            measure=lambda key, params: {"log_prob": family.log_prob(params, jnp.zeros((1, 4), jnp.int32))[0]},
        )
    assert found["diverged"].sel(mitigation="none").to_numpy().tolist() == [[False, True]]
    assert not found["diverged"].sel(mitigation="all").any()


def test_bad_mitigations_are_refused():
    with pytest.raises(ValueError, match="mitigations is empty"):
        compare({})
    with pytest.raises(ValueError, match=r"mitigation 'mine' is 3; it must be a record such as cj.Mitigation\(\)"):
        cj.compare_mitigations.__wrapped__(FAMILY, {"mine": 3}, generations=2, samples=3, seeds=range(1))

    def keep_positive(key, candidates, pool, rest, memory):
        return candidates.weights * (candidates.examples > 0)

    mine = cj.Mitigation(curate=cj.Selection("mine", keep_positive))
    with pytest.raises(ValueError, match=r"weigh of selection 'mine' can't be called with .*argument: 'memory'"):
        compare({"none": cj.Mitigation(), "mine": mine})
    with pytest.raises(ValueError, match=r"seeds is 2; compare_mitigations needs a sequence, such as .* range\(20\)"):
        cj.compare_mitigations(FAMILY, {"none": cj.Mitigation()}, generations=2, samples=3, seeds=2)
    with pytest.raises(ValueError, match="respond needs a family that answers"):
        compare({"prompts": cj.Mitigation(respond=True)})
