"""The classifier of images, against scikit-learn, and agreement with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets
from sklearn.linear_model import LogisticRegression

from collapse_jax.metrics import classifier_agreement, fit_classifier

DIGITS = sklearn.datasets.load_digits()


@pytest.mark.parametrize("classes", [10, 2])
def test_classifier_is_scikit_learns(classes):
    kept = DIGITS.target < classes
    images, labels = DIGITS.images[kept].astype("f4"), DIGITS.target[kept]
    train = np.arange(len(images)) % 4 == 0
    logits = jax.jit(fit_classifier(images[train], labels[train]))(jnp.array(images[~train]))
    centre, scale = images[train].mean(0), images[train].std()
    flat = ((images - centre) / scale).reshape(len(images), -1)
    want = LogisticRegression(max_iter=2000).fit(flat[train], labels[train]).predict_proba(flat[~train])
    np.testing.assert_allclose(jax.nn.softmax(logits), want, atol=2e-3)  # where the fits stop
    agreement = classifier_agreement(logits, jnp.array(labels[~train]))
    assert float(agreement) == pytest.approx((want.argmax(1) == labels[~train]).mean(), rel=1e-6)
    assert float(agreement) > 0.9


def test_agreement_is_a_share_of_those_counted():
    logits = jnp.array([[1.0, 2.0], [3.0, 0.0], [jnp.nan, 0.0]])
    labels = jnp.array([1, 1, 0])
    assert np.isnan(classifier_agreement(logits, labels))
    assert float(classifier_agreement(logits, labels, where=jnp.array([True, True, False]))) == 0.5
    assert np.isnan(classifier_agreement(logits, labels, where=jnp.zeros(3, bool)))


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 2, 1], [0, 2, 0], [-1, 0, 1]])
def test_labels_with_gaps_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must be 0 ... K - 1"):
        fit_classifier(np.zeros((3, 2, 2)), np.array(labels))
