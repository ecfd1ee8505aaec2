"""Selections that remember: in the recursion, composed, one of several; and learned rewards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine.checkpoint import Store
from collapse_jax.generative import selections
from collapse_jax.generative.selections.learned import by_reward

TOKENS, SAMPLES, GENERATIONS = 4, 12, 4
FAMILY = cj.families.categorical(TOKENS, exponent=0.0)
PLAN = cj.make_plan(cj.REGIMES["accumulate"], GENERATIONS, SAMPLES)
REPLACE = cj.make_plan(cj.REGIMES["replace"], 8, SAMPLES)


def counting(name="counted", step=1.0, **fields):
    """Return a selection that remembers how often it was asked, and the mean of what it saw."""
    return cj.Selection(
        name,
        lambda key, candidates, pool, memory, **params: candidates.weights * (1.0 + 0.0 * memory["times"]),
        start=lambda key, real, **params: {"times": jnp.float32(0.0), "real": real.examples.sum()},
        learn=lambda key, candidates, pool, memory, **params: {**memory, "times": memory["times"] + step},
        inspect=lambda key, candidates, pool, memory, **params: {
            name: memory["times"],
            f"{name}_real": memory["real"].astype(float),
        },
        **fields,
    )


def recurse(seeds=2, axes=None, plan=PLAN, **options):
    dims = {"p": ("token",), "chosen": ("token",)}
    process = cj.make_recursion(FAMILY, plan, measure=lambda key, p: {"p": p}, dims=dims, **options)
    return cj.sweep(process, {**(axes or {}), "seed": range(seeds)}, progress=False)


@pytest.mark.parametrize("place", ["curate", "reweigh"])
def test_a_memory_starts_with_the_real_set_and_learns_once_a_generation(place):
    options = {place: counting()}
    found = recurse(**options, inspect=lambda key, tokens, weights: {"emitted": tokens.sum().astype(float)})
    np.testing.assert_array_equal(found["counted"], np.tile(np.arange(GENERATIONS, dtype=float), (2, 1)))
    real = found["counted_real"].to_numpy()
    assert (real == real[:, :1]).all()
    assert real[0, 0] != real[1, 0]
    # The first model is fitted to the real set alone.
    mean = (found["p"].isel(generation=0) * np.arange(TOKENS)).sum("token")
    np.testing.assert_allclose(real[:, 0], SAMPLES * mean, rtol=1e-5)


def test_each_of_several_models_has_a_memory():
    plan = cj.make_plan(cj.generative.ecosystem(3), GENERATIONS, SAMPLES)
    found = recurse(curate=counting(), plan=plan)
    assert found["counted"].dims == ("seed", "generation", "model")
    np.testing.assert_array_equal(found["counted"].isel(seed=0, model=2), np.arange(GENERATIONS))


def test_composed_selections_keep_their_memories_apart():
    def reward(tokens):
        return tokens.astype(float)

    both = selections.compose(counting("one"), selections.best_of(reward, 2), counting("two", 10.0))
    found = recurse(curate=both)
    np.testing.assert_array_equal(found["one"].isel(seed=0), np.arange(GENERATIONS))
    np.testing.assert_array_equal(found["two"].isel(seed=0), 10.0 * np.arange(GENERATIONS))


@pytest.mark.slow
def test_alternatives_are_the_selections_themselves():
    def reward(tokens):
        return tokens.astype(float)

    several = {
        "random": None,
        "soft": selections.curated(reward, 3)._replace(defaults={"strength": 2.0}),
        "best": selections.best_of(reward, 3),
        "checked": selections.verified(lambda tokens: tokens > 1, oversample=3),
    }
    either = selections.alternatives(several)
    found = recurse(curate=either)
    assert list(found["selection"].to_numpy()) == list(several)
    for name in ("soft", "best", "checked"):
        alone = recurse(curate=several[name])
        np.testing.assert_array_equal(found["p"].sel(selection=name), alone["p"])
    # One of three at random: as if nothing had been chosen.
    late = recurse(curate=either, axes={"selection": "random"}, seeds=400)["p"].isel(generation=-1, selection=0)
    z = (late.mean("seed") - 1 / TOKENS) / (late.std("seed", ddof=1) / 20.0)
    assert np.abs(z).max() < 4


@pytest.mark.slow
def test_a_composition_carries_the_axes_of_its_selections_and_labels_choose():
    several = {"all": None, "mask": selections.verified(lambda tokens: tokens > 1)}
    both = selections.compose(selections.alternatives(several), counting())
    whole = recurse(curate=both)["p"]
    assert whole.dims == ("selection", "seed", "generation", "token")
    masked = recurse(curate=both, axes={"selection": ["mask"]})["p"]
    np.testing.assert_array_equal(masked.isel(selection=0), whole.sel(selection="mask"))
    assert np.abs(whole.diff("selection")).max() > 0.1


def test_both_selections_of_a_recursion_bring_their_axes():
    one, other = (
        selections.alternatives({"all": None, "mask": selections.verified(lambda tokens: tokens > 1)}, name)
        for name in ("curated", "reweighed")
    )
    assert recurse(curate=one, reweigh=other)["p"].dims[:3] == ("curated", "reweighed", "seed")


def test_an_axis_of_a_selection_is_one_of_its_parameters():
    stray = counting(axes={"strength": cj.engine.Axis([1.0, 2.0])})
    with pytest.raises(ValueError, match="selection 'counted' has an axis 'strength'; its parameters are none"):
        recurse(curate=stray)


def test_alternatives_with_memories_run_one_and_record_it_alone():
    either = selections.alternatives({"none": None, "one": counting("one"), "two": counting("two", 10.0)}, "which")
    found = recurse(curate=either)
    assert np.isnan(found["one"].sel(which=["none", "two"])).all()
    np.testing.assert_array_equal(found["two"].sel(which="two").isel(seed=1), 10.0 * np.arange(GENERATIONS))
    np.testing.assert_array_equal(found["one"].sel(which="one").isel(seed=1), np.arange(GENERATIONS))
    # Memories begin as those of the selections by themselves do.
    real = recurse(curate=counting("one"))["one_real"]
    np.testing.assert_array_equal(found["one_real"].sel(which="one"), real)


def test_alternatives_correct_values_too():
    shifted = cj.Selection(
        "shifted",
        lambda key, candidates, pool, memory: candidates.weights,
        correct=lambda examples, pool: jnp.zeros_like(examples),
    )
    either = selections.alternatives({"none": None, "zero": shifted})
    found = recurse(
        curate=either,
        inspect=lambda key, tokens, weights: {"largest": tokens.max().astype(float)},
    )
    assert (found["largest"].sel(selection="zero") == 0).all()
    assert (found["largest"].sel(selection="none") > 0).all()


def test_alternatives_of_different_oversampling_are_refused():
    def reward(tokens):
        return tokens.astype(float)

    with pytest.raises(ValueError, match=r"different numbers of candidates \(two: 2, three: 3\)"):
        selections.alternatives({"two": selections.best_of(reward, 2), "three": selections.best_of(reward, 3)})
    with pytest.raises(ValueError, match="selections is empty"):
        selections.alternatives({})


def test_alternatives_take_masks_and_counts():
    mask = cj.Selection(
        "mask",
        lambda key, candidates, pool, memory: candidates.examples > 0,
        inspect=lambda key, candidates, pool, memory: {"kept": (candidates.weights > 0).sum()},
    )
    either = selections.alternatives({"none": None, "mask": mask})
    found = recurse(curate=either)
    alone = recurse(curate=mask)
    np.testing.assert_array_equal(found["p"].sel(selection="mask"), alone["p"])
    np.testing.assert_array_equal(found["kept"].sel(selection="mask"), alone["kept"])
    assert np.isnan(found["kept"].sel(selection="none")).all()


def test_defaults_of_alternatives_must_be_in_range():
    cold = selections.curated(lambda tokens: tokens.astype(float), 2)._replace(defaults={"strength": -1.0})
    with pytest.raises(ValueError, match=r"selection 'cold' has strength = -1.0; it must lie in \[0, inf\]"):
        selections.alternatives({"cold": cold})


@pytest.mark.parametrize("reward", [lambda tokens: tokens.mean(), lambda tokens: tokens[:, None].astype(float)])
def test_a_reward_is_one_number_a_candidate(reward):
    with pytest.raises(
        ValueError, match=r"the reward of best_of\(2\) has shape .*; it needs one number for each of 24"
    ):
        recurse(curate=selections.best_of(reward, 2))


def test_a_weight_is_one_number_a_candidate():
    with pytest.raises(ValueError, match=r"selection 'one' returns weights of shape \(\); it needs one for each"):
        recurse(curate=cj.Selection("one", lambda key, candidates, pool, memory: candidates.weights.sum()))


def test_the_best_is_never_what_has_no_reward_nor_the_dead():
    candidates = cj.generative.Candidates(
        jnp.arange(6), jnp.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0]), jnp.ones(6, jnp.int32), jnp.zeros(6, jnp.int32)
    )
    rewards = jnp.array([1.0, jnp.nan, 5.0, -jnp.inf, 2.0, jnp.inf])
    best = selections.best_of(lambda tokens: rewards[tokens], 2)
    kept = best.weigh(jax.random.key(0), candidates, candidates, ())
    np.testing.assert_array_equal(kept, [1.0, 0.0, 0.0, 1.0, 0.0, 1.0])


def test_names_of_records_may_not_clash():
    with pytest.raises(ValueError, match="curate and reweigh both record one, one_real; give them different names"):
        recurse(curate=counting("one"), reweigh=counting("one"))
    with pytest.raises(ValueError, match="a selection records p, as measure or inspect do"):
        recurse(curate=counting("p"))
    with pytest.raises(ValueError, match="two selections record one"):
        recurse(curate=selections.compose(counting("one"), counting("one")))


def judge(rate=1.0):
    """Return a learned reward that likes a token the more, the more often it was chosen before."""

    def learn(key, candidates, pool, memory, rate):
        return memory.at[candidates.examples].add(rate * candidates.weights)

    return selections.LearnedReward(
        start=lambda key, real, rate: jnp.zeros(TOKENS).at[real.examples].add(1.0),
        score=lambda memory, tokens: memory[tokens],
        learn=learn,
        defaults={"rate": rate},
    )


def test_a_judge_learns_from_what_was_chosen():
    found = recurse(
        curate=selections.best_of(judge(), 2),
        axes={"rate": [0.0, 1.0]},
        plan=cj.make_plan(cj.REGIMES["replace"], GENERATIONS, SAMPLES),
        inspect=lambda key, tokens, weights: {
            "chosen": jnp.zeros(TOKENS).at[tokens].add(weights),
        },
    )
    first = SAMPLES * found["p"].isel(generation=0, rate=0)
    chosen = found["chosen"]
    # Scores of a generation: counts of the real set, and of what was chosen in those before it.
    before = chosen.cumsum("generation").shift(generation=1, fill_value=0.0)
    for rate in (0.0, 1.0):
        scores = first + rate * before.sel(rate=rate)
        mean = (chosen.sel(rate=rate) * scores).sum("token") / SAMPLES
        np.testing.assert_allclose(found["judged"].sel(rate=rate), mean.transpose("seed", "generation"), rtol=1e-4)
    assert (found["judged"] >= found["offered"]).all()


def test_judges_and_choices_need_names_of_their_own():
    named = judge()._replace(defaults={"strength": 1.0})
    with pytest.raises(ValueError, match=r"the learned reward and curated\(2\) share the parameters strength"):
        selections.curated(named, 2)
    with pytest.raises(ValueError, match="reward is 3; it must be a function"):
        by_reward.__wrapped__("name", 3, None)


@pytest.mark.slow
def test_memories_resume_bit_for_bit(tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    options = {"curate": selections.best_of(judge(), 2)}
    whole = recurse(**options)
    process = cj.make_recursion(FAMILY, PLAN, measure=lambda key, p: {"p": p}, dims={"p": ("token",)}, **options)
    original, calls = Store.save, []

    def save_twice(self, *arguments):
        original(self, *arguments)
        calls.append(arguments)
        if len(calls) == 2:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save", save_twice)
        with pytest.raises(Stopped):
            cj.sweep(process, {"seed": range(2)}, directory=tmp_path, segment=1, progress=False)
    again = cj.sweep(process, {"seed": range(2)}, directory=tmp_path, segment=1, progress=False)
    np.testing.assert_array_equal(again["p"], whole["p"])
    np.testing.assert_array_equal(again["judged"], whole["judged"])


def test_a_learned_selection_in_under_ten_lines():
    """What the documentation promises: one's own selection, with a memory."""

    def weigh(key, candidates, pool, memory):
        return candidates.weights / (1.0 + memory[candidates.examples])

    rare_first = cj.Selection(
        "rare first",
        weigh,
        oversample=4,
        start=lambda key, real: jnp.zeros(TOKENS).at[real.examples].add(1.0),
        learn=lambda key, candidates, pool, memory: memory.at[candidates.examples].add(candidates.weights),
    )
    plain, kept = (recurse(curate=one, seeds=100, plan=REPLACE)["p"].isel(generation=-1) for one in (None, rare_first))
    diversity = [1 - (p**2).sum("token") for p in (plain, kept)]
    assert float(diversity[1].mean()) > float(diversity[0].mean()) + 0.05
