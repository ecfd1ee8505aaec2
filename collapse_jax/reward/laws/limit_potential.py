"""The potential V(x) = ∫ U(|x - y|) dμ(y) of a symmetric measure on [0, 1], accurate for singular and for steep U.

A measure is held by its left half: atoms and, on each panel of [0, 1/2], a density (y/hi)^-a times a polynomial; the
right half is the mirror image. Small gaps are never formed by subtracting near numbers: around x the quadrature runs in
the gap itself, by a double-exponential rule that reaches down to 1e-270 of a panel.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Int
from numpy.polynomial import legendre

_NEAR = 0.3  # panel lengths: further off, 16 Gauss nodes resolve a singularity of U at gap 0 to 1e-14
_ORDER = 16
_BLOCK = 1 << 15
_STEP = 0.06
_U = np.arange(-6.0, 3.3, _STEP)
# Nodes as fractions of a subinterval, counted from the end next to x, and from the other end.
_GAP, _REST = 1 / (1 + np.exp(-np.pi * np.sinh(_U))), 1 / (1 + np.exp(np.pi * np.sinh(_U)))
_LOG_REST = np.where(_GAP < 0.5, np.log1p(-np.minimum(_GAP, 0.5)), np.log(_REST))
_GAP_WEIGHT = _STEP * np.pi * np.cosh(_U) * _GAP * _REST


class Basis(NamedTuple):
    """Symmetric measures: pairs of atoms, and densities spanned by `size` weighted Legendre polynomials a panel.

    `atoms` and `edges` lie in [0, 1/2]. The weight is (y/hi)^-exponent, hi the right edge of the panel. Columns are
    ordered atoms first, then panel by panel.
    """

    atoms: Float[np.ndarray, " atom"]
    edges: Float[np.ndarray, " edge"]
    exponent: float
    size: int


class Kernel(NamedTuple):
    """U as quadrature needs it: `value`, the gaps `breaks` where it is not smooth, and its growth at gap 0.

    `growth` is the g of U ~ -t^g, between -1 and 0, and 0 where U(0) is finite or U is logarithmic.
    """

    value: Callable[[np.ndarray], np.ndarray]
    breaks: Float[np.ndarray, " break"]
    growth: float

    def __call__(self, gap: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Return U; evaluated in blocks of one size, so that JAX compiles once."""
        flat = np.maximum(gap.ravel(), 1e-300)
        blocks = np.pad(flat, (0, -flat.size % _BLOCK), constant_values=1.0).reshape(-1, _BLOCK)
        return np.concatenate([flat[:0], *map(self.value, blocks)])[: flat.size].reshape(gap.shape)


def gauss(basis: Basis, order: int) -> tuple[Float[np.ndarray, "panel node"], Float[np.ndarray, "panel node function"]]:
    """Return nodes and weights that integrate a smooth function against every density of the basis."""
    low, high = basis.edges[:-1, None], basis.edges[1:, None]
    node, weight = legendre.leggauss(order)
    nodes = low + (high - low) * (1 + node) / 2
    weights = (high - low) / 2 * weight * (nodes / high) ** -basis.exponent
    polynomials = np.broadcast_to(legendre.legvander(node, basis.size - 1), (*nodes.shape, basis.size)).copy()
    if basis.exponent > 0:
        node, weight = scipy.special.roots_jacobi(order, 0.0, -basis.exponent)
        nodes[0], weights[0] = high[0] * (1 + node) / 2, high[0] / 2 * 2**basis.exponent * weight
        polynomials[0] = legendre.legvander(node, basis.size - 1)
    return nodes, weights[..., None] * polynomials


def masses(basis: Basis) -> Float[np.ndarray, " column"]:
    """Return the mass of every member of the basis, its mirror image included."""
    ones = np.ones(len(basis.atoms))
    return np.concatenate([ones, 2 * gauss(basis, _ORDER)[1].sum(1).ravel()]) if basis.size else ones


def potential(kernel: Kernel, basis: Basis, x: Float[np.ndarray, " x"]) -> Float[np.ndarray, "x column"]:
    """Return the potential, at every x, of every member of the basis."""
    mirrored = np.concatenate([x, 1 - x])
    atoms = kernel(np.abs(mirrored[:, None] - basis.atoms)) / 2
    columns = np.concatenate([atoms, _of_panels(kernel, basis, mirrored)], axis=1) if basis.size else atoms
    return columns[: len(x)] + columns[len(x) :]


def _tail(growth: float) -> float:
    """Return the factor by which the first node also stands for those below floating point, where U ~ gap^growth."""
    beyond = np.arange(_U[0], -15.0, -_STEP)
    spread = np.cosh(beyond) / np.cosh(beyond[0])
    return float((spread * np.exp(np.pi * (1 + growth) * (np.sinh(beyond) - np.sinh(beyond[0])))).sum())


def _of_panels(kernel: Kernel, basis: Basis, x: np.ndarray) -> np.ndarray:
    nodes, weights = gauss(basis, _ORDER)
    low, high = basis.edges[:-1], basis.edges[1:]
    result = np.einsum("xkq,kqj->xkj", kernel(np.abs(x[:, None, None] - nodes)), weights, optimize=True)
    around = x[:, None]
    near = np.maximum(low - around, around - high) < _NEAR * (high - low)
    for shift in np.concatenate([kernel.breaks, -kernel.breaks]):
        near |= (low < around + shift) & (around + shift < high)
    row, panel = np.nonzero(near)
    result[row, panel] = _near(kernel, basis, x[row], panel)
    return np.reshape(result, (len(x), -1))


def _near(kernel: Kernel, basis: Basis, x: np.ndarray, panel: Int[np.ndarray, " pair"]) -> np.ndarray:
    low, high = basis.edges[panel, None], basis.edges[panel + 1, None]
    shifts = np.concatenate([np.zeros(1), kernel.breaks, -kernel.breaks])
    cuts = np.sort(np.concatenate([low, np.clip(x[:, None] + shifts, low, high), high], axis=1), axis=1)
    pair, piece = np.nonzero(cuts[:, 1:] > cuts[:, :-1])
    result = np.zeros((len(x), basis.size))
    np.add.at(result, pair, _pieces(kernel, basis, x[pair], panel[pair], cuts[pair, piece], cuts[pair, piece + 1]))
    return result


def _pieces(
    kernel: Kernel, basis: Basis, x: np.ndarray, panel: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> np.ndarray:
    """Return integrals over [start, stop], which holds neither x nor a break of U(|x - y|) inside."""
    low, high = basis.edges[panel, None], basis.edges[panel + 1, None]
    x, start, stop = x[:, None], start[:, None], stop[:, None]
    length, left = stop - start, stop <= x
    y = np.where(left, start + length * _REST, start + length * _GAP)
    gap = np.where(left, x - stop, start - x) + length * _GAP
    weight = _GAP_WEIGHT.copy()
    weight[0] *= _tail(kernel.growth)
    if basis.exponent == 0:
        measure = length * weight
    else:
        # Where y reaches 0, y = stop·s^κ absorbs the weight: (y/hi)^-a dy is a constant times ds.
        power = 1 / (1 - basis.exponent)
        touches = (start == 0)[:, 0]
        with np.errstate(divide="ignore"):
            measure = length * weight * (y / high) ** -basis.exponent
        end, beyond, at_left = stop[touches], (x - stop)[touches], left[touches]
        y[touches] = end * np.where(at_left, _REST, _GAP) ** power
        gap[touches] = np.where(at_left, beyond - end * np.expm1(power * _LOG_REST), y[touches])
        measure[touches] = power * end * (end / high[touches]) ** -basis.exponent * weight
    polynomials = legendre.legvander(2 * (y - low) / (high - low) - 1, basis.size - 1)
    return np.asarray(np.einsum("iq,iqj->ij", kernel(gap) * measure, polynomials, optimize=True))
