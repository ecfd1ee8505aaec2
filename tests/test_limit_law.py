"""The numerical solver against closed forms, scipy's quadrature, and the energies of other measures."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from collapse_jax.reward.laws.closed_forms import closed_form
from collapse_jax.reward.laws.limit_law import limit_law
from collapse_jax.reward.utilities import UTILITIES, Utility
from tests.test_closed_forms import potential

# U for JAX and the same function for NumPy.
SMOOTH = {
    "t/(t+.2)": (lambda t: t / (t + 0.2), lambda t: t / (t + 0.2)),
    "arctan": (lambda t: jnp.arctan(5 * t), lambda t: np.arctan(5 * t)),
    "tanh": (jnp.tanh, np.tanh),
    "log1p": (lambda t: jnp.log1p(1000 * t), lambda t: np.log1p(1000 * t)),
    "log(t+1e-6)": (lambda t: jnp.log(t + 1e-6), lambda t: np.log(t + 1e-6)),
    "2t-t^1.5": (lambda t: 2 * t - t**1.5, lambda t: 2 * t - t**1.5),
    "log t-t^-.5": (lambda t: jnp.log(t) - t**-0.5, lambda t: np.log(t) - t**-0.5),
    "-t^-.95": (lambda t: -(t**-0.95), lambda t: -(t**-0.95)),
}
# Beyond scipy's quadrature: kinks, and nearly all the mass next to 0.
HARD = {
    "t-t·log t": (lambda t: t - t * jnp.log(t), lambda t: t - t * np.log(np.maximum(t, 1e-300))),
    "√t+3t": (lambda t: jnp.sqrt(t) + 3 * t, lambda t: np.sqrt(t) + 3 * t),
    "two hinges": (
        lambda t: jnp.minimum(t, 0.3) + jnp.minimum(t, 0.5),
        lambda t: np.minimum(t, 0.3) + np.minimum(t, 0.5),
    ),
    "dense orbit": (
        lambda t: jnp.minimum(t, 0.3) + jnp.minimum(t, 1 / math.e) + 0.3 * t,
        lambda t: np.minimum(t, 0.3) + np.minimum(t, 1 / math.e) + 0.3 * t,
    ),
    "hinge+log1p": (
        lambda t: jnp.minimum(t, 0.3) + jnp.log1p(5 * t),
        lambda t: np.minimum(t, 0.3) + np.log1p(5 * t),
    ),
    "√min(t, .3)": (lambda t: jnp.sqrt(jnp.minimum(t, 0.3)), lambda t: np.sqrt(np.minimum(t, 0.3))),
    "hinge+√t": (lambda t: jnp.minimum(t, 0.3) + jnp.sqrt(t), lambda t: np.minimum(t, 0.3) + np.sqrt(t)),
    "hinge+log": (lambda t: jnp.minimum(t, 0.5) + jnp.log(t), lambda t: np.minimum(t, 0.5) + np.log(t)),
}
OWN = SMOOTH | HARD
TRAINED = [
    ("log", {"offset": 0.1}),
    ("log", {"min_gap": 1e-3}),
    ("inverse_power", {"offset": 0.1}),
    ("inverse_power", {"min_gap": 0.02}),
    ("log", {"min_gap": 0.6}),
    ("hinge", {"offset": 0.1}),
]
CLOSED = [name for name, record in UTILITIES.items() if closed_form(record, **record.defaults)]
GRID = np.concatenate([np.geomspace(1e-9, 0.5, 300), 1 - np.geomspace(1e-9, 0.5, 300), np.linspace(0, 1, 1001)])


@functools.cache
def own(name):
    return limit_law(Utility(name, OWN[name][0]))


@pytest.mark.parametrize("name", CLOSED)
def test_numerical_laws_agree_with_closed_forms(name):
    record = UTILITIES[name]
    # Not the defaults themselves: among them are round numbers and -1/t, which has no finite energy.
    params = {key: 0.7 * value for key, value in record.defaults.items()}
    exact, solved = closed_form(record, **params), limit_law(record, closed_form=False, **params)
    np.testing.assert_allclose(solved.value, exact.value, rtol=1e-11)
    assert 0 <= solved.gap < 1e-8
    np.testing.assert_allclose(solved.atoms, exact.atoms, atol=1e-12)
    np.testing.assert_allclose(solved.weights, exact.weights, atol=1e-10)
    # On an atom, rounding of its position decides; elsewhere the least certain is the mass that hides next to 0.
    x = GRID[np.abs(GRID[:, None] - exact.atoms).min(axis=1, initial=1) > 1e-10]
    np.testing.assert_allclose(solved.cdf(x), exact.cdf(x), atol=1e-6)
    q = np.setdiff1d(np.linspace(0.003, 0.997, 200), np.cumsum(exact.weights))
    np.testing.assert_allclose(solved.quantile(q), exact.quantile(q), atol=1e-6)
    inner = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(solved.density(inner), exact.density(inner), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("name", "gamma"), [("power", 0.2), ("power", 0.95), ("inverse_power", 0.99)])
def test_steeper_and_flatter_powers_agree_with_beta_laws(name, gamma):
    record = UTILITIES[name]
    exact, solved = closed_form(record, gamma=gamma), limit_law(record, closed_form=False, gamma=gamma)
    np.testing.assert_allclose(solved.value, exact.value, rtol=1e-11)
    # t^.95 carries 96 % of its mass below the depth where float64 can tell how it shares out.
    np.testing.assert_allclose(solved.cdf(GRID), exact.cdf(GRID), atol=3e-5)


@pytest.mark.parametrize(("scale", "atom"), [(0.05, 0.057548230051), (0.25, 0.204017158235), (1.0, 0.383393788181)])
def test_bradley_terry_atoms(scale, atom):
    np.testing.assert_allclose(limit_law(UTILITIES["log_sigmoid"], scale=scale).weights, atom, atol=2e-12)


def test_bradley_terry_atoms_at_low_temperature():
    # p = κs/(1+2es) up to O(e^(-2.39/s)).
    law = limit_law(UTILITIES["log_sigmoid"], scale=1e-3)
    np.testing.assert_allclose(law.weights, np.pi / np.sqrt(6) * 1e-3 / (1 + 2 * 1.14326043590 * 1e-3), rtol=1e-9)


# Beyond the asserted accuracy, scipy's quadrature stumbles over the joints of the piecewise density.
@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize("name", SMOOTH)
def test_potentials_of_own_utilities_are_constant(name):
    law = own(name)
    assert 0 <= law.gap < 1e-6
    heights = [potential(lambda t: float(SMOOTH[name][1](t)), law, x, 1e-8) for x in (0.003, 0.11, 0.3, 0.5, 0.77)]
    assert heights == pytest.approx([law.value] * 5, abs=1e-6 * max(1, abs(law.value)))


@pytest.mark.parametrize("name", HARD)
def test_potentials_of_hard_utilities_are_constant(name):
    law = own(name)
    assert 0 <= law.gap < 1e-6
    y = law.quantile((np.arange(20_000) + 0.5) / 20_000)
    x = np.append(np.random.default_rng(0).uniform(size=8), [0.2, 0.3])
    with np.errstate(divide="ignore"):
        heights = [HARD[name][1](np.abs(point - y)).mean() for point in x]
    # A mean over quantiles errs by the spacing times the slope, for log by spacing times its logarithm.
    np.testing.assert_allclose(heights, law.value, atol=2e-4)


@pytest.mark.parametrize("name", OWN)
def test_no_other_measure_beats_value_plus_gap(name):
    law, utility = own(name), OWN[name][1]
    rng = np.random.default_rng(0)
    node, weight = np.polynomial.legendre.leggauss(40)
    t, dt = ((1 + node) / 2) ** 24, 12 * weight * ((1 + node) / 2) ** 23
    for _ in range(40):
        # Uniform pieces side by side, so that U may be singular at gap 0: ∬ is a sum over a histogram's gaps.
        count = int(rng.integers(1, 40))
        mass = rng.dirichlet(np.full(count, rng.uniform(0.3, 5)))
        same = (2 * dt * (1 - t) * utility(t / count)).sum()
        at_gap = [same]
        for k in range(1, count):
            # A triangle of gaps around k/count; its left half touches gap 0 for neighbours.
            left, right = utility((k - 1 + t) / count), utility((k + 1 - t) / count)
            at_gap.append((dt * t * (left + right)).sum())
        energy = mass @ np.array(at_gap)[np.abs(np.subtract.outer(np.arange(count), np.arange(count)))] @ mass
        assert energy <= law.value + law.gap + 1e-9


@pytest.mark.parametrize("name", ["tanh", "t/(t+.2)", "two hinges", "hinge+√t", "√t+3t", "t-t·log t"])
def test_what_an_energy_lacks_is_a_squared_distance_to_the_law(name):
    law, utility = own(name), OWN[name][1]
    y = law.quantile((np.arange(20_000) + 0.5) / 20_000)
    rng = np.random.default_rng(0)
    for n in (1, 3, 30):
        rewards = rng.beta(0.5, 0.5, n)
        within = utility(np.abs(np.subtract.outer(rewards, rewards))).mean()
        across = np.mean([utility(np.abs(r - y)).mean() for r in rewards])
        mmd = 2 * across - within - law.value
        assert law.value - within == pytest.approx(mmd, abs=2e-4)
        assert mmd > 0


@pytest.mark.parametrize("name", ["log", "sine", "hinge"])
def test_the_gap_covers_what_a_bad_solution_lacks(name, monkeypatch):
    lstsq = scipy.linalg.lstsq

    def centred(matrix, target, **options):
        solution = lstsq(matrix, target, **options)[0]
        solution[: max(len(solution) // 2, len(solution) - 10)] = 0
        return (solution,)

    monkeypatch.setattr(scipy.linalg, "lstsq", centred)
    record = UTILITIES[name]
    law, best = limit_law(record, closed_form=False), closed_form(record, **record.defaults).value
    assert 1e-4 < best - law.value <= law.gap


@pytest.mark.parametrize(("name", "params"), TRAINED)
def test_laws_of_trained_utilities_are_certified(name, params):
    law = limit_law(UTILITIES[name], **params)
    assert law.certified
    assert law.gap < 1e-8
    assert law.weights.sum() <= 1


@pytest.mark.parametrize("name", OWN)
def test_cdf_and_quantile_are_inverse_and_symmetric(name):
    law = own(name)
    q = np.random.default_rng(0).uniform(size=300)
    x = law.quantile(q)
    assert (law.cdf(x * (1 + 1e-12) + 1e-300) >= q - 1e-9).all()
    assert (law.cdf(x * (1 - 1e-9) - 1e-12) <= q + 1e-5).all()
    grid = np.setdiff1d(np.linspace(0.001, 0.999, 300), np.concatenate([law.atoms, 1 - law.atoms]))
    np.testing.assert_allclose(law.cdf(grid) + law.cdf(1 - grid), 1, atol=1e-9)
    assert (np.diff(law.cdf(np.sort(GRID))) >= 0).all()
    assert law.cdf(np.array([-0.1, 1.0, 1.1])).tolist() == [0, 1, 1]
    np.testing.assert_allclose(law.cdf(law.atoms) - law.cdf(law.atoms - 1e-13), law.weights, atol=1e-8)
    assert (law.density(GRID) >= 0).all()
    assert law.density(np.array([-0.1, 1.1])).tolist() == [0, 0]


def test_convex_utilities_lead_to_two_points():
    law = limit_law(Utility("exp", jnp.exp))
    assert (law.atoms.tolist(), law.weights.tolist()) == ([0, 1], [0.5, 0.5])
    assert law.value == pytest.approx((1 + math.e) / 2)
    assert not law.certified


@pytest.mark.parametrize(
    "fn",
    [
        lambda t: -1 / t,
        lambda t: -0.01 / t + jnp.log(t),
        lambda t: -0.1 * t**-1.5 - 3 / t,
        lambda t: 5 * t - t**-6.0,
    ],
)
def test_divergent_utilities_lead_to_the_uniform_law(fn):
    law = limit_law(Utility("steep", fn))
    assert law.value == -math.inf
    assert not law.certified
    np.testing.assert_array_equal(law.cdf(np.array([0.0, 0.3, 1.0])), [0.0, 0.3, 1.0])


def test_the_law_does_not_depend_on_an_affine_change_of_u():
    plain = own("tanh")
    scaled = limit_law(Utility("scaled", lambda t: 7 * jnp.tanh(t) - 100))
    np.testing.assert_allclose(scaled.weights, plain.weights, atol=1e-11)
    assert scaled.value == pytest.approx(7 * plain.value - 100, abs=1e-11)


def test_closed_forms_are_not_used_for_extended_utilities():
    record = UTILITIES["log"]
    assert limit_law(record).gap == 0
    assert limit_law(record, offset=1e-3).atoms.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("utility", "params", "message"),
    [
        (UTILITIES["log"], {"gamma": 1.0}, "no parameter 'gamma'"),
        (UTILITIES["log"], {"min_gap": -1.0}, "must lie in"),
        (UTILITIES["power"], {"gamma": math.nan}, "finite number"),
        (UTILITIES["sine"], {"a": 2.0}, "not increasing"),
        (Utility("wavy", lambda t: t + 0.1 * jnp.sin(9 * t)), {}, "neither concave nor convex"),
        (Utility("step", lambda t: jax.nn.sigmoid(50 * (t - 0.5))), {}, "neither concave nor convex"),
    ],
)
def test_utilities_without_a_law_are_refused(utility, params, message):
    with pytest.raises(ValueError, match=message):
        limit_law(utility, **params)
