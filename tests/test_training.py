"""Trained populations end on the laws of the utilities that they were trained with."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.reward.loss import RankingData, draw_batch

N = 5
TRAINING = cj.reward.Training(steps=3000, records=3)
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
    return cj.sweep(process, {"seed": [0, 1]}, progress=False), cj.predict_rewards(schemes, N)


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


def test_rewards_outside_the_unit_interval_have_no_certificate_and_no_distance_to_a_law():
    schemes = cj.make_schemes({"logistic": cj.choose(cj.UTILITIES["log_sigmoid"])})
    masks = ((True,) * N, (True, True, True, False, False))
    data = free_rankings(masks, (0, 0))
    plan = cj.reward.Training(steps=400, records=2)
    process = cj.make_training(data, cj.mlp((), link=lambda x: 60 * x), schemes, training=plan, hyper=FREE)
    dataset = cj.sweep(process, {"utility": schemes.axis}, progress=False)
    assert dataset["prompt_items"].to_numpy().tolist() == [N, 3]
    assert float(dataset["rewards"].max()) > 10
    assert dataset["gap"].isnull().all()
    assert dataset["objective"].notnull().all()
    with pytest.warns(UserWarning, match="law_rmse, .* are NaN where rewards reach from -"):
        metrics = cj.summarize_rewards(dataset, cj.predict_rewards(schemes, [3, N]))
    for name in ("gap", "law_rmse", "atom_high", "atom_low", "wasserstein_to_law"):
        assert metrics[name].isnull().all()
    assert float(metrics["accuracy"].isel(step=-1).min()) == 1.0


def test_what_a_model_gives_for_items_that_are_not_there_has_no_part_in_the_certificate():
    schemes = cj.make_schemes({"logistic": cj.choose(cj.UTILITIES["log_sigmoid"])})
    data = free_rankings(((True, True, True, False, False),), (0,))
    there = jnp.arange(N) < 3
    model = cj.mlp(())._replace(apply=lambda params, x: jnp.where(there, jax.nn.sigmoid(x @ params), 60.0))
    model = model._replace(init=lambda key, x: jnp.zeros(x.shape[-1]))
    process = cj.make_training(data, model, schemes, training=SHORT, hyper=FREE)
    assert cj.sweep(process, {}, progress=False)["gap"].notnull().all()


def test_summaries_need_laws_that_fit():
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)}, ("all",))
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=cj.reward.Training(steps=2, records=1))
    dataset = cj.sweep(process, {}, progress=False)
    with pytest.raises(ValueError, match="predicted varies along 'centring'"):
        cj.summarize_rewards(dataset, cj.predict_rewards(schemes, N, centring=[0.0, 0.5]))
    assert "utility" not in cj.summarize_rewards(dataset, cj.predict_rewards(schemes, N)).dims
    other = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.2)}, ("all",))
    with pytest.raises(ValueError, match=r"predicted is for log with offset = 0.2 in 'log' .*; the sweep has 0.1"):
        cj.summarize_rewards(dataset, cj.predict_rewards(other, N))
    with pytest.raises(ValueError, match=r"predicted is for centring = 0.5; the sweep has 0.0"):
        cj.summarize_rewards(dataset, cj.predict_rewards(schemes, N, centring=0.5))
    with pytest.raises(
        ValueError, match=r"predicted is for n_items = 4; the sweep has prompts of 5 items: .*prompt_items"
    ):
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


def test_a_sweep_over_centring_is_not_compared_with_a_law_without_it():
    schemes = cj.make_schemes({"log_sigmoid": cj.choose(cj.UTILITIES["log_sigmoid"])}, ("all",))
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=SHORT)
    dataset = cj.sweep(process, {"centring": [0.0, 0.5]}, progress=False)
    law = cj.predict_rewards(schemes, N, centring=[0.0, 0.5]).isel(utility=0)
    with pytest.raises(ValueError, match=r"predicted is for centring = 0.0; the sweep has 0.5: predict the values of"):
        cj.summarize_rewards(dataset, law.isel(centring=0))
    with pytest.raises(ValueError, match=r"limits is for centring = 0.0; the sweep has 0.5"):
        cj.summarize_rewards(dataset, law, cj.reward.limit_values(schemes).isel(utility=0))
    assert cj.summarize_rewards(dataset, law)["law_rmse"].dims == ("centring", "step", "split")


SHORT = cj.reward.Training(steps=4, records=1)
GAMMAS, EDGES = [0.2, 0.5, 0.8], [1e-3, 1e-2]


def powers(gamma=0.5, min_gap=1e-3):
    """Two schemes that share a parameter with one value, and one that shares only what all utilities have."""
    power = cj.choose(cj.UTILITIES["power"], gamma=gamma, min_gap=min_gap)
    linear = cj.choose(cj.UTILITIES["linear"], min_gap=min_gap)
    return cj.make_schemes({"linear": linear, "power": power, "aware": {"open": power, "closed": linear}})


def two_types(schemes, training=SHORT, **options):
    rankings = free_rankings(((True,) * N,) * 2, (0, 1), ("open", "closed"))
    return cj.make_training(rankings, cj.mlp(()), schemes, training=training, **{"hyper": FREE, **options})


@pytest.fixture(scope="module")
def varied():
    return cj.sweep(two_types(powers()), {"gamma": GAMMAS, "min_gap": EDGES, "seed": [0, 1]}, progress=False)


def test_parameters_of_utilities_are_axes_of_one_program_and_members_are_those_of_schemes_by_hand(varied):
    assert varied["rewards"].dims == ("utility", "gamma", "min_gap", "seed", "step", "prompt", "item")
    for gamma, min_gap in ((0.2, 1e-2), (0.8, 1e-3)):
        by_hand = cj.sweep(two_types(powers(gamma, min_gap)), {"seed": [0, 1]}, progress=False)
        # Their schemes are written down with these values, those of the sweep with the ones that it varies.
        one = varied.sel(gamma=gamma, min_gap=min_gap, drop=True)
        xr.testing.assert_identical(*(each.drop_vars("trained_schemes").drop_attrs() for each in (one, by_hand)))
    assert float(abs(varied["rewards"].sel(utility="power").diff("gamma")).max()) > 0.01


@pytest.mark.slow
def test_the_law_follows_swept_parameters_and_is_refused_without_them(varied):
    schemes, last = powers(), varied.isel(step=[-1])
    law = cj.predict_rewards(schemes, N, gamma=GAMMAS, min_gap=np.array(EDGES))
    limits = cj.reward.limit_values(schemes, min_gap=EDGES, gamma=GAMMAS)
    for gamma, min_gap in ((0.2, 1e-2), (0.8, 1e-3)):
        alone, limit = (
            one(powers(gamma, min_gap)) for one in (lambda s: cj.predict_rewards(s, N), cj.reward.limit_values)
        )
        xr.testing.assert_identical(law.sel(gamma=gamma, min_gap=min_gap), alone)
        xr.testing.assert_identical(limits.sel(gamma=gamma, min_gap=min_gap), limit)
        own = cj.summarize_rewards(last.sel(gamma=gamma, min_gap=min_gap), alone, limit)
        whole = cj.summarize_rewards(last, law, limits).sel(gamma=gamma, min_gap=min_gap)
        xr.testing.assert_allclose(whole.drop_vars(["gamma", "min_gap"]), own.drop_vars(["gamma", "min_gap"]))
    with pytest.raises(ValueError, match=r"predicted is for gamma = 0.5; the sweep has 0.2: .* gamma=\[...\]"):
        cj.summarize_rewards(last, cj.predict_rewards(schemes, N, min_gap=EDGES))
    with pytest.raises(ValueError, match=r"predicted is for gamma = 0.2, 0.5; the sweep has 0.8"):
        cj.summarize_rewards(last, law.isel(gamma=[0, 1]))
    with pytest.raises(ValueError, match=r"limits is for min_gap = 0.001; the sweep has 0.01"):
        cj.summarize_rewards(last, law, cj.reward.limit_values(schemes, gamma=GAMMAS))
    with pytest.raises(ValueError, match=r"predicted is for gamma = 0.5; the sweep has 0.8"):
        cj.summarize_rewards(last.sel(gamma=0.8, min_gap=1e-3), cj.predict_rewards(schemes, N))


def test_figures_draw_the_law_of_the_parameters_that_were_trained(varied):
    law = cj.predict_rewards(powers(), N, gamma=GAMMAS)
    with pytest.raises(ValueError, match=r"dataset varies along gamma, min_gap; draw one value, dataset.sel"):
        plotting.reward_curves(varied, law)
    one = varied.sel(gamma=0.8, min_gap=1e-3)
    with pytest.raises(ValueError, match="predicted varies along gamma; draw one value"):
        plotting.reward_curves(one, law)
    with pytest.raises(ValueError, match=r"predicted is for gamma = 0.2; the sweep has 0.8: predict the values"):
        plotting.reward_curves(one, law.sel(gamma=0.2))
    assert plotting.reward_curves(one, law.sel(gamma=0.8)).axes


def test_only_values_under_which_a_utility_is_concave_have_a_certificate():
    schemes = cj.make_schemes({"power": cj.choose(cj.UTILITIES["power"], min_gap=1e-3)}, ("all",))
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=SHORT)
    gap = cj.sweep(process, {"gamma": [0.5, 2.0, 1.0]}, progress=False)["gap"]
    assert gap.isnull().all(["step", "prompt"]).to_numpy().tolist() == [False, True, False]
    predicted = cj.predict_rewards(schemes, N, gamma=[0.5, 2.0, 1.0])["gap"]
    assert predicted.isnull().to_numpy().ravel().tolist() == [False, True, False]


@pytest.mark.slow
def test_a_parameter_with_a_value_for_each_type_is_an_axis_of_that_type():
    power = cj.UTILITIES["power"]
    pair = {"open": cj.choose(power, gamma=0.2, min_gap=1e-3), "closed": cj.choose(power, gamma=0.8, min_gap=1e-3)}
    schemes = cj.make_schemes({"aware": pair})
    values = {"open.gamma": [0.2, 0.5]}
    whole = cj.sweep(two_types(schemes), values, progress=False)["rewards"]
    changed = cj.make_schemes({"aware": {**pair, "open": cj.choose(power, gamma=0.5, min_gap=1e-3)}})
    alone = cj.sweep(two_types(changed), {}, progress=False)["rewards"]
    np.testing.assert_array_equal(whole.sel({"open.gamma": 0.5}), alone)
    law = cj.predict_rewards(schemes, N, **values)["rewards"]
    np.testing.assert_array_equal(law.sel({"open.gamma": 0.5}), cj.predict_rewards(changed, N)["rewards"])


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"gamma": [0.5, -1.0]}, "utility 'power' with gamma=-1, .* is not increasing"),
        ({"min_gap": 0.0}, "scheme 'power': power has an infinite slope at gap 0"),
        ({"min_gap": [0.1, 1.0]}, r"min_gap of utility 'linear' is 1.0; it must lie in \[0, 1\)"),
        ({"gamma": float("nan")}, "axis 'gamma' has a non-finite value"),
        ({"scale": 0.1}, "unknown axis 'scale'; this process has .*offset, min_gap, gamma"),
    ],
)
def test_values_of_parameters_are_refused_before_anything_is_compiled(axes, message, monkeypatch):
    monkeypatch.setattr(importlib.import_module("collapse_jax.engine.sweep"), "make_program", None)
    with pytest.raises(ValueError, match=message):
        cj.sweep(two_types(powers()), axes, progress=False)


def test_what_a_scheme_that_is_not_run_could_not_be_trained_with_is_no_matter():
    process = two_types(powers())
    found = cj.sweep(process, {"utility": "linear", "min_gap": 0.0}, progress=False)
    assert np.isfinite(found["rewards"]).all()


@pytest.mark.slow
def test_a_border_holds_in_the_precision_in_which_it_was_given():
    sine = cj.choose(cj.UTILITIES["sine"], a=np.pi / 2)  # in float32 the slope at 1 would be below 0
    process = cj.make_training(free_rankings(), cj.mlp(()), cj.make_schemes({"sine": sine}, ("all",)), training=SHORT)
    for axes in ({"min_gap": [0.0, 0.1]}, {"a": [1.0, np.pi / 2]}):
        assert np.isfinite(cj.sweep(process, axes, progress=False)["rewards"]).all()


def test_a_row_of_other_schemes_has_no_parameters_to_vary():
    process, other = two_types(powers()), powers(0.3)
    assert cj.sweep(process, {"utility": other.axis}, progress=False).sizes["utility"] == 3
    with pytest.raises(ValueError, match="axis 'utility' has a row that isn't one of the schemes linear, power, aware"):
        cj.sweep(process, {"utility": other.axis, "gamma": [0.2]}, progress=False)


def test_a_hyperparameter_with_the_name_of_a_parameter_is_refused():
    with pytest.raises(ValueError, match="hyper has gamma, which is a parameter of the schemes' utilities too"):
        two_types(powers(), hyper={"gamma": 0.9})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gama": 0.2}, "the schemes have no parameter 'gama' with one value; they have offset, min_gap, gamma"),
        ({"gamma": []}, r"gamma is \[\]; give at least one value, and none twice"),
        ({"gamma": [0.2, 0.2]}, "give at least one value, and none twice"),
        ({"gamma": -1.0}, "is not increasing"),
        ({"gamma": "x"}, "gamma is 'x'; predict_rewards needs a number or a sequence"),
        ({"centring": [0.0, -1.0]}, "centring is -1.0"),
    ],
)
def test_laws_of_values_that_cannot_be_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        cj.predict_rewards(powers(), N, **options)


@pytest.mark.parametrize("pairs", ["chain", "star"])
def test_other_pairs_have_other_laws(pairs):
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)}, ("all",))
    plan = dataclasses.replace(TRAINING, pairs=pairs)
    process = cj.make_training(free_rankings(), cj.mlp(()), schemes, training=plan, hyper=FREE)
    dataset = cj.sweep(process, {}, progress=False)
    law, whole = cj.predict_rewards(schemes, N, pairs=pairs), cj.predict_rewards(schemes, N)
    rewards = dataset["rewards"].isel(step=-1, prompt=0)
    np.testing.assert_allclose(rewards, law["rewards"].isel(utility=0, type=0), atol=0.01)
    assert float(abs(rewards - whole["rewards"].isel(utility=0, type=0)).max()) > 0.03
    assert cj.summarize_rewards(dataset, law)["law_rmse"].isel(step=-1).item() < 0.01
    assert plotting.reward_curves(dataset, law).axes
    for compare in (cj.summarize_rewards, plotting.reward_curves):
        with pytest.raises(ValueError, match=rf"is for pairs = all; the sweep has {pairs}: .*, pairs='{pairs}'\)"):
            compare(dataset, whole)
    with pytest.raises(ValueError, match=rf"limits is for pairs = all; the sweep has {pairs}: .* leave limits out"):
        cj.summarize_rewards(dataset, law, cj.reward.limit_values(schemes))


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
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)}, ("open", "closed"))
    train, test = (free_rankings(((True,) * N,) * 2, types, ("open", "closed")) for types in ((0, 1), (1, 1)))
    process = cj.make_training(train, cj.mlp((4,)), schemes, training=cj.reward.Training(steps=6, records=3), test=test)
    dataset = cj.sweep(process, {}, progress=False)
    assert dataset["step"].to_numpy().tolist() == [2, 4, 6]
    assert dataset["prompt_split"].to_numpy().tolist() == ["train", "train", "test", "test"]
    assert dataset["prompt_type"].to_numpy().tolist() == ["open", "closed", "closed", "closed"]
    assert dataset["prompt_items"].to_numpy().tolist() == [5, 5, 5, 5]
    assert dataset["item"].to_numpy().tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (cj.reward.Training(steps=10, records=3), "training.steps is 10; it must be a multiple of records, 3"),
        (cj.reward.Training(steps=0), "training.steps is 0"),
        (cj.reward.Training(batch_size=0), "training.batch_size is 0"),
        (cj.reward.Training(batch_size=1000), "training.batch_size is 1000; there are 1 prompts to train on"),
    ],
)
def test_bad_plans_are_refused(training, message):
    schemes = cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])}, ("all",))
    with pytest.raises(ValueError, match=message):
        cj.make_training(free_rankings(), cj.mlp(()), schemes, training=training)


def hyper_of(**values):
    return two_types(powers(), hyper=values)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("learning_rate", -1.0, r"\[0, inf\]"),
        ("weight_decay", -0.1, r"\[0, inf\]"),
        ("clip", 0.0, r"\[1.17549e-38, inf\]"),
        ("centring", -0.5, r"\[0, inf\]"),
    ],
)
def test_hyperparameters_out_of_range_are_refused_as_defaults_and_in_a_sweep(name, value, allowed):
    with pytest.raises(ValueError, match=rf"axis '{name}' has the value {value:g}; it must lie in {allowed}"):
        cj.sweep(hyper_of(), {name: [1.0, value]}, progress=False)
    with pytest.raises(ValueError, match=rf"hyperparameter '{name}' is {value}; it must lie in {allowed}"):
        hyper_of(**{name: value})


def test_an_optimiser_of_ones_own_has_its_own_names_but_no_negative_learning_rate():
    own = {"optimizer": lambda hyper: optax.sgd(hyper["learning_rate"])}
    two_types(powers(), hyper={"learning_rate": 0.1, "clip": -1.0}, **own)
    with pytest.raises(ValueError, match=r"hyperparameter 'learning_rate' is -0\.1"):
        two_types(powers(), hyper={"learning_rate": -0.1}, **own)
    for bad in ({"steps": 0}, {"steps": 10, "warmup": 1.0}):
        with pytest.raises(ValueError, match=r"steps is 0|warmup = 1\.0"):
            cj.reward.adamw(**bad)


@pytest.mark.slow
def test_a_batch_has_all_prompts_where_there_are_fewer_than_usual():
    rankings = free_rankings(((True,) * N,) * 2, (0, 1), ("open", "closed"))
    options = {"optimizer": lambda hyper: optax.sgd(hyper["rate"]), "hyper": {"rate": 0.1}}
    found = []
    for batch in (None, 2):
        training = cj.reward.Training(steps=2, records=1, batch_size=batch)
        process = cj.make_training(rankings, cj.mlp(()), powers(), training=training, **options)
        found.append(process.step(process.init(jax.random.key(0), process.hyper), process.hyper, jnp.int32(0))[1])
    np.testing.assert_array_equal(*(one["rewards"] for one in found))


def test_types_and_shapes_must_fit():
    schemes = cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])}, ("open", "closed"))
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
