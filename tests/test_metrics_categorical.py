"""Metrics of categorical distributions, against scipy, brute force and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from collapse_jax import metrics

RNG = np.random.default_rng(0)
P, Q = RNG.dirichlet(np.ones(6), size=2).astype("f4")
# A model that has lost categories 1 and 4 and invented the last one, which is never real.
MODEL = jnp.array([0.5, 0.0, 0.2, 0.1, 0.0, 0.2])
TRUTH = jnp.array([0.3, 0.3, 0.2, 0.1, 0.1, 0.0])
GROUP = jnp.array([False, True, False, True, True, False])


def test_distances_and_entropies_are_scipys():
    assert float(metrics.kl_divergence(jnp.array(P), jnp.array(Q))) == pytest.approx(
        scipy.stats.entropy(P, Q), rel=1e-5
    )
    assert float(metrics.entropy(jnp.array(P))) == pytest.approx(scipy.stats.entropy(P), rel=1e-6)
    # The largest difference of the probabilities of an event, over all events.
    events = itertools.product([0.0, 1.0], repeat=6)
    want = max(abs((P - Q) @ np.array(event)) for event in events)
    assert float(metrics.total_variation(jnp.array(P), jnp.array(Q))) == pytest.approx(want, rel=1e-5)


def test_zeros_in_divergence_and_entropy():
    assert float(metrics.kl_divergence(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5]))) == pytest.approx(np.log(2))
    assert float(metrics.kl_divergence(jnp.array([0.5, 0.5]), jnp.array([0.0, 1.0]))) == np.inf
    assert float(metrics.kl_divergence(jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0]))) == 0.0
    assert float(metrics.entropy(jnp.array([0.0, 1.0]))) == 0.0


def test_heterozygosity_is_the_chance_that_two_draws_differ():
    want = sum(a * b for (i, a), (j, b) in itertools.product(enumerate(P), repeat=2) if i != j)
    assert float(metrics.heterozygosity(jnp.array(P))) == pytest.approx(want, rel=1e-5)
    rest = 3 * 2.0**-14 + 7 * 2.0**-24
    near = metrics.heterozygosity(jnp.array([1.0 - rest, rest]))
    assert float(near) == pytest.approx(2 * rest * (1 - rest), rel=1e-6)  # float32, without cancellation


def test_what_is_lost_and_what_is_invented():
    assert float(metrics.survivors(MODEL)) == 4.0
    assert float(metrics.missing_mass(MODEL, TRUTH)) == pytest.approx(0.4)
    assert float(metrics.off_support_mass(MODEL, TRUTH)) == pytest.approx(0.2)
    assert float(metrics.tail_coverage(MODEL, TRUTH, threshold=0.0)) == pytest.approx(0.6)
    # Exactly the threshold is not above it.
    assert float(metrics.tail_coverage(MODEL, TRUTH, threshold=0.2)) == pytest.approx(0.3)


def test_groups():
    assert float(metrics.group_share(MODEL, GROUP)) == pytest.approx(0.1)
    assert float(metrics.group_coverage(MODEL, TRUTH, GROUP, threshold=0.05)) == pytest.approx(0.1 / 0.5)
    assert float(metrics.group_error(jnp.arange(6.0), GROUP)) == pytest.approx((1 + 3 + 4) / 3)
    nobody = jnp.zeros(6, bool)
    assert np.isnan(metrics.group_error(jnp.arange(6.0), nobody))
    assert np.isnan(metrics.group_coverage(MODEL, TRUTH, nobody, threshold=0.0))


@pytest.mark.parametrize("beta", [0.7, 1.5, 3.0])
def test_zipf_slope_of_zipfs_law(beta):
    p = RNG.permutation(np.arange(1.0, 51.0) ** -beta)
    assert float(metrics.zipf_slope(jnp.array(p), first=2, last=40)) == pytest.approx(-beta, rel=1e-4)  # float32


def test_zipf_slope_is_the_regression_of_those_alive():
    counts = np.array([0, 7, 1, 0, 30, 3, 3, 100.0])
    alive = np.sort(counts[counts > 0])[::-1]
    want = scipy.stats.linregress(np.log(np.arange(2, 7)), np.log(alive[1:])).slope
    assert float(metrics.zipf_slope(jnp.array(counts), first=2)) == pytest.approx(want, rel=1e-5)
    assert np.isnan(metrics.zipf_slope(jnp.array(counts), first=6))


@pytest.mark.parametrize("ranks", [{"first": 0}, {"first": 4, "last": 4}, {"last": 7}])
def test_ranks_outside_the_categories_are_refused(ranks):
    with pytest.raises(ValueError, match=r"p has 6 categories; first=. and last=. must satisfy 1 <= first < last <= 6"):
        metrics.zipf_slope(MODEL, **ranks)


OF_ONE = [metrics.entropy, metrics.heterozygosity, metrics.survivors, metrics.zipf_slope]
OF_TWO = [metrics.total_variation, metrics.kl_divergence, metrics.missing_mass, metrics.off_support_mass]


@pytest.mark.parametrize("metric", OF_ONE)
def test_what_is_not_a_number_stays_so(metric):
    assert np.isnan(metric(MODEL.at[2].set(jnp.nan)))


@pytest.mark.parametrize("metric", [*OF_TWO, lambda p, q: metrics.tail_coverage(p, q, threshold=0.1)])
def test_what_is_not_a_number_in_either_stays_so(metric):
    assert np.isnan(metric(MODEL.at[2].set(jnp.nan), TRUTH))
    assert np.isnan(metric(MODEL, TRUTH.at[2].set(jnp.nan)))


def test_groups_of_what_is_not_a_number_are_not_numbers():
    broken = MODEL.at[0].set(jnp.nan)  # outside the group
    assert np.isnan(metrics.group_share(broken, GROUP))
    assert np.isnan(metrics.group_coverage(broken, TRUTH, GROUP, threshold=0.1))
    assert np.isnan(metrics.group_coverage(MODEL, broken, GROUP, threshold=0.1))
    assert np.isnan(metrics.group_error(broken, GROUP))


def test_members_are_batched_by_vmap():
    got = jax.vmap(metrics.missing_mass, in_axes=(0, None))(jnp.stack([MODEL, TRUTH]), TRUTH)
    np.testing.assert_allclose(got, [0.4, 0.0], atol=1e-6)
