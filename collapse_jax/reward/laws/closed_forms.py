"""Limit laws of rewards that are known in closed form, one function a utility.

For n -> ∞ the rewards that maximise the sum of U over all pairs follow the probability measure μ on [0, 1] with the
largest energy I(μ) = ∬ U(|x - y|) dμ dμ. It is the one whose potential V(x) = ∫ U(|x - y|) dμ(y) is constant, equal to
I* (Frostman). Every function returns None for parameters that its formula does not cover.

Source: Song, Cai, Lee, Su, arXiv 2305.17608, for t, t^γ, log t, -t^-γ, -e^(-t/s). The others follow from Frostman's
condition: where U'' = kU + const a constant density and two atoms solve it, for a hinge a linear chain of atoms does,
and log sin(at) is the logarithmic case after the substitution sin(aξ) = sin(a/2) sin θ.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from collapse_jax.reward.utilities import COMMON, UTILITIES, Choice, Law, Utility, as_choice

Elementwise = Callable[[Float[np.ndarray, "*shape"]], Float[np.ndarray, "*shape"]]


class LimitLaw(NamedTuple):
    """The distribution that rewards of infinitely many ranked items collapse to, symmetric about 1/2.

    `cdf` is right-continuous, `quantile` its generalised inverse on [0, 1], `density` that of the part without atoms
    and 0 outside [0, 1]; they map float64 arrays elementwise. `value` is the energy I* of the law. The best energy
    exceeds it by `gap` at most: 0 where that is proved, nan where the energy is -inf and nothing can be compared.
    """

    atoms: Float[np.ndarray, " atom"]
    weights: Float[np.ndarray, " atom"]
    cdf: Elementwise
    quantile: Elementwise
    density: Elementwise
    value: float
    gap: float = 0.0

    @property
    def certified(self) -> bool:
        """Whether `gap` bounds the distance to the best energy."""
        return not math.isnan(self.gap)

    def __repr__(self) -> str:
        """Return value, gap, quartiles and the outermost atoms on one line."""
        quartiles = ", ".join(f"{q:.4g}" for q in self.quantile(np.array([0.25, 0.5, 0.75])))
        pairs = [f"{a:.4g}: {w:.4g}" for a, w in zip(self.atoms, self.weights, strict=True)]
        if len(pairs) > 6:
            pairs = [*pairs[:3], f"({len(pairs) - 6} more)", *pairs[-3:]]
        atoms = "{" + ", ".join(pairs) + "}"
        return f"LimitLaw(value={self.value:.8g}, gap={self.gap:.2g}, quartiles=[{quartiles}], atoms={atoms})"


def atomic(
    atoms: Float[np.ndarray, " atom"], weights: Float[np.ndarray, " atom"], value: float, gap: float = 0.0
) -> LimitLaw:
    """Return the law of finitely many atoms at ascending positions."""
    total = np.cumsum(weights) / np.sum(weights)
    total[-1] = 1.0

    def cdf(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros(1), total])[np.searchsorted(atoms, x, side="right")]

    def quantile(q: np.ndarray) -> np.ndarray:
        # A probability that equals a partial sum up to rounding belongs to the lower atom.
        return np.asarray(atoms[np.minimum(np.searchsorted(total, q - 1e-12), len(atoms) - 1)])

    return LimitLaw(atoms, weights, cdf, quantile, lambda x: np.zeros_like(x, np.float64), value, gap)


def two_point() -> LimitLaw:
    """Return the law of U = t, half at 0 and half at 1."""
    return atomic(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 0.5)


def power(*, gamma: float) -> LimitLaw | None:
    """Return the law of t^γ: Beta((1-γ)/2, (1-γ)/2) for 0 < γ < 1, two points for γ ≥ 1.

    For a convex U, U(t) ≤ (1-t) U(0) + t U(1), so that no law beats the one that is optimal for linear U; but the
    certificate of concave utilities says nothing, and the gap is nan.
    """
    if gamma <= 0:
        return None
    if gamma >= 1:
        return two_point()._replace(gap=0.0 if gamma == 1 else math.nan)
    shape = (1 - gamma) / 2
    return _symmetric_beta(shape, float(scipy.special.beta(shape + gamma, shape) / scipy.special.beta(shape, shape)))


def arcsine() -> LimitLaw | None:
    """Return the law of log t, Beta(1/2, 1/2)."""
    return _symmetric_beta(0.5, -math.log(4))


def inverse_power(*, gamma: float) -> LimitLaw | None:
    """Return the law of -t^-γ: Beta((1+γ)/2, (1+γ)/2) for 0 < γ < 1, uniform from γ = 1 on.

    From γ = 1 on, every law with a density has energy -inf; the uniform one is the limit of the n-item optima.
    """
    if gamma <= 0:
        return None
    if gamma >= 1:
        return uniform()
    shape = (1 + gamma) / 2
    return _symmetric_beta(shape, float(-scipy.special.beta(shape - gamma, shape) / scipy.special.beta(shape, shape)))


def exponential(*, scale: float) -> LimitLaw | None:
    """Return the law of -exp(-t/s), s > 0: atoms s/(1+2s), density 1/(1+2s)."""
    return _flat(scale / (1 + 2 * scale), -2 * scale / (1 + 2 * scale)) if scale > 0 else None


def quadratic(*, b: float, c: float) -> LimitLaw | None:
    """Return the law of b·t - c·t², b ≥ 2c > 0: atoms (b-c)/(2b), density c/b."""
    if not b >= 2 * c > 0:
        return None
    return _flat((b - c) / (2 * b), (b - c) ** 2 / (2 * b) + c / 2 - c**2 / (3 * b))


def sine(*, a: float) -> LimitLaw | None:
    """Return the law of sin(a·t), 0 < a ≤ π/2: atoms p = κ/(1+2κ), density 1/(1+2κ), κ = cot(a/2)/a."""
    if not 0 < a <= math.pi / 2:
        return None
    kappa = 1 / (a * math.tan(a / 2))
    atom = kappa / (1 + 2 * kappa)
    return _flat(atom, atom * (math.sin(a) + (1 - math.cos(a)) / (a * kappa)))


def hinge(*, width: float) -> LimitLaw | None:
    """Return the law of min(t, w), w > 0: atoms at k·w and 1 - k·w of mass (K+1-k)/((K+1)(K+2)), k = 0 … K = ⌊1/w⌋.

    Where 1/w is an integer both chains coincide and the atoms are equal.
    """
    if width <= 0:
        return None
    # Where 1/w rounds to below an integer, the shorter chains add up to the same law.
    last = math.floor(1 / width)
    k = np.arange(last + 1)
    chain = np.minimum(k * width, 1.0)
    order = np.argsort(np.concatenate([chain, 1 - chain]))
    positions = np.concatenate([chain, 1 - chain])[order]
    weights = np.tile((last + 1.0 - k) / ((last + 1) * (last + 2)), 2)[order]
    first = np.flatnonzero(np.diff(positions, prepend=-1.0) > 1e-9)
    atoms, weights = positions[first], np.add.reduceat(weights, first)
    return atomic(atoms, weights, float(weights @ np.minimum(atoms, width)))


def log_sine(*, a: float) -> LimitLaw | None:
    """Return the law of log sin(a·t), 0 < a ≤ π/2: density (a/π) cos(aξ)/√(sin²(a/2) - sin²(aξ)), ξ = x - 1/2."""
    if not 0 < a <= math.pi / 2:
        return None
    top = math.sin(a / 2)

    def cdf(x: np.ndarray) -> np.ndarray:
        edge = np.clip(np.minimum(x, 1 - x), 0, 0.5)
        # 1 - sin(a|ξ|)/sin(a/2), without cancellation next to 0.
        depth = 2 * np.cos(a * (1 - edge) / 2) * np.sin(a * edge / 2) / top
        lower = 2 / np.pi * np.arcsin(np.sqrt(depth / 2))
        return np.asarray(np.where(x > 0.5, 1 - lower, lower))

    def quantile(q: np.ndarray) -> np.ndarray:
        return np.clip(0.5 + np.arcsin(top * np.sin(np.pi * (q - 0.5))) / a, 0, 1)

    def density(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = a / np.pi * np.cos(a * (x - 0.5)) / np.sqrt(np.sin(a * x) * np.sin(a * (1 - x)))
        return np.where((x >= 0) & (x <= 1), inside, 0.0)

    return LimitLaw(np.zeros(0), np.zeros(0), cdf, quantile, density, math.log(top / 2))


def uniform() -> LimitLaw:
    """Return the law of every U that falls to -inf like -1/t or faster: uniform, of energy -inf, without certificate.

    Source: Hardin, Saff, Adv. Math. 193 (2005), short-range Riesz energies; reached very slowly for -1/t.
    """
    return _flat(0.0, -math.inf, math.nan)


def _flat(atom: float, value: float, gap: float = 0.0) -> LimitLaw:
    """Return equal atoms at 0 and 1 with a constant density between."""
    rest = 1 - 2 * atom
    inner = lambda q: np.clip((q - atom) / rest, 0, 1)  # noqa: E731
    ends = np.array([0.0, 1.0]) if atom > 0 else np.zeros(0)
    return LimitLaw(
        ends,
        np.full(len(ends), atom),
        lambda x: np.where(x < 0, 0.0, np.where(x >= 1, 1.0, atom + rest * x)),
        inner,
        lambda x: np.where((x >= 0) & (x <= 1), rest, 0.0),
        value,
        gap,
    )


def _symmetric_beta(shape: float, value: float) -> LimitLaw:
    def density(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = (x * (1 - x)) ** (shape - 1) / scipy.special.beta(shape, shape)
        return np.where((x >= 0) & (x <= 1), inside, 0.0)

    return LimitLaw(
        np.zeros(0),
        np.zeros(0),
        lambda x: np.asarray(scipy.special.betainc(shape, shape, np.clip(x, 0, 1))),
        lambda q: np.asarray(scipy.special.betaincinv(shape, shape, q)),
        density,
        value,
    )


# Laws go by function, not by name: a user's record may have a name of the table, and another function.
_OF_THE_TABLE: dict[Callable[..., Any], Law] = {
    UTILITIES[name].fn: law
    for name, law in (
        ("linear", two_point),
        ("power", power),
        ("log", arcsine),
        ("inverse_power", inverse_power),
        ("exponential", exponential),
        ("quadratic", quadratic),
        ("hinge", hinge),
        ("sine", sine),
        ("log_sine", log_sine),
    )
}


def closed_form(utility: Utility | Choice, **params: float) -> LimitLaw | None:
    """Return the closed form of a utility's limit law, its own `law` if it has one; None where none is known.

    `params` are those of `choose`; a `Choice` has them already. With an `offset` or a `min_gap` no closed form is
    known. Raises ValueError as `choose` does.
    """
    choice = as_choice(utility, params)
    law = choice.utility.law or _OF_THE_TABLE.get(choice.utility.fn)
    if law is None or any(choice.params[name] for name in COMMON):
        return None
    found: LimitLaw | None = law(**{name: value for name, value in choice.params.items() if name not in COMMON})
    return found
