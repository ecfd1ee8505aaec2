"""Figures keep to the values that a quantity can take, and to whole generations."""

import ast
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection

from collapse_jax import metrics, plotting
from collapse_jax.plotting.bands import ANY, mean_band, median_band
from experiments.shared.intervals import interval, median_interval

RISKS = (92.7, 318, 303.4, 9248, 2338.3, 144.8)
ROOT = Path(__file__).parents[1]


def seeds(*values):
    return xr.DataArray(np.array(values, float), dims="seed")


LEFT = {
    "heavy-tailed variances": (seeds(*RISKS), plotting.POSITIVE),
    "one variance that is left": (seeds(0, 0, 0, 0, 0, 1e-3), plotting.POSITIVE),
    "a share of one lineage": (seeds(0, 0, 0, 0, 0.6), plotting.SHARE),
    "a share of all but one": (seeds(1, 1, 1, 0.7), plotting.SHARE),
    "alive or not": (seeds(1, 0, 1, 1, 1), plotting.SHARE),
    "three modes at most": (seeds(3, 3, 3, 2), (0.0, 3.0)),
    "perplexities": (seeds(1.0, 1.0, 1.0, 1.9), (1.0, np.inf)),
    "a loss of all at most": (seeds(1.0, 1.0, 1.0, 0.1), (-np.inf, 1.0)),
}


@pytest.mark.parametrize("name", LEFT)
def test_bands_end_where_their_quantity_does(name):
    values, (low, high) = LEFT[name]
    plain = mean_band(values)
    assert plain.lower < low or plain.upper > high
    band = mean_band(values, (low, high))
    assert low < band.lower < band.middle < band.upper < high
    assert band.middle == values.mean()


@pytest.mark.parametrize("support", [plotting.POSITIVE, (0.0, 4.0), (-np.inf, 4.0), (1.0, np.inf), ANY])
def test_bands_far_from_the_ends_are_two_standard_errors(support):
    values = 2 + 1e-4 * xr.DataArray(np.random.default_rng(0).normal(size=(3, 9)), dims=("generation", "seed"))
    error = 2 * values.std("seed", ddof=1) / 3
    band = mean_band(values, support)
    np.testing.assert_allclose(band.upper - band.middle, error, rtol=1e-3)
    np.testing.assert_allclose(band.middle - band.lower, error, rtol=1e-3)


@pytest.mark.parametrize(("values", "at"), [((0, 0, 0), 0), ((1, 1, 1), 1), ((1, 1, 1 + 1e-7), 1)])
def test_a_mean_at_the_end_of_its_support_has_a_band_of_that_point(values, at):
    band = mean_band(seeds(*values), plotting.SHARE)
    assert [float(band.lower), float(band.upper)] == [at, at]


@pytest.mark.parametrize("band", [mean_band, lambda values: mean_band(values, plotting.SHARE), median_band])
def test_a_band_is_that_of_the_seeds_which_have_a_value(band):
    some = np.random.default_rng(1).random(9)
    for ours, theirs in zip(band(seeds(*some, np.nan, np.nan)), band(seeds(*some)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert all(np.isnan(one) for one in band(seeds(np.nan, np.nan)))


# The ranks of the usual tables for the median at 95 %.
@pytest.mark.parametrize(("lineages", "rank"), [(2, 1), (5, 1), (6, 1), (8, 1), (9, 2), (20, 6), (50, 18)])
def test_the_interval_of_a_median_is_that_of_the_tables(lineages, rank):
    values = np.random.default_rng(2).permutation(np.arange(1, lineages + 1))
    band = median_band(xr.DataArray(np.stack([values, values]), dims=("generation", "seed")))
    assert band.middle.values.tolist() == [(lineages + 1) / 2] * 2
    assert band.lower.values.tolist() == [rank] * 2
    assert band.upper.values.tolist() == [lineages + 1 - rank] * 2


def test_heavy_tailed_numbers_are_printed_as_a_median():
    assert median_interval(seeds(*RISKS)) == "311 (92.7 to 9250)"


def curve(values, **options):
    """Return a curve of one line whose seeds have the same values in each of four generations."""
    return plotting.Curve(values.expand_dims(generation=[1, 2, 3, 4], regime=["replace"]), **options)


def drawn_bands(figure):
    """Return by label of its panel the heights between which a band is drawn."""
    found = {}
    for ax in figure.axes:
        heights = np.concatenate(
            [
                path.vertices[:, 1]
                for one in ax.collections
                if isinstance(one, PolyCollection)
                for path in one.get_paths()
            ]
        )
        found[ax.get_ylabel()] = heights.min(), heights.max()
    return found


def test_curves_draw_bands_within_the_support():
    rows = {name: curve(values, support=support) for name, (values, support) in LEFT.items()}
    # A logarithmic axis has the support of what is positive.
    rows["log"] = curve(seeds(*RISKS), scale="log")
    rows["median"] = curve(seeds(*RISKS), scale="log", over_seeds="median")
    found = drawn_bands(plotting.curves(rows, x="generation", hue="regime"))
    for name, (_, (low, high)) in LEFT.items():
        assert low < found[name][0] < found[name][1] < high
    assert found["log"][0] > 0
    np.testing.assert_allclose(found["median"], (min(RISKS), max(RISKS)))


def spent_and_lost():
    ways = {"mitigation": ["replace", "half"]}
    lost = xr.DataArray([[1.0, 1.0, 1.0, 0.1], [0.0, 0.1, 0.2, 0.3]], ways, ("mitigation", "seed"))
    return xr.DataArray([0, 3], ways, ["mitigation"]), lost


def test_a_loss_has_bars_within_its_support():
    spent, lost = spent_and_lost()
    supports = {"tail lost": (-np.inf, 1.0)}
    (ax,) = plotting.pareto(spent, {"tail lost": lost}, label="spent", columns=1, supports=supports).axes
    tops = [path[:, 1].max() for bar in ax.containers for path in bar.lines[2][0].get_segments()]
    assert len(tops) == 2
    assert max(tops) < 1


def profile(lineages):
    rng = np.random.default_rng(3)
    dims, coords = ("seed", "generation"), {"seed": np.arange(lineages), "generation": [1, 2, 3, 4]}
    names = ("risk", "variance", "tail", "off_support", "modes")
    given = [xr.Dataset({name: (dims, rng.random((lineages, 4))) for name in names}, coords) for _ in range(2)]
    return metrics.collapse_profile(*given)


def test_ticks_are_at_whole_generations_and_numbers():
    spent, lost = spent_and_lost()
    figures = (
        plotting.curves({"share": curve(seeds(0.1, 0.2))}, x="generation", hue="regime"),
        plotting.collapse_profile(profile(6)),
        plotting.pareto(spent, {"lost": lost}, label="spent", columns=1),
    )
    for figure in figures:
        figure.draw_without_rendering()
        for ax in figure.axes:
            assert all(tick == round(tick) for tick in ax.get_xticks())


def test_a_support_that_leaves_a_mean_out_is_refused():
    # Where it was taken for the support's end, the band of a risk below 0 went to 1e23.
    with pytest.raises(ValueError, match=r"support is \(0.0, inf\); there is a mean of -4"):
        plotting.curves(
            {"risk": curve(seeds(-5, -3))._replace(support=plotting.POSITIVE)}, x="generation", hue="regime"
        )
    with pytest.raises(ValueError, match=r"a mean of 1\.5, which it leaves out"):
        interval(seeds(1.0, 2.0), support=plotting.SHARE)
    assert interval(seeds(1.0, 1.0 + 1e-9), support=plotting.SHARE) == "1.000 +0.000 -0.000"


def test_printed_intervals_of_shares_stay_shares():
    share = seeds(0.0, 0.0, 0.03)
    assert interval(share) == "0.010 ± 0.020"
    # exp(.02/.01 + .02/.99) = 7.54 on the odds, 1/99: from .0013 to .0708.
    assert interval(share, support=plotting.SHARE) == "0.010 +0.061 -0.009"
    assert interval(share.isel(seed=[0, 1]), support=plotting.SHARE) == "0.000 +0.000 -0.000"
    assert interval(share.isel(seed=[0]), support=plotting.SHARE) == "0.000 +nan -nan"


def test_counts_have_whole_ticks():
    counts = xr.DataArray([[[3.0, 3.0], [2.0, np.nan]]], dims=("regime", "seed", "generation"))
    rows = {"modes": plotting.Curve(counts.assign_coords(regime=["replace"], generation=[1, 2]), over_seeds="median")}
    few = profile(6)
    few["value"].loc[{"definition": "modes_merge"}] = [0.0, -0.5, -1.0, -1.0]
    panel = plotting.collapse_profile(few).axes[5]
    assert panel.get_title() == "modes merge"
    for ax in (*plotting.curves(rows, x="generation", hue="regime").axes, panel):
        ax.figure.draw_without_rendering()
        assert all(tick == round(tick) for tick in ax.get_yticks())


def test_a_coordinate_that_is_not_whole_keeps_its_ticks():
    weight = plotting.Curve(xr.DataArray([[1.0, 2.0]], {"regime": ["replace"], "weight": [0.5, 3.0]}))
    (ax,) = plotting.curves({"error": weight}, x="weight", hue="regime").axes
    assert any(tick != round(tick) for tick in ax.get_xticks())


def test_a_profile_of_too_few_lineages_says_so_in_its_figure():
    with pytest.warns(UserWarning, match="too few"):
        few = profile(3)
    figure = plotting.collapse_profile(few)
    assert "too few lineages" in figure.get_suptitle()
    # An interval that holds every value is no band: a variance's share of both, in [-1, 1], has finite ends.
    assert not any(path.vertices.size for ax in figure.axes for band in ax.collections for path in band.get_paths())
    assert not plotting.collapse_profile(profile(6)).get_suptitle()


def test_a_bound_that_is_infinite_is_beyond_the_panel_and_not_for_want_of_lineages():
    # Six pairs have no upper bound of risk_diverges; and a risk that is finite again has fallen without a bound.
    given = profile(6)
    given["lower"][{"definition": 1, "generation": -1}] = -np.inf
    assert np.isinf(given["upper"].sel(definition="risk_diverges")[2:]).all()
    figure = plotting.collapse_profile(given)
    assert not figure.get_suptitle()
    for ax, row, open_at in ((figure.axes[1], given["lower"][1], 0), (figure.axes[2], given["lower"][2], 1)):
        (band,) = [one for one in ax.collections if one.get_alpha() == 0.25]
        corners = np.concatenate([path.vertices for path in band.get_paths()])
        assert ax.get_ylim()[open_at] in corners[:, 1]
        # The bound that is there is drawn, and in view.
        finite = row.to_numpy()[np.isfinite(row)]
        assert np.isin(finite, corners[:, 1]).all()


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("experiments/**/*.py"), *ROOT.glob("colab/*.py")]), ids=lambda p: p.stem
)
def test_every_curve_of_the_scripts_has_a_support(path):
    """A curve names it, has an axis that implies it, or is a median, whose interval is of values that occur."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("plotting.Curve", "Curve"):
            named = {keyword.arg for keyword in node.keywords}
            logarithmic = any(isinstance(one, ast.Constant) and one.value == "log" for one in node.args)
            assert named & {"support", "over_seeds"} or len(node.args) > 3 or logarithmic, ast.unparse(node)
