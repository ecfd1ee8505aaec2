"""Coverage, novelty and diversity of sample sets, against scikit-learn, vendi-score and brute force in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from sklearn.neighbors import NearestNeighbors
from vendi_score import vendi

from collapse_jax.metrics import (
    cosine_similarities,
    gaussian_similarities,
    histogram,
    nearest_distances,
    precision_recall,
    similarity_matrix,
    vendi_score,
)

RNG = np.random.default_rng(0)
PRECISION_RECALL = jax.jit(precision_recall, static_argnames="k")
VENDI, HISTOGRAM = jax.jit(vendi_score), jax.jit(histogram)


def inside(points, support, k):
    """Return, point by point, whether some ball of the support holds it."""
    radii = NearestNeighbors(n_neighbors=k).fit(support).kneighbors()[0][:, -1]
    return (cdist(points, support) <= radii[None]).any(1)


# More samples than rows computed at once, and fewer; one dimension and several.
@pytest.mark.parametrize(("n", "m", "d", "k"), [(150, 90, 2, 3), (20, 70, 1, 1), (30, 30, 5, 7)])
def test_precision_and_recall_count_points_in_nearest_neighbour_balls(n, m, d, k):
    real, generated = RNG.normal(size=(n, d)), RNG.normal(0.8, 1.0, size=(m, d))
    with jax.enable_x64():
        got = PRECISION_RECALL(real, generated, k=k)
    want = [inside(generated, real, k).mean(), inside(real, generated, k).mean()]
    np.testing.assert_allclose(got, want, atol=1e-12)  # the same counts
    assert all(0.1 < share < 1 for share in want)


def test_a_lost_mode_costs_recall_and_not_precision():
    real = jnp.concatenate([jnp.linspace(0, 1, 20), jnp.linspace(5, 6, 20)])[:, None]
    precision, recall = PRECISION_RECALL(real, real[:20])
    assert (float(precision), float(recall)) == (1.0, 0.5)


def test_balls_are_closed():
    # Of repeated samples, they have no extent, and yet hold their centres.
    repeated = jnp.array([[0.0], [0.0], [1.0], [1.0]])
    precision, recall = PRECISION_RECALL(repeated, repeated, k=1)
    assert (float(precision), float(recall)) == (1.0, 1.0)


@pytest.mark.parametrize("k", [0, 4])
def test_too_many_neighbours_are_refused(k):
    with pytest.raises(ValueError, match=f"k={k} must be at least 1 and below"):
        precision_recall(jnp.zeros((9, 1)), jnp.zeros((4, 1)), k=k)


def test_nearest_distances_are_brute_force():
    x, pool = RNG.normal(size=(70, 3)), RNG.normal(size=(11, 3))
    got = nearest_distances(jnp.array(x), jnp.array(pool))
    np.testing.assert_allclose(got, cdist(x, pool).min(1), rtol=1e-5)  # float32


def test_vendi_score_is_the_effective_number_of_samples():
    # Groups of identical samples, different between groups: the eigenvalues are the groups' shares.
    sizes = np.array([5, 3, 1, 1])
    labels = np.repeat(np.arange(4), sizes)
    shares = sizes / sizes.sum()
    want = np.exp(-(shares * np.log(shares)).sum())
    got = VENDI(jnp.array((labels[:, None] == labels[None]).astype("f4")))
    assert float(got) == pytest.approx(want, rel=1e-4)  # float32


def test_vendi_score_of_a_linear_kernel_follows_from_the_second_moments():
    # K = X Xᵀ and XᵀX have the same eigenvalues except zeros.
    x = RNG.normal(size=(40, 3))
    with jax.enable_x64():
        got = float(VENDI(similarity_matrix(jnp.array(x), jnp.dot)))
    spectrum = np.linalg.eigvalsh(x.T @ x / np.trace(x.T @ x))
    assert got == pytest.approx(np.exp(-(spectrum * np.log(spectrum)).sum()), rel=1e-9)


# The package asks for a name that scipy has moved.
@pytest.mark.filterwarnings("ignore:Please import `csr_matrix`:DeprecationWarning")
@pytest.mark.parametrize(("n", "d"), [(10, 4), (10, 40)])
def test_vendi_score_of_embeddings_is_the_packages(n, d):
    x = RNG.normal(size=(n, d))
    with jax.enable_x64():
        cosine, gaussian = cosine_similarities(jnp.array(x)), gaussian_similarities(jnp.array(x), bandwidth=1.5)
        got = [float(VENDI(similarity)) for similarity in (cosine, gaussian)]
    np.testing.assert_allclose(cosine, cosine_similarity(x), atol=1e-12)
    np.testing.assert_allclose(gaussian, rbf_kernel(x, gamma=1 / (2 * 1.5**2)), atol=1e-12)
    np.testing.assert_allclose(got, [vendi.score_X(x), vendi.score_K(rbf_kernel(x, gamma=1 / 4.5))], rtol=1e-8)


def test_vendi_score_leaves_zero_vectors_out():
    x = jnp.concatenate([jnp.eye(3), jnp.zeros((4, 3))])
    assert float(VENDI(cosine_similarities(x))) == pytest.approx(3.0, rel=1e-4)


def test_histogram_is_numpys_with_outer_bins_for_the_rest():
    x, edges = RNG.normal(size=200).astype("f4"), np.array([-1.0, -0.5, 0.0, 1.0, 2.0], "f4")
    wide = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
    got = HISTOGRAM(np.append(x, np.float32(np.inf)), edges)
    np.testing.assert_allclose(got, np.histogram(np.append(x, 1e9), wide)[0] / 201, rtol=1e-6)
    # An edge belongs to the bin that it begins.
    assert HISTOGRAM(edges, edges).tolist() == pytest.approx([0.2, 0.2, 0.2, 0.4])
    assert np.isnan(HISTOGRAM(np.append(x, np.float32(np.nan)), edges)).all()


def test_what_is_not_a_number_stays_so():
    broken = jnp.array([[0.0], [1.0], [2.0], [3.0], [jnp.nan]])
    for pair in ((broken, broken[:4]), (broken[:4], broken)):
        assert np.isnan(PRECISION_RECALL(*pair)).all()
    assert np.isnan(nearest_distances(broken[:2], broken)).all()
    assert np.isnan(VENDI(jnp.array([[1.0, jnp.nan], [jnp.nan, 1.0]])))


def test_members_are_batched_by_vmap():
    real, generated = jnp.array(RNG.normal(size=(4, 12, 2))), jnp.array(RNG.normal(size=(4, 10, 2)))
    together = jax.jit(jax.vmap(precision_recall))(real, generated)
    for member in range(4):
        np.testing.assert_allclose(
            [x[member] for x in together], PRECISION_RECALL(real[member], generated[member]), rtol=1e-6
        )


def test_similarities_that_are_not_positive_semidefinite_have_no_vendi_score():
    indefinite = jnp.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    assert np.isnan(vendi_score(indefinite))
    # Rank 1 in 300 dimensions: what rounding puts below 0 is no such similarity.
    x = np.random.default_rng(0).normal(size=(300, 1)).astype(np.float32)
    assert float(vendi_score(jnp.asarray(x @ x.T))) == pytest.approx(1.0, abs=1e-2)
