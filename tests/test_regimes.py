"""Regimes as count matrices, against matrices written by hand; every bad regime is refused by name."""

import doctest
import math

import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative.recursion.regimes import REGIMES, Regime, golden_weight, rows

# Rows are generations 1 to 4, columns fresh, real, generations 1 to 3; 10 samples at ratio 0.3.
BY_HAND = {
    "replace": [[0, 10, 0, 0, 0], [0, 0, 10, 0, 0], [0, 0, 0, 10, 0], [0, 0, 0, 0, 10]],
    "accumulate": [[0, 10, 0, 0, 0], [0, 10, 10, 0, 0], [0, 10, 10, 10, 0], [0, 10, 10, 10, 10]],
    "accumulate_subsample": [[0, 10, 0, 0, 0], [0, 10, 10, 0, 0], [0, 10, 10, 10, 0], [0, 10, 10, 10, 10]],
    "augment": [[0, 10, 0, 0, 0], [0, 10, 10, 0, 0], [0, 10, 0, 10, 0], [0, 10, 0, 0, 10]],
    "real_fraction_replayed": [[0, 10, 0, 0, 0], [0, 3, 7, 0, 0], [0, 3, 0, 7, 0], [0, 3, 0, 0, 7]],
    "real_fraction_fresh": [[3, 7, 0, 0, 0], [3, 0, 7, 0, 0], [3, 0, 0, 7, 0], [3, 0, 0, 0, 7]],
    "golden_ratio": [[3, 7, 0, 0, 0], [3, 0, 7, 0, 0], [3, 0, 0, 7, 0], [3, 0, 0, 0, 7]],
    "growing": [[0, 10, 0, 0, 0], [0, 0, 20, 0, 0], [0, 0, 0, 30, 0], [0, 0, 0, 0, 40]],
    "sliding_window(5)": [[0, 10, 0, 0, 0], [0, 10, 10, 0, 0], [0, 10, 10, 10, 0], [0, 10, 10, 10, 10]],
    "ecosystem(4)": [[0, 40, 0, 0, 0], [0, 0, 40, 0, 0], [0, 0, 0, 40, 0], [0, 0, 0, 0, 40]],
}
DRAWS = {"accumulate_subsample": [10, 10, 10, 10], "ecosystem(4)": [10, 10, 10, 10]}


SHARED = [REGIMES[name].counts for name in ("real_fraction_replayed", "real_fraction_fresh", "real_fraction_resampled")]


@pytest.fixture
def entered(monkeypatch):
    """Let a test enter regimes and take them out again."""
    monkeypatch.setattr(REGIMES, "_records", dict(REGIMES._records))
    return REGIMES


def only(count, **rest):
    """Return a regime that asks for the real set once and then for what `count` says."""
    return Regime("odd", lambda g, s, m, r: count(g, s, m, r) if g > 1 else m * (s == 0), **rest)


@pytest.mark.parametrize("name", REGIMES)
@pytest.mark.parametrize("generations", [1, 2, 9])
@pytest.mark.parametrize("samples", [1, 7, 100])
@pytest.mark.parametrize("ratio", [0, 0.25, 1.0])
def test_every_regime_is_valid_everywhere(name, generations, samples, ratio):
    if (
        samples == 1
        and ratio == 0.25
        and REGIMES[name].counts in SHARED
        and (generations > 1 or REGIMES[name].counts is SHARED[1])
    ):
        with pytest.raises(
            ValueError, match=r"ratio is 0\.25, which rounds to none of 1 examples; give it as 0, or take"
        ):
            rows(REGIMES[name], generations, samples, ratio)
        return
    counts, draws, weights, among = rows(REGIMES[name], generations, samples, ratio)
    assert counts.shape == weights.shape == among.shape == (generations, generations + 1)
    assert counts.dtype == draws.dtype == among.dtype == np.int64
    assert ((counts <= among) & ((counts > 0) == (among > 0))).all()
    assert (counts >= 0).all()
    assert (counts.sum(axis=1) >= draws).all()
    assert (draws >= 1).all()
    # Column s + 1 is source s: generation t, row t - 1, may use columns 0 to t.
    assert not np.triu(counts, 2).any()
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert ((weights * counts).sum(axis=1) > 0).all()
    np.testing.assert_array_equal(counts, cj.generative.count_matrix(REGIMES[name], generations, samples, ratio))


def shown(name):
    """Return how many tables of counts the docstring of a regime shows, having run them."""
    function = REGIMES[name].counts
    globs = {**vars(cj.generative), **function.__globals__}
    test = doctest.DocTestParser().get_doctest(function.__doc__ or "", globs, name, None, None)
    assert not doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed
    return sum("count_matrix(" in example.source for example in test.examples)


def test_every_built_in_regime_is_written_by_hand():
    """A regime that isn't in the table above shows its counts in its own docstring."""
    assert [name for name in REGIMES if name not in BY_HAND and not shown(name)] == []


def test_a_regime_by_hand_in_its_docstring_is_compared(entered):
    def counts(generation, source, samples, ratio):
        """
        >>> count_matrix(REGIMES["counts"], 2, samples=10)
        array([[ 0, 10,  0],
               [ 0, 10,  0]])
        """
        return samples if source == 0 else 0

    cj.regime(counts)
    assert shown("counts") == 1
    cj.regime(name="other")(lambda generation, source, samples, ratio: samples if source == 0 else 0)
    assert shown("other") == 0
    counts.__doc__ = counts.__doc__.replace("[ 0, 10,  0]])", "[ 0, 10,  1]])")
    with pytest.raises(AssertionError):
        shown("counts")


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_and_draws_are_those_by_hand(name):
    counts, draws, weights, among = rows(REGIMES[name], 4, 10, 0.3)
    assert counts.tolist() == among.tolist() == BY_HAND[name]
    assert draws.tolist() == DRAWS.get(name, np.sum(BY_HAND[name], axis=1).tolist())
    if name != "golden_ratio":
        assert (weights == 1).all()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_window_holds_its_width(width):
    # For width 2: generation 1 has the real set, 2 the real set and 1, 3 has 1 and 2.
    expected = [[10 if max(0, t - width) <= s < t else 0 for s in range(-1, 5)] for t in range(1, 6)]
    assert cj.generative.count_matrix(cj.generative.sliding_window(width), 5, 10).tolist() == expected
    if width == 1:
        assert expected == cj.generative.count_matrix(REGIMES["replace"], 5, 10).tolist()


def test_the_share_of_one_is_the_control():
    fresh = cj.generative.count_matrix(REGIMES["real_fraction_fresh"], 3, 10, 1.0)
    assert fresh.tolist() == [[10, 0, 0, 0]] * 3
    assert cj.generative.count_matrix(REGIMES["real_fraction_replayed"], 3, 10, 1.0).tolist() == [[0, 10, 0, 0]] * 3


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("weight", [None, 0.0, 0.25, 1.0])
def test_weights_give_real_examples_their_share(ratio, weight):
    counts, _, weights, _ = rows(cj.generative.weighted(weight), 5, 20, ratio)
    mass = counts * weights
    share = mass[:, 0] / mass.sum(axis=1)
    k = ratio / (1 - ratio)
    # The best weight minimises the stationary error of He, Xu and Cheng, here by its equation w² = k (1 - w).
    expected = max(np.roots([1.0, k, -k]).real) if weight is None else weight
    assert share[0] == pytest.approx(ratio, abs=1e-12)  # at first all is real, and weighs the same
    np.testing.assert_allclose(share[1:], expected, atol=1e-12)  # float64 rounding


@pytest.mark.parametrize("regime", [*SHARED, REGIMES["golden_ratio"].counts])
def test_a_share_that_rounds_to_none_or_to_all_is_refused(regime):
    """0.004 and 0.005 of 100 once had no real example: what ran was `replace`."""
    for ratio, what in ((0.004, "none"), (0.005, "none"), (0.996, "all"), (0.9951, "all")):
        with pytest.raises(
            ValueError, match=rf"ratio is {ratio:g}, which rounds to {what} of 100 examples; give it as"
        ):
            cj.generative.count_matrix(Regime("own", regime), 2, 100, ratio)
    for ratio, real in ((0.0, 0), (0.006, 1), (0.07 * 3, 21), (0.994, 99), (1.0, 100), (1.0 - 1e-16, 100), (1e-12, 0)):
        assert cj.generative.count_matrix(Regime("own", regime), 2, 100, ratio)[1, :2].sum() == real
    plan = cj.make_plan(REGIMES["replace"], 2, [2, 100], [0.004, 0.5])  # takes no share
    assert plan.ratios == (0.004, 0.5)


def test_the_golden_weight_is_that_of_the_whole_number_of_examples():
    # 2 of 10 are real at a share of .25.
    counts, _, weights, _ = rows(REGIMES["golden_ratio"], 2, 10, 0.25)
    assert counts[1].tolist() == [2, 0, 8]
    assert 2 * weights[1, 0] == pytest.approx(golden_weight(0.2), abs=1e-12)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
def test_the_golden_weight_has_the_least_error(ratio):
    k, w = ratio / (1 - ratio), np.linspace(0.001, 0.999, 999)
    error = (w**2 + k * (1 - w) ** 2) / (w * (2 - w))
    # The grid's step.
    assert golden_weight(ratio) == pytest.approx(w[error.argmin()], abs=1e-3)


def test_the_golden_weight_at_the_ends():
    assert golden_weight(0.0) == 0.0
    assert golden_weight(1.0) == 1.0
    assert golden_weight(0.5) == pytest.approx((math.sqrt(5) - 1) / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": -0.1}, r"ratio is -0.1; it must be a share in \[0, 1\]"),
        ({"ratio": 1.5}, "ratio is 1.5"),
        ({"ratio": math.nan}, "ratio is nan"),
        ({"ratio": True}, "ratio is True"),
        ({"generations": 0}, "generations is 0; it must be a whole number from 1 on"),
        ({"generations": True}, "generations is True"),
        ({"samples": 0}, "samples is 0; it must be a whole number from 1 on"),
        ({"samples": -3}, "samples is -3"),
    ],
)
def test_arguments_out_of_range_are_named(change, message):
    for function in (rows, cj.generative.count_matrix):
        with pytest.raises(ValueError, match=message):
            function(REGIMES["replace"], **{"generations": 3, "samples": 10, "ratio": 0.0, **change})


BAD = {
    "negative": (only(lambda g, s, m, r: -1 if s == 1 else m), "counts of source 1 at generation 2 is -1"),
    "not whole": (only(lambda g, s, m, r: 0.5 * (s == 0)), "counts of source 0 at generation 2 is 0.5"),
    "not a number": (only(lambda g, s, m, r: math.nan), "counts of source -1 at generation 2 is nan"),
    "infinite": (only(lambda g, s, m, r: math.inf), "counts of source -1 at generation 2 is inf"),
    "None": (only(lambda g, s, m, r: None), "counts of source -1 at generation 2 is None"),
    "itself": (only(lambda g, s, m, r: m * (s == g)), "generation 2 draws from generation 2, which comes later"),
    "future": (only(lambda g, s, m, r: m * (s == 3)), "generation 2 draws from generation 3, which comes later"),
    "empty": (only(lambda g, s, m, r: m * (s == 0 and g != 3)), "generation 3 has no examples at all"),
    "too many draws": (
        only(lambda g, s, m, r: m * (s == 0), draws=lambda g, m, r: m + g - 1),
        "generation 2 draws 11 of 10 examples; allowed is 1 to all",
    ),
    "no draws": (only(lambda g, s, m, r: m * (s == 0), draws=lambda g, m, r: 0), "generation 1 draws 0 of 10"),
    "draws not whole": (
        only(lambda g, s, m, r: m * (s == 0), draws=lambda g, m, r: 2.5),
        "draws at generation 1 is 2.5",
    ),
    "negative weight": (
        only(lambda g, s, m, r: m * (s == 0), weights=lambda g, s, m, r: -1.0 if g == 2 else 1.0),
        "generation 2 weighs source 0 by -1.0; it must be finite and 0 or more",
    ),
    "infinite weight": (
        only(lambda g, s, m, r: m * (s == 0), weights=lambda g, s, m, r: math.inf),
        "generation 1 weighs source 0 by inf",
    ),
    "NaN weight": (
        only(lambda g, s, m, r: m * (s == 0), weights=lambda g, s, m, r: math.nan),
        "generation 1 weighs source 0 by nan",
    ),
    "among fewer": (
        only(lambda g, s, m, r: m * (s == 0), among=lambda g, s, m, r: m - (g == 3)),
        "generation 3 draws 10 of 9 examples of source 0; it must be among as many or more",
    ),
    "among fresh": (
        only(lambda g, s, m, r: m * (s == -1), among=lambda g, s, m, r: 2 * m),
        "generation 2 draws among 20 fresh examples; these are always new",
    ),
    "among not whole": (
        only(lambda g, s, m, r: m * (s == 0), among=lambda g, s, m, r: 2.5 * m + 0.1),
        "among of source 0 at generation 1 is 25.1",
    ),
    "zero weights": (
        only(lambda g, s, m, r: m * (s == 0), weights=lambda g, s, m, r: float(g != 2)),
        "generation 2 has only weights of 0",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_regimes_are_named_with_what_is_wrong(what):
    bad, message = BAD[what]
    with pytest.raises(ValueError, match=r"regime 'odd' with samples=10, ratio=0\.25: ") as caught:
        rows(bad, 4, 10, 0.25)
    assert message in str(caught.value)


def test_weights_of_sources_that_are_not_used_are_not_asked_for():
    def weigh(generation, source, samples, ratio):
        assert source == generation - 1
        return 2.0

    weights = rows(Regime("picky", REGIMES["replace"].counts, weights=weigh), 3, 10).weights
    assert weights.tolist() == [[1, 2, 1, 1], [1, 1, 2, 1], [1, 1, 1, 2]]


def test_a_regime_sees_plain_numbers():
    seen = set()

    def counts(generation, source, samples, ratio):
        seen.update(type(value) for value in (generation, source, samples))
        assert type(ratio) is float
        return np.int64(samples) if source == 0 else 0

    assert cj.generative.count_matrix(Regime("typed", counts), 2, 5, 0).tolist() == [[0, 5, 0], [0, 5, 0]]
    assert seen == {int}


def test_the_bare_decorator_enters_a_function_under_its_name(entered):
    @cj.regime
    def real_only(generation, source, samples, ratio):
        return samples if source == cj.REAL else 0

    assert entered["real_only"] is real_only
    assert real_only._replace(counts=None) == Regime("real_only", None)
    assert cj.generative.count_matrix(real_only, 2, 4).tolist() == [[0, 4, 0], [0, 4, 0]]
    with pytest.raises(ValueError, match="regime 'real_only' exists already"):
        cj.regime(real_only.counts)
    assert entered["real_only"] is real_only


def test_the_decorator_with_options(entered):
    half, twice, double = (lambda g, m, r: m // 2), (lambda g, s, m, r: 2.0), (lambda g, s, m, r: 2 * m)

    @cj.regime(name="halved", draws=half, weights=twice, models=3, source="here", among=double)
    def anything(generation, source, samples, ratio):
        return samples if source == generation - 1 else 0

    assert anything == Regime("halved", anything.counts, half, twice, 3, "here", double)
    assert entered["halved"] is anything
    assert "anything" not in entered
    assert rows(anything, 2, 10).draws.tolist() == [5, 5]
    assert rows(anything, 2, 10).among.tolist() == [[0, 20, 0], [0, 0, 20]]


def test_overwriting_replaces_the_record(entered):
    first = cj.regime(name="mine")(REGIMES["replace"].counts)
    second = cj.regime(name="mine", overwrite=True)(REGIMES["accumulate"].counts)
    assert first.counts is not second.counts
    assert entered["mine"] is second
    with pytest.raises(ValueError, match="regime 'mine' exists already; rename it, or pass overwrite=True"):
        cj.regime(name="mine")(REGIMES["replace"].counts)


@pytest.mark.parametrize("what", BAD)
def test_a_bad_regime_is_not_entered(entered, what):
    bad, _ = BAD[what]
    with pytest.raises(ValueError, match=r"regime 'bad' with samples=100, ratio=0\.5: "):
        cj.regime(name="bad", draws=bad.draws, weights=bad.weights, among=bad.among)(bad.counts)
    assert "bad" not in entered


@pytest.mark.parametrize("models", [0, -1, True])
def test_models_must_be_a_whole_number(entered, models):
    with pytest.raises(ValueError, match=f"models is {models!r}; it must be a whole number from 1 on"):
        cj.regime(name="bad", models=models)(REGIMES["replace"].counts)
    assert "bad" not in entered


@pytest.mark.parametrize("value", [0, -2, True])
@pytest.mark.parametrize(
    ("factory", "name"), [(cj.generative.sliding_window, "width"), (cj.generative.ecosystem, "models")]
)
def test_factories_refuse_what_is_not_a_whole_number(factory, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}; it must be a whole number from 1 on"):
        factory(value)


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_a_weight_is_a_share(weight):
    with pytest.raises(ValueError, match=rf"weight is {weight}; it must be a share in \[0, 1\]"):
        cj.generative.weighted(weight)


def test_factories_name_what_they_return():
    assert [cj.generative.sliding_window(3).name, cj.generative.ecosystem(2).name] == [
        "sliding_window(3)",
        "ecosystem(2)",
    ]
    assert [cj.generative.weighted().name, cj.generative.weighted(0.25).name] == ["golden_ratio", "weight=0.25"]
    assert cj.generative.ecosystem(2).models == 2


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError, match="unknown regime 'replaced'; known: accumulate, "):
        REGIMES["replaced"]


@pytest.mark.parametrize("name", REGIMES)
def test_a_share_is_fixed_in_counts_draws_and_weights(name):
    fixed = cj.with_share(REGIMES[name], 0.3, "arm")
    assert fixed.name == "arm"
    for found, due in zip(rows(fixed, 5, 20, 0.9), rows(REGIMES[name], 5, 20, 0.3), strict=True):
        np.testing.assert_array_equal(found, due)


def test_a_share_is_a_share():
    with pytest.raises(ValueError, match=r"ratio is 1.5; it must be a share in \[0, 1\]"):
        cj.with_share(REGIMES["replace"], 1.5, "arm")
