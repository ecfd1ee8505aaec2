"""Trained populations end on the laws of the utilities that they were trained with."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import collapse_jax as cj
from collapse_jax.reward.loss import RankingData, draw_batch

N = 5
TRAINING = cj.reward.Training(steps=3000, records=3, batch_size=8)
FREE = {**cj.reward.ADAMW_HYPER, "learning_rate": 0.2, "weight_decay": 0.0}


def free_rankings(masks=((True,) * N,), types=(0,), type_names=("all",)) -> cj.reward.Rankings:
    """Prompts whose items all have features of their own: a linear model has a free logit for each."""
    prompts = len(types)
    features = np.eye(prompts * N, dtype=np.float32).reshape(prompts, N, prompts * N)
    return cj.make_rankings(features, np.array(masks), np.array(types), type_names)


@pytest.fixture(scope="module")
def trained():
    """One population over every utility of the table, two seeds each."""
    schemes = cj.make_schemes({name: cj.choose(u, min_gap=1e-3) for name, u in cj.UTILITIES.items()}, ("all",))
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=TRAINING, hyper=FREE)
    return cj.sweep(process, {"utility": schemes.axis, "seed": [0, 1]}, progress=False), cj.predict_rewards(schemes, N)


@pytest.mark.parametrize("name", list(cj.UTILITIES))
def test_free_rewards_end_on_the_exact_law(trained, name):
    dataset, predicted = trained
    rewards = dataset["rewards"].sel(utility=name).isel(step=-1, prompt=0)
    law = predicted["rewards"].sel(utility=name).isel(type=0)
    value = dataset["objective"].sel(utility=name).isel(step=-1, prompt=0)
    # The edges approach 0 and 1 only like 1/steps under a sigmoid link.
    assert float(abs(value - predicted["value"].sel(utility=name).isel(type=0)).max()) < 5e-3
    unique = cj.choose(cj.UTILITIES[name]).shape
    if not unique.convex and not unique.kinks.size:  # else the optimum of n items is a set
        assert float(np.abs(rewards - law).max()) < 0.01


@pytest.mark.parametrize("name", list(cj.UTILITIES))
def test_the_recorded_gap_bounds_the_distance_to_the_law(trained, name):
    dataset, predicted = trained
    row = dataset.sel(utility=name).isel(prompt=0)
    missed = predicted["value"].sel(utility=name).isel(type=0) - row["objective"]
    assert bool((missed <= row["gap"] + 1e-5).all())  # float32


def test_fixed_utilities_collapse_and_a_prompt_aware_one_does_not():
    linear, inverse = cj.choose(cj.UTILITIES["linear"]), cj.choose(cj.UTILITIES["inverse_power"], offset=0.1)
    schemes = cj.make_schemes({"fixed": inverse, "aware": {"open": inverse, "closed": linear}})
    rankings = free_rankings(((True,) * N,) * 2, (0, 1), ("open", "closed"))
    process = cj.make_training(rankings, cj.mlp(()), schemes, training=TRAINING, hyper=FREE)
    dataset = cj.sweep(process, {}, progress=False)
    assert dataset["utility"].to_numpy().tolist() == ["fixed", "aware"]
    metrics = cj.summarize_rewards(dataset, cj.predict_rewards(schemes, N), cj.reward.limit_values(schemes)).isel(
        step=-1, split=0
    )
    law = cj.predict_rewards(schemes, N)["rewards"].sel(utility="aware")
    apart = float(np.abs(law.sel(type="open") - law.sel(type="closed")).mean())
    assert float(metrics["separation"].sel(utility="fixed")) < 0.005
    # The middle item of an odd linear prompt is free: leave room for it.
    assert float(metrics["separation"].sel(utility="aware")) == pytest.approx(apart, abs=0.12)
    assert float(metrics["law_rmse"].sel(utility="fixed")) < 0.005
    assert float(metrics["prompt_distance"].sel(utility="fixed")) < 0.005
    assert float(metrics["accuracy"].min()) == 1.0


def test_a_convex_utility_trains_without_a_certificate():
    schemes = cj.make_schemes({"square": cj.choose(cj.UTILITIES["power"], gamma=2.0)}, ("all",))
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=TRAINING, hyper=FREE)
    dataset = cj.sweep(process, {"utility": schemes.axis}, progress=False)
    assert dataset["gap"].isnull().all()
    rewards = dataset["rewards"].isel(utility=0, step=-1, prompt=0).to_numpy()
    assert np.minimum(rewards, 1 - rewards).max() < 0.01
    assert np.isnan(cj.predict_rewards(schemes, N)["gap"]).all()


def test_summaries_need_laws_that_fit():
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)}, ("all",))
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=cj.reward.Training(steps=2, records=1))
    dataset = cj.sweep(process, {}, progress=False)
    with pytest.raises(ValueError, match="predicted varies along 'utility'"):
        cj.summarize_rewards(dataset, cj.predict_rewards(schemes, N))
    with pytest.raises(ValueError, match="predicted is for 4 items, the sweep has 5"):
        cj.summarize_rewards(dataset, cj.predict_rewards(schemes, 4).isel(utility=0))
    broken = dataset.assign(rewards=dataset["rewards"] * np.nan)
    with pytest.raises(ValueError, match="no train prompt has finite rewards"):
        cj.summarize_rewards(broken, cj.predict_rewards(schemes, N).isel(utility=0))


def test_a_prompt_with_fewer_items_has_the_law_of_its_own_number():
    masks = ((True,) * N, (True, True, True, False, False))
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)}, ("all",))
    process = cj.make_training(free_rankings(masks, (0, 0)), cj.mlp(()), schemes, training=TRAINING, hyper=FREE)
    rewards = cj.sweep(process, {}, progress=False)["rewards"].isel(step=-1)
    assert np.isnan(rewards[1, 3:]).all()
    for prompt, n in ((0, N), (1, 3)):
        law = cj.finite_law(cj.UTILITIES["log"], n, offset=0.1).rewards
        np.testing.assert_allclose(rewards[prompt, :n], law, atol=0.01)


def test_centring_is_an_axis_and_moves_the_law_as_predicted():
    schemes = cj.make_schemes({"log_sigmoid": cj.choose(cj.UTILITIES["log_sigmoid"])}, ("all",))
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=TRAINING, hyper=FREE)
    rewards = cj.sweep(process, {"centring": [0.0, 0.5, 2.0]}, progress=False)["rewards"].isel(step=-1, prompt=0)
    for row in rewards:
        law = cj.predict_rewards(schemes, N, centring=float(row["centring"]))["rewards"].isel(utility=0, type=0)
        np.testing.assert_allclose(row, law, atol=0.01)
    assert float(abs(rewards[0] - rewards[2]).max()) > 0.1


@pytest.mark.parametrize("pairs", ["chain", "star"])
def test_other_pairs_have_other_laws(pairs):
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)}, ("all",))
    plan = dataclasses.replace(TRAINING, pairs=pairs)
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=plan, hyper=FREE)
    rewards = cj.sweep(process, {}, progress=False)["rewards"].isel(step=-1, prompt=0)
    np.testing.assert_allclose(
        rewards, cj.predict_rewards(schemes, N, pairs=pairs)["rewards"].isel(utility=0, type=0), atol=0.01
    )


def test_every_completion_is_encoded_once_in_one_trace():
    encoded = []

    def apply(params, features):
        encoded.append(features.shape)
        return jax.nn.sigmoid(features @ params)

    model = cj.reward.Model(lambda key, features: jnp.zeros(features.shape[-1]), apply)
    schemes = cj.make_schemes({name: cj.choose(cj.UTILITIES[name], offset=0.1) for name in ("log", "linear")}, ("all",))
    rankings = free_rankings(((True,) * N,) * 6, (0,) * 6)
    process = cj.make_training(
        rankings, model, schemes, training=cj.reward.Training(steps=8, records=4, batch_size=2), hyper=FREE
    )
    cj.sweep(
        process, {"utility": schemes.axis, "learning_rate": [0.1, 0.2], "seed": range(3)}, segment=1, progress=False
    )
    # A batch for the shapes of what it stores, nothing computed; the batch; each prompt for the record; nothing twice.
    assert encoded == [(2, N, 6 * N), (2, N, 6 * N), (N, 6 * N)]


def test_another_optimizer_brings_its_own_hyperparameters():
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)}, ("all",))
    process = cj.make_training(
        free_rankings(),
        cj.mlp(()),
        schemes,
        training=cj.reward.Training(steps=50, records=5),
        optimizer=lambda hyper: optax.sgd(hyper["rate"], momentum=hyper["momentum"]),
        hyper={"rate": 0.1, "momentum": 0.9},
    )
    dataset = cj.sweep(process, {"rate": [0.0, 0.5]}, progress=False)
    rewards = dataset["rewards"].isel(prompt=0)
    assert float(abs(rewards.sel(rate=0.0) - rewards.sel(rate=0.0).isel(step=0)).max()) == 0
    assert float(rewards.sel(rate=0.5).isel(step=-1, item=0)) > 0.9


def test_records_have_steps_splits_and_types():
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)})
    train, test = (free_rankings(((True,) * N,) * 2, types, ("open", "closed")) for types in ((0, 1), (1, 1)))
    process = cj.make_training(train, cj.mlp((4,)), schemes, training=cj.reward.Training(steps=6, records=3), test=test)
    dataset = cj.sweep(process, {}, progress=False)
    assert dataset["step"].to_numpy().tolist() == [2, 4, 6]
    assert dataset["prompt_split"].to_numpy().tolist() == ["train", "train", "test", "test"]
    assert dataset["prompt_type"].to_numpy().tolist() == ["open", "closed", "closed", "closed"]
    assert dataset["item"].to_numpy().tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (cj.reward.Training(steps=10, records=3), "training.steps is 10; it must be a multiple of records, 3"),
        (cj.reward.Training(steps=0), "training.steps is 0"),
        (cj.reward.Training(batch_size=0), "training.batch_size is 0"),
    ],
)
def test_bad_plans_are_refused(training, message):
    schemes = cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])}, ("all",))
    with pytest.raises(ValueError, match=message):
        cj.make_training(free_rankings(), cj.mlp(()), schemes, training=training)


def test_types_and_shapes_must_fit():
    schemes = cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])})
    with pytest.raises(ValueError, match="rankings have the types"):
        cj.make_training(free_rankings(), cj.mlp(()), schemes)
    schemes = cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])}, ("all",))
    other = free_rankings(((True,) * N,) * 2, (0, 0))
    with pytest.raises(ValueError, match="test has"):
        cj.make_training(free_rankings(), cj.mlp(()), schemes, test=other)


def test_widths_of_a_model_are_positive():
    with pytest.raises(ValueError, match="hidden is"):
        cj.mlp((8, 0))


@pytest.mark.slow
def test_a_batch_in_parts_trains_like_the_whole(monkeypatch):
    features = np.random.default_rng(0).normal(size=(6, N, 3)).astype(np.float32)
    mask = np.arange(N) < np.array([5, 2, 4, 3, 5, 2])[:, None]
    rankings = cj.make_rankings(features, mask, np.zeros(6, np.int32))
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)})
    # Adam would not feel the size of a gradient.
    options = {"optimizer": lambda hyper: optax.sgd(hyper["rate"]), "hyper": {"rate": 1.0}}
    process = cj.make_training(rankings, cj.mlp((4,)), schemes, training=cj.reward.Training(3, 1, 4), **options)
    outcomes = []
    for parts in (1, 4):
        monkeypatch.setattr("collapse_jax.reward.training.count_parts", lambda *_, parts=parts: parts)
        state = process.init(jax.random.key(0), process.hyper)
        outcomes.append(process.step(state, process.hyper, jnp.int32(0)))
    (whole, recorded), (divided, same) = outcomes
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), whole.params, divided.params)
    np.testing.assert_allclose(recorded["rewards"], same["rewards"], atol=1e-5)


def test_a_batch_holds_each_prompt_at_most_once_and_all_alike():
    data = RankingData(jnp.arange(7.0)[:, None], jnp.ones((7, 1), bool), jnp.arange(7))
    keys = jax.random.split(jax.random.key(2), 3000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: draw_batch(key, data, 3).types))(keys))
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    pairs = [(drawn == i).any(1) & (drawn == j).any(1) for i in range(7) for j in range(i)]
    z = [(pair.mean() - 1 / 7) / (1 / 7 * 6 / 7 / len(keys)) ** 0.5 for pair in pairs]  # of 35 triples, 5 hold a pair
    assert np.abs(z).max() < 4
    whole = draw_batch(jax.random.key(3), data, 7)
    assert whole.types.tolist() == list(range(7))
