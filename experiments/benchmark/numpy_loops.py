"""Recursions of closed-form families as plain NumPy loops, one lineage and one generation after the other.

As the codes of these papers do it: each generation is fitted to what the one before emitted, by the same algorithm as
the family of that name (16 tokens and order 2 for n-grams, 64 bins, 100 tokens, 3 components, 10 dimensions).
"""

from collections.abc import Callable

import numpy as np

Loop = Callable[[np.random.Generator, int, int], np.ndarray]
_VOCABULARY, _LENGTH = 16, 32
_BINS, _TOKENS = 64, 100
_DIMENSIONS, _NEWTON, _RIDGE = 10, 10, 1e-4
_COMPONENTS, _STEPS, _FLOOR = 3, 20, 1e-6


def gaussian(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return mean and variance of every generation."""
    records = np.empty((generations, 2))
    mean, scale = 0.0, 1.0
    for generation in range(generations):
        x = rng.normal(mean, scale, samples)
        mean, scale = x.mean(), x.std()
        records[generation] = mean, scale**2
    return records


def mixture(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return the shares of the components of every generation; expectation maximisation from k-means++ centres."""
    angles = 2 * np.pi * np.arange(_COMPONENTS) / _COMPONENTS
    shares, means = np.full(_COMPONENTS, 1 / _COMPONENTS), 4.0 * np.stack([np.cos(angles), np.sin(angles)], 1)
    covariances = np.tile(np.eye(2), (_COMPONENTS, 1, 1))
    records = np.empty((generations, _COMPONENTS))
    for generation in range(generations):
        chosen = rng.choice(_COMPONENTS, samples, p=shares)
        factors = np.linalg.cholesky(covariances)[chosen]
        x = means[chosen] + np.einsum("nde,ne->nd", factors, rng.normal(size=(samples, 2)))
        centres = [x[rng.integers(samples)]]
        for _ in range(_COMPONENTS - 1):
            nearest = np.min([((x - centre) ** 2).sum(1) for centre in centres], axis=0)
            centres.append(x[rng.choice(samples, p=nearest / nearest.sum())])
        means, shares = np.array(centres), np.full(_COMPONENTS, 1 / _COMPONENTS)
        covariances = np.tile(np.cov(x.T, bias=True) + _FLOOR * np.eye(2), (_COMPONENTS, 1, 1))
        for _ in range(_STEPS):
            factors = np.linalg.cholesky(covariances)
            apart = x[:, None] - means[None]
            z = np.einsum("kde,nke->nkd", np.linalg.inv(factors), apart)
            joint = np.log(shares) - 0.5 * (z**2).sum(2) - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
            odds = np.exp(joint - joint.max(1, keepdims=True))
            odds /= odds.sum(1, keepdims=True)
            mass = odds.sum(0)
            means = odds.T @ x / mass[:, None]
            apart = x[:, None] - means[None]
            covariances = np.einsum("nk,nkd,nke->kde", odds, apart, apart) / mass[:, None, None] + _FLOOR * np.eye(2)
            shares = mass / samples
        records[generation] = shares
    return records


def kde(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return mean and variance of every generation, with Scott's bandwidth."""
    records = np.empty((generations, 2))
    x = rng.normal(size=samples)
    for generation in range(generations):
        width = x.std(ddof=1) * samples**-0.2
        records[generation] = x.mean(), x.var() + width**2
        x = rng.choice(x, samples) + width * rng.normal(size=samples)
    return records


def ecdf(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return mean and variance of every generation."""
    records = np.empty((generations, 2))
    x = rng.normal(size=samples)
    for generation in range(generations):
        records[generation] = x.mean(), x.var()
        x = rng.choice(x, samples)
    return records


def histogram(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return the probabilities of the bins of every generation."""
    records = np.empty((generations, _BINS))
    x = rng.normal(size=samples)
    for generation in range(generations):
        counts, edges = np.histogram(x, _BINS, (-4.0, 4.0))
        records[generation] = counts / counts.sum()
        x = edges[rng.choice(_BINS, samples, p=records[generation])] + 8.0 / _BINS * rng.uniform(size=samples)
    return records


def categorical(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return the probabilities of the tokens of every generation."""
    records = np.empty((generations, _TOKENS))
    p = np.arange(1.0, _TOKENS + 1) ** -1.5
    p /= p.sum()
    for generation in range(generations):
        p = np.bincount(rng.choice(_TOKENS, samples, p=p), minlength=_TOKENS) / samples
        records[generation] = p
    return records


def ngram(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return the table of next tokens of every generation; rows are written side by side, a token after the other."""
    records = np.empty((generations, _VOCABULARY, _VOCABULARY))
    rows = rng.integers(_VOCABULARY, size=(samples, _LENGTH))
    for generation in range(generations):
        counts = np.zeros((_VOCABULARY, _VOCABULARY))
        np.add.at(counts, (rows[:, :-1], rows[:, 1:]), 1.0)
        total = counts.sum(1, keepdims=True)
        records[generation] = table = np.where(total > 0, counts / np.maximum(total, 1), counts.sum(0) / counts.sum())
        cumulative = table.cumsum(1)
        rows = np.empty_like(rows)
        rows[:, 0] = rng.choice(_VOCABULARY, samples)
        for place in range(1, _LENGTH):
            above = cumulative[rows[:, place - 1]] > rng.uniform(size=(samples, 1))
            rows[:, place] = above.argmax(1)
    return records


def regression(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return the coefficients of every generation, by least squares."""
    records = np.empty((generations, _DIMENSIONS))
    w = np.full(_DIMENSIONS, _DIMENSIONS**-0.5)
    for generation in range(generations):
        x = rng.normal(size=(samples, _DIMENSIONS))
        w = np.linalg.lstsq(x, x @ w + rng.normal(size=samples), rcond=None)[0]
        records[generation] = w
    return records


def logistic(rng: np.random.Generator, samples: int, generations: int) -> np.ndarray:
    """Return the coefficients of every generation, by Newton's steps."""
    records = np.empty((generations, _DIMENSIONS))
    w = np.full(_DIMENSIONS, _DIMENSIONS**-0.5)
    for generation in range(generations):
        x = rng.normal(size=(samples, _DIMENSIONS))
        y = rng.uniform(size=samples) < 1 / (1 + np.exp(-x @ w))
        w = np.zeros(_DIMENSIONS)
        for _ in range(_NEWTON):
            p = 1 / (1 + np.exp(-x @ w))
            curvature = (x * (p * (1 - p))[:, None]).T @ x / samples + _RIDGE * np.eye(_DIMENSIONS)
            w = w + np.linalg.solve(curvature, (y - p) @ x / samples - _RIDGE * w)
        records[generation] = w
    return records


LOOPS: dict[str, Loop] = {
    "gaussian": gaussian,
    "mixture": mixture,
    "kde": kde,
    "ecdf": ecdf,
    "histogram": histogram,
    "categorical": categorical,
    "ngram": ngram,
    "regression": regression,
    "logistic": logistic,
}
