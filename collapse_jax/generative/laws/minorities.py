"""Whether a group of small share is still in the model, by regime: exact chains of how often it was drawn.

Everything is said of one group of true share p against all others, and so of a single token too. A model is fitted to M
examples; the group is in it if one of them is of the group. As in the regimes, αM real examples are the nearest whole
number, and a share that would be none or all of them without being 0 or 1 is refused.
"""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.laws.binomial import binomial

Shares = Float[np.ndarray, " share"]


class SurvivalLaw(NamedTuple):
    """P(the group is in model t), and P(it is in every model up to t); equal where what is lost stays lost."""

    alive: Float[np.ndarray, "generation share"]
    unbroken: Float[np.ndarray, "generation share"]


class DisappearanceTime(NamedTuple):
    """Mean and variance of the first generation without a group."""

    mean: Float[np.ndarray, " share"]
    variance: Float[np.ndarray, " share"]


@checked
def accumulate_survival(shares: Shares, samples: int, generations: int) -> SurvivalLaw:
    """Return the law of models 1 … T under accumulate: 1 - (1-p)^M for ever, as the real set stays.

    >>> accumulate_survival(np.array([0.1]), 10, 2).alive[:, 0].round(4)
    array([0.6513, 0.6513])

    Raises ValueError for shares outside [0, 1], samples < 1, generations < 1.
    """
    _check(shares, samples, generations)
    alive = np.tile(1 - (1 - shares) ** samples, (generations, 1))
    return SurvivalLaw(alive, alive)


@checked
def fresh_share_survival(shares: Shares, real_share: float, samples: int, generations: int) -> SurvivalLaw:
    """Return the law of models 1 … T: model 1 fits M real examples, later ones αM fresh and (1-α)M emitted ones.

    What is lost may come back. α = 0 is replace, α = 1 is the control.

    >>> fresh_share_survival(np.array([0.1]), 0.5, 10, 3).alive[:, 0].round(4)
    array([0.6513, 0.6153, 0.6094])

    Raises ValueError for shares outside [0, 1], a real share outside [0, 1], samples < 1, generations < 1.
    """
    real = _check_real(shares, real_share, samples, generations)
    fresh = binomial(real, shares)
    emitted = _emitted(samples, samples - real)

    first = binomial(samples, shares)
    counts, never, alive, unbroken = first, first.copy(), [], []
    for _ in range(generations):
        alive.append(1 - counts[:, 0])
        never[:, 0] = 0.0
        unbroken.append(never.sum(1))
        counts, never = _mixed(counts @ emitted, fresh), _mixed(never @ emitted, fresh)
    return _law(np.stack(alive), np.stack(unbroken))


@checked
def replayed_share_survival(shares: Shares, real_share: float, samples: int, generations: int) -> SurvivalLaw:
    """Return the law of models 1 … T: model 1 fits M real examples, later ones αM of these and (1-α)M emitted ones.

    A group among the αM is safe; any other is lost as under replace, but faster.

    >>> replayed_share_survival(np.array([0.1]), 0.5, 10, 3).alive[:, 0].round(4)
    array([0.6513, 0.522 , 0.4642])

    Raises ValueError for shares outside [0, 1], a real share outside [0, 1], samples < 1, generations < 1.
    """
    real = _check_real(shares, real_share, samples, generations)
    rest = samples - real
    emitted = _emitted(samples, rest)[: rest + 1]
    counts, lost = binomial(rest, shares), []
    for _ in range(generations):
        lost.append((1 - shares) ** real * counts[:, 0])
        counts = counts @ emitted
    alive = 1 - np.stack(lost)
    return _law(alive, alive)


@checked
def resampled_share_survival(shares: Shares, real_share: float, samples: int, generations: int) -> SurvivalLaw:
    """Return the law of models 1 … T: model 1 fits M real examples, later ones αM drawn of these and (1-α)M emitted.

    The αM are drawn anew each generation, so that a group that the real set has may come back, one that it lacks never.
    The chain is that of `fresh_share_survival` for each count of the group in the real set: T tables of M x M numbers.

    >>> resampled_share_survival(np.array([0.1]), 0.5, 10, 3).alive[:, 0].round(4)
    array([0.6513, 0.522 , 0.5096])

    Raises ValueError for shares outside [0, 1], a real share outside [0, 1], samples < 1, generations < 1.
    """
    real = _check_real(shares, real_share, samples, generations)
    drawn, emitted = _drawn(samples, real), _emitted(samples, samples - real)
    # A row for each count in the real set, at which the first model's count is.
    every = [np.eye(samples + 1), np.eye(samples + 1)]
    alive, unbroken = [], []
    for _ in range(generations):
        alive.append(1 - every[0][:, 0])
        every[1][:, 0] = 0.0
        unbroken.append(every[1].sum(1))
        every = [_mixed(counts @ emitted, drawn) for counts in every]
    of_real = binomial(samples, shares)
    return _law(np.stack(alive) @ of_real.T, np.stack(unbroken) @ of_real.T)


@checked
def importance_survival(shares: Shares, real_share: float, samples: int, generations: int) -> SurvivalLaw:
    """Return `fresh_share_survival` if a calibrated detector weighs all examples by 1 - P(machine), exponent 1.

    Its models 2, 3, … are fits to the αM fresh examples alone, with nothing inherited.

    >>> importance_survival(np.array([0.1]), 0.5, 10, 3).unbroken[:, 0].round(4)
    array([0.6513, 0.2667, 0.1092])

    Raises ValueError for shares outside [0, 1], a real share outside [0, 1], samples < 1, generations < 1.
    """
    real = _check_real(shares, real_share, samples, generations)
    numbers.table("generations", generations, len(shares))
    sizes = np.where(np.arange(generations) > 0, real, samples)
    alive = 1 - (1 - shares[None]) ** sizes[:, None]
    return SurvivalLaw(alive, np.cumprod(alive, 0))


@checked
def subsample_survival(shares: Shares, samples: int, generations: int) -> SurvivalLaw:
    """Return the law of models 1 … T that fit M of the real set and all emitted so far, drawn without replacement.

    The chain is that of the group's count in the growing pool; a step takes a table of T M x M numbers.

    >>> subsample_survival(np.array([0.1]), 10, 3).alive[:, 0].round(4)
    array([0.6513, 0.5248, 0.49  ])

    Raises ValueError for shares outside [0, 1], samples < 1, generations < 1.
    """
    _check(shares, samples, generations)
    emitted, few = _emitted(samples, samples), len(shares)
    # The distribution of the group's count in the pool, then its part from lineages in which every model had the group.
    both = np.tile(binomial(samples, shares), (2, 1))
    present = []
    for t in range(1, generations + 1):
        drawn = _drawn(t * samples, samples)
        present.append(both @ (1 - drawn[:, 0]))
        missed = both[few:] * drawn[:, 0][None]
        both = _grown(both, drawn @ emitted)
        # Lineages that drew none leave the second part; they emit none, so that their count is what it was.
        both[few:, : missed.shape[1]] -= missed
    alive, unbroken = np.split(np.stack(present), 2, axis=1)
    return _law(alive, unbroken)


@checked
def ecosystem_survival(shares: Shares, models: int, samples: int, generations: int) -> SurvivalLaw:
    """Return P(the group is in any of G models) of generations 1 … T, as in `ecosystem_heterozygosity`.

    Given the group's count in the shared pool the models draw and emit independently, so that the count of the next
    pool is a sum of G alike: a chain on 0 … GM.

    >>> ecosystem_survival(np.array([0.1]), 2, 10, 3).alive[:, 0].round(4)
    array([0.7926, 0.6245, 0.5157])

    Raises ValueError for shares outside [0, 1], models < 1, samples < 1, generations < 1.
    """
    _check(shares, samples, generations)
    numbers.whole_value("models", models, 1)
    size = models * samples
    drawn = _drawn(size, samples)
    # The distribution of a sum of independent counts has the product of their transforms; rounding may put it below 0.
    transforms = np.fft.rfft(drawn @ _emitted(samples, samples), size + 1, axis=1)
    step = np.maximum(np.fft.irfft(transforms**models, size + 1, axis=1), 0.0)
    pool, alive = binomial(size, shares), []
    for _ in range(generations):
        alive.append(1 - pool @ drawn[:, 0] ** models)
        pool = pool @ step
    return _law(np.stack(alive), np.stack(alive))


@checked
def disappearance_time(unbroken: Float[np.ndarray, "generation share"]) -> DisappearanceTime:
    """Return mean and variance of the first generation without the group, T + 1 standing for all that come after T.

    1 + Σ P(in every model up to t) is the restricted mean survival time, which needs no guess at what was not seen.

    >>> disappearance_time(np.array([[1.0], [0.5], [0.25]]))
    DisappearanceTime(mean=array([2.75]), variance=array([0.6875]))

    Raises ValueError for probabilities outside [0, 1].
    """
    unbroken = numbers.shares("unbroken", unbroken)
    longer = np.concatenate([np.ones((1, unbroken.shape[1])), unbroken])
    mean = longer.sum(0)
    squares = (2 * np.arange(len(longer))[:, None] + 1) * longer
    # Where the group is there to the end in every lineage, rounding may put the variance below 0.
    return DisappearanceTime(mean, np.maximum(squares.sum(0) - mean**2, 0.0))


def _law(alive: np.ndarray, unbroken: np.ndarray) -> SurvivalLaw:
    """Return the law; sums of probabilities that rounding left outside [0, 1] are clipped."""
    return SurvivalLaw(alive.clip(0.0, 1.0), unbroken.clip(0.0, 1.0))


def _emitted(samples: int, size: int) -> Float[np.ndarray, "count emitted"]:
    """Return P(e of `size` emitted examples are of a group that was c of the M that trained)."""
    numbers.table("samples", samples + 1, size + 1)
    return binomial(size, np.arange(samples + 1) / samples)


def _drawn(pool: int, samples: int) -> Float[np.ndarray, "count drawn"]:
    """Return P(n of M draws from the pool, without replacement, are of a group that is c of it)."""
    numbers.table("samples", pool + 1, samples + 1)
    # Factorials below 0 are infinite: what is impossible has probability 0.
    log_factorial = np.concatenate([np.full(samples, np.inf), scipy.special.gammaln(np.arange(pool + 1) + 1.0)])
    c, n = np.arange(pool + 1)[:, None], np.arange(samples + 1)[None]
    of_count = (log_factorial[samples + c] + log_factorial[samples + pool - c]) - log_factorial[samples + pool]
    of_drawn = log_factorial[samples + n] + log_factorial[2 * samples - n]
    of_drawn = of_drawn - log_factorial[2 * samples] - log_factorial[pool]
    left = log_factorial[samples + c - n] + log_factorial[pool - c + n]
    return np.asarray(np.exp(of_count - of_drawn - left))


def _mixed(
    emitted: Float[np.ndarray, "share count"], real: Float[np.ndarray, "share other"]
) -> Float[np.ndarray, "share sum"]:
    """Return the distributions of the sums of two independent counts, row by row."""
    return np.stack([np.convolve(one, other) for one, other in zip(emitted, real, strict=True)])


def _grown(
    pool: Float[np.ndarray, "share count"], emitted: Float[np.ndarray, "count emitted"]
) -> Float[np.ndarray, "share grown"]:
    """Return the distribution of the count after what is emitted has joined the pool."""
    (_, before), new = pool.shape, emitted.shape[1]
    grown = np.zeros((len(pool), before + new - 1))
    for e in range(new):
        grown[:, e : e + before] += pool * emitted[:, e][None]
    return grown


def _check_real(shares: Shares, real_share: float, samples: int, generations: int) -> int:
    _check(shares, samples, generations)
    numbers.within("real_share", real_share, 0, 1)
    return numbers.part("real_share", real_share, int(samples))


def _check(shares: Shares, samples: int, generations: int) -> None:
    for one in shares:
        numbers.within("share", float(one), 0, 1)
    numbers.whole_value("samples", samples, 1)
    numbers.generations(generations)
