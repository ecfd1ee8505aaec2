"""Embeddings of text and how far they drift, against exact counts, scipy and NumPy."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from collapse_jax.metrics import (
    cosine_similarities,
    hashed_ngram_embedding,
    sample_frechet_distance,
    semantic_drift,
)

RNG = np.random.default_rng(0)
DRIFT, FRECHET = jax.jit(semantic_drift), jax.jit(sample_frechet_distance)
TOKENS = RNG.zipf(1.4, size=(6, 15)) % 9
TOKENS[1, 9:] = TOKENS[2, 4] = -1


def exact_cosines(tokens, orders):
    """Return the cosines of the sequences' n-gram counts."""
    counts = []
    for row in tokens.tolist():
        windows = [tuple(row[i : i + n]) for n in orders for i in range(len(row) - n + 1)]
        counts.append(Counter(window for window in windows if min(window) >= 0))
    products = np.array([[sum(a[gram] * b[gram] for gram in a) for b in counts] for a in counts])
    norms = np.sqrt(np.diag(products))
    return products / (norms[:, None] * norms[None])


@pytest.mark.parametrize("orders", [(1, 2, 3), (2,)])
def test_embeddings_without_collisions_have_the_cosines_of_ngram_counts(orders):
    embedding = jax.jit(lambda x: hashed_ngram_embedding(x, size=2**18, orders=orders))(TOKENS)
    np.testing.assert_allclose(cosine_similarities(embedding), exact_cosines(TOKENS, orders), atol=1e-6)


def test_collisions_are_noise_without_bias():
    # 3,000 independent sets of places: the same sequences under other names.
    replicas, size = 3000, 16
    first, second = np.array([0, 1, 0, 2, 3, 1]), np.array([0, 0, 1, 4, 5, 3])
    names = np.arange(replicas)[:, None] * 6

    def product(a, b):
        return np.asarray((a * b).sum(1))

    @jax.jit
    def embed(row):
        return hashed_ngram_embedding(row[None] + names, size=size, orders=(1,))

    first, second, other = embed(first), embed(second), embed(np.arange(6) + 10**6)
    exact = (2 * 2 + 2 * 1 + 1 * 1) / np.sqrt((4 + 4 + 1 + 1) * (4 + 1 + 1 + 1 + 1))
    # The norm is hashed too, and correlates: a bias of the order of 1/size is left.
    error = product(first, second) - exact
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(replicas) + 1 / size
    assert error.std() < 1.5 / np.sqrt(size)
    # Unlike words share places with either sign alike.
    error = product(first, other)
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(replicas)
    assert error.std() == pytest.approx(1 / np.sqrt(size), rel=0.1)


def test_embeddings_have_norm_one_or_are_empty():
    tokens = jnp.array([[1, 2, 3, -1], [5, -1, -1, -1], [-1, -1, -1, -1]])
    norms = jnp.linalg.norm(jax.jit(hashed_ngram_embedding)(tokens), axis=1)
    np.testing.assert_allclose(norms, [1, 1, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size=0 must be at least 1"),
        ({"orders": (1, 4)}, r"orders=\(1, 4\) must be from 1 to the length of the sequences, 3"),
        ({"orders": ()}, r"orders=\(\) must be"),
    ],
)
def test_what_cant_be_embedded_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        hashed_ngram_embedding(jnp.zeros((2, 3), int), **options)


def test_drift_is_in_units_of_the_real_spread():
    real, generated = RNG.normal(size=(40, 5)), RNG.normal(0.5, 0.3, size=(30, 5))
    got = DRIFT(real, generated)
    unit = np.mean([np.linalg.norm(x - real.mean(0)) for x in real])
    distance = np.linalg.norm(generated.mean(0) - real.mean(0)) / unit
    spread = np.mean([np.linalg.norm(x - generated.mean(0)) for x in generated]) / unit
    np.testing.assert_allclose(got, [distance, spread], rtol=1e-5)
    # Neither changes with the scale of the embeddings.
    np.testing.assert_allclose(DRIFT(7.0 * real, 7.0 * generated), got, rtol=1e-4)


def test_without_drift_the_distance_is_that_of_two_samples():
    replicas, n, m = 400, 30, 50
    real, generated = RNG.normal(size=(replicas, n, 200)), RNG.normal(size=(replicas, m, 200))
    got = jax.jit(jax.vmap(semantic_drift))(real, generated)
    assert float(got.distance.mean()) == pytest.approx(np.sqrt(1 / n + 1 / m), rel=0.03)
    assert float(got.spread.mean()) == pytest.approx(1.0, rel=0.03)


# More samples than dimensions, and fewer: singular covariances.
@pytest.mark.parametrize(("n", "m", "d"), [(60, 50, 4), (5, 7, 12)])
def test_frechet_distance_of_samples_is_scipys(n, m, d):
    real, generated = RNG.normal(size=(n, d)), RNG.normal(0.5, 1.5, size=(m, d))
    a, b = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    # √(AB) of singular matrices is singular: through √A B √A, whose eigenvalues are the same.
    root = scipy.linalg.sqrtm(a + 1e-12 * np.eye(d)).real
    middle = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    want = np.square(real.mean(0) - generated.mean(0)).sum() + np.trace(a) + np.trace(b) - 2 * middle
    with jax.enable_x64():
        got = float(FRECHET(real, generated))
    assert got == pytest.approx(want, rel=1e-5)  # the oracle's 1e-12


def test_what_is_not_a_number_stays_so():
    good = jnp.array(RNG.normal(size=(6, 3)))
    for pair in ((good, good.at[0, 1].set(jnp.nan)), (good.at[5, 2].set(jnp.nan), good)):
        assert np.isnan(DRIFT(*pair).distance)
        assert np.isnan(FRECHET(*pair))
    assert np.isnan(FRECHET(good, good[:1]))  # no covariance
