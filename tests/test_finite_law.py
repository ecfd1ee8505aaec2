"""The finite law against orthogonal polynomials, linear programs, general optimisers and first-order conditions."""

import time
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import LinearConstraint, linprog, minimize

from collapse_jax.reward.laws.finite_law import FiniteLaw, _symmetric, certified_gap, finite_law, objective
from collapse_jax.reward.laws.limit_law import limit_law
from collapse_jax.reward.laws.ranking_program import RankingProgram, as_trained
from collapse_jax.reward.utilities import UTILITIES, Utility

OWN = [
    Utility("arctan", lambda t: jnp.arctan(5 * t)),
    Utility("two_hinges", lambda t: jnp.minimum(t, 0.3) + jnp.minimum(t, 0.5)),
    Utility("kinked_root", lambda t: jnp.minimum(t, 0.3) + jnp.sqrt(t)),
    Utility("kinked_exponential", lambda t: jnp.minimum(t, 0.3) - jnp.exp(-3 * t)),
    Utility("pieces", lambda t: jnp.minimum(jnp.minimum(3 * t, t + 0.25), 0.5 * t + 0.6)),
    Utility("negative_entropy", lambda t: t * (1 - jnp.log(t))),
]
TABLE = [(record, {}) for record in [*UTILITIES.values(), *OWN]]
HARD = [
    *((UTILITIES["power"], {"gamma": gamma}) for gamma in (0.2, 0.9)),
    (UTILITIES["inverse_power"], {"gamma": 3.0}),
    (UTILITIES["log"], {"offset": 1e-6}),
    (UTILITIES["log"], {"min_gap": 0.1}),
    (UTILITIES["log_sigmoid"], {"scale": 0.001}),
    (UTILITIES["hinge"], {"width": 0.3}),
    (UTILITIES["quadratic"], {"b": 4.0}),
]


def chosen(case):
    return as_trained(*case).choice


def label(case):
    return ",".join([case[0].name, *(f"{name}={value:g}" for name, value in case[1].items())])


table = pytest.mark.parametrize("case", TABLE, ids=label)
hard = pytest.mark.parametrize("case", TABLE + HARD, ids=label)


def pairs_of(n, pairs):
    better_than = {"all": lambda i, j: True, "chain": lambda i, j: j == i + 1, "star": lambda i, j: j == n - 1}[pairs]
    return [(i, j) for i, j in combinations(range(n), 2) if better_than(i, j)]


# The oracles below are written as the theory is, worst item first and in sums over pairs: converted here alone.
def number_of_pairs(n, pairs="all", **others):
    return n * (n - 1) // 2 if pairs == "all" else n - 1


def law_of(utility, n, **options):
    law, number = finite_law(utility, n, **options), number_of_pairs(n, **options)
    return FiniteLaw(law.rewards[::-1], number * law.value, number * law.gap)


def sum_of(utility, rewards, **options):
    return number_of_pairs(len(rewards), **options) * objective(utility, rewards[::-1], **options)


def bound_of(utility, rewards, **options):
    return number_of_pairs(len(rewards), **options) * certified_gap(utility, rewards[::-1], **options)


COMPILED = {}


def compiled(case):
    return COMPILED.setdefault(label(case), jax.jit(chosen(case).fn))


def total(case, rewards, pairs="all", centring=0.0):
    """S by its definition, from the utility's own function and a tangent by difference."""
    choice = chosen(case)
    worse, better = np.array(pairs_of(len(rewards), pairs)).T
    edge = choice.params["min_gap"]

    def value(gap):
        with jax.enable_x64(True), np.errstate(all="ignore"):
            out = np.asarray(compiled(case)(gap + choice.params["offset"]))
        return np.where((gap == 0) & np.isnan(out), choice.shape.value_at_zero, out)

    gap = rewards[better] - rewards[worse]
    values = value(gap)
    if edge:
        above, below = value(np.full_like(gap, edge * (1 + 1e-5))), value(np.full_like(gap, edge * (1 - 1e-5)))
        tangent = (above - below) / (2e-5 * edge)
        values = np.where(gap < edge, value(np.full_like(gap, edge)) + tangent * (gap - edge), values)
    return values.sum() - centring * ((rewards[worse] + rewards[better] - 1) ** 2).sum()


def gauss_lobatto(n):
    inner = np.polynomial.legendre.Legendre.basis(n - 1).deriv().roots().real
    return np.concatenate([[0.0], (1 + np.sort(inner)) / 2, [1.0]])


@pytest.mark.parametrize("n", [2, 5, 8, 33, 128])
def test_log_reaches_gauss_lobatto_points(n):
    law = law_of(UTILITIES["log"], n)
    np.testing.assert_allclose(law.rewards, gauss_lobatto(n), atol=1e-10)  # companion matrix: 1e-12


def test_an_extension_below_every_gap_changes_nothing():
    np.testing.assert_allclose(law_of(UTILITIES["log"], 33, min_gap=1e-6).rewards, gauss_lobatto(33), atol=1e-10)


def test_log_values():
    assert law_of(UTILITIES["log"], 4).value == pytest.approx(-4.0235947811, abs=1e-10)
    assert law_of(UTILITIES["log"], 8).value == pytest.approx(-27.4849184758, abs=1e-10)


@pytest.mark.parametrize(
    ("name", "params", "lower"),
    [
        ("log", {}, [0, 0.0641299257, 0.2041499093, 0.3953503910]),
        ("inverse_power", {}, [0, 0.1207593531, 0.2665607847, 0.4213493496]),
        ("power", {}, [0, 0.0111456555, 0.0975172373, 0.3353222190]),
        ("log", {"offset": 0.1}, [0, 0, 0.1463041659, 0.3727882957]),
        ("inverse_power", {"offset": 0.1}, [0, 0.0891330488, 0.2412596495, 0.4120283690]),
        ("log_sigmoid", {}, [0, 0, 0.1951672194, 0.4000414903]),
    ],
)
def test_eight_items(name, params, lower):
    rewards = law_of(UTILITIES[name], 8, **params).rewards
    np.testing.assert_allclose(rewards[:4], lower, atol=6e-11)
    assert (rewards[:4] == 0).sum() == lower.count(0)
    assert (rewards[4:] == 1).sum() == lower.count(0)


@pytest.mark.parametrize("n", [5, 8, 64])
@pytest.mark.parametrize(("b", "c"), [(2.0, 1.0), (4.0, 1.0)])
def test_quadratic_clips(n, b, c):
    expected = np.clip(0.5 + b * (2 * np.arange(1, n + 1) - n - 1) / (2 * c * n), 0, 1)
    rewards = law_of(UTILITIES["quadratic"], n, b=b, c=c).rewards
    # Where a clip is just reached, the slack and its multiplier vanish together and only their product is resolved.
    np.testing.assert_allclose(rewards, expected, atol=1e-9)


@table
def test_three_items(case):
    shape = chosen(case).shape
    law = law_of(case[0], 3)
    assert law.rewards[1] == 0.5 or not shape.concave
    assert law.rewards[[0, 2]].tolist() == [0.0, 1.0]
    assert law_of(case[0], 2).rewards.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("n", [4, 7, 8, 33])
def test_linear(n):
    middle = [0.5] * (n % 2)
    law = law_of(UTILITIES["linear"], n)
    assert law.rewards.tolist() == [0.0] * (n // 2) + middle + [1.0] * (n // 2)
    assert law.gap == 0


@table
def test_chain_is_equispaced_and_star_a_single_one(case):
    chain = law_of(case[0], 9, pairs="chain")
    np.testing.assert_allclose(chain.rewards, np.linspace(0, 1, 9), atol=1e-12)
    star = law_of(case[0], 9, pairs="star", centring=0.3)
    assert star.rewards.tolist() == [0.0] * 8 + [1.0]
    for law, pairs in ((chain, "chain"), (star, "star")):
        assert sum_of(case[0], law.rewards, pairs=pairs) == pytest.approx(total(case, law.rewards, pairs), abs=1e-12)


@pytest.mark.parametrize(
    ("case", "pairs", "centring"),
    [(case, "all", 0.0) for case in TABLE] + [(case, "chain", 0.4) for case in TABLE[::5]],
    ids=lambda value: label(value) if isinstance(value, tuple) else str(value),
)
def test_no_general_optimiser_does_better(case, pairs, centring):
    n = 4
    law = law_of(case[0], n, pairs=pairs, centring=centring, **case[1])
    size = 1 + abs(law.value)
    assert law.value == pytest.approx(total(case, law.rewards, pairs, centring), abs=1e-9 * size)
    # SLSQP in slacks: all pairs' gaps stay positive, and it starts between the optimum and a random vector.
    slacks = 0.7 * np.diff(law.rewards, prepend=0, append=1)
    slacks += 0.3 * np.random.default_rng(3).dirichlet(np.ones(n + 1))

    def loss(d):
        return -total(case, np.maximum(d, 1e-12).cumsum()[:-1], pairs, centring) / size

    simplex = LinearConstraint(np.ones((1, n + 1)), 1.0, 1.0)
    with np.errstate(all="ignore"):
        best = minimize(loss, slacks, method="SLSQP", bounds=[(0, 1)] * (n + 1), constraints=simplex, tol=1e-10)
    assert -best.fun * size <= law.value + 1e-8 * size
    # Loose: SLSQP sees neither kinks nor infinite slopes, and takes its gradient by differences.
    assert -best.fun * size >= law.value - 3e-2 * size


@hard
def test_no_direction_improves(case):
    """A concave S is at its maximum iff it falls towards every other vector; vertices suffice where S is smooth."""
    n, pairs, centring, rng = 8, "all", 0.4, np.random.default_rng(0)
    law = law_of(case[0], n, pairs=pairs, centring=centring, **case[1])
    others = [np.repeat([0.0, 1.0], [n - k, k]) for k in range(n + 1)] + list(np.sort(rng.random((12, n)), 1))
    here = total(case, law.rewards, pairs, centring)
    assert here == pytest.approx(law.value, rel=1e-10, abs=1e-12)
    for other in others:
        for length in (1.0, 0.1, 1e-3, 1e-5):
            there = total(case, law.rewards + length * (other - law.rewards), pairs, centring)
            assert there <= here + 1e-12 * (1 + abs(here))


@hard
def test_gap_is_rounding_and_rewards_are_symmetric(case):
    n = 40
    law = law_of(case[0], n, **case[1])
    assert 0 <= law.gap < 1e-12 * (abs(law.value) + 1)
    np.testing.assert_allclose(law.rewards + law.rewards[::-1], 1.0, rtol=0, atol=1e-15)
    assert (np.diff(law.rewards) >= 0).all()
    assert law.rewards[[0, -1]].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("n", [6, 7])
def test_slacks_whose_sum_rounds_up_leave_the_middle_items_in_order(n):
    halves = np.random.default_rng(0).random((200, n // 2))
    halves /= 2 * halves.sum(axis=1, keepdims=True)
    assert (halves.cumsum(axis=1)[:, -1] > 0.5).any()
    for half in halves:
        assert (np.diff(_symmetric(np.concatenate([half, np.zeros(1 + n % 2), half[::-1]]))) <= 0).all()


@pytest.mark.parametrize(
    ("case", "pairs", "centring"),
    [(case, "all", 0.0) for case in TABLE + HARD]
    + [(case, *rest) for case in TABLE[::5] for rest in (("all", 0.4), ("chain", 0.4), ("star", 0.4))],
    ids=lambda value: label(value) if isinstance(value, tuple) else str(value),
)
def test_certificate_holds_for_any_vector(case, pairs, centring):
    n, rng = 6, np.random.default_rng(1)
    best = law_of(case[0], n, pairs=pairs, centring=centring, **case[1])
    ordered = np.sort(rng.random(n))
    tied = np.array([0.0, 0.0, 0.2, 0.2, 0.7, 1.0])
    for rewards in (tied, 0.9 * best.rewards + 0.1 * ordered, rng.random(n)):
        gap = bound_of(case[0], rewards, pairs=pairs, centring=centring, **case[1])
        value = sum_of(case[0], rewards, pairs=pairs, centring=centring, **case[1])
        assert gap >= 0
        assert best.value - value <= gap + 1e-12 * (1 + abs(best.value))
    # Slopes of 1e7 at gaps of 1e-9, which float64 rewards near 1 hold to 7 digits: power(.9).
    at_best = bound_of(case[0], best.rewards, pairs=pairs, centring=centring, **case[1])
    assert at_best <= 1e-9 * (1 + abs(best.value)) + (1e-6 if np.isinf(chosen(case).shape.slope_at_zero) else 0)


@pytest.mark.parametrize("name", ["log_sigmoid", "exponential", "quadratic"])
@pytest.mark.parametrize("centring", [0.0, 0.4])
def test_certificate_is_the_steepest_way_to_a_vertex(name, centring):
    case, rewards, length = (UTILITIES[name], {}), np.array([0.0, 0.0, 0.2, 0.2, 0.7, 1.0]), 1e-7
    here = total(case, rewards, centring=centring)
    vertices = [np.repeat([0.0, 1.0], [6 - k, k]) for k in range(7)]
    towards = [total(case, rewards + length * (vertex - rewards), centring=centring) for vertex in vertices]
    slope = (max(towards) - here) / length
    assert bound_of(case[0], rewards, centring=centring) == pytest.approx(slope, rel=1e-5)


def test_shares_of_a_kink_cost_the_bound_what_they_should():
    # 0, .5, 1 is optimal with half of the drop in either short pair; there all ways are level, and 1.5 - 1.3 is lost.
    program = RankingProgram(as_trained(UTILITIES["hinge"], {}), 3, "all", 0.0)
    bound = program.gap_bound(np.array([0.0, 0.3, 0.7, 0.0]), np.array([[0.5, 1.0, 0.5]]))
    assert bound == pytest.approx(0.2, abs=1e-12)


def test_certificate_of_a_bounded_slope_grows_with_disorder():
    rewards = np.array([0.9, 0.1, 0.4])
    wrong = bound_of(UTILITIES["log_sigmoid"], rewards)
    assert wrong > bound_of(UTILITIES["log_sigmoid"], np.sort(rewards)) > 0
    assert bound_of(UTILITIES["log"], rewards) == np.inf


def nystrom(curvature, slope, n=200):
    """The law of a smooth bounded-slope utility: 2U'(0)ρ(x) = -∫U''ρ - p(U''(x) + U''(1-x)), mass one."""
    x, w = np.polynomial.legendre.leggauss(n)
    x, w = (x + 1) / 2, w / 2
    # |x - y| has a kink of U'' at most where U'''(0) ≠ 0: enough nodes for 1e-6.
    density = np.linalg.solve(
        2 * slope * np.eye(n) + curvature(np.abs(x[:, None] - x)) * w, -(curvature(x) + curvature(1 - x))
    )
    p = 1 / (2 + w @ density)
    return p, x, w * p * density


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_exponential_value_nears_its_limit_like_one_sixth_of_the_slope(scale):
    # (δ0 + δ1 + dx/s) / (2 + 1/s), potential constant: I* = V(0), with U(0) moved to 0.
    value = 1 - (1 + np.exp(-1 / scale) + 1 - np.exp(-1 / scale)) / (2 + 1 / scale)
    n = 128
    law = law_of(UTILITIES["exponential"], n, scale=scale)
    mean = 2 * (law.value + n * (n - 1) / 2) / n**2
    assert n**2 * (value - mean) == pytest.approx(1 / scale / 6, rel=2e-2)


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_log_sigmoid_value_and_atoms_near_their_limits(scale):
    def sigma(t):
        return 1 / (1 + np.exp(-t / scale))

    def curvature(t):
        return -sigma(t) * (1 - sigma(t)) / scale**2

    p, x, weight = nystrom(curvature, 0.5 / scale)
    assert p == pytest.approx({0.25: 0.204017158235, 1.0: 0.383393788181}[scale], abs=1e-6)
    value = p * np.log(2 * sigma(1.0)) + weight @ np.log(2 * sigma(x))
    n = 128
    law = law_of(UTILITIES["log_sigmoid"], n, scale=scale)
    mean = 2 * (law.value + n * (n - 1) / 2 * np.log(2)) / n**2
    assert n**2 * (value - mean) == pytest.approx(0.5 / scale / 6, rel=5e-2)
    zeros, ones = (law.rewards == 0).sum(), (law.rewards == 1).sum()
    assert zeros == ones
    assert abs(zeros / n - p) < 1 / n


@pytest.mark.parametrize("n", [5, 8])
def test_hinge_is_a_linear_program(n):
    pairs = pairs_of(n, "all")
    # Variables: rewards, then a value for each pair, at most its gap and at most the width.
    rows = np.zeros((len(pairs), n + len(pairs)))
    for row, (i, j) in enumerate(pairs):
        rows[row, [i, j, n + row]] = 1, -1, 1
    bounds = [(0, 1)] * n + [(None, 0.5)] * len(pairs)
    cost = np.concatenate([np.zeros(n), -np.ones(len(pairs))])
    best = linprog(cost, A_ub=rows, b_ub=np.zeros(len(pairs)), bounds=bounds)
    assert law_of(UTILITIES["hinge"], n).value == pytest.approx(-best.fun, abs=1e-12 * len(pairs))


@pytest.mark.parametrize("pairs", ["all", "chain"])
def test_convex_is_two_points(pairs):
    law = law_of(UTILITIES["power"], 5, pairs=pairs, gamma=2.0)
    assert law.rewards.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert np.isnan(law.gap)
    grid = np.linspace(0, 1, 9)
    brute = max(total((UTILITIES["power"], {"gamma": 2.0}), grid[list(r)], pairs) for r in combinations_up(9, 5))
    assert law.value == pytest.approx(brute, abs=1e-12)
    with pytest.raises(ValueError, match="convex and centring is 5"):
        law_of(UTILITIES["power"], 5, pairs=pairs, gamma=2.0, centring=5.0)


def combinations_up(points, n):
    """Nondecreasing tuples of n indices."""
    return (tuple(c - i for i, c in enumerate(chosen)) for chosen in combinations(range(points + n - 1), n))


@pytest.mark.parametrize("n", [8, 128])
def test_a_very_steep_utility_is_nearly_equispaced(n):
    rewards = law_of(UTILITIES["log_sigmoid"], n, scale=0.001).rewards
    # Only neighbours weigh at n = 8; at 128 a pair at distance two still has e^-7.8 of their weight.
    np.testing.assert_allclose(rewards, np.linspace(0, 1, n), atol=1e-13 if n == 8 else 1e-4)


@pytest.mark.parametrize(("name", "params"), [("log_sigmoid", {}), ("power", {"gamma": 0.9})])
def test_many_items_take_seconds(name, params):
    # CPU time, lest a busy machine fail it: 1.5 s, and up to five times that where BLAS threads wait for a core.
    start = time.process_time()
    law = law_of(UTILITIES[name], 512, **params)
    assert time.process_time() - start < 15
    assert law.gap < 1e-12 * abs(law.value)


@table
def test_rewards_of_a_law_are_best_first_and_certify_themselves(case):
    law = finite_law(case[0], 7)
    assert (np.diff(law.rewards) <= 0).all()
    assert law.rewards[[0, -1]].tolist() == [1.0, 0.0]
    assert objective(case[0], law.rewards) == pytest.approx(law.value, rel=1e-12)
    assert objective(case[0], law.rewards[::-1]) < law.value - 0.05
    if chosen(case).shape.concave:
        assert certified_gap(case[0], law.rewards) <= 1e-6 * (1 + abs(law.value))
        assert certified_gap(case[0], law.rewards[::-1]) > 0.05


@pytest.mark.parametrize(("pairs", "value"), [("all", (2 * 0.5 + 1) / 3), ("chain", 0.5), ("star", 1.0)])
def test_objectives_are_means_over_pairs(pairs, value):
    law = finite_law(UTILITIES["linear"], 3, pairs=pairs)
    assert law.value == pytest.approx(value, abs=1e-15)
    assert objective(UTILITIES["linear"], law.rewards, pairs=pairs) == pytest.approx(value, abs=1e-15)
    # Nothing is gained by a pair of equal rewards, wherever they are.
    short = certified_gap(UTILITIES["linear"], np.full(3, 0.3), pairs=pairs)
    assert short == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize("name", ["linear", "exponential", "log_sigmoid", "sine", "hinge"])
def test_means_over_pairs_near_the_energy_of_the_limit_law(name):
    n, zero = 64, chosen((UTILITIES[name], {})).shape.value_at_zero
    # An energy counts each item beside itself, at gap 0; a law's atoms can't do better than the limit of all laws.
    energy = (1 - 1 / n) * finite_law(UTILITIES[name], n).value + zero / n
    limit = limit_law(UTILITIES[name]).value
    assert limit - 2 / n**2 < energy <= limit + 1e-9


def test_repr_is_compact():
    law = finite_law(UTILITIES["linear"], 100)
    assert isinstance(law, FiniteLaw)
    assert repr(law) == "FiniteLaw(rewards=[1., 1., 1., ..., 0., 0., 0.], value=0.5050505051, gap=0)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_items": 1}, "n_items is 1; it must be an integer >= 2"),
        ({"n_items": 0}, "n_items is 0"),
        ({"n_items": True}, "n_items is True"),
        ({"centring": -0.1}, "centring is -0.1"),
        ({"centring": float("nan")}, "centring is nan"),
        ({"centring": 1e30}, r"centring is 1e\+30; it must be a number from 0 to 1e\+12"),
        ({"temperature": 2.0}, "no parameter 'temperature'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        finite_law(UTILITIES["log"], **{"n_items": 4, **arguments})


def test_unknown_pairs():
    # Past the type checker, which would refuse the literal first.
    with pytest.raises(ValueError, match="unknown pairs 'ring'; allowed: all, chain, star"):
        RankingProgram(as_trained(UTILITIES["log"], {}), 4, "ring", 0.0)


def test_errors_of_rewards():
    outside = r"rewards reach from .*, and laws hold for rewards in \[0, 1\]"
    for wrong, message in (([0.1, 1.2], outside), ([-0.1, 1.0], outside), ([np.nan, 1.0], "rewards .* not all finite")):
        with pytest.raises(ValueError, match=message):
            certified_gap(UTILITIES["log"], np.array(wrong))
    with pytest.raises(ValueError, match="n_items is 1"):
        objective(UTILITIES["log"], np.array([0.5]))
