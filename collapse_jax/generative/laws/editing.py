"""What becomes of a real distribution over tokens whose likelier tokens a model writes anew."""

import numpy as np
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


@checked
def token_edited(
    real: Float[np.ndarray, " token"], model: Float[np.ndarray, " token"], threshold: float
) -> Float[np.ndarray, " token"]:
    """Return the distribution of real tokens of which those with p_model >= threshold are drawn anew from the model.

    real · 1[model < threshold] + real(model >= threshold) · model: exact for any number of tokens.

    >>> token_edited(np.array([0.5, 0.3, 0.2]), np.array([0.6, 0.4, 0.0]), 0.5)
    array([0.3, 0.5, 0.2])

    Raises ValueError for what is not a distribution, and a threshold outside [0, 1]. Source: Zhu et al., arXiv
    2412.14689.
    """
    numbers.distribution("real", real)
    numbers.distribution("model", model)
    numbers.within("threshold", threshold, 0, 1)
    if real.shape != model.shape:
        raise ValueError(f"real has {len(real)} tokens, model {len(model)}; they need one vocabulary")
    edited = model >= threshold
    # Where one token has all the mass, rounding may put it above 1.
    return np.asarray(np.minimum(np.where(edited, 0.0, real) + real[edited].sum() * model, 1.0))
