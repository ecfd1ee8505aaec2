"""Selection without sampling error: how choice, verification and detection change the distribution of what is kept."""

import math

import numpy as np
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked


@checked
def curated_pair(good: float, gap: float) -> float:
    """Return the share of good ones after a Bradley–Terry choice between two: p + p (1-p) tanh(Δ/2), Δ the reward gap.

    >>> round(curated_pair(0.5, 2.0), 6)
    0.690399

    Raises ValueError unless 0 <= good <= 1. Source: Ferbach et al., arXiv 2407.09499.
    """
    numbers.within("good", good, 0, 1)
    numbers.within("gap", gap, -math.inf, math.inf)
    return good + good * (1 - good) * math.tanh(gap / 2)


@checked
def curated_pair_fixed_point(real_good: float, emitted_share: float, gap: float) -> float:
    """Return the share p = (1-η) q + η `curated_pair`(p, Δ) that a share 1-η of real ones, q of them good, leads to.

    >>> round(curated_pair_fixed_point(0.5, 0.5, 2.0), 6)
    0.668719

    Raises ValueError unless 0 <= real_good <= 1 and 0 <= emitted_share < 1. Source: Ferbach et al., arXiv 2407.09499.
    """
    numbers.within("real_good", real_good, 0, 1)
    numbers.within("emitted_share", emitted_share, 0, 1, ends="[)")
    numbers.within("gap", gap, -math.inf, math.inf)
    real, pull = 1 - emitted_share, emitted_share * math.tanh(gap / 2)
    # The published root with the square root in the denominator where the numerator would cancel.
    root = math.sqrt((pull - real) ** 2 + 4 * pull * real * real_good)
    # Where all real ones are good, rounding may leave the root above 1.
    if pull - real > 0:
        return min((pull - real + root) / (2 * pull), 1.0)
    return min(2 * real * real_good / (real - pull + root), 1.0)


@checked
def curated(
    model: Float[np.ndarray, " category"], rewards: Float[np.ndarray, " category"], choices: int
) -> Float[np.ndarray, " category"]:
    """Return the distribution of one of K independent draws that is chosen by softmax of the rewards.

    p_i' = K p_i E[e^r_i / (e^r_i + the e^r of K-1 others)] with 1/s = ∫ e^(-us) du, as the trapezoidal sum over log u,
    which converges exponentially: accurate to 1e-12. The cost grows with the range of the rewards, at most 500.

    >>> curated(np.array([0.5, 0.5]), np.array([2.0, 0.0]), 2).round(6)
    array([0.690399, 0.309601])

    Raises ValueError for what is not a distribution, rewards that are not finite or too far apart, or choices < 1.
    Source: Ferbach et al., arXiv 2407.09499.
    """
    _check(model, rewards)
    numbers.within("range of the rewards", float(np.ptp(rewards)), 0, 500)
    numbers.whole_value("choices", choices, 1)
    odds = np.exp(rewards - rewards.max())
    log_u = np.arange(-40 - math.log(choices), 6 + float(np.ptp(rewards)), 0.1)[:, None]
    decay = np.exp(-np.exp(log_u) * odds)
    terms = np.exp(log_u) * odds * decay * (decay @ model)[:, None] ** (choices - 1)
    # The sum's error may put a probability near 1 above it.
    return np.asarray(np.minimum(0.1 * choices * model * terms.sum(0), 1.0))


@checked
def curated_limit(
    model: Float[np.ndarray, " category"], rewards: Float[np.ndarray, " category"], generations: int
) -> Float[np.ndarray, "generation category"]:
    """Return generations 0 … T of `curated` with K -> ∞: p_t ∝ p_0 e^(t r).

    >>> curated_limit(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 1).round(4)[-1]
    array([0.7311, 0.2689])

    Raises ValueError for what is not a distribution, rewards that are not finite, or generations < 0. Source: Ferbach
    et al., arXiv 2407.09499.
    """
    _check(model, rewards)
    numbers.generations(generations, 0)
    t = np.arange(generations + 1.0)[:, None]
    weights = model * np.exp(t * (rewards - rewards[model > 0].max()) * (model > 0))
    return np.asarray(weights / weights.sum(1, keepdims=True))


@checked
def best_of(cdf: Float[np.ndarray, " level"], choices: int, generations: int) -> Float[np.ndarray, "generation level"]:
    """Return the distribution function of the reward in generations 0 … T if the best of K is kept: F^(K^t).

    >>> best_of(np.array([0.5, 1.0]), 2, 2)[:, 0]
    array([0.5   , 0.25  , 0.0625])

    Raises ValueError for levels outside [0, 1], choices < 1, or generations < 0.
    """
    cdf = numbers.shares("cdf", cdf)
    numbers.whole_value("choices", choices, 1)
    numbers.generations(generations, 0)
    return np.asarray(cdf ** (float(choices) ** np.arange(generations + 1)[:, None]))


@checked
def verified_gaussian(
    mean: float, variance: float, centre: float, width: float, generations: int
) -> tuple[Float[np.ndarray, " generation"], Float[np.ndarray, " generation"]]:
    """Return mean and variance of generations 0 … T where x is kept with probability e^(-(x-c)²/2ρ²).

    1/σ_t² = 1/σ_0² + t/ρ², and the mean tends to c.

    >>> verified_gaussian(0.0, 1.0, 1.0, 1.0, 2)
    (array([0.    , 0.5    , 0.66666667]), array([1.    , 0.5    , 0.33333333]))

    Raises ValueError unless variance > 0, width > 0, generations >= 0, mean and centre finite.
    """
    numbers.within("mean", mean, -math.inf, math.inf, ends="()")
    numbers.within("variance", variance, 0, math.inf, ends="()")
    numbers.within("centre", centre, -math.inf, math.inf, ends="()")
    numbers.within("width", width, 0, math.inf, ends="()")
    numbers.generations(generations, 0)
    pull = np.arange(generations + 1.0) / width**2
    precision = 1 / variance + pull
    return (mean / variance + centre * pull) / precision, 1 / precision


@checked
def verified(right: float, keep_right: float, keep_wrong: float) -> float:
    """Return the share of right ones among those that a verifier keeps: φq / (φq + ψ(1-q)).

    Drawing on until enough are kept leads to the same share, with 1 / (φq + ψ(1-q)) draws for each.

    >>> round(verified(0.5, 0.9, 0.1), 6)
    0.9

    Raises ValueError for shares or probabilities outside [0, 1], or if nothing is kept. Source: Feng et al., arXiv
    2406.07515.
    """
    kept = _kept(right, keep_right, keep_wrong)
    if not kept > 0:
        raise ValueError(f"keep_right = {keep_right}, keep_wrong = {keep_wrong} keep nothing of right = {right}")
    return keep_right * right / kept


@checked
def verified_and_refilled(right: float, keep_right: float, keep_wrong: float, refill: float) -> float:
    """Return the share of right ones if each rejected one is replaced from a source of which `refill` are right.

    φq + (1 - φq - ψ(1-q)) `refill`: 1 for correct real data, `right` for unverified draws of the same model.

    >>> round(verified_and_refilled(0.5, 0.9, 0.1, 1.0), 6)
    0.95

    Raises ValueError for shares or probabilities outside [0, 1].
    """
    numbers.within("refill", refill, 0, 1)
    return keep_right * right + (1 - _kept(right, keep_right, keep_wrong)) * refill


@checked
def importance_resampled(
    truth: Float[np.ndarray, " category"], model: Float[np.ndarray, " category"], real_share: float, power: float
) -> Float[np.ndarray, " category"]:
    """Return the pool π truth + (1-π) model, weighted by (1 - P(machine | x))^b of a calibrated detector.

    It is ∝ truth^b pool^(1-b): the pool for b = 0, the truth, exactly, for b = 1, beyond it for b > 1.

    >>> importance_resampled(np.array([0.5, 0.5]), np.array([0.9, 0.1]), 0.5, 1.0)
    array([0.5, 0.5])

    Raises ValueError for what is not a distribution, a share outside (0, 1], or b < 0. Source: Drayson et al., arXiv
    2502.15654.
    """
    numbers.distribution("truth", truth)
    numbers.distribution("model", model)
    numbers.within("real_share", real_share, 0, 1, ends="(]")
    numbers.within("power", power, 0, math.inf, ends="[)")
    pool = real_share * truth + (1 - real_share) * model
    human = np.divide(real_share * truth, pool, out=np.zeros_like(pool), where=pool > 0)
    weights = pool * human**power
    return np.asarray(weights / weights.sum())


def _check(model: Float[np.ndarray, " category"], rewards: Float[np.ndarray, " category"]) -> None:
    numbers.distribution("model", model)
    if not (rewards.shape == model.shape and np.isfinite(rewards).all()):
        raise ValueError(f"rewards = {rewards} are not one finite number for each of {len(model)} categories")


def _kept(right: float, keep_right: float, keep_wrong: float) -> float:
    numbers.within("right", right, 0, 1)
    numbers.within("keep_right", keep_right, 0, 1)
    numbers.within("keep_wrong", keep_wrong, 0, 1)
    return keep_right * right + keep_wrong * (1 - right)
