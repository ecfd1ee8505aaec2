"""What a law returns as probabilities lies in [0, 1], whatever rounding does, and no other law refuses it."""

import numpy as np
import pytest

from collapse_jax.checks import numbers
from collapse_jax.generative import laws

SHARES = np.array([0.0, 1e-3, 0.01, 0.1, 1 / 3, 0.7, 0.999, 1.0])
SURVIVAL = {
    "accumulate": lambda m, t: laws.accumulate_survival(SHARES, m, t),
    # A tenth of the examples, none of one or two.
    "fresh": lambda m, t: laws.fresh_share_survival(SHARES, round(m / 10) / m, m, t),
    "replayed": lambda m, t: laws.replayed_share_survival(SHARES, round(m / 10) / m, m, t),
    "resampled": lambda m, t: laws.resampled_share_survival(SHARES, round(m / 10) / m, m, t),
    "importance": lambda m, t: laws.importance_survival(SHARES, round(m / 10) / m, m, t),
    "subsample": lambda m, t: laws.subsample_survival(SHARES, m, t),
    "ecosystem": lambda m, t: laws.ecosystem_survival(SHARES, 3, m, t),
}


def in_bounds(values):
    values = np.asarray(values)
    return bool(((values >= 0) & (values <= 1)).all())


@pytest.mark.parametrize("samples", [1, 2, 7, 50, 125])
@pytest.mark.parametrize("law", SURVIVAL)
def test_survival_is_a_probability_that_the_next_law_takes(law, samples):
    found = SURVIVAL[law](samples, 6)
    assert in_bounds(found.alive)
    assert in_bounds(found.unbroken)
    time = laws.disappearance_time(found.unbroken)
    assert (time.variance >= 0).all()
    laws.disappearance_time(found.alive)
    laws.survival_probability(found.alive[-1], [samples] * 2)


@pytest.mark.parametrize("samples", [1, 2, 7, 50, 201])
def test_shares_of_groups_are_shares(samples):
    for share in SHARES:
        law = laws.two_groups(float(share), lambda q: q, samples, 20)
        assert in_bounds(law.share)
        assert in_bounds(law.alive)
        laws.two_groups(float(law.share[-1]), lambda q: q, samples, 1)
        assert in_bounds(laws.survival_probability(float(share), [samples] * 20))


@pytest.mark.parametrize("seed", range(30))
def test_distributions_of_the_laws_feed_the_laws(seed):
    key = np.random.default_rng(seed)
    k = int(key.integers(1, 9))
    p = key.dirichlet(np.full(k, key.choice([1e-3, 1.0, 100.0])))
    rewards = key.normal(size=k)
    made = [
        laws.curated(p, rewards, int(key.integers(1, 9))),
        laws.curated(np.eye(k)[0], rewards, int(key.integers(1, 9))),
        *laws.curated_limit(p, rewards, 5)[1:],
        laws.token_edited(p, np.full(k, 1 / k), 0.01),
        laws.tempered(p, 0.5),
        laws.top_p(p, 0.9),
    ]
    for one in made:
        assert in_bounds(one)
        laws.survivors(one, [5, 5])
        laws.survival_probability(one, [5, 5])
        laws.best_of(np.cumsum(one), 2, 2)
        for samples in (0, 3):
            assert in_bounds(laws.missing_mass(one, samples))
        truth = laws.heterozygosity(one)
        for share in (0.0, 0.3):
            fresh = laws.fresh_share_heterozygosity(truth, share, 2, 50)
            laws.replace_heterozygosity(float(fresh[-1]), 2, 1)
            laws.replace_heterozygosity(laws.fresh_share_heterozygosity_limit(truth, share, 3), 2, 1)


def test_a_fixed_point_of_choice_is_a_share():
    for real_good in (0.0, 0.3, 1.0):
        for emitted_share in np.linspace(0.0, 0.99, 34):
            for gap in np.linspace(-9.0, 9.0, 34):
                found = laws.curated_pair_fixed_point(real_good, float(emitted_share), float(gap))
                laws.curated_pair(found, 1.0)


def test_whole_numbers_and_shares():
    numbers.whole("bins", np.int64(3), 1, 3)
    for value, allowed in ((3.5, "from 1 on"), (True, "from 1 on"), (0, "from 1 on"), ("1", "from 1 on")):
        with pytest.raises(ValueError, match=f"bins is {value!r}; it must be a whole number {allowed}"):
            numbers.whole("bins", value, 1)
    with pytest.raises(ValueError, match="bins is 4; it must be a whole number from 1 to 3"):
        numbers.whole("bins", 4, 1, 3)
    for value in (1.1, True, "0.5", float("nan")):
        with pytest.raises(ValueError, match=r"ratio is .*; it must be a share in \[0, 1\]"):
            numbers.share("ratio", value)
    assert numbers.shares("kept", np.array([-1e-12, 1 + 1e-12])).tolist() == [0.0, 1.0]
    for value in (1 + 1e-6, -1e-6, float("nan")):
        with pytest.raises(ValueError, match=r"kept = .* is not a share in \[0, 1\] for each of 1"):
            numbers.shares("kept", np.array([value]))
