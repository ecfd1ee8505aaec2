"""Openness estimated from what data tell, and first models trained without some of the prompts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
import xarray as xr

import collapse_jax as cj
from experiments.openness import separation
from tests.test_soft_types import rankings, train
from tests.test_training import SHORT


@pytest.mark.parametrize(("prompts", "folds"), [(10, 5), (11, 3), (7, 7), (5, 2)])
def test_every_prompt_is_left_out_of_equally_large_folds(prompts, folds):
    rows = cj.reward.split_folds(prompts, folds, seed=1)
    assert rows.shape == (folds, prompts - -(-prompts // folds))
    left_out = np.array([~np.isin(np.arange(prompts), row) for row in rows]).sum(0)
    assert left_out.min() == 1
    assert left_out.max() <= 2
    assert all(len(set(row)) == len(row) for row in rows.tolist())


@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_fold_learns_nothing_of_the_prompts_that_it_is_without(batch_size):
    data = rankings(prompts=6)
    rows = cj.reward.split_folds(6, 3)
    plan = cj.reward.Training(steps=40, records=2, batch_size=batch_size)
    free = cj.reward.Model(lambda key, x: jnp.zeros(x.shape[-1]), lambda params, x: jax.nn.sigmoid(x @ params))
    axes, test = {"utility": "fixed"}, rankings(prompts=6)
    dataset = train(data, axes=axes, plan=plan, model=free, folds=rows, test=test)
    moved = abs(dataset["rewards"].isel(step=1) - dataset["rewards"].isel(step=0)).max("item").squeeze("utility")
    # Each prompt's logits are free and no weight decays: those of a prompt that isn't drawn stay.
    trained_on = np.array([np.isin(np.arange(6), row) for row in rows])
    np.testing.assert_array_equal(moved.isel(prompt=slice(6)) > 0, trained_on)
    scores = cj.reward.held_out_scores(dataset, rows).squeeze("utility")
    last = dataset["rewards"].isel(step=-1).squeeze("utility").to_numpy()
    for prompt in range(6):
        own = last[~trained_on[:, prompt], prompt].mean(0)
        np.testing.assert_allclose(scores[prompt], own, rtol=1e-6)
    np.testing.assert_allclose(scores[6:], last[:, 6:].mean(0), rtol=1e-6)
    with pytest.raises(ValueError, match=r"dataset has the folds \[0, 1\]; expected all 3"):
        cj.reward.held_out_scores(dataset.isel(fold=[0, 1]), rows)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (np.array([[0, 1], [2, 4]]), "folds must have in each row places of prompts, from 0 to 3, none twice"),
        (np.array([[0, 0], [2, 3]]), "none twice"),
        (np.array([[-1, 0]]), "folds must have"),
    ],
)
def test_folds_are_places_of_prompts(folds, message):
    with pytest.raises(ValueError, match=message):
        train(rankings(), plan=SHORT, folds=folds)


def test_a_batch_is_no_larger_than_a_fold():
    plan = cj.reward.Training(steps=4, records=1, batch_size=3)
    with pytest.raises(ValueError, match=r"training\.batch_size is 3; there are 2 prompts to train on"):
        train(rankings(), plan=plan, folds=np.array([[0, 1], [2, 3]]))


def by_pair(first):
    """Wins of two items: the share of the first one's."""
    return np.array([[0.0, first], [1.0 - first, 0.0]])


def test_disagreement_is_that_of_the_true_probability_on_average():
    for votes in (2, 3, 7):
        for p in (0.5, 0.8, 1.0):
            chance = scipy.stats.binom.pmf(np.arange(votes + 1), votes, p)
            measured = cj.reward.disagreement([by_pair(k / votes) for k in range(votes + 1)], votes)
            assert chance @ measured == pytest.approx(4 * p * (1 - p))
    np.testing.assert_allclose(cj.reward.disagreement([by_pair(1.0), by_pair(0.5), by_pair(0.75)]), [0.0, 1.0, 0.75])


def test_statistics_take_the_pairs_that_were_compared():
    three = np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 1.0], [0.0, 0.0, 0.0]])
    wins = [three, np.zeros((2, 2))]
    np.testing.assert_allclose(cj.reward.tie_rate(wins), [0.5, np.nan])
    np.testing.assert_allclose(cj.reward.disagreement(wins), [0.5, np.nan])
    votes = [np.array([[0, 4, 0], [4, 0, 1], [0, 1, 0]]), np.zeros((2, 2), int)]
    np.testing.assert_allclose(cj.reward.disagreement(wins, votes), [4 / 3, np.nan])
    # Weights that don't add up to one, as where some votes were ties that count for neither.
    np.testing.assert_allclose(cj.reward.disagreement([np.array([[0.0, 0.6], [0.2, 0.0]])]), [0.75])
    strengths = [np.array([[0.0, -3.0, np.nan], [3.0, 0.0, 1.0], [np.nan, -1.0, 0.0]]), np.full((2, 2), np.nan)]
    np.testing.assert_allclose(cj.reward.closeness(strengths), [-2.0, np.nan])
    scores = np.array([[0.9, 0.5, np.nan], [0.2, 0.8, np.nan], [0.9, 0.5, 0.1], [0.9, np.nan, np.nan]])
    np.testing.assert_allclose(cj.reward.score_closeness(scores), [-0.4, 0.6, -1.6 / 3, np.nan])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cj.reward.disagreement([by_pair(1.0), by_pair(1.5)]), r"wins of prompt 1 are not all in \[0, 1\]"),
        (lambda: cj.reward.tie_rate([by_pair(np.nan)]), "wins of prompt 0 are not"),
        (
            lambda: cj.reward.closeness([np.zeros((2, 3))]),
            r"strengths of prompt 0 have shape \(2, 3\); expected as many",
        ),
        (lambda: cj.reward.disagreement([by_pair(1.0)], 0), "votes of prompt 0 are below 1"),
        (lambda: cj.reward.disagreement([by_pair(1.0)], []), "votes are those of 0 prompts; wins have 1"),
        (lambda: cj.reward.disagreement([by_pair(1.0)], [np.ones(2, int)]), "votes"),
        (lambda: cj.reward.tie_rate([]), "wins are empty"),
        (lambda: cj.reward.closeness([np.full((2, 2), np.inf)]), "strengths of prompt 0 are infinite"),
        (lambda: cj.reward.score_closeness(np.array([[np.inf, 0.0]])), "scores are infinite"),
        (lambda: cj.reward.split_folds(5, 2, seed=-1), "seed is -1"),
        (lambda: cj.reward.soft_types(np.array([0.5, 1.2])), r"openness is .*; each must be in \[0, 1\]"),
        (lambda: cj.reward.estimate_openness(np.arange(9.0)), "statistic is known of 9 prompts; .* from 10 on"),
        (lambda: cj.reward.estimate_openness(np.full(50, 0.3)), "statistic is 0.3 for all 50 prompts: it tells none"),
        (lambda: cj.reward.estimate_openness(np.r_[np.inf, np.arange(20.0)]), "statistic of prompt 0 is infinite"),
    ],
)
def test_what_tells_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def groups(apart, seed=0, size=400):
    """A statistic of prompts of which the first half is open."""
    random = np.random.default_rng(seed)
    return random.standard_normal(size) + apart * (np.arange(size) < size // 2)


def test_openness_is_the_probability_of_the_group_in_which_the_statistic_is_larger():
    statistic = groups(4.0)
    openness = cj.reward.estimate_openness(statistic)
    # The true posterior of two normals with unit variance, 4 apart.
    truth = 1 / (1 + np.exp(-4 * (statistic - 2)))
    assert np.abs(openness - truth).mean() < 0.02
    assert (np.diff(openness[np.argsort(statistic)]) >= 0).all()
    np.testing.assert_allclose(cj.reward.estimate_openness(5e3 * statistic - 7e4), openness, atol=1e-6)
    np.testing.assert_allclose(cj.reward.estimate_openness(-statistic), 1 - openness, atol=1e-3)
    for scale in (1e-250, 1e250):
        np.testing.assert_allclose(cj.reward.estimate_openness(scale * statistic), openness, atol=1e-6)
    assert cj.reward.soft_types(openness).sum(1) == pytest.approx(1.0)
    np.testing.assert_array_equal(cj.reward.soft_types(openness)[:, 0], openness)
    unknown = cj.reward.estimate_openness(np.r_[np.nan, statistic])
    np.testing.assert_allclose(unknown[1:], openness)
    assert unknown[0] == pytest.approx(openness.mean(), abs=0.01)


def test_one_group_is_said_to_be_one():
    with pytest.warns(UserWarning, match="statistic has no two groups: .* is no probability"):
        cj.reward.estimate_openness(groups(0.0))


def test_many_equal_values_leave_room_for_doubt():
    openness = cj.reward.estimate_openness(np.r_[np.zeros(400), np.full(400, 0.5), 0.251])
    assert openness[0] < 0.01
    assert openness[-2] > 0.99
    assert 0.2 < openness[-1] < 0.8


def test_the_experiment_tells_prompts_taken_for_one_another_from_prompts_kept_apart():
    law = xr.DataArray([[0.9, 0.5, 0.1], [1.0, 1.0, 0.0]], dims=("prompt", "item"))
    law = law.assign_coords(prompt_type=("prompt", ["open", "closed"]), memberships="told")
    swapped = law.isel(prompt=[1, 0]).assign_coords(prompt_type=("prompt", ["open", "closed"]))
    mean = (0.1 + 0.5 + 0.1) / 3
    assert [float(separation(one, law)) for one in (law, swapped)] == pytest.approx([mean, -mean])
