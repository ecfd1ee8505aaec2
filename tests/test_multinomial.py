"""Multinomial draws by a tree of binomials: against scipy's laws, and exactly where draws have no choice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from collapse_jax.generative.draws.multinomial import draw_binomials, draw_frequencies

P = np.array([0.1, 0.2, 0.0, 0.15, 0.25, 0.05, 0.0, 0.2, 0.05])


def agrees(draws, n, q):
    """Return whether draws pass a chi-square test against a binomial, neighbouring outcomes pooled to about 200."""
    masses = scipy.stats.binom.pmf(np.arange(n + 1), n, q)
    groups = np.unique(np.floor(200 * (np.cumsum(masses) - masses / 2)), return_inverse=True)[1]
    expected = np.bincount(groups, masses) * len(draws)
    observed = np.bincount(groups[draws.astype(int)], minlength=len(expected))
    keep = expected > 5
    observed = np.append(observed[keep], observed[~keep].sum())
    expected = np.append(expected[keep], expected[~keep].sum())
    return scipy.stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 6e-5


# Searched up to a mean of 10, then drawn by rejection.
BINOMIALS = [
    (1, 0.5),
    (6, 0.3),
    (20, 0.5),
    (1000, 0.004),
    (10_000, 1e-5),
    (21, 0.5),
    (30, 0.4),
    (10_000, 0.0015),
    (1000, 0.2),
    (100_000, 0.5),
]


def test_binomials_follow_their_law():
    replicas = 100_000
    n, q = (np.repeat(column, replicas) for column in np.array(BINOMIALS).T)
    arguments = jnp.array(n, jnp.float32), jnp.array(q, jnp.float32)
    key, uniform_key = jax.random.split(jax.random.key(0))
    u = jax.random.uniform(uniform_key, n.shape, minval=1e-9)
    draws = np.asarray(jax.jit(draw_binomials)(key, u, *arguments), np.float64)
    assert ((draws >= 0) & (draws <= n) & (draws == np.floor(draws))).all()
    for (trials, chance), row in zip(BINOMIALS, draws.reshape(-1, replicas), strict=True):
        assert agrees(row, int(trials), chance), (trials, chance)
        # A shift shows in the mean first.
        error = np.sqrt(trials * chance * (1 - chance) / replicas)
        assert abs(row.mean() - trials * chance) <= 4 * error, (trials, chance)


@pytest.mark.parametrize("trials", [[2, 5, 12, 20], [100, 1000, 10_000, 1_000_000]])
def test_the_search_finds_the_quantile(trials):
    # Down to 2^-33, where what rounding leaves of a sum would find outcomes that never come, and more than n.
    u = np.tile(np.float32(np.geomspace(2.0**-33, 1.0, 500)), 4)
    n, means = np.repeat(trials, 500), np.repeat([1.0, 1e-7, 3.0, 10.0], 500)
    q = np.float32(means / n)
    found = draw_binomials(jax.random.key(0), jnp.array(u), jnp.array(n, jnp.float32), jnp.array(q))
    # P(X > found) <= u < P(X > found - 1), but for single precision: its rounding, and a factor of two in the tail.
    law = scipy.stats.binom(n, q.astype(np.float64))
    assert (found <= n).all()
    assert (law.sf(found) <= u + 2e-6).all()
    above = law.sf(found - 1)
    assert (above >= u - 2e-6).all()
    assert (above >= u / 2.01).all()
    # The rare token, whose mean is far below the rounding of 1.
    np.testing.assert_array_equal(found[500:1000], u[500:1000] < 1e-7)


@pytest.fixture(scope="module")
def drawn():
    """Return 4000 draws of 12 and of 1000 examples, by one program."""
    keys = jax.random.split(jax.random.key(0), (2, 4000))
    p = jnp.array(P, jnp.float32)
    draws = jax.vmap(jax.vmap(lambda key, n: draw_frequencies(key, p, n), (0, None)))
    return dict(zip((12, 1000), np.asarray(jax.jit(draws)(keys, jnp.array([12, 1000])), np.float64), strict=True))


@pytest.mark.parametrize("n", [12, 1000])
def test_frequencies_are_multinomial(drawn, n):
    counts, seeds = drawn[n], len(drawn[n])
    assert (counts.sum(axis=1) == n).all()
    assert (counts >= 0).all()
    assert (counts[:, P == 0] == 0).all()
    centred = counts - n * P
    # Means, and covariances n (diag p - p pᵀ).
    assert (np.abs(centred.mean(axis=0)) <= 4 * counts.std(axis=0) / np.sqrt(seeds)).all()
    products = centred[:, :, None] * centred[:, None]
    error = np.abs(products.mean(axis=0) - n * (np.diag(P) - np.outer(P, P)))
    assert (error <= 4 * products.std(axis=0) / np.sqrt(seeds)).all()
    for token in np.flatnonzero(P):
        assert agrees(counts[:, token], n, P[token]), token


def test_many_tokens_of_very_different_weight():
    # Zipf's law over 100 tokens with every fifth dead, in members of different sizes; weights need not add up to one.
    p = np.arange(1, 101.0) ** -1.5
    p[::5] = 0.0
    sizes = np.tile([0, 1, 100, 10_000], 50)
    draws = jax.jit(jax.vmap(draw_frequencies, (0, None, 0)))
    keys = jax.random.split(jax.random.key(1), len(sizes))
    counts = np.asarray(draws(keys, jnp.array(p, jnp.float32), jnp.array(sizes)), np.float64)
    np.testing.assert_array_equal(counts.sum(axis=1), sizes)
    assert (counts[:, p == 0] == 0).all()
    expected = sizes.sum() * p / p.sum()
    assert scipy.stats.chisquare(counts.sum(axis=0)[p > 0], expected[p > 0]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("p", "n", "want"),
    [
        ([1.0], 7, [7]),
        ([0.0, 0.0, 1.0, 0.0, 0.0], 50_000, [0, 0, 50_000, 0, 0]),
        ([1.0, 1e-30, 0.0], 2**24, [2**24, 0, 0]),
        ([0.2, 0.3, 0.5], 0, [0, 0, 0]),
        # Without living tokens, any will do.
        ([np.nan, np.nan, np.nan], 30, [30, 0, 0]),
        ([0.0, 0.0, 0.0], 30, [30, 0, 0]),
        ([0.0, np.nan, 1.0], 30, [0, 0, 30]),
    ],
)
def test_draws_without_a_choice(p, n, want):
    np.testing.assert_array_equal(draw_frequencies(jax.random.key(0), jnp.array(p), jnp.int32(n)), want)
