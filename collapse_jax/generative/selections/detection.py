"""Detection: how likely an example comes from a machine, and weights that take the machine's part out again.

A detector is a function (key, candidates) -> P(machine), one number a candidate. Candidates of the sources `REAL` and
`FRESH` are real, those that a generation emitted are machine-made; a candidate of weight 0 stands for no example, and a
detector must not learn from it.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Scalar
from collapse_jax.generative.family import Examples
from collapse_jax.generative.recursion.regimes import REAL
from collapse_jax.generative.selection import Candidates, Selection
from collapse_jax.numerics.indexing import segment_sum
from collapse_jax.numerics.precision import exact_products

Detector: TypeAlias = Callable[[Key[Array, ""], Candidates], Float[Array, " n"]]

_TINY = 1e-6


@checked
def importance_resampled(detector: Detector) -> Selection:
    """Return the selection of weights (1 - P(machine))^exponent, to be used as `reweigh` of a regime with real data.

    `exponent`, 0 or more and by default 1, may be swept; 0 changes nothing. With a calibrated detector the exponent 1
    restores the distribution of the real examples. Recorded are, for the examples that train, `detected`, the chance
    that a machine-made and a real one are told apart (the area under the receiver's curve; .5: not at all), and
    `miscalibration`, the expected calibration error of P(machine) over ten bins: its mean distance from the machine's
    share of the weight. Source: Drayson et al., arXiv 2502.15654.
    """
    numbers.function("detector", detector)

    def weigh(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, exponent: Scalar
    ) -> Float[Array, " n"]:
        human = jnp.clip(1.0 - detector(key, candidates), 0.0, 1.0)
        return candidates.weights * human**exponent

    def inspect(
        key: Key[Array, ""], candidates: Candidates, pool: Candidates, memory: PyTree, exponent: Scalar
    ) -> dict[str, Array]:
        # With `reweigh` the pool is the training set with the weights that it had before this selection changed them.
        p = detector(key, pool)
        return {
            "detected": _told_apart(p, _is_machine(pool), pool.weights),
            "miscalibration": _calibration_error(p, _is_machine(pool), pool.weights),
        }

    return Selection(
        "importance_resampled",
        weigh,
        defaults={"exponent": 1.0},
        ranges={"exponent": (0.0, np.inf)},
        source="Drayson et al., arXiv 2502.15654",
        inspect=inspect,
    )


@checked
def calibrated_detector(log_ratio: Callable[[Examples], Float[Array, " n"]]) -> Detector:
    """Return the detector of known densities: `log_ratio(examples)` is log p_machine - log p_real.

    The share of the machine among the candidates is taken from their weights.
    """
    numbers.function("log_ratio", log_ratio)

    def detect(key: Key[Array, ""], candidates: Candidates) -> Float[Array, " n"]:
        machine = (candidates.weights * _is_machine(candidates)).sum()
        prior = jnp.log(machine) - jnp.log(candidates.weights.sum() - machine)
        return jax.nn.sigmoid(log_ratio(candidates.examples) + prior)

    return detect


def empirical_detector() -> Detector:
    """Return the detector of discrete examples: the machine's share of the weight among equal ones.

    It is calibrated exactly, for the candidates themselves. Every pair is compared: n² bits for n candidates.
    """

    def detect(key: Key[Array, ""], candidates: Candidates) -> Float[Array, " n"]:
        def equal(x: Examples, y: Examples) -> Bool[Array, ""]:
            same = jax.tree.map(lambda a, b: (a == b).all(), x, y)
            return jnp.stack(jax.tree.leaves(same)).all()

        examples, weights = candidates.examples, candidates.weights

        def share(x: Examples) -> Float[Array, ""]:
            here = jnp.where(jax.vmap(equal, (None, 0))(x, examples), weights, 0.0)
            total = here.sum()
            return (here * _is_machine(candidates)).sum() / jnp.where(total > 0, total, 1.0)

        return jax.vmap(share)(examples)

    return detect


@checked
def learned_detector(
    features: Callable[[Examples], Float[Array, "n d"]], *, steps: int = 10, ridge: float = 1e-3, folds: int = 1
) -> Detector:
    """Return the detector that is fitted to the candidates themselves: a logistic regression.

    Its inputs are `features(examples)`, scaled to mean 0 and variance 1, and a constant. Newton's method takes `steps`
    steps from zero on the weighted mean of the negative log-likelihood plus `ridge`/2 · |coefficients|²; the penalty on
    the constant is negligible. With `folds` above 1 the candidates are parted at random into so many folds, and each
    fold is judged by a fit to the others: with many features a fit tells apart too easily what it has seen.

    Raises ValueError for `steps` or `folds` below 1 and a `ridge` that is not finite and above 0.
    """
    numbers.function("features", features)
    numbers.whole("steps", steps, 1)
    numbers.whole("folds", folds, 1)
    if not 0.0 < ridge < np.inf:
        raise ValueError(f"ridge is {ridge}; it must be a finite number above 0")

    def detect(key: Key[Array, ""], candidates: Candidates) -> Float[Array, " n"]:
        weights = candidates.weights / candidates.weights.sum()
        machine = _is_machine(candidates)
        x = _scaled(features(candidates.examples), weights)
        design = jnp.concatenate([x, jnp.ones((len(x), 1))], axis=1)
        # Where all candidates are of one kind the likelihood has no maximum, unless the constant has a penalty too.
        penalty = jnp.append(jnp.full(x.shape[1], ridge), _TINY)

        @exact_products
        def fitted(weights: Float[Array, " n"]) -> Float[Array, " n"]:
            def newton(_: Array, beta: Float[Array, " d"]) -> Float[Array, " d"]:
                p = jax.nn.sigmoid(design @ beta)
                slope = design.T @ (weights * (p - machine)) + penalty * beta
                curvature = (design * (weights * p * (1.0 - p))[:, None]).T @ design + jnp.diag(penalty)
                step: Array = jnp.linalg.solve(curvature, slope)
                return beta - step

            beta: Array = jax.lax.fori_loop(0, steps, newton, jnp.zeros(design.shape[1]))
            machine_made: Array = jax.nn.sigmoid(design @ beta)
            return machine_made

        if folds == 1:
            return fitted(weights)
        own = jax.random.permutation(key, jnp.arange(len(x)) % folds)
        others = jnp.where(own[None] != jnp.arange(folds)[:, None], weights[None], 0.0)
        judged: Array = jax.lax.map(fitted, others / others.sum(axis=1, keepdims=True))
        return judged[own, jnp.arange(len(x))]

    return detect


def _is_machine(candidates: Candidates) -> Float[Array, " n"]:
    return (candidates.generation > REAL).astype(candidates.weights.dtype)


@exact_products
def _scaled(x: Float[Array, "n d"], weights: Float[Array, " n"]) -> Float[Array, "n d"]:
    """Return features of weighted mean 0 and variance 1; those that don't vary are 0."""
    centred = x - (weights @ x)[None]
    spread = jnp.sqrt(weights @ centred**2)
    return centred / jnp.where(spread > 0, spread, 1.0)[None]


@exact_products
def _told_apart(p: Float[Array, " n"], machine: Float[Array, " n"], weights: Float[Array, " n"]) -> Float[Array, ""]:
    """Return the probability that p is larger for a machine-made example than for a real one, ties counting half."""
    order = jnp.argsort(p)
    mass = jnp.stack([weights * machine, weights * (1.0 - machine)])[:, order]
    p = p[order]
    # Mass strictly below each value, and up to it.
    upto = jnp.pad(jnp.cumsum(mass[1]), (1, 0))
    below, above = (upto[jnp.searchsorted(p, p, side=side)] for side in ("left", "right"))
    return mass[0] @ (0.5 * (below + above)) / (mass[0].sum() * mass[1].sum())


def _calibration_error(
    p: Float[Array, " n"], machine: Float[Array, " n"], weights: Float[Array, " n"], bins: int = 10
) -> Float[Array, ""]:
    """Return the mean distance between p and the machine's share over bins of p of one width."""
    bin_of = jnp.minimum((p * bins).astype(jnp.int32), bins - 1)
    gap = segment_sum(weights * (p - machine), bin_of, bins)
    return jnp.abs(gap).sum() / weights.sum()
