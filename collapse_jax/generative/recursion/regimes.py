"""Regimes: which examples, and how many of each source, train every generation, as data.

Model 1 is fitted to real data; generation t + 1 may train on `FRESH` real draws, on the fixed `REAL` set, and on what
generations 1 to t emitted. A `Regime` says how many of each, so that a regime is an integer matrix (`count_matrix`) and
all regimes, sizes and real shares run in one program. Add your own with `@regime`; see `REGIMES` for those at hand.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple, Protocol, overload, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.checks.hints import takes
from collapse_jax.registry import Table

FRESH = -1
"""The source of real examples drawn anew for every generation."""
REAL = 0
"""The source of the fixed real set, the same examples whenever they are asked for."""


@runtime_checkable
class Counts(Protocol):
    """How many examples of a source train a generation."""

    def __call__(self, generation: int, source: int, samples: int, ratio: float, /) -> int:
        """Return a whole number from 0 on: so many of the first examples of the source.

        Generations count from 1; `source` is FRESH = -1, REAL = 0 or an earlier generation, `samples` the size M of the
        sweep, and `ratio` in [0, 1] the real share, or what the regime takes it for.
        """


@runtime_checkable
class Among(Protocol):
    """Of how many examples of a source those that train a generation are drawn."""

    def __call__(self, generation: int, source: int, samples: int, ratio: float, /) -> int:
        """Return a whole number, at least the count: so many of the first examples of the source to draw among."""


@runtime_checkable
class Draws(Protocol):
    """How many of all counted examples a generation keeps."""

    def __call__(self, generation: int, samples: int, ratio: float, /) -> int:
        """Return a whole number from 1 to all counted ones: so many are drawn uniformly without replacement."""


@runtime_checkable
class Weights(Protocol):
    """What an example of a source weighs in a generation's training."""

    def __call__(self, generation: int, source: int, samples: int, ratio: float, /) -> float:
        """Return a finite number from 0 on, not 0 for all sources; only weights relative to each other matter."""


class Regime(NamedTuple):
    """How many examples of each source train a generation.

    A count of k means the first k examples of the source: the same ones in every generation that asks. With `among` it
    means k of the first `among`, drawn uniformly without replacement and anew in every generation, the same for all
    models. Without `draws` all counted examples are kept, without `weights` they weigh the same. With several `models`
    each is trained so, and they emit in turn into shared sources.
    """

    name: str
    counts: Counts
    draws: Draws | None = None
    weights: Weights | None = None
    models: int = 1
    source: str = ""
    among: Among | None = None


class Rows(NamedTuple):
    """A regime for every generation: columns are the sources -1, 0, 1, ..., the last generation but one."""

    counts: Int[np.ndarray, "generation source"]
    draws: Int[np.ndarray, " generation"]
    weights: Float[np.ndarray, "generation source"]
    among: Int[np.ndarray, "generation source"]


_LARGEST = 2**31 - 1
_MOST_GENERATIONS = 10_000

REGIMES: Table[Regime] = Table("regime")


@checked
def count_matrix(
    regime: Regime, generations: int, samples: int, ratio: float = 0.0
) -> Int[np.ndarray, "generation source"]:
    """Return how many examples of the sources -1 (fresh), 0 (real), 1, ... train the generations 1 to `generations`.

    >>> count_matrix(REGIMES["accumulate"], 3, samples=10)
    array([[ 0, 10,  0,  0],
           [ 0, 10, 10,  0],
           [ 0, 10, 10, 10]])

    Raises ValueError for arguments out of range and for a regime whose counts are not whole numbers from 0 on, that
    draws from the future, or that leaves a generation without examples.
    """
    return rows(regime, generations, samples, ratio).counts


def rows(regime: Regime, generations: int, samples: int, ratio: float = 0.0) -> Rows:
    """Return the tables of a regime; raises ValueError as `count_matrix`, and for bad draws, weights, `among`."""
    if not isinstance(regime, Regime):
        raise ValueError(f"regime is {regime!r}; it must be a record such as cj.REGIMES['replace']")
    for name, value in (("generations", generations), ("samples", samples)):
        numbers.whole(name, value, 1)
    if generations > _MOST_GENERATIONS:
        raise ValueError(
            f"generations is {generations}; it must be at most {_MOST_GENERATIONS}, as their square is tabled"
        )
    numbers.share("ratio", ratio)
    samples, ratio = int(samples), float(ratio)
    times, sources = range(1, generations + 1), range(FRESH, generations)
    label = f"regime {regime.name!r} with samples={samples}, ratio={ratio:g}"
    for name, function, arguments in (
        ("counts", regime.counts, "generation, source, samples, ratio"),
        ("draws", regime.draws, "generation, samples, ratio"),
        ("weights", regime.weights, "generation, source, samples, ratio"),
        ("among", regime.among, "generation, source, samples, ratio"),
    ):
        if function is not None and not takes(function, arguments.split(", ")):
            raise ValueError(f"{name} of regime {regime.name!r} is {function!r}; it must be a function ({arguments})")

    counts = np.empty((generations, generations + 1), np.int64)
    for t in times:
        for s in sources:
            counts[t - 1, s + 1] = _whole(f"{label}: counts of source {s}", t, regime.counts(t, s, samples, ratio))
        future = np.flatnonzero(counts[t - 1, t + 1 :])
        if future.size:
            raise ValueError(f"{label}: generation {t} draws from generation {t + int(future[0])}, which comes later")
        if not counts[t - 1].any():
            raise ValueError(f"{label}: generation {t} has no examples at all")
    totals = counts.sum(axis=1)
    draws = totals.copy()
    if regime.draws is not None:
        for t in times:
            draws[t - 1] = _whole(f"{label}: draws", t, regime.draws(t, samples, ratio))
            if not 1 <= draws[t - 1] <= totals[t - 1]:
                raise ValueError(
                    f"{label}: generation {t} draws {draws[t - 1]} of {totals[t - 1]} examples; allowed is 1 to all"
                )
    weights = np.ones(counts.shape)
    if regime.weights is not None:
        for t in times:
            for s in sources:
                if counts[t - 1, s + 1]:
                    weight = regime.weights(t, s, samples, ratio)
                    if not isinstance(weight, Real | np.number) or not (math.isfinite(weight) and weight >= 0):
                        raise ValueError(
                            f"{label}: generation {t} weighs source {s} by {weight}; it must be finite and 0 or more"
                        )
                    weights[t - 1, s + 1] = weight
            if not (weights[t - 1] * counts[t - 1]).any():
                raise ValueError(f"{label}: generation {t} has only weights of 0")
    return Rows(counts, draws, weights, _among(regime, label, counts, samples, ratio))


def _among(
    regime: Regime, label: str, counts: Int[np.ndarray, "generation source"], samples: int, ratio: float
) -> Int[np.ndarray, "generation source"]:
    """Return of how many examples those of each count are drawn; the counted ones themselves where nothing is."""
    among = counts.copy()
    if regime.among is None:
        return among
    for row, column in np.argwhere(counts > 0).tolist():
        t, s = row + 1, column - 1
        number = _whole(f"{label}: among of source {s}", t, regime.among(t, s, samples, ratio))
        if number < counts[row, column]:
            raise ValueError(
                f"{label}: generation {t} draws {counts[row, column]} of {number} examples of source {s}; it must be "
                "among as many or more"
            )
        if s == FRESH and number > counts[row, column]:
            raise ValueError(
                f"{label}: generation {t} draws among {number} fresh examples; these are always new, so that `among` "
                f"must be their count, {counts[row, column]}"
            )
        among[row, column] = number
    return among


def _whole(label: str, generation: int, value: Any) -> int:
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = -1
    if isinstance(value, str) or np.ndim(value) or not 0 <= whole == value:
        raise ValueError(f"{label} at generation {generation} is {value!r}; it must be a whole number from 0 on")
    if whole > _LARGEST:
        raise ValueError(f"{label} at generation {generation} is {whole}; it must be at most {_LARGEST}")
    return whole


@overload
def regime(counts: Counts, /) -> Regime: ...
@overload
def regime(
    *,
    name: str = "",
    draws: Draws | None = None,
    weights: Weights | None = None,
    models: int = 1,
    source: str = "",
    among: Among | None = None,
    overwrite: bool = False,
) -> Callable[[Counts], Regime]: ...
def regime(
    counts: Counts | None = None,
    /,
    *,
    name: str = "",
    draws: Draws | None = None,
    weights: Weights | None = None,
    models: int = 1,
    source: str = "",
    among: Among | None = None,
    overwrite: bool = False,
) -> Regime | Callable[[Counts], Regime]:
    """Enter a function (generation, source, samples, ratio) -> count in `REGIMES` and return its record (a decorator).

    The name is the function's own unless given; the rest as in `Regime`.

    >>> @regime
    ... def every_other(generation, source, samples, ratio):
    ...     return samples if source == max(generation - 2, REAL) else 0
    >>> count_matrix(every_other, 3, samples=10)
    array([[ 0, 10,  0,  0],
           [ 0, 10,  0,  0],
           [ 0,  0, 10,  0]])

    Raises ValueError if the name is taken (unless `overwrite`), or as `count_matrix` does for 3 generations of 100
    samples at ratio 1/2.
    """

    numbers.whole("models", models, 1)
    return REGIMES.enter(
        counts,
        lambda function, name: Regime(name, function, draws, weights, models, source, among),
        lambda record: rows(record, 3, 100, 0.5),
        name=name,
        overwrite=overwrite,
    )


def _real(samples: int, ratio: float) -> int:
    return numbers.part("ratio", ratio, samples)


@regime(source="Shumailov et al., Nature 631:755")
def replace(generation: int, source: int, samples: int, ratio: float) -> int:
    """M examples of the last generation alone."""
    return samples if source == generation - 1 else 0


@regime(source="Gerstgrasser et al., arXiv 2404.01413")
def accumulate(generation: int, source: int, samples: int, ratio: float) -> int:
    """The real set and everything emitted since."""
    return samples if REAL <= source < generation else 0


@regime(
    draws=lambda generation, samples, ratio: samples,
    source="Kazdan et al., arXiv 2410.16713",
)
def accumulate_subsample(generation: int, source: int, samples: int, ratio: float) -> int:
    """M of the accumulated pool, uniformly without replacement."""
    return samples if REAL <= source < generation else 0


@regime(source="Alemohammad et al., arXiv 2307.01850")
def augment(generation: int, source: int, samples: int, ratio: float) -> int:
    """The real set and the last generation."""
    return samples if source in (REAL, generation - 1) else 0


@regime(source="Alemohammad et al., arXiv 2307.01850")
def real_fraction_replayed(generation: int, source: int, samples: int, ratio: float) -> int:
    """A share `ratio` of M from the real set, the same examples always, and the rest from the last generation.

    `real_fraction_resampled` draws them anew from the set each time, `real_fraction_fresh` from the truth. As in these,
    the share is that of the nearest whole number of examples; one that would be none or all of them is refused.
    """
    if generation == 1:
        return samples if source == REAL else 0
    return {REAL: _real(samples, ratio), generation - 1: samples - _real(samples, ratio)}.get(source, 0)


@regime(source="Alemohammad et al., arXiv 2307.01850")
def real_fraction_fresh(generation: int, source: int, samples: int, ratio: float) -> int:
    """A share `ratio` of M of fresh real examples, and the rest from the last generation; 1 is the control."""
    return {FRESH: _real(samples, ratio), generation - 1: samples - _real(samples, ratio)}.get(source, 0)


def _all_real(generation: int, source: int, samples: int, ratio: float) -> int:
    """Of the real set all examples, of what was emitted those that are counted."""
    return samples if source == REAL else real_fraction_replayed.counts(generation, source, samples, ratio)


@regime(among=_all_real, source="Shumailov et al., Nature 631:755")
def real_fraction_resampled(generation: int, source: int, samples: int, ratio: float) -> int:
    """A share `ratio` of M, drawn anew each time from the M of the real set, and the rest from the last generation.

    What Nature's text calls a random tenth of the original data: it costs M real examples, as many as
    `real_fraction_replayed` in the first generation, and lies between that and `real_fraction_fresh`.

    >>> count_matrix(REGIMES["real_fraction_resampled"], 3, samples=10, ratio=0.3)
    array([[ 0, 10,  0,  0],
           [ 0,  3,  7,  0],
           [ 0,  3,  0,  7]])

    The 3 are drawn among the 10 of the first row.
    """
    return real_fraction_replayed.counts(generation, source, samples, ratio)


def golden_weight(share: float) -> float:
    """Return the best total weight of fresh real examples, of which there is a share: w* = (√(k² + 4k) - k)/2.

    k = share/(1 - share) are the odds of a real example.

    >>> round(golden_weight(0.5), 3)
    0.618
    """
    if share == 1.0:
        return 1.0
    k = share / (1.0 - share)
    return (math.sqrt(k * k + 4.0 * k) - k) / 2.0


@checked
def weighted(weight: float | None = None) -> Regime:
    """Return `real_fraction_fresh` with a total weight on the real examples, by default the best: the golden ratio.

    Raises ValueError for a weight outside [0, 1].
    """
    if weight is not None:
        numbers.share("weight", weight)

    def weights(generation: int, source: int, samples: int, ratio: float) -> float:
        real = _real(samples, ratio)
        if real in (0, samples) or generation == 1:  # one kind of examples; the first "rest" is real too
            return 1.0
        w = golden_weight(real / samples) if weight is None else weight
        return w / real if source == FRESH else (1.0 - w) / (samples - real)

    name = "golden_ratio" if weight is None else f"weight={weight:g}"
    source = "He, Xu, Cheng, arXiv 2502.18049"
    return Regime(name, real_fraction_fresh.counts, weights=weights, source=source)


REGIMES.add(weighted())


@regime
def growing(generation: int, source: int, samples: int, ratio: float) -> int:
    """The last generation alone, M t examples of it: growing samples keep Σ 1/M_t near a logarithm."""
    return samples * generation if source == generation - 1 else 0


def sliding_window(width: int) -> Regime:
    """Return the regime of the last `width` sources, the real set being the first. ValueError for a width below 1."""
    numbers.whole("width", width, 1)

    def counts(generation: int, source: int, samples: int, ratio: float) -> int:
        return samples if max(REAL, generation - width) <= source < generation else 0

    return Regime(f"sliding_window({width})", counts)


REGIMES.add(sliding_window(5))


@checked
def with_share(regime: Regime, ratio: float, name: str) -> Regime:
    """Return a regime with its real share fixed at `ratio`, under a name of its own.

    Arms of different shares, and those without one, then run in one program. Raises ValueError for a ratio outside
    [0, 1].
    """
    numbers.share("ratio", float(ratio))
    counts, draws, weights, among = regime.counts, regime.draws, regime.weights, regime.among
    return regime._replace(
        name=name,
        counts=lambda generation, source, samples, _: counts(generation, source, samples, ratio),
        draws=draws and (lambda generation, samples, _: draws(generation, samples, ratio)),
        weights=weights and (lambda generation, source, samples, _: weights(generation, source, samples, ratio)),
        among=among and (lambda generation, source, samples, _: among(generation, source, samples, ratio)),
    )


def ecosystem(models: int) -> Regime:
    """Return the regime of several models with one shared pool: each trains on M of all they emitted last.

    Every model emits M examples; a model's training set is drawn from the shared pool uniformly without replacement.
    ValueError for fewer than one model.
    """
    numbers.whole("models", models, 1)
    return Regime(
        f"ecosystem({models})",
        lambda generation, source, samples, ratio: models * samples if source == generation - 1 else 0,
        draws=lambda generation, samples, ratio: samples,
        models=models,
    )


REGIMES.add(ecosystem(4))
