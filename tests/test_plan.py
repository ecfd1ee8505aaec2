"""Plans, their layouts and their merged slots, against a walk through the generations with a pool of plain objects."""

import inspect
import re
from collections import Counter

import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative.recursion.merging import make_merging
from collapse_jax.generative.recursion.plan import make_pool_tables
from collapse_jax.generative.recursion.regimes import REGIMES, Regime, rows

T = 7
HALF = Regime("half", lambda g, s, m, r: m * (s == g - 1), among=lambda g, s, m, r: 2 * m)
SINGLE = [one for one in REGIMES.values() if one.models == 1]


def drawn_at_random(seed, *, whole=False, fresh=True, number=2):
    """Return regimes of random counts and weights, each source used as a whole or not, in some generations or none."""
    rng = np.random.default_rng(seed)
    regimes = []
    for index in range(number):
        density = rng.uniform(0.1, 0.9)
        used = rng.random((T, T + 1)) < density
        sizes = rng.integers(1, 20, (1 if whole else T, T + 1))
        counts = np.tril(used * sizes, 1)
        if not fresh:
            counts[:, 0] = 0
        empty = counts.sum(axis=1) == 0
        # An empty generation takes what came just before it, as a whole.
        diagonal = np.arange(T)[empty]
        counts[diagonal, diagonal + 1] = sizes[0, diagonal + 1]
        weights = rng.integers(1, 3, (T, T + 1)).astype(float)
        regimes.append(
            Regime(
                f"random-{index}",
                lambda g, s, m, r, counts=counts: m * int(counts[g - 1, s + 1]),
                weights=lambda g, s, m, r, weights=weights: float(weights[g - 1, s + 1]),
            )
        )
    return regimes


def members(plan):
    """Return (place, rows) of all members, computed anew from their regimes."""
    for i, regime in enumerate(plan.regimes):
        for j, samples in enumerate(plan.samples):
            for k, ratio in enumerate(plan.ratios):
                yield (i, j, k), rows(regime, plan.generations, samples, ratio)


def plans():
    """Return plans at hand and random ones, with two sizes and two ratios."""
    named = {
        **{one.name: one for one in SINGLE},
        "all": SINGLE,
        "ecosystem": REGIMES["ecosystem(4)"],
        "half of each": HALF,
        "fresh only": Regime("fresh only", lambda g, s, m, r: m if s == cj.FRESH else 0),
        "late real": Regime("late real", lambda g, s, m, r: m * (s == (cj.REAL if g in (1, T) else g - 1))),
    }
    cases = {name: cj.make_plan(regimes, T, [4, 9], [0.25, 1.0]) for name, regimes in named.items()}
    for seed in range(25):
        regimes = drawn_at_random(seed, fresh=seed % 2 == 0, number=1 + seed % 3)
        cases[f"random {seed}"] = cj.make_plan(regimes, T, [1, 3])
    return cases


PLANS = plans()


def needed(plan):
    """Return the last generation in which each stored source trains any member, 0 for never."""
    last = [0] * plan.generations
    for _, one in members(plan):
        for t in range(1, plan.generations + 1):
            for s in range(t):
                if one.counts[t - 1, s + 1]:
                    last[s] = max(last[s], t)
    return last


@pytest.mark.parametrize("keep_real", [False, True])
@pytest.mark.parametrize("name", PLANS)
def test_every_generation_finds_its_sources_in_the_pool(name, keep_real):
    plan = PLANS[name]
    tables = make_pool_tables(plan, keep_real=keep_real)
    every = list(members(plan))
    pool = [cj.REAL] + [None] * (tables.slots - 1)
    for t in range(1, T + 1):
        claimed = tables.occupant[t - 1]
        assert claimed[tables.slots] == cj.FRESH
        if keep_real:
            assert claimed[cj.REAL] == pool[cj.REAL] == cj.REAL
        for slot in range(tables.slots):
            # A slot that stands for no source is marked with one past the last.
            assert claimed[slot] in (pool[slot], T)
        for place, one in every:
            counts, weights, among = (one[place][t - 1] for one in (tables.counts, tables.weights, tables.among))
            assert tables.draws[place][t - 1] == one.draws[t - 1]
            found = {}
            for slot in np.flatnonzero(counts):
                source = pool[slot] if slot < tables.slots else cj.FRESH
                assert source not in found
                found[source] = (counts[slot], weights[slot], among[slot])
                assert among[slot] == counts[slot] or slot in tables.drawn_slots
            row = zip(range(cj.FRESH, T), one.counts[t - 1], one.weights[t - 1], one.among[t - 1], strict=True)
            # Weights of a tables are float32.
            assert found == {source: (count, np.float32(weight), of) for source, count, weight, of in row if count}
        if tables.write[t - 1] < tables.slots:
            pool[tables.write[t - 1]] = t
        else:
            assert tables.write[t - 1] == tables.slots


@pytest.mark.parametrize("name", PLANS)
def test_no_fewer_slots_would_do(name):
    plan = PLANS[name]
    last = needed(plan)
    alive = [sum(s < t <= last[s] for s in range(T)) for t in range(1, T + 1)]
    assert make_pool_tables(plan).slots == max(1, *alive)
    last[cj.REAL] = T
    assert make_pool_tables(plan, keep_real=True).slots == max(
        sum(s < t <= last[s] for s in range(T)) for t in range(1, T + 1)
    )


def test_a_part_of_a_source_that_is_drawn_needs_examples():
    with pytest.raises(ValueError, match=r"regime 'half' with samples=5, ratio=0 draws a subset of a source; use by="):
        cj.make_recursion(cj.families.gaussian(), cj.make_plan(HALF, 3, 5), by="statistics")


@pytest.mark.parametrize("name", PLANS)
def test_sizes_of_a_layout(name):
    plan = PLANS[name]
    tables = make_pool_tables(plan)
    every = [one for _, one in members(plan)]
    assert tables.width == max(1, *(one.among[:, 1:].max() for one in every))
    assert tables.fresh == max(one.counts[:, 0].max() for one in every)
    assert tables.drawn == max(one.draws.max() for one in every)
    assert tables.subsamples == any((one.draws != one.counts.sum(axis=1)).any() for one in every)


@pytest.mark.parametrize(
    ("regimes", "slots"),
    [
        (["replace"], 1),
        (["growing"], 1),
        (["accumulate"], 12),
        (["replace", "accumulate"], 12),
        (["augment"], 2),
        (["sliding_window(5)"], 5),
        (["real_fraction_fresh"], 1),
        (["real_fraction_replayed"], 2),
        (["real_fraction_resampled"], 2),
    ],
)
def test_slots_of_regimes_at_hand(regimes, slots):
    assert make_pool_tables(cj.make_plan([REGIMES[name] for name in regimes], 12, 10, 0.5)).slots == slots


WHOLE = ["replace", "accumulate", "augment", "real_fraction_replayed", "real_fraction_fresh", "golden_ratio", "growing"]


def whole_plans():
    """Return plans whose regimes use each stored source as a whole."""
    named = {name: [REGIMES[name]] for name in WHOLE}
    named |= {f"window {width}": [cj.generative.sliding_window(width)] for width in (1, 2, 3)}
    named |= {"several": [REGIMES[name] for name in WHOLE], "fresh only": [PLANS["fresh only"].regimes[0]]}
    cases = {name: cj.make_plan(regimes, T, [4, 9], [0.25, 0.5]) for name, regimes in named.items()}
    for seed in range(25):
        regimes = drawn_at_random(1000 + seed, whole=True, number=1 + seed % 3)
        cases[f"random {seed}"] = cj.make_plan(regimes, T, [1, 3])
    # Weights of one source that differ in time, with few distinct futures: the sources of even generations share one.
    cases["parity"] = cj.make_plan(
        Regime(
            "parity",
            lambda g, s, m, r: m * (0 <= s < g),
            weights=lambda g, s, m, r: 1.0 + (s % 2) * (g > s + 1),
        ),
        T,
        5,
    )
    return cases


WHOLE_PLANS = whole_plans()


def uses(plan):
    """Return the weight of every source's examples in each generation of each member, 0 where it is not used."""
    return [(place, np.where(one.counts > 0, one.weights, 0.0)) for place, one in members(plan)]


@pytest.mark.parametrize("name", WHOLE_PLANS)
def test_merged_sources_enter_every_generation_with_their_weights(name):
    plan = WHOLE_PLANS[name]
    merging, expected = make_merging(plan), uses(plan)
    assert merging.weights.shape[-1] == merging.slots + 1
    held = [Counter([cj.REAL]) for _ in range(merging.slots)]
    for t in range(1, T + 1):
        for place, use in expected:
            weights = merging.weights[place][t - 1]
            entered = Counter()
            for slot, content in enumerate(held):
                for source, times in content.items():
                    entered[source] += times * weights[slot]
            got = [weights[merging.slots], *(entered[s] for s in range(T))]
            # Weights are float32; those of the golden ratio are no binary fractions.
            np.testing.assert_allclose(got, use[t - 1], rtol=1e-6)
        before = [*held, Counter([t])]
        held = [sum((before[old] for old in np.flatnonzero(row)), Counter()) for row in merging.merge[t - 1]]


@pytest.mark.parametrize("name", WHOLE_PLANS)
def test_a_slot_for_every_future_that_differs(name):
    plan = WHOLE_PLANS[name]
    expected = uses(plan)
    most = 1
    for t in range(1, T):
        futures = {tuple(tuple(use[t:, s + 1]) for _, use in expected) for s in range(t + 1)}
        most = max(most, sum(any(map(any, future)) for future in futures))
    assert make_merging(plan).slots == most


@pytest.mark.parametrize("name", WHOLE_PLANS)
def test_as_many_examples_are_held_as_are_asked_for(name):
    plan = WHOLE_PLANS[name]
    merging = make_merging(plan)
    for place, one in members(plan):
        for source in range(cj.FRESH, T):
            assert merging.held[place][source + 1] == max(int(row[source + 1]) for row in one.counts)


@pytest.mark.parametrize(
    ("regimes", "slots"),
    [
        (["replace"], 1),
        (["accumulate"], 1),
        (["replace", "accumulate"], 2),
        (["augment"], 2),
        (["sliding_window(5)"], 5),
    ],
)
@pytest.mark.parametrize("generations", [12, 30])
def test_merged_slots_do_not_grow_with_generations(regimes, slots, generations):
    plan = cj.make_plan([REGIMES[name] for name in regimes], generations, [10, 20])
    assert make_merging(plan).slots == slots


def test_a_plan_holds_the_rows_of_every_member():
    regimes = [REGIMES["replace"], REGIMES["real_fraction_fresh"], REGIMES["accumulate_subsample"]]
    plan = cj.make_plan(regimes, 4, [10, 30], [0.0, 0.5, 1])
    assert (plan.generations, plan.samples, plan.ratios, plan.models) == (4, (10, 30), (0.0, 0.5, 1.0), 1)
    for regime in regimes:
        for samples in plan.samples:
            for ratio in plan.ratios:
                got, expected = plan.rows(regime.name, samples, ratio), rows(regime, 4, samples, ratio)
                for one, other in zip(got, expected, strict=True):
                    np.testing.assert_array_equal(one, other)
    assert plan.rows("replace") is plan.rows("replace", 10, 0.0)
    assert plan.rows("replace", ratio=0.5) is plan.rows("replace", 10, 0.5)


def test_single_values_make_a_plan_of_one_member():
    plan = cj.make_plan(REGIMES["ecosystem(4)"], 2, 5)
    assert (len(plan.regimes), plan.samples, plan.ratios, plan.models) == (1, (5,), (0.0,), 4)


def test_axes_are_indices_with_labels():
    plan = cj.make_plan((REGIMES[name] for name in ("accumulate", "replace")), 2, [30, 10], [0.5])
    axes = plan.axes
    assert list(axes) == ["regime", "samples", "ratio"]
    assert [axis.values.tolist() for axis in axes.values()] == [[0, 1], [0, 1], [0]]
    assert [list(axis.labels) for axis in axes.values()] == [["accumulate", "replace"], [30, 10], [0.5]]
    assert all(axis.values.dtype == np.int32 for axis in axes.values())


REPLACE = REGIMES["replace"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 3, 10), "regimes is empty; it needs at least one"),
        ((REPLACE, 3, []), "samples is empty; it needs at least one"),
        ((REPLACE, 3, 10, []), "ratios is empty; it needs at least one"),
        (([REPLACE, REPLACE], 3, 10), "regimes repeats a value: replace, replace"),
        ((REPLACE, 3, [10, 20, 10]), "samples repeats a value: 10, 20, 10"),
        ((REPLACE, 3, 10, [0.5, 0.5]), "ratios repeats a value: 0.5, 0.5"),
        (
            ([REPLACE, REGIMES["ecosystem(4)"]], 3, 10),
            "regimes have different numbers of models (replace: 1, ecosystem(4): 4)",
        ),
        ((REPLACE, 0, 10), "generations is 0; it must be a whole number from 1 on"),
        ((REPLACE, 3, [10, 0]), "samples is 0; it must be a whole number from 1 on"),
        ((REPLACE, 3, True), "samples is True"),
        ((REPLACE, 3, 10, [0.5, 1.5]), "ratio is 1.5; it must be a share in [0, 1]"),
        (
            (Regime("gone", lambda g, s, m, r: m * (s == 0 and g < 2)), 3, 10),
            "regime 'gone' with samples=10, ratio=0: generation 2 has no examples at all",
        ),
    ],
)
def test_bad_plans_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        cj.make_plan(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regime": "accumulate"}, "the plan has no regime 'accumulate'; it has replace"),
        ({"samples": 11}, "the plan has no samples 11; it has 10, 20"),
        ({"ratio": 0.3}, "the plan has no ratio 0.3; it has 0.0, 0.5"),
    ],
)
def test_unknown_rows_name_the_known_ones(change, message):
    plan = cj.make_plan(REPLACE, 3, [10, 20], [0.0, 0.5])
    with pytest.raises(KeyError, match=message):
        plan.rows(**{"regime": "replace", **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratios": 1.5}, "ratio is 1.5"),
        ({"regimes": ["replace"]}, "regimes has 'replace'"),
    ],
)
def test_values_of_a_wrong_kind_are_named(change, message):
    given = {"regimes": [cj.REGIMES["replace"]], "samples": 10, "ratios": 0.0, **change}
    # The undecorated function: what users get who don't check types.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(cj.make_plan)(given["regimes"], 3, given["samples"], given["ratios"])
