"""The limit law that a vector of coefficients in a `Basis` stands for: distribution function, quantiles and density."""

from functools import partial
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float
from numpy.polynomial import legendre

from collapse_jax.reward.laws.closed_forms import Elementwise, LimitLaw, atomic
from collapse_jax.reward.laws.limit_potential import Basis

_ORDER = 24
_BISECTIONS = 54


def as_law(basis: Basis, coefficients: Float[np.ndarray, " column"], value: float, gap: float) -> LimitLaw:
    """Return the law of total mass 1 with these coefficients. The atoms of a basis with panels lie on panel edges.

    Quantiles are exact to 1e-15 of the panel that they fall in.
    """
    half = np.maximum(coefficients[: len(basis.atoms)], 0) / 2
    positions, index = np.unique(np.concatenate([basis.atoms, 1 - basis.atoms]), return_inverse=True)
    weights = np.bincount(index, np.concatenate([half, half]), minlength=len(positions))
    if basis.size == 0:
        return atomic(positions, weights, value, gap)
    panels = _panels(basis, half, coefficients[len(half) :])
    cdf, quantile, density = (_elementwise(partial(function, panels)) for function in (_cdf, _quantile, _density))
    return LimitLaw(positions, weights, cdf, quantile, density, value, gap)


class _Panels(NamedTuple):
    """The left half of a symmetric law: Legendre series on the panels of [0, 1/2], and the mass up to their edges.

    `spanned` are the coefficients of the density, `integral` those of the mass of a panel left of a point. `before` and
    `after` are the mass below each edge, without and with an atom there.
    """

    basis: Basis
    spanned: Float[np.ndarray, "function panel"]
    integral: Float[np.ndarray, "coefficient panel"]
    before: Float[np.ndarray, " edge"]
    after: Float[np.ndarray, " edge"]


def _panels(basis: Basis, half: Float[np.ndarray, " atom"], coefficients: Float[np.ndarray, " column"]) -> _Panels:
    edges, middle = basis.edges, len(basis.edges) - 1
    spanned = coefficients.reshape(middle, basis.size).T
    integral = _integral(basis, spanned)
    at_edge = np.zeros(len(edges))
    at_edge[np.searchsorted(edges, basis.atoms)] = half * np.where(basis.atoms == 0.5, 2, 1)
    inside = np.maximum(legendre.legval(np.ones(middle), integral, tensor=False), 0)
    inside *= (0.5 - half.sum()) / max(inside.sum(), 1e-300)
    after = np.cumsum(at_edge) + np.concatenate([np.zeros(1), np.cumsum(inside)])
    return _Panels(basis, spanned, integral, after - at_edge, after)


def _cdf(panels: _Panels, x: np.ndarray) -> np.ndarray:
    left = _lower(panels, np.clip(x, 0, 0.5), panels.after)
    # By symmetry: the mass from 1 - x on the right is that up to it on the left, less an atom there.
    right = 1 - _lower(panels, _snapped(panels.basis, np.clip(1 - x, 0, 0.5)), panels.before)
    return np.where(x < 0, 0.0, np.where(x >= 1, 1.0, np.where(x > 0.5, right, left)))


def _quantile(panels: _Panels, q: np.ndarray) -> np.ndarray:
    edges, middle = panels.basis.edges, len(panels.basis.edges) - 1
    tail = np.minimum(q, 1 - q)
    edge = np.minimum(np.searchsorted(panels.after, tail), middle)
    panel = np.maximum(edge - 1, 0)
    low, high, series = edges[panel], edges[edge], panels.integral[:, panel]
    floor = np.where(panel == 0, 1e-300, 0.0)
    for _ in range(_BISECTIONS):
        # Next to 0 quantiles span many decades: halve their logarithm there.
        x = np.where(panel == 0, np.sqrt(np.maximum(low, floor) * high), 0.5 * (low + high))
        above = _within(panels, x, panel, series) >= tail
        low, high = np.where(above, low, x), np.where(above, x, high)
    # A level inside an atom is nowhere reached within the panel, and `high` stays on the atom.
    return np.asarray(np.where(q > 0.5, 1 - high, high))


def _density(panels: _Panels, x: np.ndarray) -> np.ndarray:
    edges = panels.basis.edges
    y = np.minimum(x, 1 - x)
    panel = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, len(edges) - 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = (np.maximum(y, 0) / edges[panel + 1]) ** -panels.basis.exponent
        inner = legendre.legval(_local(edges, y, panel), panels.spanned[:, panel], tensor=False) * weight
    return np.where(y >= 0, np.maximum(inner, 0.0), 0.0)


def _lower(panels: _Panels, x: np.ndarray, at_edges: Float[np.ndarray, " edge"]) -> np.ndarray:
    """Return the distribution function on [0, 1/2], with these values at the edges."""
    edges, middle = panels.basis.edges, len(panels.basis.edges) - 1
    panel = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, middle - 1)
    edge = np.minimum(np.searchsorted(edges, x), middle)
    return np.where(edges[edge] == x, at_edges[edge], _within(panels, x, panel, panels.integral[:, panel]))


def _within(panels: _Panels, x: np.ndarray, panel: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Return the mass left of points, by the series of the panels that they lie in."""
    edges, exponent = panels.basis.edges, panels.basis.exponent
    mass = legendre.legval(_local(edges, x, panel), series, tensor=False)
    if exponent > 0:
        mass *= np.where(panel == 0, np.maximum(x / edges[1], 0) ** (1 - exponent), 1.0)
    return np.asarray(np.clip(panels.after[panel] + mass, panels.after[panel], panels.before[panel + 1]))


def _local(edges: np.ndarray, x: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """Return the coordinate in [-1, 1] of points within their panels."""
    return np.asarray(2 * (x - edges[panel]) / (edges[panel + 1] - edges[panel]) - 1)


def _snapped(basis: Basis, x: np.ndarray) -> np.ndarray:
    """Return x, moved onto an inner atom that it misses because 1 - (1 - atom) rounds."""
    inner = basis.atoms[basis.atoms > 0]
    if len(inner) == 0:
        return x
    nearest = inner[np.abs(x[:, None] - inner).argmin(axis=1)]
    return np.where(np.abs(x - nearest) < 1e-15, nearest, x)


def _elementwise(function: Elementwise) -> Elementwise:
    return lambda x: function(np.ravel(x)).reshape(np.shape(x))


def _integral(basis: Basis, spanned: np.ndarray) -> np.ndarray:
    """Return Legendre series, one in each column, of the mass of each panel left of a point.

    For the first panel the series is that of the mass over (y/hi)^(1-exponent), which is smooth.
    """
    low, high = basis.edges[:-1], basis.edges[1:]
    node, weight = legendre.leggauss(_ORDER)
    analysis = (np.arange(_ORDER)[:, None] + 0.5) * (weight[:, None] * legendre.legvander(node, _ORDER - 1)).T
    y = low + (high - low) * (1 + node[:, None]) / 2
    series = analysis @ (legendre.legval(node, spanned).T * (y / high) ** -basis.exponent)
    integral = np.asarray(legendre.legint(series, lbnd=-1, scl=1)) * (high - low) / 2
    if basis.exponent > 0:
        jacobi, jacobi_weight = scipy.special.roots_jacobi(_ORDER, 0.0, -basis.exponent)
        fraction = 2 ** (basis.exponent - 1) * jacobi_weight
        scaled = (1 + node[:, None]) / 2 * (1 + jacobi) - 1
        integral[:, 0] = 0
        integral[:_ORDER, 0] = high[0] * analysis @ (legendre.legval(scaled, spanned[:, 0]) @ fraction)
    return np.asarray(integral)
