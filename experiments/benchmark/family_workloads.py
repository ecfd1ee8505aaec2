"""Recursions of closed-form families, replaced in every generation: by examples, and by sufficient statistics."""

import time
from collections.abc import Callable

import jax
import numpy as np

import collapse_jax as cj
from experiments.benchmark.numpy_loops import LOOPS
from experiments.benchmark.roofline import Resources, moved
from experiments.benchmark.workloads import Workload

# Lineages side by side on a core: few enough for the cache, enough to fill vectors.
_SIDE_BY_SIDE = 64
_LENGTH, _VOCABULARY = 32, 16
_BINS, _TOKENS = 64, 100
_D, _NEWTON, _OPTIONS = 10, 10, 6
_K, _PLANE, _EM = 3, 2, 20
_ROUNDS = 10

# What an example takes: to be drawn, and to be fitted to. A choice among n takes one random word, a uniform one too.
EXAMPLES: dict[str, Resources] = {
    # Mean and scatter: products with the weights.
    "gaussian": Resources(operations=4, bytes=8, normals=1),
    # A step of EM: whitening, means and scatter of each component, one exponential each. The start, k-means++: a
    # Gumbel draw, two logarithms, for each centre.
    "mixture": Resources(
        operations=_EM * _K * (4 * _PLANE**2 + 2 * _PLANE),
        bytes=4 * _PLANE * (_EM + 1),
        normals=_PLANE,
        words=1 + _K,
        transcendentals=_K * (_EM + 2),
    ),
    # Mean and variance for the bandwidth.
    "kde": Resources(operations=4, bytes=8, normals=1, words=1),
    "ecdf": Resources(operations=4, bytes=8, words=1),
    # A bin and a place in it.
    "histogram": Resources(bytes=8, words=2),
    "categorical": Resources(bytes=8, words=1),
    # A random word a token; counting reads each once.
    "ngram": Resources(bytes=8 * _LENGTH, words=_LENGTH),
    # XᵀX, Xᵀy and the noisy answers.
    "regression": Resources(operations=2 * _D**2 + 4 * _D, bytes=8 * (_D + 1), normals=_D + 1),
    # A Newton step: the curvature XᵀX, the slope, and the objective for each of six lengths of the step, with two
    # transcendentals each and one for the probability.
    "logistic": Resources(
        operations=2 * _D + _NEWTON * (2 * _D**2 + 4 * _D + 2 * _D * _OPTIONS),
        bytes=4 * (_D + 1) * (_NEWTON + 1),
        normals=_D,
        words=1,
        transcendentals=1 + _NEWTON * (1 + 2 * _OPTIONS),
    ),
}

# What a generation takes where statistics are drawn. A chi-square draw: 10 rounds of a normal, a uniform and two
# logarithms, then a power of a uniform (two).
_CHI_SQUARE = Resources(normals=_ROUNDS, words=_ROUNDS + 1, transcendentals=2 * _ROUNDS + 2)
STATISTICS: dict[str, Resources] = {
    "gaussian": _CHI_SQUARE.plus(Resources(normals=2)),
    # A tree of binomials, one for each token but the last: at least a word each.
    "histogram": Resources(words=_BINS),
    "categorical": Resources(words=_TOKENS),
    # Bartlett's factor, its square, and the noise. The pseudo-inverse is no matrix product and isn't counted.
    "regression": _CHI_SQUARE.times(_D).plus(Resources(operations=2 * _D**3 + 4 * _D**2, normals=_D**2 + _D)),
}

# Lineages in multiples of those of Gaussians, so that each row takes about as long.
_SHARES = {"mixture": 0.02, "ngram": 0.03, "regression": 0.1, "logistic": 0.01}
_SHARES_OF_STATISTICS = {"gaussian": 40.0, "histogram": 1.0, "categorical": 1.0, "regression": 0.2}


def by_examples(name: str, *, samples: int, generations: int, lineages: int) -> Workload:
    """Return the recursion of a family on examples, in generations of a lineage."""
    family, plan = cj.FAMILIES[name], cj.make_plan(cj.REGIMES["replace"], generations, samples)
    members = max(round(lineages * _SHARES.get(name, 1.0)), 1)
    takes = EXAMPLES[name].times(samples)
    # An example is written and read again: from memory where those of all lineages side by side are too many.
    together = _SIDE_BY_SIDE * len(jax.devices()) if jax.default_backend() == "cpu" else members
    takes = takes._replace(bytes=moved(takes.bytes, takes.bytes * together))
    return Workload(
        f"{name}, {samples} examples",
        "generations",
        cj.make_recursion(family, plan),
        members,
        generations,
        takes,
        _numpy_loop(name, samples, generations),
        HELD_BACK[name],
        side_by_side(),
    )


def by_statistics(name: str, *, samples: int, generations: int, lineages: int) -> Workload:
    """Return the recursion of a family on sufficient statistics, in generations of a lineage."""
    plan = cj.make_plan(cj.REGIMES["replace"], generations, samples)
    return Workload(
        f"{name}, {samples} by statistics",
        "generations",
        cj.make_recursion(cj.FAMILIES[name], plan, by="statistics"),
        max(round(lineages * _SHARES_OF_STATISTICS[name]), 1),
        generations,
        STATISTICS[name],
        _numpy_loop(name, samples, generations),
        STATISTICS_HELD_BACK[name],
        side_by_side(),
    )


def side_by_side() -> int | None:
    """Return how many lineages a device runs at once; all of them (None) on an accelerator."""
    return _SIDE_BY_SIDE if jax.default_backend() == "cpu" else None


def _numpy_loop(name: str, samples: int, generations: int) -> Callable[[], float]:
    def timed() -> float:
        begin, done = time.perf_counter(), 0
        # As many lineages as take a tenth of a second.
        while done == 0 or time.perf_counter() - begin < 0.1:
            LOOPS[name](np.random.default_rng(done), samples, generations)
            done += 1
        return done * generations / (time.perf_counter() - begin)

    return timed


_CHOICES = "Each choice draws two words (counted in the program); reasoned: then a binary search and a gather."
HELD_BACK = {
    "gaussian": "Reasoned: draws are stored and read again, which the limit doesn't do.",
    "mixture": "Reasoned: 20 passes over examples x components, whose products are two wide.",
    "kde": _CHOICES,
    "ecdf": _CHOICES,
    "histogram": _CHOICES,
    "categorical": _CHOICES,
    "ngram": "Two words a token (counted in the program); reasoned: each token sums the row of a table of its own.",
    "regression": "Reasoned: the pseudo-inverse, which isn't counted, and products ten wide.",
    "logistic": "Reasoned: a pseudo-inverse in each of ten steps, which isn't counted, and products ten wide.",
}
_BINOMIALS = (
    "Reasoned: a level of binomials after another, each a loop of search and one of rejection, which aren't counted."
)
STATISTICS_HELD_BACK = {
    "gaussian": "Reasoned: some dozen numbers a generation leave the loop over generations to wait for.",
    "histogram": _BINOMIALS,
    "categorical": _BINOMIALS,
    "regression": "Reasoned: the pseudo-inverse, which isn't counted.",
}
