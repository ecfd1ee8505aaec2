"""Metrics with one bad argument. NaN stays NaN in them, so that it is no nonsense here."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from collapse_jax import metrics
from tests.fuzz.probes import Probe, of

_P, _Q = np.array([0.5, 0.3, 0.2], np.float32), np.array([0.2, 0.4, 0.4], np.float32)
_GROUP = np.array([True, False, True])
_X = np.array([0.0, 0.5, 2.0, 1.0], np.float32)
_Y = np.array([0.1, 0.6, 3.0], np.float32)
_REAL = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(6, 2)
_MADE = _REAL[:5] ** 2
_MEAN, _COVARIANCE = np.zeros(2, np.float32), np.array([[1.0, 0.2], [0.2, 2.0]], np.float32)
_TOKENS = np.array([[1, 2, 1, 2], [3, 1, 2, -1], [1, 1, 1, 1]], np.int32)
_WHERE = np.ones(3, bool)


def by_group(metric: Callable[..., Array], labels: Array, groups: int) -> Array:
    """Return `metrics.by_group` with its labels under a name."""
    return metrics.by_group(metric, labels, groups=groups)


def probes() -> Sequence[Probe]:
    """Return the probes of all metrics."""
    gaussians = {"mean": _MEAN, "covariance": _COVARIANCE, "other_mean": _MEAN + 1, "other_covariance": 2 * _COVARIANCE}
    sets = {"real": _REAL, "generated": _MADE, "real_where": np.ones(6, bool), "generated_where": np.ones(5, bool)}
    matrices = {"covariance": _COVARIANCE, "reference": 2 * _COVARIANCE}
    grams = {"tokens": _TOKENS, "n": 2, "where": _WHERE, "budget": 6}
    found = [
        of(metrics.ball_coverage, real=_REAL, generated=_MADE, k=2, where=np.ones(6, bool)),
        of(by_group, metric=lambda where: where.mean(), labels=np.array([0, 1, 1], np.int32), groups=2),
        of(metrics.cell_masses, log_density=np.log(_P), grid=np.arange(3.0, dtype=np.float32)),
        of(metrics.classifier_agreement, logits=_REAL, labels=np.zeros(6, np.int32), where=np.ones(6, bool)),
        of(metrics.cosine_similarities, x=_REAL),
        of(metrics.distinct_n, **grams),
        of(metrics.entropy, p=_P),
        of(metrics.fit_classifier, images=_REAL, labels=np.array([0, 1, 0, 1, 0, 1])),
        of(metrics.frechet_distance, **gaussians),
        of(metrics.gaussian_kl_divergence, **gaussians),
        of(metrics.gaussian_similarities, x=_REAL, bandwidth=1.0),
        of(metrics.group_coverage, p=_P, truth=_Q, group=_GROUP, threshold=0.1),
        of(metrics.group_distance, p=_P, truth=_Q, group=_GROUP),
        of(metrics.group_error, errors=_P, group=_GROUP),
        of(
            metrics.group_misses,
            real=_REAL,
            groups=np.array([0, 1, 0, 1, 0, 1]),
            generated=_MADE,
            generated_groups=np.array([0, 1, 0, 1, 0]),
            where=np.ones(6, bool),
        ),
        of(metrics.group_share, p=_P, group=_GROUP),
        of(metrics.hashed_ngram_embedding, tokens=_TOKENS, size=16, orders=(1, 2)),
        of(metrics.heterozygosity, p=_P),
        of(metrics.histogram, x=_X, edges=np.arange(3.0, dtype=np.float32), where=np.ones(4, bool)),
        of(metrics.kl_divergence, p=_P, q=_Q),
        of(metrics.kolmogorov_smirnov, x=_X, y=_Y),
        of(metrics.log_determinant_ratio, **matrices),
        of(metrics.missing_mass, p=_P, truth=_Q),
        of(metrics.mmd_squared, x=_X, y=_Y, kernel=lambda distance: -distance),
        of(metrics.modes, density=_P, height=0.1),
        of(metrics.nearest_distances, x=_REAL, pool=_MADE),
        of(metrics.ngram_entropy, **grams),
        of(metrics.ngram_frequencies, **grams),
        of(metrics.off_support_mass, p=_P, truth=_Q),
        of(metrics.perplexity, log_probs=-_REAL, weights=np.ones((6, 2), np.float32)),
        of(metrics.precision_recall, k=2, **sets),
        of(metrics.repetition, tokens=_TOKENS, n=2, where=_WHERE),
        of(metrics.sample_frechet_distance, **sets),
        of(metrics.self_bleu, tokens=_TOKENS, n=2, where=_WHERE),
        of(metrics.semantic_drift, **sets),
        of(metrics.sequence_perplexities, log_probs=-_REAL, weights=np.ones((6, 2), np.float32)),
        of(metrics.similarity_matrix, x=_REAL, kernel=lambda a, b: jnp.exp(-((a - b) ** 2).sum())),
        of(metrics.survivors, p=_P),
        of(metrics.tail_coverage, p=_P, truth=_Q, threshold=0.1),
        of(metrics.tail_mass, x=_X, lower=0.1, upper=1.0),
        of(metrics.total_variation, p=_P, q=_Q),
        of(metrics.trace_ratio, **matrices),
        of(metrics.type_token_ratio, tokens=_TOKENS, where=_WHERE, budget=6),
        of(metrics.vendi_score, similarity=np.eye(3, dtype=np.float32), where=_WHERE),
        of(metrics.wasserstein, x=_X, y=_Y),
        of(metrics.wasserstein2, **gaussians),
        of(metrics.zipf_slope, p=_P, first=1, last=3),
    ]
    return [probe._replace(may_be_nan=True) for probe in found]
