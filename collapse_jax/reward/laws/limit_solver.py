"""The limit law of a concave utility by least squares on Frostman's condition, with a certificate.

The law is the measure whose potential V(x) = ∫ U(|x - y|) dμ(y) is constant on [0, 1]. Where the slope U'(0) is finite
it has atoms at 0 and 1, and wherever kinks of U repeat those; where the slope is singular, its mass next to 0 grows
like U'(x)^(-1/2), which fixes the exponent of the density there. Polynomials on panels graded towards the atoms do the
rest. For any measure μ of mass 1, I* - I(μ) ≤ 2 (max V - I(μ)), because the energy is concave.
"""

import itertools

import numpy as np
import scipy
from jaxtyping import Float

from collapse_jax.reward.calculus import HostFunction
from collapse_jax.reward.laws.closed_forms import LimitLaw
from collapse_jax.reward.laws.limit_measure import as_law
from collapse_jax.reward.laws.limit_potential import Basis, Kernel, gauss, masses, potential
from collapse_jax.reward.shape import Shape

_SIZE = 10  # polynomials a panel
_RATIO, _RATIO_SINGULAR = 2.5, 4.0  # of neighbouring panels; an exact exponent allows longer ones
_MOST_EDGES = 60
_MOST_ATOMS = 600  # of a piecewise linear U, with nothing between them


def solve(function: HostFunction, shape: Shape, min_gap: float = 0.0) -> LimitLaw:
    """Return the limit law of a concave utility whose energy is finite.

    `min_gap` is where the curvature jumps because U is continued by its tangent, 0 if it is not.
    """
    breaks = np.append(shape.kinks, min_gap) if min_gap > 0 else shape.kinks
    kernel = Kernel(function.value, breaks, growth(function, shape))
    # The potential of U - U(1) is negative: it can be scaled to -1, whatever I* is.
    top = float(kernel(np.ones(1))[0])
    kernel = kernel._replace(value=lambda gap: function.value(gap) - top)
    basis = _basis(function, shape, min_gap)
    nodes = gauss(basis, 3 * _SIZE // 2)[0].ravel() if basis.size else np.zeros(0)
    matrix = potential(kernel, basis, np.concatenate([basis.atoms, nodes]))
    scale = np.abs(matrix).max(axis=0)
    coefficients = (
        scipy.linalg.lstsq(matrix / scale, -np.ones(len(matrix)), cond=1e-15, lapack_driver="gelsy")[0] / scale
    )
    coefficients /= masses(basis) @ coefficients
    value, gap = _certificate(kernel, basis, coefficients, shape.bounded)
    return as_law(basis, coefficients, value + top, gap)


def _certificate(kernel: Kernel, basis: Basis, coefficients: np.ndarray, bounded: bool) -> tuple[float, float]:
    atoms = len(basis.atoms)
    nodes, weights = gauss(basis, 3 * _SIZE) if basis.size else (np.zeros(0), np.zeros(0))
    ends = np.outer(basis.edges[1:2], np.array([1e-6, 1e-3]))
    shifted = np.add.outer(basis.atoms, np.concatenate([kernel.breaks, -kernel.breaks])).ravel()
    extra = np.concatenate([ends.ravel(), basis.edges[1:], np.zeros(1) if bounded else np.zeros(0), shifted])
    extra = extra[(extra >= 0) & (extra <= 1)]
    x = np.concatenate([basis.atoms, nodes.ravel(), np.minimum(extra, 1 - extra)])
    height = potential(kernel, basis, x) @ coefficients
    mass = coefficients[:atoms]
    if basis.size:
        pieces = np.einsum("kqj,kj->kq", weights, coefficients[atoms:].reshape(-1, basis.size))
        mass = np.concatenate([mass, 2 * pieces.ravel()])
    value = float(mass @ height[: len(mass)])
    # Rounding can leave traces of negative mass, which the law returned does not have.
    negative = -np.minimum(mass, 0).sum()
    slack = negative**2 * np.ptp(kernel(np.array([1e-16, 1.0]))) + 64 * np.finfo(float).eps * abs(value)
    return value, float(2 * max(height.max() - value, 0.0) + slack)


def growth(function: HostFunction, shape: Shape) -> float:
    """Return g where U behaves like -t^g at gap 0, -inf where it overflows, 0 where U(0) is finite."""
    if np.isfinite(shape.value_at_zero):
        return 0.0
    gap = np.array([1e-100])
    with np.errstate(all="ignore"):
        exponent = float((gap * function.slope(gap) / function.value(gap))[0])
    return exponent if np.isfinite(exponent) else -np.inf


def _basis(function: HostFunction, shape: Shape, min_gap: float) -> Basis:
    grid = np.concatenate([np.geomspace(1e-16, 0.5, 400), np.linspace(0, 1, 2001)[1:]])
    slope, curvature = function.slope(grid), function.curvature(grid)
    if shape.bounded and not (np.abs(curvature) > 1e-9 * slope[0]).any():
        return Basis(_orbit(shape.kinks, _MOST_ATOMS), np.zeros(0), 0.0, 0)
    exponent, depth = _end(grid[:400], slope[:400], curvature[:400], shape.bounded)
    smooth = shape.bounded and exponent == 0
    for most in (64, 32, 16, 8, 4, 2):
        atoms = _orbit(shape.kinks, most)
        # A jump of the curvature leaves a trace that is one derivative smoother after every hop.
        weak = _orbit(np.append(shape.kinks, min_gap), most, hops=8) if min_gap > 0 else atoms
        corners = np.union1d(atoms, weak[np.abs(weak[:, None] - atoms).min(axis=1) > 1e-9])
        edges = _edges(corners, depth, depth if smooth else max(depth, 1e-3), _RATIO if smooth else _RATIO_SINGULAR)
        if len(edges) <= _MOST_EDGES:
            break
    return Basis(atoms if shape.bounded else np.zeros(0), edges, exponent, _SIZE)


def _end(grid: np.ndarray, slope: np.ndarray, curvature: np.ndarray, bounded: bool) -> tuple[float, float]:
    """Return the exponent of the density next to 0, and from which depth on it alone describes the density."""
    if not bounded:
        # Nearer to 0, rounding hides how the mass, which grows like U'^(-1/2), is distributed.
        resolved = grid * np.sqrt(slope)
        at = np.argmax(resolved > 1e-8 * resolved.max())
        return float(np.clip(1 + grid[at] * curvature[at] / (2 * slope[at]), 0, 0.999)), float(grid[at])
    # Next to an atom the density follows the atom's pull, -U''.
    near = np.abs(curvature[[0, 40]])
    exponent = np.log(near[0] / near[1]) / np.log(grid[40] / grid[0]) if near.all() else 0.0
    if exponent > 0.01:
        return float(min(exponent, 0.9)), 1e-5
    steep = grid * np.abs(curvature) > 0.3 * slope
    return 0.0, float(min(grid[np.argmax(steep)], 0.1)) if steep.any() else 0.1


def _edges(corners: np.ndarray, depth: float, inner_depth: float, ratio: float) -> np.ndarray:
    """Return panel edges: 1/2, the corners, and a geometric grading towards each corner."""
    edges = [np.array([0.5]), corners]
    for low, high in itertools.pairwise(np.union1d(corners, 0.5)):
        two_sided = high in corners
        reach = (high - low) / 2 if two_sided else high - low
        for corner, sign in ((low, 1), (high, -1))[: 1 + two_sided]:
            finest = depth if corner == 0 else inner_depth
            if finest < reach:
                # Both sides meet half-way, in a point that must enter once.
                first = 0 if two_sided and sign > 0 else 1
                steps = np.arange(first, np.ceil(np.log(reach / finest) / np.log(ratio)) + 1)
                edges.append(corner + sign * reach * ratio**-steps)
    return np.unique(np.concatenate(edges))


def _orbit(shifts: np.ndarray, most: int, hops: int = 10**6) -> Float[np.ndarray, " point"]:
    """Return the points of [0, 1/2] that 0 and 1 reach in up to `hops` shifts, as long as [0, 1] has at most `most`."""
    known = frontier = np.array([0.0, 1.0])
    for _ in range(hops):
        reached = np.unique(np.add.outer(frontier, np.concatenate([shifts, -shifts])).ravel())
        reached = reached[(reached > -1e-9) & (reached < 1 + 1e-9)]
        fresh = np.abs(reached[:, None] - known).min(axis=1) > 1e-9
        frontier = reached[fresh & (np.diff(reached, prepend=-1.0) > 1e-9)]
        if len(frontier) == 0 or len(known) + len(frontier) > most:
            break
        known = np.concatenate([known, frontier])
    half = np.sort(known[known < 0.5 + 1e-9])
    return np.where(np.abs(half - 0.5) < 1e-9, 0.5, half)
