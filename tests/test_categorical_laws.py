"""Laws of categories, survivors, ecosystems and evolved seeds against enumeration and simulated lineages."""

import itertools
import math

import numpy as np
import pytest

from collapse_jax.generative.laws import categorical, ecosystem, evolution, survival

REPLICAS = 20_000
TRUTH = np.array([0.5, 0.3, 0.2])


def check(values, expected):
    z = (values.mean() - expected) / (values.std() / np.sqrt(len(values)))
    assert abs(z) < 4, z


def diversity(models):
    return 1 - (models**2).sum(-1)


@pytest.mark.parametrize("rule", ["replace", "accumulate", "fresh", "mixed"])
def test_heterozygosity_of_simulated_lineages(rule):
    rng, samples, generations, h = np.random.default_rng(0), 6, 5, categorical.heterozygosity(TRUTH)
    law = {
        "replace": categorical.replace_heterozygosity(h, samples, generations),
        "accumulate": categorical.accumulate_heterozygosity(h, samples, generations),
        "fresh": categorical.fresh_share_heterozygosity(h, 1 / 3, samples, generations),
        "mixed": categorical.fresh_share_heterozygosity(h, 1 / 3, samples, generations, mixed=True),
    }[rule]
    counts = rng.multinomial(samples, TRUTH, REPLICAS)
    for expected in law:
        model = counts / counts.sum(1, keepdims=True)
        check(diversity(model), expected)
        if rule == "fresh":
            counts = rng.multinomial(2, TRUTH, REPLICAS) + rng.multinomial(4, model)
        elif rule == "mixed":
            counts = rng.multinomial(samples, TRUTH / 3 + 2 * model / 3)
        else:
            counts = (counts if rule == "accumulate" else 0) + rng.multinomial(samples, model)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_heterozygosity_tends_to_its_limit(share, mixed):
    last = categorical.fresh_share_heterozygosity(0.7, share, 20, 400, mixed=mixed)[-1]
    # 0.81^400 of the start is left.
    assert categorical.fresh_share_heterozygosity_limit(0.7, share, 20, mixed=mixed) == pytest.approx(last, rel=1e-12)


def test_published_limit_holds_where_the_number_of_fresh_examples_is_random():
    share, samples, kept = 0.3, 10, 1 - 1 / 10
    published = kept * (1 - (1 - share) ** 2) * 0.7 / (1 - kept * (1 - share) ** 2)
    assert categorical.fresh_share_heterozygosity_limit(0.7, share, samples, mixed=True) == pytest.approx(published)


def test_missing_mass_by_enumeration():
    expected = sum(
        math.prod(TRUTH[i] for i in draws) * (1 - sum(TRUTH[i] for i in set(draws)))
        for draws in itertools.product(range(3), repeat=4)
    )
    assert categorical.missing_mass(TRUTH, 4) == pytest.approx(expected, rel=1e-12)
    assert categorical.missing_mass(np.array([1.0, 0.0]), 3) == 0
    assert categorical.missing_mass(TRUTH, 0) == pytest.approx(1)
    head = np.array([0.6, 0.4, 0.0])
    plateau = categorical.missing_mass(TRUTH, 3, drawn_from=head)
    assert plateau == pytest.approx(0.5 * 0.4**3 + 0.3 * 0.6**3 + 0.2)


@pytest.mark.parametrize("exponent", [1.5, 2.0, 3.0])
def test_zipf_missing_mass_of_a_large_vocabulary(exponent):
    ranks = np.arange(1.0, 3_000_001)
    truth = ranks**-exponent / np.sum(ranks**-exponent)
    # The vocabulary's end, the tail's mass of 3e6^(1-β) in the normaliser, and the next order in M cost below 1 %.
    assert categorical.missing_mass(truth, 2000) == pytest.approx(
        categorical.zipf_missing_mass(exponent, 2000), rel=0.01 if exponent > 1.5 else 0.04
    )


def pmf(samples, share):
    """Return the Binomial probabilities by their definition."""
    return [math.comb(samples, k) * share**k * (1 - share) ** (samples - k) for k in range(samples + 1)]


def test_survivors_by_enumeration_of_all_categories_at_once():
    """The chain on whole count vectors, which knows nothing of one category's Binomial."""
    sizes, models = [4, 3, 5], {tuple(TRUTH): 1.0}
    laws = survival.survivors(TRUTH, sizes), survival.survival_probability(0.2, sizes)
    for size, number, minority in zip(sizes, *laws, strict=True):
        following = {}
        for model, probability in models.items():
            for draws in itertools.product(range(3), repeat=size):
                counts = tuple(draws.count(i) / size for i in range(3))
                weight = probability * math.prod(model[i] for i in draws)
                following[counts] = following.get(counts, 0.0) + weight
        models = {m: p for m, p in following.items() if p > 0}
        assert number == pytest.approx(sum(p * np.count_nonzero(m) for m, p in models.items()), rel=1e-12)
        assert minority == pytest.approx(sum(p for m, p in models.items() if m[2] > 0), rel=1e-12)
        assert sum(p * m[2] for m, p in models.items()) == pytest.approx(0.2, rel=1e-12)


@pytest.mark.parametrize("sizes", [[50] * 40, [20, 40, 80, 160, 40, 20]])
def test_survivors_of_simulated_lineages(sizes):
    rng, model = np.random.default_rng(1), np.full((REPLICAS, 8), 1 / 8)
    for size in sizes:
        model = rng.multinomial(size, model) / size
    check((model > 0).sum(1), survival.survivors(np.full(8, 1 / 8), sizes)[-1])


@pytest.mark.parametrize(("count", "samples", "quantile"), [(1, 9, 0.5), (3, 9, 0.6), (5, 9, 0.3)])
def test_forgetting_time_by_powers_of_the_matrix(count, samples, quantile):
    matrix = np.array([pmf(samples, c / samples) for c in range(samples + 1)])
    time = survival.forgetting_time(count, samples, quantile=quantile)
    assert np.linalg.matrix_power(matrix, int(time))[count, 0] >= quantile
    assert np.linalg.matrix_power(matrix, int(time) - 1)[count, 0] < quantile


def test_forgetting_time_at_the_ends():
    assert survival.forgetting_time(0, 5) == 0
    assert survival.forgetting_time(3, 5) == math.inf
    assert survival.forgetting_time(5, 5) == math.inf
    assert survival.forgetting_time(2, 100, longest=2) == math.inf


def test_forgetting_time_is_proportional_to_the_count():
    times = [survival.forgetting_time(c, 1000) for c in (10, 20, 40)]
    # 2 c / log 2, short of it by about c/M, and a whole number.
    np.testing.assert_allclose(times, 2 * np.array([10, 20, 40]) / math.log(2), rtol=0.08)


def test_absorption_time_by_summation():
    samples = 7
    matrix = np.array([pmf(samples, c / samples) for c in range(samples + 1)])
    power, expected = np.eye(samples + 1), np.zeros(samples + 1)
    # A generation leaves at most a share 6/7 of what is not absorbed: 0.86^400 < 1e-26.
    for _ in range(400):
        expected += power[:, 1:-1].sum(1)
        power = power @ matrix
    np.testing.assert_allclose(survival.absorption_time(samples), expected, rtol=1e-12)
    large, p = survival.absorption_time(400), 0.25
    diffusion = -800 * (p * math.log(p) + (1 - p) * math.log(1 - p))
    # The diffusion is right up to a few generations.
    assert large[100] == pytest.approx(diffusion, rel=0.01)


@pytest.mark.parametrize(("models", "samples"), [(3, 4), (2, 1), (1, 5)])
def test_simulated_ecosystems(models, samples):
    rng, pool_size = np.random.default_rng(2), models * samples
    law = ecosystem.ecosystem_heterozygosity(categorical.heterozygosity(TRUTH), models, samples, 4)
    pool = rng.choice(3, (REPLICAS, pool_size), p=TRUTH)
    for within, across in zip(*law, strict=True):
        kinds = np.eye(3)[pool]
        chosen = np.argsort(rng.random((models, REPLICAS, pool_size)), axis=2)[:, :, :samples]
        fitted = np.stack([np.take_along_axis(kinds, c[:, :, None], 1).mean(1) for c in chosen])
        if within == 0:
            np.testing.assert_allclose(diversity(fitted), 0, atol=1e-15)
        else:
            check(diversity(fitted[0]), within)
        if models > 1:
            check(1 - (fitted[0] * fitted[1]).sum(1), across)
        else:
            assert across == within
        draws = rng.random((models, REPLICAS, samples, 1)) > np.cumsum(fitted, -1)[:, :, None] - 1e-12
        pool = draws.sum(-1).transpose(1, 0, 2).reshape(REPLICAS, pool_size)


KERNEL = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.0, 0.2, 0.8]])
ELIMINATING = KERNEL * np.array([[0.9], [0.6], [0.3]])


def test_a_simulated_pool_of_seeds():
    rng, picks = np.random.default_rng(3), [3, 1, 4]
    pool = np.broadcast_to([2.0, 1.0, 0.0], (REPLICAS, 3)).copy()
    law = evolution.evolve_and_accumulate(np.array([2.0, 1.0, 0.0]), KERNEL, picks)
    for number, expected in zip(picks, law[1:], strict=True):
        chosen = rng.multinomial(number, pool / pool.sum(1, keepdims=True))
        for kind in range(3):
            pool += rng.multinomial(chosen[:, kind], KERNEL[kind])
        for kind in range(3):
            check(pool[:, kind], expected[kind])
    np.testing.assert_allclose(law.sum(1), 3 + np.cumsum([0, *picks]), rtol=1e-12)


def test_a_simulated_large_pool_with_elimination():
    # Pools of a million seeds: the limit's error is of the order 1e-6, the standard error of 200 pools about 1e-5.
    rng, size = np.random.default_rng(4), 1_000_000
    seeds = np.array([0.6, 0.4, 0.0])
    pool = np.broadcast_to(seeds * size, (200, 3)).astype(int)
    law = evolution.evolve_and_accumulate(seeds, ELIMINATING, [0.5, 1.0, 2.0])
    for number, expected in zip([0.5, 1.0, 2.0], law[1:], strict=True):
        chosen = rng.multinomial(int(number * size), pool / pool.sum(1, keepdims=True))
        with_loss = np.concatenate([ELIMINATING, 1 - ELIMINATING.sum(1, keepdims=True)], 1)
        pool = pool + sum(rng.multinomial(chosen[:, kind], with_loss[kind])[:, :3] for kind in range(3))
        for kind in range(3):
            check(pool[:, kind] / size, expected[kind])


def test_replaced_seeds_are_those_of_surviving_lineages():
    rng, start = np.random.default_rng(5), np.array([0.6, 0.4, 0.0])
    kinds = rng.choice(3, 200_000, p=start)
    cdf = np.cumsum(ELIMINATING, 1)
    law = evolution.evolve_and_replace(start, ELIMINATING, 3)
    for expected in law[1:]:
        kinds = (rng.random((len(kinds), 1)) > cdf[kinds]).sum(1)
        kinds = kinds[kinds < 3]
        for kind in range(3):
            check(kinds == kind, expected[kind])
    np.testing.assert_allclose(law.sum(1), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: categorical.heterozygosity(np.array([0.5, 0.6])), "truth"),
        (lambda: categorical.heterozygosity(np.array([1.5, -0.5])), "truth"),
        (lambda: categorical.replace_heterozygosity(1.0, 5, 2), "truth = 1.0"),
        (lambda: categorical.accumulate_heterozygosity(0.5, 0, 2), "samples = 0"),
        (lambda: categorical.fresh_share_heterozygosity(0.5, 1.5, 5, 2), "share = 1.5"),
        (lambda: categorical.fresh_share_heterozygosity_limit(0.5, math.nan, 5), "share = nan"),
        (lambda: categorical.missing_mass(TRUTH, -1), "samples = -1"),
        (lambda: categorical.zipf_missing_mass(1.0, 5), "exponent = 1.0"),
        (lambda: survival.survival_probability(1.5, [5]), "share = 1.5"),
        (lambda: survival.survivors(TRUTH, []), "samples"),
        (lambda: survival.survivors(TRUTH, [5, 0]), "samples = 0"),
        (lambda: survival.forgetting_time(6, 5), "count = 6"),
        (lambda: survival.forgetting_time(2, 5, quantile=1.0), "quantile = 1.0"),
        (lambda: survival.absorption_time(0), "samples = 0"),
        (lambda: ecosystem.ecosystem_heterozygosity(0.5, 0, 5, 2), "models = 0"),
        (lambda: ecosystem.ecosystem_heterozygosity(0.0, 2, 5, 2), "truth = 0.0"),
        (lambda: evolution.evolve_and_accumulate(np.ones(3), KERNEL * 2, [1]), "kernel"),
        (lambda: evolution.evolve_and_accumulate(np.zeros(3), KERNEL, [1]), "seeds"),
        (lambda: evolution.evolve_and_accumulate(np.ones(3), KERNEL, [-1]), "picks = -1"),
        (lambda: evolution.evolve_and_replace(np.ones(3), KERNEL, 1), "seeds"),
        (lambda: evolution.evolve_and_replace(TRUTH, KERNEL * 0, 1), "eliminates everything in generation 1"),
    ],
)
def test_arguments_out_of_range_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
