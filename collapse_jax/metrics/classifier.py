"""Whether generated images are of the class that they were asked for, by a classifier trained on real ones."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.metrics.missing import unless_nan

Logits = Float[Array, "n category"]


@checked
def fit_classifier(
    images: Float[np.ndarray, "n ..."] | Float[Array, "n ..."], labels: Int[np.ndarray, " n"] | Int[Array, " n"]
) -> Callable[[Float[Array, "n ..."]], Logits]:
    """Return a pure function from images, of the shape of those given, to the logits of their classes.

    It is scikit-learn's logistic regression of the pixels, fitted on the host. Raises ValueError unless the images are
    finite and the labels are 0 ... K - 1, each at least once and K >= 2.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = np.asarray(images, np.float64).reshape(len(images), -1), np.asarray(labels)
    if not np.isfinite(x).all():
        raise ValueError(f"images must be finite; at position {int(np.argwhere(~np.isfinite(x))[0][0])} one is not")
    classes = np.unique(y)
    if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
        raise ValueError(f"labels must be 0 ... K - 1, each at least once and K >= 2; got {classes.tolist()}")
    # Pixels in one common unit, so that the regularisation means the same for any scale of images.
    centre, scale = x.mean(0), x.std() or 1.0
    model = LogisticRegression(max_iter=2000).fit((x - centre) / scale, y)
    weight, bias = model.coef_ / scale, model.intercept_
    if len(classes) == 2:
        weight, bias = np.concatenate([0.0 * weight, weight]), np.append(0.0, bias)
    offset = bias - weight @ centre

    def classify(images: Float[Array, "n ..."]) -> Logits:
        pixels = images.reshape(len(images), -1)
        return (
            jnp.matmul(pixels, jnp.array(weight.T, pixels.dtype), precision="highest")
            + jnp.array(offset, pixels.dtype)[None]
        )

    return classify


@checked
def classifier_agreement(
    logits: Logits, labels: Int[Array, " n"], *, where: Bool[Array, " n"] | None = None
) -> Float[Array, ""]:
    """Return the share, in [0, 1], of the generated samples whose likeliest class is the label they were asked for.

    Samples outside `where` are left out, whatever they hold; NaN if all are.
    """
    agreement = jnp.mean(logits.argmax(1) == labels, where=where)
    counted = logits if where is None else jnp.where(where[:, None], logits, 0.0)
    return unless_nan(agreement, counted)
