"""Detectors: each example is scored by a fit that has not seen it, and how well scores are calibrated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from collapse_jax.generative.selection import Candidates
from collapse_jax.generative.selections import importance_resampled, learned_detector, novel

N = 120


def mixed(shift, features=3, seed=0, n=N):
    """Return candidates, half of them real, whose machine-made half is shifted; and which are which."""
    random = np.random.default_rng(seed)
    machine = random.permutation(n) % 2 == 0
    x = random.normal(size=(n, features)) + shift * machine[:, None]
    weights = jnp.asarray(random.integers(0, 3, n), float)
    generation = jnp.asarray(np.where(machine, 3, random.integers(-1, 1, n)), jnp.int32)
    return Candidates(jnp.asarray(x, jnp.float32), weights, generation, jnp.zeros(n, jnp.int32)), machine


def test_records_are_those_of_scikit_learn():
    candidates, machine = mixed(0.8)
    detector = learned_detector(lambda x: x, folds=3)
    selection = importance_resampled(detector)
    record = selection.inspect(jax.random.key(0), candidates, candidates, (), exponent=1.0)
    p, weights = np.asarray(detector(jax.random.key(0), candidates)), np.asarray(candidates.weights)
    area = roc_auc_score(machine, p, sample_weight=weights)
    assert float(record["detected"]) == pytest.approx(area, abs=1e-5)
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = [abs((weights * (p - machine))[bins == b].sum()) for b in range(10)]
    assert float(record["miscalibration"]) == pytest.approx(sum(gaps) / weights.sum(), abs=1e-5)


def test_ties_count_half():
    candidates, machine = mixed(0.0)
    record = importance_resampled(lambda key, candidates: jnp.full(N, 0.3)).inspect(
        jax.random.key(0), candidates, candidates, (), exponent=1.0
    )
    assert float(record["detected"]) == pytest.approx(0.5, abs=1e-6)
    weights = np.asarray(candidates.weights)
    share = weights[machine].sum() / weights.sum()
    assert float(record["miscalibration"]) == pytest.approx(abs(share - 0.3), abs=1e-5)


def test_each_fold_is_judged_by_the_others():
    candidates, machine = mixed(1.0)
    ridge = 1e-2
    found = np.asarray(learned_detector(lambda x: x, folds=2, ridge=ridge)(jax.random.key(0), candidates))
    x, weights = np.asarray(candidates.examples, np.float64), np.asarray(candidates.weights, np.float64)
    share = weights / weights.sum()
    centred = x - share @ x
    scaled = centred / np.sqrt(share @ centred**2)
    for fold in range(2):
        own = np.asarray(jax.random.permutation(jax.random.key(0), jnp.arange(N) % 2)) == fold
        rest = weights[~own] / weights[~own].sum()
        model = LogisticRegression(C=1.0 / ridge, tol=1e-10, max_iter=1000)
        model.fit(scaled[~own], machine[~own], sample_weight=rest)
        np.testing.assert_allclose(found[own], model.predict_proba(scaled[own])[:, 1], atol=2e-3)


@pytest.mark.slow
def test_folds_find_nothing_where_there_is_nothing():
    areas = {1: [], 2: []}
    for seed in range(20):
        candidates, _ = mixed(0.0, features=20, seed=seed)
        for folds, found in areas.items():
            selection = importance_resampled(learned_detector(lambda x: x, folds=folds))
            found.append(
                float(selection.inspect(jax.random.key(0), candidates, candidates, (), exponent=1.0)["detected"])
            )
    assert np.mean(areas[1]) > 0.7
    assert abs(np.mean(areas[2]) - 0.5) < 4 * np.std(areas[2], ddof=1) / np.sqrt(20) + 0.02


def test_folds_are_a_whole_number():
    with pytest.raises(ValueError, match="folds is 0; it must be a whole number from 1 on"):
        learned_detector(lambda x: x, folds=0)


def test_novelty_by_features_is_novelty_by_their_distance():
    def distance(x, y):
        return jnp.abs(x - y).max()

    random = np.random.default_rng(0)
    candidates = Candidates(
        jnp.asarray(random.normal(size=(30, 2)), jnp.float32),
        jnp.ones(30),
        jnp.ones(30, jnp.int32),
        jnp.zeros(30, jnp.int32),
    )
    pool = candidates._replace(examples=candidates.examples[::-1] + 0.3, weights=(jnp.arange(30) < 5).astype(float))
    plain = novel(lambda x, y: distance(jnp.sin(x), jnp.sin(y)), threshold=0.4)
    looked_at = novel(distance, features=jnp.sin, threshold=0.4)
    kept = [np.asarray(one.weigh(jax.random.key(0), candidates, pool, (), threshold=0.4)) for one in (plain, looked_at)]
    np.testing.assert_array_equal(*kept)
    assert 0 < kept[0].sum() < 30
