"""Expected variance and mean error of models that are fitted, over and over, to what their predecessors emitted.

The mean of model t is μ_t = Σ a_k x_k over its training set, its variance V_t = Σ a_k (x_k - μ_t)². An example of
source s is x = μ_s + η with noise η of mean 0 and variance bias · V_s given the past, so that different noises are
uncorrelated. Two covariances are enough to follow the means exactly, however often an example is used again: those of
the means μ_s among each other, and those of the means with the noise of earlier examples. Examples of one source that
are always used together form a class, and only the mean of their noise matters.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from collapse_jax.checks.annotations import checked


class MomentLaw(NamedTuple):
    """Expected variance within the model and expected squared error of its mean, in units of the true variance."""

    variance: Float[np.ndarray, " generation"]
    mean_error: Float[np.ndarray, " generation"]


class _Classes(NamedTuple):
    """Examples that are always used together: their source (0, 1, …), their number, the count that they end at."""

    source: Int[np.ndarray, " class"]
    size: Float[np.ndarray, " class"]
    end: Float[np.ndarray, " class"]


@checked
def moment_law(
    counts: Num[np.ndarray, "generation source"],
    *,
    among: Num[np.ndarray, "generation source"] | None = None,
    draws: Num[np.ndarray, " generation"] | None = None,
    weights: Num[np.ndarray, "generation source"] | None = None,
    unbiased: bool = False,
    gain: Num[np.ndarray, " generation"] | None = None,
    added: float = 0.0,
    bias: float = 1.0,
) -> MomentLaw:
    """Return the exact E variance and E |mean error|² of models 1 … T under the counts of any regime.

    Row t-1 of the counts says how many examples train model t; its columns are fresh real draws, the fixed real set,
    and what generations 1 … T-1 emitted. A count k stands for the first k examples of that source, the same ones each
    time; fresh ones are always new. With `among` it stands for k of the first `among`, drawn uniformly without
    replacement and anew each generation. Of all that are counted, `draws[t-1]` are kept, drawn likewise (default: all).
    `weights` weighs each example of a source (default 1) in the fit. `unbiased` divides the fitted variance by
    1 - Σ a²; the variance of model t is `gain[t-1]` times that (default 1) plus `added`, and that of what it emits
    `bias` times that of the model.

    The law holds for every family that matches moments, in units of the trace of the true covariance: for a
    categorical one the variance is 1 - Σ p̂² and the mean error |p̂ - p|², in units of 1 - Σ p². With none of `unbiased`,
    `gain`, `added` and `bias`, variance and mean error sum to 1. Time is that of T products of a matrix with a vector,
    and memory grows as T times the number of distinct counts of all sources.

    >>> replace = np.eye(3, 4, 1, dtype=int) * 10
    >>> moment_law(replace).variance.round(4)
    array([0.9  , 0.81 , 0.729])

    Raises ValueError for counts that are not T x (T+1) whole non-negative numbers, that reach into the future or leave
    a generation without examples; for an `among` that is not whole or below its count, or that draws among fresh
    examples; for draws that are not whole or outside 1 … the sum of the row, or that come with unequal weights (their
    normaliser would be random); for weights that are negative, not finite, or zero for all examples of a generation;
    for a gain or a variance added that is negative or not finite; for a bias that is not positive and finite; for an
    unbiased variance of one example.
    """
    _check(counts, draws, weights)
    among = counts if among is None else among
    gain = np.ones(len(counts)) if gain is None else gain
    _check_among(counts, among)
    _check_scale(len(counts), gain, added, bias)
    generations = len(counts)
    classes = _classes(among)
    # The part of the examples to draw among that is drawn: each is used with this probability.
    drawn = counts / np.maximum(among, 1)
    scale = np.ones(counts.shape) if weights is None else weights.astype(np.float64)
    # Row s belongs to source s; that of source 0 stays zero: the true mean is 0.
    mean_mean = np.zeros((generations + 1, generations + 1))
    mean_noise = np.zeros((generations + 1, len(classes.source)))
    noise = np.ones(generations + 1)
    variance, mean_error = np.zeros(generations), np.zeros(generations)
    for t in range(1, generations + 1):
        total = float(scale[t - 1] @ counts[t - 1])
        fresh, mass = counts[t - 1, 0] * scale[t - 1, 0] / total, counts[t - 1, 1:] * scale[t - 1, 1:] / total
        per_example = scale[t - 1] / total
        used = np.flatnonzero(mass)
        chosen = np.flatnonzero((among[t - 1, 1 + classes.source] >= classes.end) & (mass[classes.source] > 0))
        part, own = per_example[1 + classes.source[chosen]] * classes.size[chosen], noise[classes.source[chosen]]
        part = part * drawn[t - 1, 1 + classes.source[chosen]]
        # Covariances of the mean of all counted examples, with the past means and with the noise of each class.
        with_mean = mass[used] @ mean_mean[used] + np.append(mean_noise[:t, chosen] @ part, np.zeros(len(noise) - t))
        with_noise = mass[used] @ mean_noise[used]
        shared = float(with_noise[chosen] @ part)
        with_noise[chosen] += part * own / classes.size[chosen]
        own_noise = float(part**2 @ (own / classes.size[chosen])) + fresh * per_example[0]
        # Which examples were drawn is independent of all else: it adds to this mean's own noise, and to nothing later.
        own_noise += float(mass[used] * per_example[1 + used] * (1 - drawn[t - 1, 1 + used]) @ noise[used])
        between = mass[used] @ mean_mean[used][:, used] @ mass[used]
        error = between + 2 * shared + own_noise
        # Grouped so that a single source leaves no difference of large numbers.
        spread = (mass[used] @ mean_mean[used, used] - between) + (mass[used] @ noise[used] + fresh - own_noise)
        spread -= 2 * shared
        squares = float(counts[t - 1] @ per_example**2)
        if draws is not None:
            # A pair of distinct counted examples is as likely as any other; only the share of distinct pairs changes.
            number = counts[t - 1].sum()
            distinct = (1 - 1 / draws[t - 1]) / (1 - 1 / number) if number > 1 else 1.0
            error, spread, squares = error + (1 - distinct) * spread, distinct * spread, 1 / draws[t - 1]
        if unbiased:
            if not 1 - squares > 1e-12:
                raise ValueError(f"unbiased = True needs two examples or more, generation {t} has one")
            spread /= 1 - squares
        spread = gain[t - 1] * spread + added
        variance[t - 1], mean_error[t - 1], noise[t] = spread, error, bias * spread
        mean_mean[t], mean_mean[:, t] = with_mean, with_mean
        mean_mean[t, t] = error
        mean_noise[t] = with_noise
    return MomentLaw(variance, mean_error)


def _classes(among: Num[np.ndarray, "generation source"]) -> _Classes:
    ends = [np.unique(column[column > 0]).astype(np.float64) for column in among.T[1:]]
    source = np.repeat(np.arange(len(ends)), [len(end) for end in ends])
    return _Classes(source, np.concatenate([np.diff(end, prepend=0.0) for end in ends]), np.concatenate(ends))


def _check(
    counts: Num[np.ndarray, "generation source"],
    draws: Num[np.ndarray, " generation"] | None,
    weights: Num[np.ndarray, "generation source"] | None,
) -> None:
    if counts.ndim != 2 or counts.shape[1] != len(counts) + 1 or len(counts) == 0:
        raise ValueError(f"counts of shape {counts.shape} are not T generations x T+1 sources")
    if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.floor(counts)).all()):
        raise ValueError(f"counts = {counts.tolist()} are not whole non-negative numbers")
    if np.triu(counts, 2).any():
        t, s = np.argwhere(np.triu(counts, 2))[0]
        raise ValueError(f"counts[{t}, {s}] = {counts[t, s]}, but generation {t + 1} must not use source {s - 1}")
    if not counts.sum(1).all():
        raise ValueError(f"counts of generation {np.argmin(counts.sum(1)) + 1} are all zero: a model needs an example")
    if weights is not None:
        if weights.shape != counts.shape:
            raise ValueError(f"weights of shape {weights.shape} do not fit counts of shape {counts.shape}")
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError(f"weights = {weights.tolist()} are not all finite and non-negative")
        if not (weights * counts).sum(1).all():
            empty = np.argmin((weights * counts).sum(1))
            raise ValueError(f"weights of generation {empty + 1} are zero for all examples")
    if draws is not None:
        totals = counts.sum(1)
        if draws.shape != totals.shape or not ((draws >= 1) & (draws <= totals) & (draws == np.floor(draws))).all():
            allowed = f"whole numbers from 1 to the sums {totals.tolist()} of the counts"
            raise ValueError(f"draws = {draws.tolist()} are not {allowed}")
        if weights is not None:
            for t, (row, count) in enumerate(zip(weights, counts, strict=True)):
                if np.ptp(row[count > 0]) > 0:
                    raise ValueError(f"draws with unequal weights {row.tolist()} in generation {t + 1}: no exact law")


def _check_among(counts: Num[np.ndarray, "generation source"], among: Num[np.ndarray, "generation source"]) -> None:
    if among.shape != counts.shape or not (np.isfinite(among).all() and (among == np.floor(among)).all()):
        raise ValueError(f"among = {among.tolist()} is not a whole number for each of the counts {counts.tolist()}")
    if ((among < counts) | ((counts == 0) & (among != 0))).any():
        raise ValueError(f"among = {among.tolist()} is below the counts {counts.tolist()}, or not 0 where these are 0")
    if (among[:, 0] != counts[:, 0]).any():
        raise ValueError(
            f"among = {among[:, 0].tolist()} of fresh examples draws of what is always new: give the counts"
        )


def _check_scale(generations: int, gain: Num[np.ndarray, " generation"], added: float, bias: float) -> None:
    if gain.shape != (generations,) or not (np.isfinite(gain).all() and (gain >= 0).all()):
        raise ValueError(f"gain = {gain.tolist()} is not a finite number from 0 on for each generation")
    if not (added >= 0 and math.isfinite(added)):
        raise ValueError(f"added = {added} is not finite and 0 or more")
    if not (bias > 0 and math.isfinite(bias)):
        raise ValueError(f"bias = {bias} is not positive and finite")
