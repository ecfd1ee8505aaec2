"""The checks of records: what the library has passes, and each planted error is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative import selections as sel
from collapse_jax.reward.laws.closed_forms import uniform
from collapse_jax.testing import check_family, check_regime, check_selection, check_utility
from tests.test_families import exponential

# The others are slow: a record takes from three to ten seconds.
QUICK = {"log_sigmoid", "gaussian", "best_of(3)"}


def named(records):
    rows = [pytest.param(one, marks=() if one.name in QUICK else pytest.mark.slow) for one in records]
    return pytest.mark.parametrize("record", rows, ids=lambda one: one.name)


# What the library has.


@named(cj.UTILITIES.values())
def test_every_utility_passes(record):
    check_utility(record, **({} if cj.choose(record).shape.bounded else {"min_gap": 1e-3}))


@named(cj.REGIMES.values())
def test_every_regime_passes(record):
    check_regime(record)


@named(cj.FAMILIES.values())
def test_every_family_passes(record):
    check_family(record)


SELECTIONS = [
    sel.verified(lambda x: x[:, 0] > -0.5),
    sel.curated(lambda x: x[:, 0], 2),
    sel.best_of(lambda x: x[:, 0], 3),
    sel.top_share(lambda x: x[:, 0], 2),
    sel.importance_resampled(sel.calibrated_detector(lambda x: x[:, 0])),
    sel.importance_resampled(sel.learned_detector(lambda x: x)),
    sel.novel(lambda x, y: jnp.abs(x - y).max(), threshold=0.1),
    sel.self_correcting(np.array([[-1.0], [1.0]])),
    sel.compose(sel.verified(lambda x: x[:, 0] > -0.5), sel.best_of(lambda x: x[:, 0], 2)),
]


@named(SELECTIONS)
def test_every_selection_passes(record):
    check_selection(record)


@pytest.mark.slow
def test_a_selection_of_tokens_passes_among_tokens():
    check_selection(sel.importance_resampled(sel.empirical_detector()), cj.families.categorical(6, exponent=1.0))


# What is planted.


def utility(fn, law=None):
    return cj.reward.Utility("own", fn, law=law)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (utility(jnp.log, lambda: uniform()), "the law that own declares has the mass"),
        (utility(lambda gap: -jnp.exp(90 * (1 - gap))), "of own is not finite in float32 at gap"),
    ],
)
def test_an_error_in_a_utility_is_told(record, found):
    with pytest.raises(AssertionError, match=found):
        check_utility(record)


def test_a_utility_that_is_not_two_sided_after_all_is_told():
    with pytest.raises(ValueError, match=r"a two-sided utility is taken as it is .* own is not finite at gap -1"):
        check_utility(utility(jnp.sqrt)._replace(two_sided=True))


def test_an_error_in_a_regime_is_told(monkeypatch):
    later = []

    def counts(generation, source, samples, ratio):
        later.append(1)
        return samples + len(later) if source == generation - 1 else 0

    with pytest.raises(AssertionError, match=r"the counts of regime 'own' for generation .* change with the number"):
        check_regime(cj.generative.Regime("own", counts))
    law = cj.predict_moments
    biased = cj.families.gaussian()
    monkeypatch.setattr("collapse_jax.testing.regimes.predict_moments", lambda plan, family: law(plan, biased))
    with pytest.raises(AssertionError, match=r"variance of generation 1 under regime 'replace' is .* was predicted"):
        check_regime(cj.REGIMES["replace"])


GENERATES = exponential()
BIASED = cj.generative.Decoding(lambda scale, value: scale * value, neutral=1.1, low=0.0, high=2.0)
MATCHING = cj.generative.MomentMatching
STATISTICS = cj.generative.Statistics(
    draw=lambda key, scale, samples: jnp.stack([scale * jax.random.gamma(key, samples + 1.0), samples]),
    fit=lambda statistics, weights: weights @ statistics[:, 0] / (weights @ statistics[:, 1]),
)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"init": lambda key, x, w: x.max()}, "init of family 'exponential' depends on examples of weight 0"),
        ({"fit": lambda key, scale, x, w: x.mean()}, "fitted among garbage of weight 0 is"),
        ({"fit": lambda key, scale, x, w: w @ x}, "fitted with all weights times 300 is"),
        ({"fit": lambda key, scale, x, w: scale + 0 * (w @ x)}, "does not read the weights"),
        ({"sample": lambda key, scale, n: 1.2 * scale * jax.random.exponential(key, (n,))}, "a mean of what family"),
        ({"moments": lambda scale: cj.generative.Moments(scale[None], scale)}, "the variance of what family"),
        ({"log_prob": lambda scale, x: -x / scale}, r"the mean of q\(x\)/p\(x\) under p by log_prob"),
        ({"decodings": {"bias": BIASED}}, "a parameter after the neutral decoding 'bias' is"),
        ({"statistics": STATISTICS}, "fitted to drawn statistics have another law"),
        ({"matching": MATCHING()}, "variance of generation 1 of family 'exponential', by its `matching`, is"),
        ({"matching": MATCHING(emitted={"bias": float})}, "a factor for the decoding 'bias', which the family lacks"),
        (
            {"matching": MATCHING(emitted={"bias": float}), "decodings": {"bias": BIASED._replace(neutral=1.0)}},
            "the mean after the decoding 'bias' = 0.5 of family 'exponential', by its `matching`, is",
        ),
    ],
)
def test_an_error_in_a_family_is_told(fields, found):
    with pytest.raises(AssertionError, match=found):
        check_family(GENERATES._replace(**fields))


def selection(weigh, **fields):
    return cj.Selection(
        "own", lambda key, c, pool, memory, **params: weigh(c.examples[:, 0], c.weights, **params), **fields
    )


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            selection(lambda x, w: jnp.ones(len(w))),
            "gives a candidate of weight 0, which is no example, a weight above",
        ),
        (selection(lambda x, w: w * (x > x.mean())), "with other values in the places of weight 0"),
        (selection(lambda x, w: -w), "gives weights from -2"),
        (
            selection(
                lambda x, w, sharpness: w * jax.nn.sigmoid(x / sharpness) ** (0 / sharpness),
                defaults={"sharpness": 1.0},
                ranges={"sharpness": (0.0, np.inf)},
            ),
            "with sharpness=0.0 gives weights from nan",
        ),
    ],
)
def test_an_error_in_a_selection_is_told(record, found):
    with pytest.raises(AssertionError, match=found):
        check_selection(record)


def test_what_cannot_run_is_refused_by_name():
    with pytest.raises(ValueError, match="family 'exponential' has no truth; check it with one"):
        check_family(GENERATES._replace(truth=None))
    with pytest.raises(ValueError, match="fit of family 'exponential' returns the shapes"):
        check_family(GENERATES._replace(fit=lambda key, scale, x, w: x))
    forgetful = selection(lambda x, w: w, start=lambda key, real: jnp.zeros(3), learn=lambda *_: jnp.zeros(2))
    with pytest.raises(ValueError, match="learn of selection 'own' returns the shapes"):
        check_selection(forgetful)
    with pytest.raises(ValueError, match=r"regime 'own' .* draws from generation 1, which comes later"):
        check_regime(cj.generative.Regime("own", lambda generation, source, samples, ratio: samples))
