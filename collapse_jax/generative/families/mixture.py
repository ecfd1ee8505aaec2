"""Gaussian mixtures with full covariances, fitted by expectation maximisation."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Decoding
from collapse_jax.generative.families.categorical import draw_tokens
from collapse_jax.generative.families.gaussian import root
from collapse_jax.generative.family import FAMILIES, Family, MomentMatching, Moments, exact_family
from collapse_jax.generative.rebuilding import rebuildable

__all__ = ["mixture"]

_RADIUS = 4.0
_EMPTY = 1e-10


class Mixture(NamedTuple):
    """The shares of the components, their means and their covariances."""

    shares: Float[Array, " k"]
    means: Float[Array, "k d"]
    covariances: Float[Array, "k d d"]


@checked
@rebuildable
def mixture(components: int = 3, d: int = 2, *, steps: int = 20, floor: float = 1e-6) -> Family:
    """Return the family of mixtures of Gaussians in d dimensions; examples are (n, d).

    A fit takes `steps` steps of expectation maximisation from given parameters, so that a warm start goes on. A start
    from scratch takes centres among the examples, each with a probability in proportion to its weight and its squared
    distance to the nearest centre so far (k-means++), and the covariance of all examples for every component. `floor`
    is added to the diagonal of every fitted covariance, an absolute variance. After a fit the mean of the mixture is
    that of the examples, its total variance theirs plus d * floor. A component without examples stays where it was,
    with no share.

    `bias` λ emits with covariances λΣ of the components (Alemohammad et al., arXiv 2307.01850). The truth has equal
    shares, unit covariances, and its centres evenly on a circle of radius 4 (in one dimension, 4 apart on the line).
    """
    for name, value in (("components", components), ("d", d), ("steps", steps)):
        numbers.whole(name, value, 1)
    if not 0.0 < floor < math.inf:
        raise ValueError(f"floor is {floor}; it must be a variance above 0")

    def init(key: Key[Array, ""], examples: Float[Array, "n d"], weights: Float[Array, " n"]) -> Mixture:
        a, x = _normalised(examples, weights)
        centred = x - (a @ x)[None]
        covariance = (a[:, None] * centred).T @ centred + floor * jnp.eye(d)
        return Mixture(
            jnp.full(components, 1.0 / components),
            x[_spread(key, x, a, components)],
            jnp.broadcast_to(covariance, (components, d, d)),
        )

    def fit(
        key: Key[Array, ""], params: Mixture, examples: Float[Array, "n d"], weights: Float[Array, " n"]
    ) -> Mixture:
        a, x = _normalised(examples, weights)

        fitted: Mixture = jax.lax.fori_loop(0, steps, lambda _, old: _improve(floor, a, x, old), params)
        return fitted

    def sample(key: Key[Array, ""], params: Mixture, n: int) -> Float[Array, "n d"]:
        share_key, noise_key = jax.random.split(key)
        chosen = draw_tokens(share_key, params.shares, n)
        factors = jax.vmap(root)(params.covariances)[chosen]
        return params.means[chosen] + jnp.einsum("nde,ne->nd", factors, jax.random.normal(noise_key, (n, d)))

    def log_prob(params: Mixture, examples: Float[Array, "n d"]) -> Float[Array, " n"]:
        return jax.nn.logsumexp(_log_joint(params, examples), axis=1)

    family = Family(
        "mixture",
        init,
        fit,
        sample,
        log_prob,
        _moments,
        decodings={"bias": Decoding(lambda p, value: p._replace(covariances=value * p.covariances), 1.0, 0.0, jnp.inf)},
        truth=Mixture(
            jnp.full(components, 1.0 / components),
            _evenly(components, d),
            jnp.broadcast_to(jnp.eye(d), (components, d, d)),
        ),
        source="Shumailov et al., Nature 631:755",
        matching=MomentMatching(added=d * floor),
    )
    return exact_family(family)


def _normalised(
    examples: Float[Array, "n d"], weights: Float[Array, " n"]
) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
    """Return weights of sum 1, and the examples with zeros for padding, which far away would overflow densities."""
    return weights / weights.sum(), jnp.where((weights > 0)[:, None], examples, 0.0)


def _improve(floor: float, a: Float[Array, " n"], x: Float[Array, "n d"], old: Mixture) -> Mixture:
    """Return the mixture after a step of expectation maximisation on examples x of weights a."""
    share = a[:, None] * jax.nn.softmax(_log_joint(old, x), axis=1)
    mass = share.sum(axis=0)
    empty = mass < _EMPTY
    safe = jnp.where(empty, 1.0, mass)
    means = (share.T @ x) / safe[:, None]
    apart = x[:, None] - means[None]
    scatter = jnp.einsum("nk,nkd,nke->kde", share, apart, apart)
    covariances = scatter / safe[:, None, None] + floor * jnp.eye(x.shape[1])[None]
    return Mixture(
        jnp.where(empty, 0.0, mass),
        jnp.where(empty[:, None], old.means, means),
        jnp.where(empty[:, None, None], old.covariances, covariances),
    )


def _moments(params: Mixture) -> Moments:
    mean = params.shares @ params.means
    apart = params.means - mean[None]
    within = jnp.trace(params.covariances, axis1=1, axis2=2)
    return Moments(mean, params.shares @ (within + (apart * apart).sum(axis=1)))


def _log_joint(params: Mixture, examples: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Return the logarithm of share times density, of each example under each component."""

    def log_density(mean: Array, covariance: Array) -> Array:
        factor, d = root(covariance), len(mean)
        # Many examples and few dimensions: a product with the inverse factor is several times faster than a solve.
        z = (examples - mean[None]) @ jax.scipy.linalg.solve_triangular(factor, jnp.eye(d), lower=True).T
        return -0.5 * (z * z).sum(1) - jnp.log(jnp.diagonal(factor)).sum() - 0.5 * d * jnp.log(2.0 * jnp.pi)

    densities: Array = jax.vmap(log_density, out_axes=1)(params.means, params.covariances)
    return jnp.log(params.shares)[None] + densities


def _spread(key: Key[Array, ""], x: Float[Array, "n d"], a: Float[Array, " n"], components: int) -> Array:
    """Return the indices of starting centres, far from each other."""

    def add(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        nearest, key = carry
        key, own_key = jax.random.split(key)
        # Once every example coincides with a centre all distances are 0: then one is drawn by weight alone.
        odds = jnp.where(jnp.any(a * nearest > 0), a * nearest, a)
        chosen = jax.random.categorical(own_key, jnp.log(odds))
        away = x - x[chosen][None]
        return (jnp.minimum(nearest, (away * away).sum(axis=1)), key), chosen

    first_key, key = jax.random.split(key)
    first = jax.random.categorical(first_key, jnp.log(a))
    away = x - x[first][None]
    rest = jax.lax.scan(add, ((away * away).sum(axis=1), key), None, length=components - 1)[1]
    return jnp.concatenate([first[None], rest])


def _evenly(components: int, d: int) -> Float[Array, "k d"]:
    number = jnp.arange(components)
    if d == 1:
        return _RADIUS * (number - (components - 1) / 2.0)[:, None]
    angle = 2.0 * jnp.pi * number / components
    circle = _RADIUS * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    return jnp.concatenate([circle, jnp.zeros((components, d - 2))], axis=1)


FAMILIES.promise("mixture", mixture)
