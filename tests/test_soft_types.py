"""Soft types: prompts that are of several types by shares, their objective and their laws."""

import importlib

import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.engine import Axis
from collapse_jax.reward.laws import mixed_types
from collapse_jax.reward.training import on_device
from tests.test_training import FREE, SHORT, N, free_rankings

TYPES = ("open", "closed")
OPEN, CLOSED = cj.choose(cj.UTILITIES["inverse_power"], offset=0.1), cj.choose(cj.UTILITIES["log_sigmoid"], scale=0.5)
SCHEMES = cj.make_schemes({"fixed": OPEN, "aware": {"open": OPEN, "closed": CLOSED}})
PROMPTS = 4
TOLD = np.array([[1.0, 0.0], [0.0, 1.0]] * (PROMPTS // 2))
SOFT = np.array([[0.5, 0.5], [0.02, 0.98], [0.1, 0.9], [1.0, 0.0]])


def rankings(memberships=None, prompts=PROMPTS):
    types = (0, 1) * (prompts // 2)
    return free_rankings(((True,) * N,) * prompts, types, TYPES)._replace(memberships=memberships)


PLAN = cj.reward.Training(steps=3000, records=3)
LINEAR = cj.mlp(())
STILL = {**FREE, "learning_rate": 0.0}


def train(data, schemes=SCHEMES, axes=None, plan=PLAN, model=LINEAR, **options):
    process = cj.make_training(data, model, schemes, training=plan, **{"hyper": FREE, **options})
    return cj.sweep(process, axes or {}, progress=False)


@pytest.fixture(scope="module")
def soft():
    return train(rankings(TOLD), axes={"memberships": Axis(np.stack([TOLD, SOFT]), ["told", "soft"])})


def test_memberships_of_one_type_each_are_types_that_are_told(soft):
    hard = train(rankings())
    assert "trained_types" not in hard.coords
    for name in ("rewards", "objective", "gap", "accuracy"):
        np.testing.assert_allclose(soft[name].sel(memberships="told"), hard[name], rtol=1e-4, atol=1e-5)  # float32


def test_free_rewards_end_on_the_law_of_their_mixture_and_a_fixed_utility_has_none(soft):
    last = soft.sel(memberships="soft").isel(step=-1)
    law = cj.reward.predict_mixed(rankings(SOFT), SCHEMES)
    assert law["gap"].max() < 1e-9
    np.testing.assert_allclose(last["rewards"], law["rewards"], atol=0.01)
    assert bool((law["value"] - last["objective"] <= last["gap"] + 1e-5).all())
    aware = law["rewards"].sel(utility="aware")
    assert float(abs(aware[0] - aware[1]).max()) > 0.03
    one = cj.finite_law(OPEN, N).rewards
    np.testing.assert_allclose(law["rewards"].sel(utility="fixed"), np.tile(one, (PROMPTS, 1)), atol=1e-12)
    fixed = soft["rewards"].sel(utility="fixed")
    np.testing.assert_allclose(fixed.sel(memberships="soft"), fixed.sel(memberships="told"), atol=1e-4)


@pytest.mark.slow
def test_laws_of_told_types_are_not_for_memberships_nor_the_reverse(soft):
    one = soft.sel(memberships="told")
    with pytest.raises(ValueError, match=r"predicted is for types = told; the sweep has memberships: .*predict_mixed"):
        cj.summarize_rewards(one, cj.predict_rewards(SCHEMES, N))
    with pytest.raises(ValueError, match="predicted is for types = told; the sweep has memberships"):
        plotting.reward_curves(one, cj.predict_rewards(SCHEMES, N))
    told, law = one.assign_coords(trained_types="told"), cj.predict_rewards(SCHEMES, N)
    assert cj.summarize_rewards(told, law)["law_rmse"].size
    with pytest.raises(ValueError, match="predicted is for types = memberships; the sweep has told"):
        cj.summarize_rewards(told, law.assign_coords(types="memberships"))
    each = cj.reward.predict_mixed(np.eye(2), SCHEMES, n_items=N)
    for given in (each, each.sel(prompt=0)):
        with pytest.raises(ValueError, match="predicted has each prompt's own law"):
            cj.summarize_rewards(one, given)
    with pytest.raises(ValueError, match="laws have rewards, value, gap; give those that predict_labelled returns"):
        cj.reward.summarize_labelled(one, each)


def test_prompts_without_memberships_are_all_of_their_type_and_cost_nothing():
    assert on_device(rankings(), rankings()).memberships is None
    assert "memberships" not in cj.make_training(rankings(), cj.mlp(()), SCHEMES, training=SHORT).hyper
    for parts, expected in (
        ((rankings(SOFT), rankings()), (SOFT, TOLD)),
        ((rankings(), rankings(SOFT)), (TOLD, SOFT)),
    ):
        np.testing.assert_allclose(on_device(*parts).memberships, np.concatenate(expected))


def test_a_mixture_has_a_certificate_where_all_that_it_mixes_is_concave():
    square = cj.choose(cj.UTILITIES["power"], gamma=2.0)
    schemes = cj.make_schemes({"square": {"open": OPEN, "closed": square}})
    gap = train(rankings(SOFT), schemes, plan=SHORT)["gap"].isel(step=-1)
    assert gap.isnull().to_numpy().tolist() == [True, True, True, False]


BY_HAND = {
    "smooth": ((OPEN, CLOSED), (0.3, 0.7), lambda t: -0.3 / (t + 0.1) + 0.7 * cj.UTILITIES["log_sigmoid"].fn(t / 2)),
    "ties": (
        (OPEN, cj.choose(cj.UTILITIES["linear"], offset=0.1)),
        (0.002, 0.998),
        lambda t: -0.002 / (t + 0.1) + 0.998 * (t + 0.1),
    ),
    "kinks": (
        (cj.choose(cj.UTILITIES["hinge"], width=0.3), cj.choose(cj.UTILITIES["quadratic"])),
        (0.4, 0.6),
        lambda t: 0.4 * cj.UTILITIES["hinge"].fn(t, width=0.3) + 0.6 * (2 * t - t**2),
    ),
    "convex": (
        (cj.choose(cj.UTILITIES["power"], gamma=2.0), cj.choose(cj.UTILITIES["power"], gamma=3.0)),
        (0.5, 0.5),
        lambda t: 0.5 * t**2 + 0.5 * t**3,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("pairs", ["all", pytest.param("chain", marks=pytest.mark.slow)])
def test_the_law_of_a_mixture_is_that_of_the_utility_written_down(name, pairs):
    choices, shares, fn = BY_HAND[name]
    schemes = cj.make_schemes({"aware": dict(zip(TYPES, choices, strict=True))})
    law = cj.reward.predict_mixed(np.array([shares]), schemes, n_items=N, pairs=pairs)
    written = cj.finite_law(cj.reward.Utility("by hand", fn), N, pairs=pairs)
    np.testing.assert_allclose(law["rewards"][0, 0], written.rewards, atol=1e-9)
    assert law["value"].item() == pytest.approx(written.value, rel=1e-12)
    np.testing.assert_allclose(law["gap"].item(), written.gap, atol=1e-12)


def test_a_mixture_that_is_neither_concave_nor_convex_is_refused():
    square = cj.choose(cj.UTILITIES["power"], gamma=8.0)
    schemes = cj.make_schemes({"aware": {"open": OPEN, "closed": square}})
    with pytest.raises(ValueError, match=r"mixture 0.01 inverse_power.* is neither concave nor convex"):
        cj.reward.predict_mixed(np.array([[0.01, 0.99]]), schemes, n_items=N)


@pytest.mark.slow
def test_interpolated_laws_are_within_their_tolerance_and_their_gap(monkeypatch):
    openness = np.r_[0.0, np.geomspace(2e-3, 1.0, 24)]
    shares = cj.reward.soft_types(openness)
    schemes = cj.make_schemes({"aware": {"open": OPEN, "closed": cj.choose(cj.UTILITIES["linear"], offset=0.1)}})
    monkeypatch.setattr(mixed_types, "_EXACT", len(shares) - 1)
    near = cj.reward.predict_mixed(shares, schemes, n_items=4, centring=0.1, tolerance=1e-2)
    monkeypatch.setattr(mixed_types, "_EXACT", len(shares))
    exact = cj.reward.predict_mixed(shares, schemes, n_items=4, centring=0.1)
    error = abs(near["rewards"] - exact["rewards"]).max().item()
    assert 1e-4 < error < 1e-2
    missed = exact["value"] - near["value"]
    assert missed.max() > 0
    assert bool((missed <= near["gap"] + 1e-14).all())
    assert near["gap"].max() < 1e-2


def test_each_number_of_items_has_its_own_law():
    data = free_rankings(((True,) * N, (True, True, True, False, False)), (0, 1), TYPES)
    law = cj.reward.predict_mixed(data, SCHEMES, test=data._replace(memberships=SOFT[:2]))
    assert law["prompt_split"].to_numpy().tolist() == ["train"] * 2 + ["test"] * 2
    assert law["prompt_type"].to_numpy().tolist() == list(TYPES) * 2
    aware = law["rewards"].sel(utility="aware")
    assert np.isfinite(aware[2:]).sum("item").to_numpy().tolist() == [N, 3]
    np.testing.assert_array_equal(aware[0], cj.finite_law(OPEN, N).rewards)
    np.testing.assert_array_equal(aware[1], [*cj.finite_law(CLOSED, 3).rewards, np.nan, np.nan])
    assert law["prompt_items"].to_numpy().tolist() == [N, 3] * 2


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (np.ones((PROMPTS, 2)), r"memberships of prompt 0 are \[1. 1.\]; they must be shares >= 0 that sum to 1"),
        (np.array([[1.0, 0.0], [1.5, -0.5]] * 2), r"memberships of prompt 1 are \[ 1.5 -0.5\]"),
        (TOLD * np.array([1.0, np.nan]), "memberships of prompt 0 are"),
        (TOLD[:2], r"memberships are float64\(2, 2\); expected shares \(4, 2\), by prompt and type"),
        (np.ones((PROMPTS, 1)), r"memberships are float64\(4, 1\)"),
    ],
)
def test_memberships_must_be_shares(shares, message):
    data = rankings()
    with pytest.raises(ValueError, match=message):
        cj.make_rankings(data.features, data.mask, data.types, TYPES, memberships=shares)
    if len(shares) == PROMPTS:
        with pytest.raises(ValueError, match="memberships"):
            cj.reward.predict_mixed(shares, SCHEMES, n_items=N)


def test_a_sweep_refuses_memberships_that_are_none_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr(importlib.import_module("collapse_jax.engine.sweep"), "make_program", None)
    for values in (np.stack([SOFT, SOFT * 2]), np.stack([SOFT, SOFT - 1])):
        with pytest.raises(ValueError, match="memberships of prompt 0 are"):
            train(rankings(TOLD), axes={"memberships": Axis(values)}, plan=SHORT)
    with pytest.raises(ValueError, match="unknown axis 'memberships'"):
        train(rankings(), axes={"memberships": Axis(SOFT[None])}, plan=SHORT)
    with pytest.raises(ValueError, match="hyper has memberships, which rankings with memberships and folds bring"):
        cj.make_training(rankings(), cj.mlp(()), SCHEMES, training=SHORT, hyper={"memberships": 1.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_items": 5}, "n_items is 5; rankings have their own numbers of items"),
        ({"tolerance": 0.0}, r"tolerance = 0.0 is outside \(0, 1\]"),
        ({"scale": -1.0}, "is not increasing"),
        ({"gamma_": 1.0}, "the schemes have no parameter 'gamma_'"),
        ({"centring": -1.0}, "centring is -1.0"),
        ({"pairs": "plackett_luce"}, "pairs is 'plackett_luce'; laws of mixtures are for means over pairs"),
    ],
)
def test_laws_of_mixtures_refuse_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        cj.reward.predict_mixed(rankings(SOFT), SCHEMES, **options)


def test_memberships_alone_need_a_number_of_items():
    with pytest.raises(ValueError, match="memberships alone need n_items"):
        cj.reward.predict_mixed(SOFT, SCHEMES)
    with pytest.raises(ValueError, match="and no test"):
        cj.reward.predict_mixed(SOFT, SCHEMES, n_items=N, test=rankings())
    tie = np.zeros((PROMPTS, N, N))
    tie[:, :2, :2] = 0.5 * (1 - np.eye(2))
    with pytest.raises(ValueError, match="rankings have labels that are graded; laws of mixtures are for orders"):
        cj.reward.predict_mixed(rankings(SOFT)._replace(wins=tie), SCHEMES)


@pytest.mark.parametrize("plan", [cj.reward.Training(1, 1), cj.reward.Training(1, 1, pairs="plackett_luce")])
def test_the_objective_of_shares_is_the_mean_of_the_objectives_of_the_types(plan):
    """Also of labels that say more than orders, and of stages, whose objective isn't linear in the utility."""
    one, other = cj.choose(cj.UTILITIES["log_sigmoid"]), cj.choose(cj.UTILITIES["log_sigmoid"], scale=1.0)
    schemes, data = cj.make_schemes({"aware": {"open": one, "closed": other}}), rankings()
    if plan.pairs == "all":
        wins = np.random.default_rng(0).uniform(size=(PROMPTS, N, N)) * 0.5 * (1 - np.eye(N))
        data = data._replace(wins=wins)
    arms = np.stack([np.tile(row, (PROMPTS, 1)) for row in ([1.0, 0.0], [0.0, 1.0], [0.3, 0.7])])
    found = train(data._replace(memberships=TOLD), schemes, {"memberships": Axis(arms)}, plan, hyper=STILL)
    first, second, mixed = found["objective"].isel(step=0).to_numpy()
    np.testing.assert_allclose(mixed, 0.3 * first + 0.7 * second, rtol=1e-5)
    assert np.abs(first - second).min() > 0.005
