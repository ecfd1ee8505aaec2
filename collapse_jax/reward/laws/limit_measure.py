"""The limit law that a vector of coefficients in a `Basis` stands for: distribution function, quantiles and density."""

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

    edges, middle = basis.edges, len(basis.edges) - 1
    spanned = coefficients[len(half) :].reshape(middle, basis.size).T
    integral = _integral(basis, spanned)
    at_edge = np.zeros(len(edges))
    at_edge[np.searchsorted(edges, basis.atoms)] = half * np.where(basis.atoms == 0.5, 2, 1)
    inside = np.maximum(legendre.legval(np.ones(middle), integral, tensor=False), 0)
    inside *= (0.5 - half.sum()) / max(inside.sum(), 1e-300)
    after = np.cumsum(at_edge) + np.concatenate([np.zeros(1), np.cumsum(inside)])
    before = after - at_edge

    def local(x: np.ndarray, panel: np.ndarray) -> np.ndarray:
        return np.asarray(2 * (x - edges[panel]) / (edges[panel + 1] - edges[panel]) - 1)

    def within(x: np.ndarray, panel: np.ndarray, series: np.ndarray) -> np.ndarray:
        mass = legendre.legval(local(x, panel), series, tensor=False)
        if basis.exponent > 0:
            mass *= np.where(panel == 0, np.maximum(x / edges[1], 0) ** (1 - basis.exponent), 1.0)
        return np.asarray(np.clip(after[panel] + mass, after[panel], before[panel + 1]))

    def lower(x: np.ndarray, *, continuous_from_left: bool) -> np.ndarray:
        """Return the distribution function on [0, 1/2]."""
        panel = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, middle - 1)
        edge = np.searchsorted(edges, x)
        exact = edges[np.minimum(edge, middle)] == x
        jump = (before if continuous_from_left else after)[np.minimum(edge, middle)]
        return np.where(exact, jump, within(x, panel, integral[:, panel]))

    def snapped(x: np.ndarray) -> np.ndarray:
        """Return x, moved onto an inner atom that it misses because 1 - (1 - atom) rounds."""
        inner = basis.atoms[basis.atoms > 0]
        if len(inner) == 0:
            return x
        nearest = inner[np.abs(x[:, None] - inner).argmin(axis=1)]
        return np.where(np.abs(x - nearest) < 1e-15, nearest, x)

    def cdf(x: np.ndarray) -> np.ndarray:
        left = lower(np.clip(x, 0, 0.5), continuous_from_left=False)
        right = 1 - lower(snapped(np.clip(1 - x, 0, 0.5)), continuous_from_left=True)
        return np.where(x < 0, 0.0, np.where(x >= 1, 1.0, np.where(x > 0.5, right, left)))

    def quantile(q: np.ndarray) -> np.ndarray:
        tail = np.minimum(q, 1 - q)
        edge = np.minimum(np.searchsorted(after, tail), middle)
        panel = np.maximum(edge - 1, 0)
        low, high, series = edges[panel], edges[edge], integral[:, panel]
        floor = np.where(panel == 0, 1e-300, 0.0)
        for _ in range(_BISECTIONS):
            # Next to 0 quantiles span many decades: halve their logarithm there.
            x = np.where(panel == 0, np.sqrt(np.maximum(low, floor) * high), 0.5 * (low + high))
            above = within(x, panel, series) >= tail
            low, high = np.where(above, low, x), np.where(above, x, high)
        # A level inside an atom is nowhere reached within the panel, and `high` stays on the atom.
        return np.asarray(np.where(q > 0.5, 1 - high, high))

    def density(x: np.ndarray) -> np.ndarray:
        y = np.minimum(x, 1 - x)
        panel = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, middle - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = (np.maximum(y, 0) / edges[panel + 1]) ** -basis.exponent
            inner = legendre.legval(local(y, panel), spanned[:, panel], tensor=False) * weight
        return np.where(y >= 0, np.maximum(inner, 0.0), 0.0)

    return LimitLaw(positions, weights, _elementwise(cdf), _elementwise(quantile), _elementwise(density), value, gap)


def _elementwise(function: Elementwise) -> Elementwise:
    return lambda x: function(np.ravel(x)).reshape(np.shape(x))


def _integral(basis: Basis, spanned: np.ndarray) -> np.ndarray:
    """Return Legendre series, one a column, of the mass of each panel left of a point.

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
