"""Figures of rewards: the law of each number of answers, every type and utility drawn, and no law beside raw scores."""

import warnings

import numpy as np
import pytest
import xarray as xr

import collapse_jax as cj
from collapse_jax import plotting
from tests.reward_sweeps import BINARY, SPREAD, on_law

LAW = cj.predict_rewards(cj.make_schemes({"x": BINARY}), 6)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(ax, label):
    return [line for line in ax.get_lines() if line.get_label() == label]


def test_prompts_of_each_number_of_answers_are_drawn_beside_their_own_law():
    laws = cj.predict_rewards(cj.make_schemes({"-1/x": SPREAD}), [4, 8])
    dataset = on_law(laws, np.zeros(60, int), np.repeat([8, 4], [13, 47]))
    figure = plotting.reward_curves(dataset, laws)
    assert [ax.get_ylabel() for ax in figure.axes] == [f"reward, train prompts\nof {n} answers" for n in (4, 8)]
    for ax, number, third in zip(figure.axes, (4, 8), (0.31, 0.76), strict=True):
        (law,), (curve,) = lines(ax, "predicted law"), lines(ax, "all prompts")
        np.testing.assert_allclose(curve.get_ydata(), law.get_ydata(), atol=1e-6)
        assert len(law.get_ydata()) == number
        assert law.get_ydata()[2] == pytest.approx(third, abs=0.005)
        assert all(float(tick).is_integer() for tick in ax.get_xticks())
    with pytest.raises(ValueError, match="predicted is for n_items = 8; dataset has prompts of 4: draw a law for all"):
        plotting.reward_curves(dataset, laws.sel(n_items=8))


def test_one_type_has_its_law_in_the_legend():
    figure = plotting.reward_curves(on_law(LAW, [0, 0], [6, 6]), LAW)
    assert legend(figure) == ["all prompts", "predicted law"]
    figure.draw_without_rendering()
    whole, own = figure.bbox, figure.legends[0].get_window_extent()
    assert whole.x0 <= own.x0  # one utility makes a narrow figure
    assert own.x1 <= whole.x1


def test_a_sweep_of_one_scheme_is_drawn_without_an_axis_of_utilities():
    dataset = on_law(LAW, [0, 0], [6, 6]).isel(utility=0)
    for one in (dataset, dataset.drop_vars("utility")):
        for law in (LAW, LAW.isel(utility=0)):
            (ax,) = plotting.reward_curves(one, law).axes
            assert ax.get_title() == "x"
    two = LAW.isel(utility=[0, 0]).assign_coords(utility=["x", "y"])
    with pytest.raises(ValueError, match="predicted is for the utilities x, y, dataset is of one: take its law"):
        plotting.reward_curves(dataset.drop_vars(["utility", "trained_schemes"]), two)


def test_a_labelled_sweep_of_one_scheme_is_drawn_beside_its_own_law_of_several():
    laws = cj.predict_rewards(cj.make_schemes({"x": BINARY, "-1/x": SPREAD}), 6)
    dataset = on_law(laws, [0, 0], [6, 6]).sel(utility="-1/x")
    (ax,) = plotting.reward_curves(dataset, laws).axes
    (law,), (curve,) = lines(ax, "predicted law"), lines(ax, "all prompts")
    np.testing.assert_allclose(curve.get_ydata(), law.get_ydata(), atol=1e-6)


def many_types(number=10):
    """Types of which the last two have only prompts to test on."""
    names = [f"type {kind}" for kind in range(number)]
    law = cj.predict_rewards(cj.make_schemes({"-1/x": SPREAD}), 5)
    laws = law.isel(type=[0] * number).assign_coords(type=names)
    return names, laws, on_law(laws, np.arange(number), np.full(number, 5), splits=np.arange(number) >= number - 2)


def test_more_types_than_colours_are_all_drawn_under_the_names_that_the_data_give():
    names, laws, dataset = many_types()
    figure = plotting.reward_curves(dataset, laws)
    assert set(legend(figure)) == {*(f"{name} prompts" for name in names), "predicted law"}
    train, test = figure.axes
    assert len(lines(train, "predicted law")) == 8
    looks = {
        (line.get_color(), line.get_linestyle())
        for ax in (train, test)
        for name in names
        for line in lines(ax, f"{name} prompts")
    }
    assert len(looks) == len(names)
    figure.draw_without_rendering()
    assert train.get_window_extent().height > 1.8 * figure.dpi  # inches, beside a legend of eleven labels
    (last,) = lines(test, "type 9 prompts")
    np.testing.assert_allclose(last.get_ydata(), laws["rewards"].sel(type="type 9").squeeze(), atol=1e-6)
    with pytest.raises(ValueError, match=r"predicted is for type = type 0, type 1, .*; dataset has prompts of type 9"):
        plotting.reward_curves(dataset, laws.isel(type=slice(9)))


def test_curves_outside_the_unit_interval_have_no_law_beside_them():
    with pytest.warns(UserWarning, match="no law is drawn: rewards reach from 0 to 60"):
        figure = plotting.reward_curves(on_law(LAW, [0, 0], [6, 6], shift=[59.0, 59.0]), LAW)
    (ax,) = figure.axes
    assert not lines(ax, "predicted law")
    assert legend(figure) == ["all prompts"]
    assert ax.get_ylim()[1] > 60


@pytest.mark.parametrize("draw", [plotting.rewards_by_rank, plotting.densities])
def test_figures_beside_a_limit_law_refuse_other_rewards(draw):
    dataset = on_law(LAW, [0], [6], shift=[59.0, 0.0])
    with pytest.raises(ValueError, match="rewards reach from 0 to 60, and laws hold for rewards in"):
        draw(dataset)


def test_members_and_prompts_that_are_left_out_are_counted():
    dataset = on_law(LAW, [0, 0], [6, 6])
    dataset["rewards"][0, 1] = np.nan
    with pytest.warns(UserWarning, match="1 members have no finite rewards at the last step and are left out"):
        plotting.reward_curves(dataset, LAW)
    dataset = on_law(LAW, [0, 0], [6, 6])
    dataset["rewards"][:, :, :, 1] = np.nan
    with pytest.warns(UserWarning, match="1 prompts have no finite rewards"):
        plotting.reward_curves(dataset, LAW)


def test_bands_stay_where_rewards_can_be():
    dataset = on_law(LAW, [0] * 9, [6] * 9)
    dataset["rewards"][..., :2, :3] = 0.0  # the mean less a standard deviation is below that, and above 1 with it
    (ax,) = plotting.reward_curves(dataset, LAW).axes
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() >= 0
    assert heights.max() <= 1


def of_steps(laws, types, counts, **options):
    return cj.summarize_rewards(on_law(laws, types, counts, **options), laws)


@pytest.mark.slow
def test_steps_of_three_types_and_of_one_are_drawn():
    three = cj.predict_rewards(cj.make_schemes({"aware": {"a": SPREAD, "b": BINARY, "c": SPREAD}}), 5)
    figure = plotting.over_steps(of_steps(three, [0, 1, 2] * 2, [5] * 6, splits=[0, 0, 0, 1, 1, 1]))
    assert [ax.get_ylabel() for ax in figure.axes][1:] == ["separation, test prompts", "ranking accuracy, test prompts"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plotting.over_steps(of_steps(three.isel(type=[0]), [0, 0], [5, 5]))
    assert [ax.get_ylabel() for ax in figure.axes][1:] == ["ranking accuracy, train prompts"]


def test_steps_of_one_scheme_and_of_one_seed_are_drawn_without_their_axes():
    metrics = of_steps(LAW, [0, 0], [6, 6])
    whole = plotting.over_steps(metrics)
    for one in (metrics.isel(utility=0), metrics.isel(seed=0), metrics.isel(utility=0, seed=0)):
        figure = plotting.over_steps(one)
        assert legend(figure) == ["x"]
        for ax, other in zip(figure.axes, whole.axes, strict=True):
            np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), other.get_lines()[0].get_ydata())
    assert legend(plotting.over_steps(metrics.isel(utility=0, drop=True))) == ["trained"]


def steps(utilities, counts, gaps=(1e-3, 1e-6)):
    """Metrics of so many utilities, two seeds with a gap each, of which the test split lacks the first number."""
    over = ("split", "utility", "n_items", "seed", "step")
    shape = (2, utilities, len(counts), 2, 3)
    gap = np.broadcast_to(np.array(gaps)[:, None] / np.arange(1, 4), shape)
    test = np.full(shape, 0.5)
    test[1, :, 0] = np.nan
    return xr.Dataset(
        {"gap": (over, gap), "separation": (over, np.full(shape, np.nan)), "accuracy": (over, test)},
        {
            "split": ["train", "test"],
            "utility": [f"{number}" for number in range(utilities)],
            "n_items": list(counts),
            "step": [10, 20, 30],
        },
    )


def test_steps_of_more_utilities_than_colours_and_of_several_numbers_have_a_line_each():
    figure = plotting.over_steps(steps(10, (3, 4)))
    gap, accuracy = figure.axes
    assert len(gap.get_lines()) == 20
    assert len({(line.get_color(), str(line.get_linestyle())) for line in gap.get_lines()}) == 20
    assert all(float(tick).is_integer() for tick in gap.get_xticks())
    assert len(accuracy.get_lines()) == 10  # no test prompt has three answers
    assert len(legend(figure)) == 20
    assert "7, 3 answers" in legend(figure)


def test_a_gap_on_a_logarithmic_axis_has_a_band_above_zero():
    gap = plotting.over_steps(steps(1, (4, 5))).axes[0]
    heights = gap.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(1e-6 / 3)
    np.testing.assert_allclose(gap.get_lines()[0].get_ydata(), (1e-3 * 1e-6) ** 0.5 / np.arange(1, 4), rtol=1e-6)
    with pytest.raises(ValueError, match="metrics have no finite gap, separation or accuracy to draw"):
        plotting.over_steps(steps(1, (4, 5)) * np.nan)


def test_edges_of_more_utilities_than_colours_are_all_drawn():
    names, time = [f"{number}" for number in range(10)], np.arange(1.0, 4.0)
    edge = (("utility", "time"), np.outer(np.arange(1, 11), 1 / time))
    figure = plotting.edges(xr.Dataset({"edge": edge, "edge_law": edge}, {"utility": names, "time": time}))
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == names
