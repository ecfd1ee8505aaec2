"""Closed forms against Frostman's condition: the potential, by scipy's quadrature, is constant and equals the value."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from collapse_jax.reward.laws import closed_forms as cf

POSITIONS = (0.0, 1e-3, 0.07, 0.25, 0.4, 0.5, 0.8)
CASES = {
    "t": (lambda t: t, cf.two_point()),
    "t^.2": (lambda t: t**0.2, cf.power(gamma=0.2)),
    "t^.5": (lambda t: t**0.5, cf.power(gamma=0.5)),
    "t^.8": (lambda t: t**0.8, cf.power(gamma=0.8)),
    "log t": (math.log, cf.arcsine()),
    "-t^-.2": (lambda t: -(t**-0.2), cf.inverse_power(gamma=0.2)),
    "-t^-.5": (lambda t: -(t**-0.5), cf.inverse_power(gamma=0.5)),
    "-t^-.8": (lambda t: -(t**-0.8), cf.inverse_power(gamma=0.8)),
    "-e^-4t": (lambda t: -math.exp(-4 * t), cf.exponential(scale=0.25)),
    "-e^-.3t": (lambda t: -math.exp(-0.3 * t), cf.exponential(scale=1 / 0.3)),
    "2t-t^2": (lambda t: 2 * t - t**2, cf.quadratic(b=2.0, c=1.0)),
    "3t-t^2": (lambda t: 3 * t - t**2, cf.quadratic(b=3.0, c=1.0)),
    "sin 1.5t": (lambda t: math.sin(1.5 * t), cf.sine(a=1.5)),
    "sin pi/2 t": (lambda t: math.sin(math.pi / 2 * t), cf.sine(a=math.pi / 2)),
    "log sin .4t": (lambda t: math.log(math.sin(0.4 * t)), cf.log_sine(a=0.4)),
    "log sin pi/2 t": (lambda t: math.log(math.sin(math.pi / 2 * t)), cf.log_sine(a=math.pi / 2)),
} | {
    f"min(t, {w:.3g})": (lambda t, w=w: min(t, w), cf.hinge(width=w))
    for w in (0.03, 0.1, 1 / 7, 0.3, 1 / 3, 0.45, 0.5, 0.7, 1.0, 2.0)
}
LAWS = {**{name: law for name, (_, law) in CASES.items()}, "uniform": cf.inverse_power(gamma=1.5)}


def integral(fn, length, tolerance):
    """Return ∫ fn over [0, length], fn with an integrable singularity at 0."""
    if length == 0:
        return 0.0
    return quad(lambda s: 12 * length * s**11 * fn(max(length * s**12, 1e-200)), 0, 1, epsabs=tolerance, limit=200)[0]


def potential(utility, law, x, tolerance=1e-11):
    """Return ∫ U(|x - y|) dμ(y) of a symmetric law; each end and the point x are approached in their own coordinate."""
    density = lambda y: float(law.density(np.array(y)))  # noqa: E731
    atoms = sum(w * utility(max(abs(x - a), 1e-200)) for a, w in zip(law.atoms, law.weights, strict=True))
    pieces = [
        lambda y: utility(x - y) * density(y),
        lambda t: utility(t) * density(x - t),
        lambda t: utility(t) * density(x + t if x + t < 0.5 else 1 - x - t),
        lambda y: utility(1 - x - y) * density(y),
    ]
    return atoms + sum(
        integral(f, half, tolerance) for f, half in zip(pieces, [x / 2] * 2 + [(1 - x) / 2] * 2, strict=True)
    )


@pytest.mark.parametrize("name", CASES)
def test_the_potential_is_constant_and_equals_the_value(name):
    utility, law = CASES[name]
    assert law.certified
    assert law.gap == 0
    # 1e-8 is what scipy's adaptive quadrature reaches on these double singularities.
    assert [potential(utility, law, x) for x in POSITIONS] == pytest.approx([law.value] * len(POSITIONS), abs=1e-8)


@pytest.mark.parametrize("name", LAWS)
def test_the_law_is_one_symmetric_distribution(name):
    law = LAWS[name]
    x = np.setdiff1d(np.linspace(0, 1, 102)[1:-1], law.atoms)
    np.testing.assert_allclose(law.cdf(x) + law.cdf(1 - x), 1, atol=1e-14)
    np.testing.assert_allclose(law.density(x), law.density(1 - x), rtol=1e-10)
    assert law.cdf(np.array([-0.1, 1.0, 1.1])).tolist() == [0, 1, 1]
    assert law.density(np.array([-0.1, 1.1])).tolist() == [0, 0]
    # The distribution function is the atoms and the density accumulated, atoms included where they sit.
    jumps = law.cdf(law.atoms) - law.cdf(law.atoms - 1e-12)
    np.testing.assert_allclose(jumps, law.weights, atol=1e-11)
    for low, high in ((0.1, 0.3), (0.3, 0.95)):
        smooth = quad(lambda y: float(law.density(np.array(y))), low, high, epsabs=1e-12)[0]
        inside = law.weights[(law.atoms > low) & (law.atoms <= high)].sum()
        assert np.subtract(*law.cdf(np.array([high, low]))) == pytest.approx(smooth + inside, abs=1e-10)


@pytest.mark.parametrize("name", LAWS)
def test_quantile_is_the_generalised_inverse(name):
    law = LAWS[name]
    q = np.random.default_rng(0).uniform(size=500)
    x = law.quantile(q)
    assert (np.diff(law.quantile(np.sort(q))) >= 0).all()
    # inf {x: cdf(x) >= q}: the level is reached at x and not before.
    assert (law.cdf(x + 1e-12) >= q - 1e-9).all()
    assert (law.cdf(x - 1e-12) <= q + 1e-9).all()
    assert ((law.quantile(np.array([0.0, 1.0])) >= 0) & (law.quantile(np.array([0.0, 1.0])) <= 1)).all()


def test_published_energies():
    assert cf.power(gamma=0.5).value == pytest.approx(0.599070117368, abs=1e-12)
    assert cf.inverse_power(gamma=0.5).value == pytest.approx(-2.622057554292, abs=1e-12)
    assert cf.arcsine().value == pytest.approx(-math.log(4), abs=1e-15)


def test_a_hinge_just_beside_an_integer_keeps_its_chain():
    for count in range(1, 200):
        law = cf.hinge(width=1 / count)
        assert len(law.atoms) == count + 1
        np.testing.assert_allclose(law.weights, 1 / (count + 1), rtol=1e-12)


def test_no_law_beats_two_points_for_a_convex_utility():
    rng = np.random.default_rng(0)
    law = cf.power(gamma=3.0)
    assert not law.certified
    for _ in range(200):
        points, weights = rng.beta(0.2, 0.2, 20), rng.dirichlet(np.full(20, 0.3))
        assert weights @ np.abs(np.subtract.outer(points, points)) ** 3 @ weights <= law.value


def test_steep_inverse_powers_are_uniform_without_certificate():
    law = cf.inverse_power(gamma=1.0)
    assert law.value == -math.inf
    assert not law.certified
    np.testing.assert_array_equal(law.quantile(np.array([0.0, 0.3, 1.0])), [0.0, 0.3, 1.0])


@pytest.mark.parametrize(
    "law",
    [
        lambda: cf.power(gamma=-1.0),
        lambda: cf.inverse_power(gamma=0.0),
        lambda: cf.exponential(scale=-1.0),
        lambda: cf.quadratic(b=1.9, c=1.0),
        lambda: cf.quadratic(b=1.0, c=-1.0),
        lambda: cf.hinge(width=0.0),
        lambda: cf.sine(a=1.6),
        lambda: cf.log_sine(a=0.0),
    ],
)
def test_there_is_no_law_where_the_formula_does_not_hold(law):
    assert law() is None


def test_repr_is_one_informative_line():
    assert repr(cf.two_point()) == "LimitLaw(value=0.5, gap=0, quartiles=[0, 0, 1], atoms={0: 0.5, 1: 0.5})"
    assert "(95 more)" in repr(cf.hinge(width=0.01))
