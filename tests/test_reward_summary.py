"""Metrics of collapse for any number of answers, any number of types, and rewards that are not in [0, 1]."""

import warnings

import numpy as np
import pytest
import xarray as xr

import collapse_jax as cj
from collapse_jax import plotting
from tests.reward_sweeps import BINARY, SPREAD, on_law

OF_LAWS = ("law_rmse", "wasserstein_to_law", "ks_to_law", "atom_low", "atom_high", "gap", "mmd_gap")
LOG = cj.choose(cj.UTILITIES["log"], offset=0.1)
THREE = ("poem", "proof", "sum")


def three_types():
    return cj.make_schemes({"fixed": SPREAD, "aware": {"poem": SPREAD, "proof": BINARY, "sum": LOG}})


@pytest.fixture(scope="module")
def mixed():
    """Sixty prompts of one type, of which 13 have eight answers and the others four; their laws; and their metrics."""
    schemes = cj.make_schemes({"-1/x": SPREAD})
    counts = np.repeat([8, 4], [13, 47])
    laws = cj.predict_rewards(schemes, n_items=np.unique(counts))
    dataset = on_law(laws, np.zeros(60, int), counts)
    return schemes, dataset, cj.summarize_rewards(dataset, laws)


def test_laws_of_several_numbers_of_answers_are_an_axis(mixed):
    schemes = mixed[0]
    laws = cj.predict_rewards(schemes, n_items=[4, 8], centring=[0.0, 0.5])
    assert laws["rewards"].dims == ("centring", "n_items", "utility", "type", "item")
    third = laws["rewards"].sel(centring=0.0, item=3).squeeze()
    assert third.sel(n_items=8).item() == pytest.approx(0.76, abs=0.005)
    assert third.sel(n_items=4).item() == pytest.approx(0.31, abs=0.005)
    assert np.isnan(laws["rewards"].sel(n_items=4, item=slice(5, None))).all()
    for number in (4, 8):
        alone = cj.predict_rewards(schemes, number, centring=0.5)
        assert alone["n_items"].item() == number
        for name in ("rewards", "value", "gap"):
            one = laws[name].sel(n_items=number, centring=0.5)
            np.testing.assert_array_equal(one.isel(item=slice(number)) if name == "rewards" else one, alone[name])


@pytest.mark.parametrize(
    ("n_items", "message"),
    [
        ([], r"n_items is \[\]; give at least one value, and none twice"),
        ([4, 4], r"n_items is \[4, 4\]; give at least one value, and none twice"),
        ([4, 1], "n_items is 1; it must be an integer >= 2"),
        ([4, 2.5], r"n_items is \[4, 2.5\]; predict_rewards needs"),
    ],
)
def test_numbers_of_answers_that_cannot_be_are_refused(mixed, n_items, message):
    with pytest.raises(ValueError, match=message):
        cj.predict_rewards(mixed[0], n_items)


def test_every_prompt_is_compared_with_the_law_of_its_own_number(mixed):
    metrics = mixed[2].isel(utility=0, seed=0, step=-1, split=0)
    assert metrics["prompts"].sel(type="all").to_series().to_dict() == {4: 47, 8: 13}
    assert float(metrics["law_rmse"].max()) < 1e-6
    assert float(metrics["prompt_distance"].max()) < 1e-6  # 0 within a number; 4 and 8 answers have other rewards
    third = metrics["curve"].sel(item=3, type="all")
    # Averaged item by item over both numbers it was .54, beside a law of .76.
    assert third.sel(n_items=8).item() == pytest.approx(0.76, abs=0.005)
    assert third.sel(n_items=4).item() == pytest.approx(0.31, abs=0.005)
    assert np.isnan(metrics["curve"].sel(n_items=4, item=slice(5, None))).all()


@pytest.mark.parametrize(("numbers", "missing"), [(8, 4), ([8], 4), ([4, 5, 6], 8)])
def test_a_number_of_answers_without_a_law_is_refused_by_name(mixed, numbers, missing):
    schemes, dataset, _ = mixed
    with pytest.raises(ValueError, match=rf"the sweep has prompts of {missing} items: .*n_items=np.unique\(dataset"):
        cj.summarize_rewards(dataset, cj.predict_rewards(schemes, numbers))


@pytest.mark.slow
def test_a_sweep_of_one_scheme_is_compared_without_an_axis_of_utilities(mixed):
    schemes, whole, metrics = mixed
    laws, limits = cj.predict_rewards(schemes, [4, 8]), cj.reward.limit_values(schemes)
    mmd = cj.summarize_rewards(whole, laws, limits)["mmd_gap"].isel(utility=0, drop=True)
    for one in (whole.isel(utility=0), whole.isel(utility=0, drop=True)):
        for law, limit in ((laws, limits), (laws.isel(utility=0), limits.isel(utility=0))):
            own = cj.summarize_rewards(one, law, limit)
            xr.testing.assert_equal(
                own.drop_vars(["mmd_gap", "utility"], errors="ignore"), metrics.isel(utility=0, drop=True)
            )
            xr.testing.assert_equal(own["mmd_gap"].drop_vars("utility", errors="ignore"), mmd)
    assert plotting.over_steps(own).axes


def test_a_labelled_sweep_of_one_scheme_has_its_own_law_of_several():
    laws = cj.predict_rewards(cj.make_schemes({"x": BINARY, "-1/x": SPREAD}), 6)
    dataset = on_law(laws, [0, 0], [6, 6]).drop_vars("trained_schemes")
    assert float(cj.summarize_rewards(dataset.sel(utility="-1/x"), laws)["law_rmse"].max()) < 1e-6
    with pytest.raises(ValueError, match="predicted is for the utilities x, -1/x, dataset is of one: take its law"):
        cj.summarize_rewards(dataset.isel(utility=0, drop=True), laws)


@pytest.mark.parametrize("compare", [cj.summarize_rewards, plotting.reward_curves])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (BINARY, r"predicted is for linear\(.*\) as the utility of 'a' on all prompts; the sweep has inverse_power\("),
        (cj.choose(SPREAD.utility, offset=0.2), "inverse_power with offset = 0.2 in 'a' on all .*; the sweep has 0.1"),
        (cj.choose(SPREAD.utility, offset=0.1, min_gap=0.3), "with min_gap = 0.3 in 'a' .*; the sweep has 0.0: give"),
        (cj.choose(SPREAD.utility, offset=0.1, gamma=2), r"with gamma = 2.0 in 'a' .*; the sweep has 1.0: give"),
    ],
)
def test_another_utility_or_parameter_under_the_same_label_is_refused(compare, other, message):
    law = cj.predict_rewards(cj.make_schemes({"a": SPREAD, "b": BINARY}), 6)
    dataset, wrong = on_law(law, [0, 0], [6, 6]), cj.make_schemes({"a": other, "b": BINARY})
    with pytest.raises(ValueError, match=message):
        compare(dataset, cj.predict_rewards(wrong, 6))
    assert compare(dataset.sel(utility=["b"]), cj.predict_rewards(wrong, 6).sel(utility=["b"]))
    with pytest.raises(ValueError, match="limits is for"):
        cj.summarize_rewards(dataset, law, cj.reward.limit_values(wrong))


def test_a_parameter_that_the_law_alone_was_given_is_refused():
    schemes = cj.make_schemes({"a": SPREAD})
    dataset = on_law(cj.predict_rewards(schemes, 6), [0, 0], [6, 6])
    with pytest.raises(ValueError, match=r"with offset = 0.3 in 'a' on all prompts; the sweep has 0.1"):
        cj.summarize_rewards(dataset, cj.predict_rewards(schemes, 6, offset=0.3))
    own = cj.predict_rewards(cj.make_schemes({"a": cj.choose(SPREAD.utility, offset=0.3)}), 6, offset=0.1)
    assert float(cj.summarize_rewards(dataset, own)["law_rmse"].max()) < 1e-6


def test_what_is_compared_is_kept_by_merges_and_in_files(tmp_path):
    schemes = cj.make_schemes({"a": SPREAD, "b": BINARY})
    law = cj.predict_rewards(schemes, 6)
    merged = on_law(law, [0, 0], [6, 6]).merge(
        law.isel(type=0, drop=True)[["rewards"]].drop_vars("n_items").rename(rewards="law")
    )
    assert merged["pairs"] == merged["trained_pairs"] == "all"
    merged.to_netcdf(tmp_path / "sweep.nc")
    with xr.open_dataset(tmp_path / "sweep.nc") as kept:
        assert float(cj.summarize_rewards(kept, law)["law_rmse"].max()) < 1e-6
        with pytest.raises(ValueError, match="the sweep has inverse_power"):
            cj.summarize_rewards(kept, cj.predict_rewards(cj.make_schemes({"a": BINARY, "b": SPREAD}), 6))


def test_types_of_one_number_each_both_count():
    schemes = cj.make_schemes({"aware": {"short": SPREAD, "long": BINARY}})
    laws = cj.predict_rewards(schemes, [4, 8])
    dataset = on_law(laws, [0, 0, 1, 1, 1, 0], [4, 4, 8, 8, 8, 8], splits=[0, 0, 0, 0, 0, 1])
    metrics = cj.summarize_rewards(dataset, laws).isel(utility=0, seed=0, step=-1)
    counts = metrics["prompts"].transpose("split", "n_items", "type")
    assert counts.sel(split="train").to_numpy().tolist() == [[2, 0], [0, 3]]
    assert counts.sel(split="test").to_numpy().tolist() == [[0, 0], [1, 0]]
    assert float(metrics["law_rmse"].sel(split="train").max()) < 1e-6
    assert np.isnan(metrics["law_rmse"].sel(split="test", n_items=4))
    assert metrics["separation"].isnull().all()  # no number has prompts of both types


@pytest.mark.slow
def test_separation_of_three_types_is_that_of_each_pair_and_their_mean():
    schemes = three_types()
    assert schemes.type_names == THREE
    law = cj.predict_rewards(schemes, 6)
    metrics = cj.summarize_rewards(on_law(law, [0, 1, 2, 2], [6] * 4), law).isel(seed=0, step=-1, split=0)
    assert metrics["pair"].to_numpy().tolist() == ["poem, proof", "poem, sum", "proof, sum"]
    rewards = law["rewards"].sel(utility="aware")
    apart = [
        float(abs(rewards.sel(type=a) - rewards.sel(type=b)).mean())
        for a, b in (("poem", "proof"), ("poem", "sum"), ("proof", "sum"))
    ]
    assert min(apart) > 0.01
    for name in ("separation_by_pair", "wasserstein_by_pair"):  # sorted rewards in equal numbers: the same distance
        pairs = metrics[name].sel(utility="aware")
        np.testing.assert_allclose(pairs.isel(pair=[0]), apart[:1], atol=1e-6)
        np.testing.assert_allclose(pairs, apart, atol=1e-5)
    for name in ("separation", "wasserstein_between_types"):
        assert metrics[name].sel(utility="aware").item() == pytest.approx(np.mean(apart), abs=1e-5)
        assert metrics[name].sel(utility="fixed").item() < 1e-6
    ks = metrics["ks_by_pair"].sel(utility="aware")
    assert metrics["ks_between_types"].sel(utility="aware").item() == pytest.approx(float(ks.mean()), abs=1e-6)
    assert float(ks.min()) > 0.1


def test_a_type_without_prompts_has_no_part_in_separation():
    law = cj.predict_rewards(three_types(), 6)
    metrics = cj.summarize_rewards(on_law(law, [0, 0, 1], [6] * 3), law)
    one = metrics.isel(seed=0, step=-1, split=0).sel(utility="aware")
    assert one["separation_by_pair"].isnull().to_numpy().tolist() == [False, True, True]
    assert one["separation"].item() == pytest.approx(one["separation_by_pair"][0].item())
    assert one["prompts"].to_numpy().tolist() == [2, 1, 0]
    assert one["law_rmse"].item() < 1e-6


def test_one_type_has_no_separation(mixed):
    metrics = mixed[2]
    assert metrics.sizes["pair"] == 0
    for name in ("separation", "wasserstein_between_types", "ks_between_types"):
        assert metrics[name].isnull().all()


def test_prompts_of_a_type_without_a_law_are_refused(mixed):
    schemes, dataset, _ = mixed
    law = cj.predict_rewards(schemes, [4, 8]).assign_coords(type=["other"])
    with pytest.raises(ValueError, match="predicted is for the types other; the sweep has prompts of the type all"):
        cj.summarize_rewards(dataset, law)


def test_what_compares_rewards_outside_the_unit_interval_with_a_law_is_nan_with_a_warning():
    schemes = cj.make_schemes({"fixed": SPREAD, "aware": {"a": SPREAD, "b": BINARY}})
    laws, limits = cj.predict_rewards(schemes, 6), cj.reward.limit_values(schemes)
    types, counts = [0, 1, 1, 0], [6] * 4
    inside = cj.summarize_rewards(on_law(laws, types, counts), laws, limits).sel(seed=1)
    with pytest.warns(UserWarning, match=r"law_rmse, .* NaN where rewards reach from 0 to 60, .*jax.nn.sigmoid"):
        scored = cj.summarize_rewards(on_law(laws, types, counts, shift=[0.0, 59.0]), laws, limits)
    for name in OF_LAWS:
        assert scored[name].sel(seed=1).isnull().all(), name
        assert scored[name].sel(seed=0).notnull().all(), name
    for name in ("curve", "separation", "separation_by_pair", "wasserstein_between_types", "prompt_distance"):
        np.testing.assert_allclose(scored[name].sel(seed=1), 60 * inside[name], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scored["variance"].sel(seed=1), 3600 * inside["variance"], rtol=1e-4)
    for name in ("accuracy", "ks_between_types", "ks_between_prompts"):
        np.testing.assert_allclose(scored[name].sel(seed=1), inside[name], atol=1e-6)


@pytest.mark.parametrize(
    "compare",
    [
        lambda rewards: cj.reward.wasserstein_to_limit(rewards, cj.limit_law(BINARY.utility)),
        lambda rewards: cj.reward.quantile_distance(rewards, cj.limit_law(BINARY.utility)),
        lambda rewards: cj.reward.certified_gap(BINARY, rewards),
        lambda rewards: cj.reward.objective(BINARY, rewards),
    ],
)
def test_a_comparison_with_a_law_refuses_rewards_outside_the_unit_interval(compare):
    with pytest.raises(
        ValueError, match=r"rewards reach from -0.5 to 60, and laws hold for rewards in \[0, 1\]: bring"
    ):
        compare(np.array([60.0, 0.5, -0.5]))
    with pytest.raises(ValueError, match="are not all finite"):
        compare(np.array([1.0, np.nan, 0.0]))
    assert np.isfinite(compare(np.array([1.0 + 1e-7, 0.5, -1e-7])))


def test_rewards_that_rounding_put_over_the_bounds_are_inside():
    law = cj.predict_rewards(cj.make_schemes({"fixed": SPREAD}), 6)
    dataset = on_law(law, [0, 0], [6, 6], shift=[1e-7, 3e-7])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = cj.summarize_rewards(dataset, law)
    assert metrics["law_rmse"].notnull().all()


def test_what_has_no_finite_rewards_is_left_out_with_a_word():
    law = cj.predict_rewards(cj.make_schemes({"fixed": SPREAD}), 6)
    dataset = on_law(law, [0] * 5, [6] * 5)
    lost = dataset.copy(deep=True)
    lost["rewards"][:, :, :, 1] = np.nan
    with pytest.warns(UserWarning, match="1 of 5 train prompts have finite rewards in no member: left out"):
        metrics = cj.summarize_rewards(lost, law)
    assert metrics["prompts"].item() == 4
    assert float(metrics["law_rmse"].max()) < 1e-6
    lost = dataset.copy(deep=True)
    for name in ("rewards", "gap", "accuracy"):
        lost[name][:, 1, :, 1] = np.nan
    member = cj.summarize_rewards(lost, law).isel(seed=1)
    for name in ("curve", "law_rmse", "gap", "accuracy", "wasserstein_to_law"):
        assert member[name].isnull().all(), name  # and not that of the other four prompts
