"""Distances between sample sets, and the diversity of one."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from collapse_jax.checks.annotations import checked, require_numbers
from collapse_jax.metrics.missing import unless_nan

Number = float | Float[Array, ""]

# Rows of a distance matrix that are computed at once: bounds memory at this many times the size of a sample set.
# The trace is 1, and float32 moves eigenvalues of 0 by less than this.
_INDEFINITE = 1e-4
_ROWS = 64


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]: of the generated samples that look real, and of the real samples that could be generated."""

    precision: Float[Array, ""]
    recall: Float[Array, ""]


@checked
def wasserstein(x: Float[Array, " n"], y: Float[Array, " m"]) -> Float[Array, ""]:
    """Return the 1-Wasserstein distance between two sample sets on the line, in units of the samples.

    >>> float(wasserstein(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5])))
    0.5
    """
    points, below_x, below_y = _distribution_functions(x, y)
    return jnp.sum(jnp.abs(below_x - below_y)[:-1] * jnp.diff(points))


@checked
def kolmogorov_smirnov(x: Float[Array, " n"], y: Float[Array, " m"]) -> Float[Array, ""]:
    """Return the largest distance, in [0, 1], between the distribution functions of two sample sets on the line.

    >>> float(kolmogorov_smirnov(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5])))
    0.5
    """
    points, below_x, below_y = _distribution_functions(x, y)
    return jnp.where(jnp.isnan(points).any(), jnp.nan, jnp.abs(below_x - below_y).max())


@checked
def mmd_squared(
    x: Float[Array, " n"], y: Float[Array, " m"], kernel: Callable[[Float[Array, "..."]], Float[Array, "..."]]
) -> Float[Array, ""]:
    """Return the squared maximum mean discrepancy (V-statistic) under `kernel(|distance|)`.

    With kernel -U for a concave utility with U(0) = 0, between rewards and their limit law, it is how far the energy of
    the rewards is below the best one: the natural distance to collapse.
    """

    def mean(a: Array, b: Array) -> Array:
        distances = jnp.abs(a[:, None] - b[None, :])
        found = kernel(distances)
        require_numbers("what `kernel` returns", found, distances.shape)
        return found.mean()

    return mean(x, x) + mean(y, y) - 2.0 * mean(x, y)


@checked
def nearest_distances(x: Float[Array, "n d"], pool: Float[Array, "m d"]) -> Float[Array, " n"]:
    """Return the Euclidean distance of each sample to the nearest of `pool`: the smaller, the less novel it is."""
    return jnp.sqrt(_by_rows(lambda point: _squared_distances(point, pool).min(), x))


@checked
def precision_recall(
    real: Float[Array, "n d"],
    generated: Float[Array, "m d"],
    *,
    k: int = 3,
    real_where: Bool[Array, " n"] | None = None,
    generated_where: Bool[Array, " m"] | None = None,
) -> PrecisionRecall:
    """Return the shares of each sample set that lie in the other's estimated support.

    The support of a set is the union of balls about its samples, each reaching to that sample's k-th nearest neighbour
    among the others. Precision falls with off-support samples, recall (coverage) with lost tails and modes. Samples
    outside a `where` are left out, whatever they hold; NaN where no more than k are left. Raises ValueError unless
    1 <= k < n, m. Source: Kynkäänniemi et al., arXiv 1904.06991, with their k = 3 by default.
    """
    smaller = min(len(real), len(generated))
    if not 1 <= k < smaller:
        raise ValueError(f"k={k} must be at least 1 and below the number of samples of either set, {smaller}")
    real, real_left_out = _leave_out(real, real_where)
    generated, generated_left_out = _leave_out(generated, generated_where)

    def share(points: Array, out: Array, support: Array, support_out: Array) -> Array:
        # What is left out is infinitely far from everything.
        def distances(point: Array) -> Array:
            return jnp.where(support_out, jnp.inf, _squared_distances(point, support))

        # The smallest distance is the sample's own, 0.
        radii = _by_rows(lambda point: -jax.lax.top_k(-distances(point), k + 1)[0][-1], support)
        inside = _by_rows(lambda point: (distances(point) <= radii).any(), points)
        few = jnp.minimum((~out).sum(), (~support_out).sum()) <= k
        return jnp.where(few, jnp.nan, jnp.mean(inside, where=~out))

    precision = share(generated, generated_left_out, real, real_left_out)
    recall = share(real, real_left_out, generated, generated_left_out)
    return PrecisionRecall(unless_nan(precision, real, generated), unless_nan(recall, real, generated))


@checked
def histogram(
    x: Float[Array, " n"], edges: Float[Array, " edge"], *, where: Bool[Array, " n"] | None = None
) -> Float[Array, " bin"]:
    """Return the share of samples in each bin [edge, next edge); they sum to one.

    The edges ascend; what lies beyond them counts in the outer bins. Samples outside `where` are left out, whatever
    they hold; all shares are NaN if none is left.

    >>> histogram(jnp.array([-9.0, 0.5, 1.0, 7.0]), jnp.array([0.0, 1.0, 2.0, 3.0])).tolist()
    [0.5, 0.25, 0.25]
    """
    counted = jnp.ones(len(x), bool) if where is None else where
    bins = (x[:, None] >= edges[None, 1:-1]).sum(1)
    shares = jnp.mean(bins[:, None] == jnp.arange(len(edges) - 1)[None], axis=0, where=counted[:, None])
    broken = jnp.isnan(jnp.where(counted, x, 0.0)).any() | jnp.isnan(edges).any()
    return jnp.where(broken, jnp.nan, shares)


@checked
def similarity_matrix(
    x: Float[Array, "n ..."], kernel: Callable[[Float[Array, "..."], Float[Array, "..."]], Float[Array, ""]]
) -> Float[Array, "n n"]:
    """Return `kernel(a, b)` of all pairs of samples, a matrix that `vendi_score` takes."""

    def similarity(a: Array, b: Array) -> Array:
        found = kernel(a, b)
        require_numbers("what `kernel` returns", found, ())
        return found

    return jax.vmap(lambda a: jax.vmap(lambda b: similarity(a, b))(x))(x)


@checked
def cosine_similarities(x: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """Return the cosines of all pairs of vectors, in [-1, 1]; a vector of zeros has 0 with all, itself included."""
    norm = jnp.linalg.norm(x, axis=1, keepdims=True)
    unit = x / jnp.where(norm == 0.0, 1.0, norm)
    # Accelerators would multiply float32 matrices in half precision.
    return jnp.matmul(unit, unit.T, precision="highest")


@checked
def gaussian_similarities(x: Float[Array, "n d"], *, bandwidth: Number) -> Float[Array, "n n"]:
    """Return exp(-|a - b|²/(2 bandwidth²)) of all pairs, in [0, 1]; bandwidth > 0 in units of the samples."""
    return jnp.exp(-_by_rows(lambda point: _squared_distances(point, x), x) / (2.0 * bandwidth**2))


@checked
def vendi_score(similarity: Float[Array, "n n"], *, where: Bool[Array, " n"] | None = None) -> Float[Array, ""]:
    """Return the effective number of different samples, in [1, n], from their positive semidefinite similarities.

    It is e to the entropy of the eigenvalues of K / tr K: n where no two are alike, 1 where all are the same. It grows
    with n, so compare sets of equal size. Samples outside `where` are left out, whatever they hold; NaN if all are, and
    where an eigenvalue is below 0 beyond rounding: such similarities have no entropy. Source: Friedman and Dieng, arXiv
    2210.02410, where K has a diagonal of ones.

    >>> round(float(vendi_score(jnp.eye(5))), 4)
    5.0
    """
    if where is not None:
        similarity = jnp.where(where[:, None] & where[None, :], similarity, 0.0)
    spectrum = jnp.linalg.eigvalsh(similarity / jnp.trace(similarity))
    score = jnp.exp(jax.scipy.special.entr(jnp.maximum(spectrum, 0.0)).sum())
    return unless_nan(jnp.where(spectrum.min() < -_INDEFINITE, jnp.nan, score), similarity, spectrum)


def _leave_out(x: Array, where: Array | None) -> tuple[Array, Array]:
    """Return the samples, with zeros for those left out, and which those are."""
    if where is None:
        return x, jnp.zeros(len(x), bool)
    return jnp.where(where[:, None], x, 0.0), ~where


def _squared_distances(point: Array, points: Array) -> Array:
    # By differences: through inner products, the distance of near points is lost to rounding.
    return jnp.square(points - point[None]).sum(1)


def _by_rows(fn: Callable[[Array], Array], x: Array) -> Array:
    rows: Array = jax.lax.map(fn, x, batch_size=_ROWS)
    return rows


def _distribution_functions(x: Array, y: Array) -> tuple[Array, Array, Array]:
    points = jnp.sort(jnp.concatenate([x, y]))
    share = jax.vmap(lambda point: (jnp.mean(x <= point), jnp.mean(y <= point)))
    return points, *share(points)
