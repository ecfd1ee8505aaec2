"""Linear and logistic regression: models of answers to given inputs."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.families.gaussian import bartlett
from collapse_jax.generative.family import FAMILIES, Family, Moments, Statistics, exact_family
from collapse_jax.generative.rebuilding import rebuildable

__all__ = ["logistic", "regression"]

_STEP_SIZES = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.0)


class RegressionStatistics(NamedTuple):
    """The size of a sample, XᵀX and Xᵀy, or those of several samples with a leading axis."""

    size: Float[Array, "*source"]
    gram: Float[Array, "*source d d"]
    cross: Float[Array, "*source d"]


@checked
@rebuildable
def regression(d: int = 10, *, noise: float = 1.0, ridge: float = 0.0) -> Family:
    """Return the family of linear models y = x·w + noise ε in d dimensions, ε and what it emits for x standard normal.

    Examples are {"x": (n, d), "y": (n,)}; parameters are the coefficients w, by weighted least squares. The standard
    deviation `noise` is known, not fitted (as in Gerstgrasser et al., arXiv 2404.01413). `ridge` |w|² is added to the
    weighted mean squared error. Where the examples leave w open, it is the shortest solution; directions in which x
    varies less than about 1e-3 of the most count as open.

    The mean is w, the variance noise², that of y given x; `log_prob` is that of y given x. The truth has equal
    coefficients of norm 1.
    """
    _check(d, ridge)
    if not 0.0 < noise < math.inf:
        raise ValueError(f"noise is {noise}; it must be a standard deviation above 0")

    def init(key: Key[Array, ""], examples: dict[str, Array], weights: Array) -> Float[Array, " d"]:
        return jnp.zeros(d)

    def fit(
        key: Key[Array, ""], params: Array, examples: dict[str, Array], weights: Float[Array, " n"]
    ) -> Float[Array, " d"]:
        a, x, y = _normalised(examples, weights)
        weighted = a[:, None] * x
        return _solve(weighted.T @ x + ridge * jnp.eye(d), y @ weighted)

    def sample(key: Key[Array, ""], params: Float[Array, " d"], n: int) -> dict[str, Array]:
        x_key, y_key = jax.random.split(key)
        x = jax.random.normal(x_key, (n, d))
        return respond(y_key, params, {"x": x})

    def respond(key: Key[Array, ""], params: Float[Array, " d"], examples: dict[str, Array]) -> dict[str, Array]:
        x = examples["x"]
        return {"x": x, "y": x @ params + noise * jax.random.normal(key, x.shape[:1])}

    def log_prob(params: Float[Array, " d"], examples: dict[str, Array]) -> Float[Array, " n"]:
        return jax.scipy.stats.norm.logpdf(examples["y"], examples["x"] @ params, noise)

    def moments(params: Float[Array, " d"]) -> Moments:
        return Moments(params, jnp.array(noise**2))

    def draw(key: Key[Array, ""], params: Float[Array, " d"], samples: Int[Array, ""]) -> RegressionStatistics:
        gram_key, noise_key = jax.random.split(key)
        n = samples.astype(float)
        factor = bartlett(gram_key, d, n)
        gram = factor @ factor.T
        return RegressionStatistics(n, gram, gram @ params + noise * factor @ jax.random.normal(noise_key, (d,)))

    def fit_statistics(statistics: RegressionStatistics, weights: Float[Array, " source"]) -> Float[Array, " d"]:
        size = weights @ statistics.size
        gram = jnp.tensordot(weights, statistics.gram, 1) / size
        return _solve(gram + ridge * jnp.eye(d), weights @ statistics.cross / size)

    family = Family(
        "regression",
        init,
        fit,
        sample,
        log_prob,
        moments,
        respond,
        statistics=Statistics(draw, fit_statistics),
        truth=jnp.full(d, d**-0.5),
        source="Gerstgrasser et al., arXiv 2404.01413",
    )
    return exact_family(family)


@checked
@rebuildable
def logistic(d: int = 10, *, steps: int = 10, ridge: float = 1e-4) -> Family:
    """Return the family of logistic models P(y = 1) = 1/(1 + exp(-x·w)) in d dimensions, emitted x standard normal.

    Examples are {"x": (n, d), "y": (n,)} with whole y, 0 or 1; parameters are the coefficients w. A fit takes `steps`
    Newton steps from given parameters towards the largest weighted mean log likelihood minus `ridge` |w|²/2, each
    shortened until that doesn't fall. A ridge above 0 keeps the coefficients of separable examples finite.

    The mean is w, the variance that of y given x, averaged over x; `log_prob` is that of y given x. The truth has
    equal coefficients of norm 1.
    """
    _check(d, ridge)
    numbers.whole("steps", steps, 1)
    if ridge == 0.0:
        raise ValueError("ridge is 0; it must be above 0, or separable examples have no best coefficients")

    def init(key: Key[Array, ""], examples: dict[str, Array], weights: Array) -> Float[Array, " d"]:
        return jnp.zeros(d)

    def fit(
        key: Key[Array, ""], params: Float[Array, " d"], examples: dict[str, Array], weights: Float[Array, " n"]
    ) -> Float[Array, " d"]:
        a, x, y = _normalised(examples, weights)

        def objective(w: Array) -> Array:
            return a @ log_prob(w, {"x": x, "y": y}) - 0.5 * ridge * w @ w

        def improve(_: Array, w: Array) -> Array:
            p = jax.nn.sigmoid(x @ w)
            slope = (a * (y - p)) @ x - ridge * w
            curvature = (a * p * (1.0 - p))[:, None] * x
            step = _solve(curvature.T @ x + ridge * jnp.eye(d), slope)
            options = w[None] + jnp.array(_STEP_SIZES)[:, None] * step[None]
            return options[jnp.argmax(jax.vmap(objective)(options))]

        fitted: Array = jax.lax.fori_loop(0, steps, improve, params)
        return fitted

    def sample(key: Key[Array, ""], params: Float[Array, " d"], n: int) -> dict[str, Array]:
        x_key, y_key = jax.random.split(key)
        return respond(y_key, params, {"x": jax.random.normal(x_key, (n, d))})

    def respond(key: Key[Array, ""], params: Float[Array, " d"], examples: dict[str, Array]) -> dict[str, Array]:
        x = examples["x"]
        return {"x": x, "y": jax.random.bernoulli(key, jax.nn.sigmoid(x @ params)).astype(jnp.int32)}

    def log_prob(params: Float[Array, " d"], examples: dict[str, Array]) -> Float[Array, " n"]:
        return jax.nn.log_sigmoid((2.0 * examples["y"] - 1.0) * (examples["x"] @ params))

    def moments(params: Float[Array, " d"]) -> Moments:
        # x·w is normal with standard deviation |w|: a sum over a fine grid, exact to rounding up to |w| of 100.
        z = jnp.linspace(-8.0, 8.0, 1601)
        density = jnp.exp(-0.5 * z * z)
        p = jax.nn.sigmoid(z * jnp.sqrt(params @ params))
        return Moments(params, density @ (p * (1.0 - p)) / density.sum())

    return exact_family(Family("logistic", init, fit, sample, log_prob, moments, respond, truth=jnp.full(d, d**-0.5)))


def _check(d: int, ridge: float) -> None:
    numbers.whole("d", d, 1)
    if not 0.0 <= ridge < math.inf:
        raise ValueError(f"ridge is {ridge}; it must be a number from 0 on")


def _normalised(
    examples: dict[str, Array], weights: Float[Array, " n"]
) -> tuple[Float[Array, " n"], Float[Array, "n d"], Array]:
    used = weights > 0
    # Padding far away would overflow the products.
    return weights / weights.sum(), jnp.where(used[:, None], examples["x"], 0.0), jnp.where(used, examples["y"], 0)


def _solve(matrix: Float[Array, "d d"], vector: Float[Array, " d"]) -> Float[Array, " d"]:
    """Return the shortest solution for a symmetric matrix without negative eigenvalues, singular ones included."""
    cutoff = len(vector) * jnp.finfo(matrix.dtype).eps
    inverse: Array = jnp.linalg.pinv(matrix, rtol=cutoff, hermitian=True)
    return inverse @ vector


FAMILIES.promise("regression", regression)
FAMILIES.promise("logistic", logistic)
