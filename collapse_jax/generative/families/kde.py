"""Kernel density estimates and the empirical distribution: models that remember their examples."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Scalar
from collapse_jax.generative.families.categorical import draw_tokens
from collapse_jax.generative.family import FAMILIES, Family, MomentMatching, Moments, exact_family
from collapse_jax.generative.rebuilding import rebuildable

__all__ = ["ecdf", "kde"]

_RULES = ("scott", "silverman")
_KERNELS = ("gaussian", "top_hat")
_WIDTH = math.sqrt(3.0)
_TINY = 1e-30


class Points(NamedTuple):
    """The examples and their weights, which sum to 1."""

    points: Float[Array, "n d"]
    weights: Float[Array, " n"]


class KDE(NamedTuple):
    """The examples, their weights, which sum to 1, and the kernel's standard deviation in each dimension."""

    points: Float[Array, "n d"]
    weights: Float[Array, " n"]
    bandwidth: Float[Array, " d"]


@checked
@rebuildable
def kde(d: int = 1, *, bandwidth: str | float = "scott", kernel: str = "gaussian") -> Family:
    """Return the family of kernel density estimates in d dimensions; examples are (n, d).

    `bandwidth` is the standard deviation of the kernel in every dimension, whatever the kernel: a number is absolute;
    "scott" is s n^(-1/(d+4)) and "silverman" s (n (d+2)/4)^(-1/(d+4)), with s the unbiased standard deviation of the
    weighted examples, dimension by dimension, and n their effective number (Σw)²/Σw². `kernel` is "gaussian" or
    "top_hat", uniform within √3 bandwidths of the example in every dimension. The total variance of a model is that of
    its examples plus the squared bandwidths. The truth draws from the standard normal.
    """
    numbers.whole("d", d, 1)
    if kernel not in _KERNELS:
        raise ValueError(f"kernel is {kernel!r}; it must be one of {', '.join(_KERNELS)}")
    if isinstance(bandwidth, str):
        if bandwidth not in _RULES:
            raise ValueError(f"bandwidth is {bandwidth!r}; it must be a number above 0 or one of {', '.join(_RULES)}")
    elif not numbers.is_finite(bandwidth) or bandwidth <= 0:
        raise ValueError(f"bandwidth is {bandwidth!r}; it must be a number above 0 (for 0 there is the family ecdf)")

    def narrowing(squares: Scalar) -> Any:
        factor = 1.0 if bandwidth == "scott" else (d + 2.0) / 4.0
        return (squares / factor) ** (1.0 / (d + 4.0))

    def width(points: Points) -> Float[Array, " d"]:
        if not isinstance(bandwidth, str):
            return jnp.full(d, float(bandwidth))
        squares = points.weights @ points.weights
        centred = points.points - (points.weights @ points.points)[None]
        variance = points.weights @ (centred * centred) / jnp.maximum(1.0 - squares, _TINY)
        scaled: Array = jnp.sqrt(variance) * narrowing(squares)
        return scaled

    rule = bandwidth if isinstance(bandwidth, str) else None

    def gain(squares: float) -> float:
        return 1.0 if rule is None else 1.0 + narrowing(squares) ** 2 / (1.0 - squares)

    def init(key: Key[Array, ""], examples: Float[Array, "n d"], weights: Float[Array, " n"]) -> KDE:
        return KDE(*_remember(examples, weights), jnp.ones(d))

    def fit(key: Key[Array, ""], params: KDE, examples: Float[Array, "n d"], weights: Float[Array, " n"]) -> KDE:
        points = _remember(examples, weights)
        return KDE(*points, width(points))

    def sample(key: Key[Array, ""], params: KDE, n: int) -> Float[Array, "n d"]:
        point_key, noise_key = jax.random.split(key)
        chosen = params.points[draw_tokens(point_key, params.weights, n)]
        if kernel == "gaussian":
            return chosen + params.bandwidth[None] * jax.random.normal(noise_key, (n, d))
        return chosen + params.bandwidth[None] * jax.random.uniform(noise_key, (n, d), minval=-_WIDTH, maxval=_WIDTH)

    def log_prob(params: KDE, examples: Float[Array, "m d"]) -> Float[Array, " m"]:
        z = (examples[:, None] - params.points[None]) / params.bandwidth[None, None]
        if kernel == "gaussian":
            log_kernel = -0.5 * (z * z).sum(axis=2) - 0.5 * d * math.log(2.0 * math.pi)
        else:
            log_kernel = jnp.where(jnp.all(jnp.abs(z) <= _WIDTH, axis=2), -d * math.log(2.0 * _WIDTH), -jnp.inf)
        together: Array = jax.nn.logsumexp(log_kernel + jnp.log(params.weights)[None], axis=1)
        return together - jnp.log(params.bandwidth).sum()

    def moments(params: KDE) -> Moments:
        mean, variance = _moments(params.points, params.weights)
        return Moments(mean, variance + params.bandwidth @ params.bandwidth)

    family = Family(
        "kde" if kernel == "gaussian" else f"kde_{kernel}",
        init,
        fit,
        sample,
        log_prob,
        moments,
        truth=_standard_normal(d),
        matching=MomentMatching(gain, added=0.0 if rule else d * float(bandwidth) ** 2),
        source="Scott, Multivariate Density Estimation, 1992; Silverman, Density Estimation, 1986",
    )
    return _of_known_variance(exact_family(family), d)


def _of_known_variance(family: Family, variance: float) -> Family:
    """Return a family that declares the total variance of its truth, a function, as it stands in the family."""
    assert family.matching is not None
    assert callable(family.truth)
    return family._replace(matching=family.matching._replace(truth=family.truth, truth_variance=float(variance)))


@checked
@rebuildable
def ecdf(d: int = 1) -> Family:
    """Return the family of empirical distributions in d dimensions: what it emits is a bootstrap sample.

    Examples are (n, d). There are no densities. The truth draws from the standard normal.
    """
    numbers.whole("d", d, 1)

    def init(key: Key[Array, ""], examples: Float[Array, "n d"], weights: Float[Array, " n"]) -> Points:
        return _remember(examples, weights)

    def fit(key: Key[Array, ""], params: Points, examples: Float[Array, "n d"], weights: Float[Array, " n"]) -> Points:
        return _remember(examples, weights)

    def sample(key: Key[Array, ""], params: Points, n: int) -> Float[Array, "n d"]:
        return params.points[draw_tokens(key, params.weights, n)]

    def moments(params: Points) -> Moments:
        return _moments(params.points, params.weights)

    family = exact_family(
        Family(
            "ecdf",
            init,
            fit,
            sample,
            moments=moments,
            truth=_standard_normal(d),
            source="Efron, 1979",
            matching=MomentMatching(),
        )
    )
    return _of_known_variance(family, d)


def _remember(examples: Float[Array, "n d"], weights: Float[Array, " n"]) -> Points:
    # Padding far away would overflow the distances.
    return Points(jnp.where((weights > 0)[:, None], examples, 0.0), weights / weights.sum())


def _moments(points: Float[Array, "n d"], weights: Float[Array, " n"]) -> Moments:
    mean = weights @ points
    centred = points - mean[None]
    return Moments(mean, weights @ (centred * centred).sum(axis=1))


def _standard_normal(d: int) -> Callable[[Key[Array, ""], int], Float[Array, "n d"]]:
    return lambda key, n: jax.random.normal(key, (n, d))


FAMILIES.promise("kde", kde)
FAMILIES.promise("kde_top_hat", lambda: kde(kernel="top_hat"))
FAMILIES.promise("ecdf", ecdf)
