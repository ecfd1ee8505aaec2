"""Reward models in the loop: trained onto the law of their utility, refitted as said, choosing as the map says."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative.selection import Candidates
from collapse_jax.reward.loss import RankingData

PROMPTS, ANSWERS = 2, 6
LINEAR, LOG = cj.choose(cj.UTILITIES["linear"], offset=0.1), cj.choose(cj.UTILITIES["log"], offset=0.1)
SCHEMES = cj.make_schemes({"x": LINEAR, "log": LOG, "aware": {"open": LOG, "closed": LINEAR}})
TRAINING = cj.reward.Training(steps=1500, records=1)
FEATURES = 8.0 * np.eye(PROMPTS * ANSWERS, dtype=np.float32).reshape(PROMPTS, ANSWERS, -1)
RANKINGS = cj.make_rankings(FEATURES, np.ones((PROMPTS, ANSWERS), bool), np.arange(PROMPTS), ("open", "closed"))
GRID = jnp.stack([jnp.repeat(jnp.arange(PROMPTS), ANSWERS), jnp.tile(jnp.arange(ANSWERS), PROMPTS)], axis=1)


def read(rows):
    return 8.0 * jax.nn.one_hot(rows[:, 0] * ANSWERS + rows[:, 1], PROMPTS * ANSWERS), rows[:, 0]


def last_is_best(key, rows):
    return rows[:, 1].astype(float)


def make_judge(rankings=RANKINGS, read=read, answers=ANSWERS, **options):
    return cj.loop.learned_reward(
        cj.mlp(()), SCHEMES, rankings, read, **{"answers": answers, "training": TRAINING, **options}
    )


def candidates_of(rows, weights=None):
    n = len(rows)
    return Candidates(rows, jnp.ones(n) if weights is None else weights, jnp.ones(n, int), jnp.zeros(n, int))


def finite_law(choice):
    """Return the rewards of a utility's law, the best first."""
    return cj.finite_law(choice, ANSWERS).rewards


def scheme(label):
    at = SCHEMES.axis.labels.index(label)
    return jax.tree.map(lambda leaf: leaf[at], SCHEMES.axis.values)


@pytest.fixture(scope="module")
def trained():
    """The learned reward, and its memories, one for each scheme: prompt 0 is open-ended, prompt 1 closed-ended."""
    judge = make_judge(quality=last_is_best, refit_steps=300)
    start = jax.jit(jax.vmap(lambda utility: judge.start(jax.random.key(0), candidates_of(GRID), utility=utility)))
    return judge, start(jax.tree.map(jnp.asarray, SCHEMES.axis.values))


@pytest.fixture(scope="module")
def learn(trained):
    """Train a scheme's model on as `refit` says, on all answers to each prompt; return its rewards."""
    judge, memories = trained

    @jax.jit
    def learned(memory, weights, utility, refit):
        candidates = candidates_of(GRID, weights)
        after = judge.learn(jax.random.key(1), candidates, candidates, memory, utility=utility, refit=refit)
        return judge.score(after, GRID).reshape(PROMPTS, ANSWERS)

    def by_label(label, refit, weights=None):
        memory = jax.tree.map(lambda leaf: leaf[SCHEMES.axis.labels.index(label)], memories)
        return learned(memory, jnp.ones(len(GRID)) if weights is None else weights, scheme(label), refit)

    return by_label


def test_trained_rewards_are_the_finite_law_of_the_utility_of_the_prompts_type(trained):
    judge, memories = trained
    rewards = jax.vmap(partial(judge.score, examples=GRID))(memories).reshape(3, PROMPTS, ANSWERS)
    expected = [[finite_law(choice) for choice in row] for row in SCHEMES.choices.values()]
    assert np.abs(finite_law(LOG) - finite_law(LINEAR)).max() > 0.2
    # Rewards come near 0 and 1 like 1/steps.
    np.testing.assert_allclose(rewards, expected, atol=0.02)


def test_a_frozen_model_stays(trained, learn):
    judge, memories = trained
    before = jax.vmap(partial(judge.score, examples=GRID))(memories).reshape(3, PROMPTS, ANSWERS)
    for number, label in enumerate(SCHEMES.axis.labels):
        np.testing.assert_array_equal(learn(label, 0), before[number])


def test_its_own_choice_comes_first_and_the_rest_as_it_ranked_them(learn):
    fourth = (GRID[:, 1] == 3).astype(float)
    rewards = np.asarray(learn("log", 1, fourth))
    np.testing.assert_array_equal(np.argsort(-rewards, axis=1), [[3, 0, 1, 2, 4, 5]] * PROMPTS)


def test_what_was_chosen_comes_first_also_among_scores_far_apart(monkeypatch):
    orders = []

    def note(features, types, order, answers):
        jax.debug.callback(lambda value: orders.append(np.asarray(value)), order)
        return cj.loop.rank_answers(features, types, order, answers)

    monkeypatch.setattr("collapse_jax.loop.learned_rewards.rank_answers", note)
    model = cj.reward.Model(lambda key, features: jnp.arange(12.0), lambda params, x: 60.0 * x @ params)
    judge = cj.loop.learned_reward(model, SCHEMES, RANKINGS, read, answers=ANSWERS, training=TRAINING, refit_steps=1)
    chosen = candidates_of(GRID, (GRID[:, 1] == 0).astype(float))
    judge.learn(jax.random.key(1), chosen, chosen, jnp.arange(12.0), utility=scheme("x"), refit=1)
    jax.effects_barrier()
    (order,) = orders
    np.testing.assert_array_equal(np.argsort(-order.reshape(PROMPTS, ANSWERS), axis=1), [[0, 5, 4, 3, 2, 1]] * PROMPTS)


def test_trained_on_by_its_own_order_it_keeps_the_law_of_each_type(learn):
    expected = [finite_law(LOG), finite_law(LINEAR)]
    np.testing.assert_allclose(learn("aware", 1), expected, atol=0.02)


def test_true_quality_turns_a_wrong_order_round(learn):
    np.testing.assert_array_equal(np.argsort(learn("log", 2), axis=1), [np.arange(ANSWERS)] * PROMPTS)


def test_rankings_may_be_made_of_the_real_set():
    def rank(key, real):
        return RankingData(read(real)[0][None, ::-1], jnp.ones((1, len(real)), bool), real[:1, 0])

    judge = make_judge(rank, training=cj.reward.Training(steps=400, records=1, batch_size=1))
    memory = judge.start(jax.random.key(0), candidates_of(GRID[:ANSWERS]), utility=scheme("log"))
    assert (np.diff(judge.score(memory, GRID[:ANSWERS])) > 0).all()


@pytest.mark.slow
def test_a_loop_under_a_frozen_model_follows_the_map_of_its_law():
    choose_from, strength, samples, generations, seeds = 3, 2.0, 1000, 2, 24
    family = cj.families.ngram(ANSWERS, 2, length=2, prompt=1)
    truth = family.truth._replace(
        first=jnp.full(ANSWERS, 1 / PROMPTS) * (jnp.arange(ANSWERS) < PROMPTS),
        following=jnp.full((ANSWERS, ANSWERS), 1 / ANSWERS),
    )
    process = cj.make_recursion(
        family,
        cj.make_plan(cj.REGIMES["replace"], generations, samples),
        truth,
        curate=cj.selections.curated(make_judge(answers=choose_from), choose_from),
        respond=True,
        measure=lambda key, params: {"p": params.following[:PROMPTS]},
        dims={"p": ("prompt", "answer")},
    )
    axes = {"refit": "frozen", "strength": strength, "seed": range(seeds)}
    p = cj.sweep(process, axes, progress=False)["p"].isel(refit=0, strength=0, generation=-1)
    for row, choices in zip(p.to_numpy(), SCHEMES.choices.values(), strict=True):
        for prompt, choice in enumerate(choices):
            rewards = finite_law(choice)
            uniform = np.full(ANSWERS, 1 / ANSWERS)
            law = cj.generative.laws.curated(uniform, strength * rewards, choose_from) @ rewards
            mean = row[:, prompt] @ rewards
            z = (mean.mean() - law) / (mean.std(ddof=1) / seeds**0.5)
            assert abs(z) < 4, (choice.label, law, z)


BAD = {
    "answers is 1; it must be a whole number from 2 on": {"answers": 1},
    "answers is True; learned_reward needs a whole number": {"answers": True},
    "refit_steps is 0; it must be a whole number from 1 on": {"refit_steps": 0},
    r"rankings have the types \('a', 'b'\), the schemes are for \('open', 'closed'\)": {
        "rankings": RANKINGS._replace(type_names=("a", "b"))
    },
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        make_judge(**BAD[message])


def test_features_of_another_shape_are_refused():
    judge = make_judge(read=lambda rows: (read(rows)[0][:, :5], rows[:, 0]))
    real = candidates_of(GRID)
    with pytest.raises(
        ValueError, match=r"read returns features of shape and kind \(\(5,\), 'f'\) an example; .* have \(\(12,"
    ):
        judge.start(jax.random.key(0), real, utility=scheme("x"))


def test_candidates_that_are_not_whole_groups_are_refused(trained):
    judge, candidates = make_judge(answers=5), candidates_of(GRID)
    with pytest.raises(ValueError, match="12 candidates can't be ranked in groups of 5"):
        judge.learn(jax.random.key(0), candidates, candidates, trained[1], utility=scheme("x"), refit=1)


def test_schemes_and_ways_to_refit_are_axes_of_the_recursion_and_none_refits_by_a_quality_that_is_missing():
    process = cj.make_recursion(
        cj.families.ngram(ANSWERS, 2, length=2),
        cj.make_plan(cj.REGIMES["replace"], 1, 12),
        curate=cj.selections.curated(make_judge(), ANSWERS),
        respond=True,
    )
    assert process.axes["utility"] == SCHEMES.axis
    assert list(process.axes["refit"].labels) == ["frozen", "own choice"]
    with pytest.raises(ValueError, match="axis 'refit' has no label 'true quality'; this process has 'frozen', 'own"):
        cj.sweep(process, {"refit": "true quality"}, progress=False)
