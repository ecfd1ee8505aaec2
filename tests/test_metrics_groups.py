"""Metrics by subgroup: a mask must do what removing the others does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.metrics import (
    by_group,
    classifier_agreement,
    cosine_similarities,
    distinct_n,
    histogram,
    ngram_entropy,
    perplexity,
    precision_recall,
    repetition,
    sample_frechet_distance,
    self_bleu,
    semantic_drift,
    vendi_score,
)

RNG = np.random.default_rng(0)
N = 21
GROUPS = 4
# Nobody in group 2, and as many in each other, so that removal leaves one shape to compile.
LABELS = np.repeat([0, 1, 3], 7)[RNG.permutation(N)]
REAL_LABELS = np.repeat([0, 1, 3], 7)[RNG.permutation(N)]
TOKENS = np.where(np.arange(9)[None] < RNG.integers(1, 10, size=(N, 1)), RNG.integers(0, 3, size=(N, 9)), -1)
X, REAL = RNG.normal(size=(N, 3)).astype("f4"), RNG.normal(0.3, 1.0, size=(N, 3)).astype("f4")
EDGES = jnp.array([-1.0, 0.0, 0.5, 1.0])


def of_text(x, where):
    return {
        "distinct_n in a budget": distinct_n(x, n=1, where=where, budget=5),
        "ngram_entropy": ngram_entropy(x, n=2, where=where),
        "repetition": repetition(x, n=1, where=where),
        "self_bleu": self_bleu(x, n=2, where=where),
    }


def of_vectors(x, where):
    weights = None if where is None else jnp.broadcast_to(where[:, None].astype(x.dtype), x.shape)
    return {
        "vendi_score": vendi_score(cosine_similarities(x), where=where),
        "classifier_agreement": classifier_agreement(x, x[:, 0].astype(int), where=where),
        "histogram": histogram(x[:, 0], EDGES, where=where),
        "perplexity": perplexity(x, weights),
    }


@pytest.mark.parametrize(("metrics", "samples"), [(of_text, TOKENS), (of_vectors, X)])
def test_a_mask_is_as_good_as_removal(metrics, samples):
    masked = jax.jit(lambda x, labels: by_group(lambda where: metrics(x, where), labels, groups=GROUPS))
    alone = jax.jit(lambda x: metrics(x, None))
    got = masked(samples, LABELS)
    for group in (0, 1, 3):
        for name, want in alone(samples[group == LABELS]).items():
            np.testing.assert_allclose(got[name][group], want, rtol=2e-5, atol=1e-6, err_msg=name)
    for name, values in got.items():
        assert np.isnan(values[2]).all(), name


def of_two_sets(x, y, real_where=None, generated_where=None):
    masks = {"real_where": real_where, "generated_where": generated_where}
    frechet = sample_frechet_distance(x, y, **masks)
    return jnp.array([*precision_recall(x, y, **masks), *semantic_drift(x, y, **masks), frechet])


def test_masks_of_two_sets_are_as_good_as_removal():
    masked = jax.jit(lambda x, y, *labels: by_group(lambda a, b: of_two_sets(x, y, a, b), *labels, groups=GROUPS))
    alone = jax.jit(of_two_sets)
    got = masked(REAL, X, REAL_LABELS, LABELS)
    for group in (0, 1, 3):
        want = alone(REAL[group == REAL_LABELS], X[group == LABELS])
        np.testing.assert_allclose(got[group], want, rtol=1e-4, atol=1e-5)
    assert np.isnan(got[2]).all()


@jax.jit
def recall_by_group(real, generated, labels, generated_where):
    def recall(where):
        return precision_recall(real, generated, real_where=where, generated_where=generated_where).recall

    return by_group(recall, labels, groups=GROUPS)


def test_coverage_of_a_group_may_be_by_all_that_is_generated():
    got = recall_by_group(REAL, X, REAL_LABELS, np.full(N, True))
    whole = recall_by_group(REAL, X, np.zeros(N, int), np.full(N, True))
    assert float(got[np.array([0, 1, 3])].mean()) == pytest.approx(float(whole[0]), rel=1e-5)  # groups of equal size
    # As many samples as neighbours have no support.
    assert np.isnan(recall_by_group(REAL, X, REAL_LABELS, np.arange(N) < 3)).all()


def test_what_is_left_out_may_be_anything():
    where, real, labels = jnp.array(LABELS == 0), jnp.array(REAL), jnp.zeros(N, int)

    @jax.jit
    def measure(x):
        results = (
            sample_frechet_distance(real, x, generated_where=where),
            precision_recall(x, real, real_where=where),
            semantic_drift(real, x, generated_where=where).distance,
            vendi_score(cosine_similarities(x), where=where),
            histogram(x[:, 0], EDGES, where=where),
            classifier_agreement(x, labels, where=where),
        )
        return [jnp.ravel(jnp.array(result)) for result in results]

    inside = (LABELS == 0)[:, None]
    whole = measure(np.where(inside, X, 0.0))
    broken = np.where(inside, X, np.float32(np.nan))
    for got, want in zip(measure(broken), whole, strict=True):
        np.testing.assert_array_equal(got, want)
        assert np.isfinite(got).all()
    broken[np.flatnonzero(inside)[0], 0] = np.nan
    for got in measure(broken):
        assert np.isnan(got).all()


def test_groups_are_counted_from_one():
    with pytest.raises(ValueError, match="groups=0 must be at least 1"):
        by_group(lambda where: where.mean(), jnp.array(LABELS), groups=0)
    with pytest.raises(ValueError, match="at least one array of labels; got 0"):
        by_group(lambda: jnp.array(0.0), groups=2)
