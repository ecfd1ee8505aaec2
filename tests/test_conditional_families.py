"""N-gram models and regressions: models of what follows, against counting, scipy and the laws of their recursions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import collapse_jax as cj
from collapse_jax.generative.families.ngram import NGram

RNG = np.random.default_rng(0)


def some_ngram(vocabulary, order):
    contexts = vocabulary ** (order - 1)
    return NGram(
        jnp.array(RNG.dirichlet(np.ones(contexts))), jnp.array(RNG.dirichlet(np.ones(vocabulary), size=contexts))
    )


def probability(params, sequence, order, vocabulary):
    """Return the probability of a sequence of tokens, token by token."""

    def number(tokens):
        return sum(token * vocabulary**place for place, token in enumerate(reversed(tokens)))

    p = params.first[number(sequence[: order - 1])]
    for i in range(order - 1, len(sequence)):
        p = p * params.following[number(sequence[i - order + 1 : i]), sequence[i]]
    return float(p)


@pytest.mark.parametrize(("vocabulary", "order", "length"), [(3, 1, 4), (3, 2, 4), (2, 3, 5)])
def test_probabilities_and_moments_are_those_of_all_sequences(vocabulary, order, length):
    every = np.array(list(itertools.product(range(vocabulary), repeat=length)))
    with jax.enable_x64(True):
        params = some_ngram(vocabulary, order)
        family = cj.families.ngram(vocabulary, order, length=length)
        got = np.exp(family.log_prob(params, jnp.array(every)))
        moments = family.moments(params)
        plain = jax.tree.map(np.asarray, params)
    want = [probability(plain, tuple(one), order, vocabulary) for one in every]
    np.testing.assert_allclose(got, want, rtol=1e-10)
    assert got.sum() == pytest.approx(1.0, abs=1e-12)
    mean = np.einsum("s,slv->v", got, np.eye(vocabulary)[every]) / length
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-10)
    assert float(moments.variance) == pytest.approx(1 - mean @ mean, rel=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_fits_are_relative_frequencies(order):
    vocabulary, x, weights = 4, RNG.integers(0, 4, size=(6, 5)), RNG.uniform(size=6)
    x[x == 3] = 0
    x[0, -1] = 3  # only ever last: a context that was never seen
    counts, first = np.zeros((4,) * order), np.zeros((4,) * (order - 1))
    for sequence, weight in zip(x, weights, strict=True):
        first[tuple(sequence[: order - 1])] += weight
        for i in range(5 - order + 1):
            counts[tuple(sequence[i : i + order])] += weight
    table = counts.reshape(-1, vocabulary)
    total = table.sum(axis=1, keepdims=True)
    want = np.where(total > 0, table / np.where(total > 0, total, 1), table.sum(axis=0) / table.sum())
    with jax.enable_x64(True):
        family = cj.families.ngram(vocabulary, order, length=5)
        got = family.fit(jax.random.key(0), family.truth, jnp.array(x), jnp.array(weights))
    np.testing.assert_allclose(got.following, want, rtol=1e-12)
    np.testing.assert_allclose(got.first, first.ravel() / weights.sum(), rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_sequences_come_with_their_probabilities(order):
    n, family = 20_000, cj.families.ngram(2, order, length=4)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), some_ngram(2, order))
    x = np.asarray(family.sample(jax.random.key(0), params, n))
    every = np.array(list(itertools.product(range(2), repeat=4)))
    counts = [(x == one).all(axis=1).sum() for one in every]
    want = np.exp(np.asarray(family.log_prob(params, jnp.array(every)), np.float64))
    assert scipy.stats.chisquare(counts, n * want / want.sum()).pvalue > 1e-4


def test_answers_keep_the_prompt_and_go_on_from_it():
    # After 0 only 1, after 1 only 2, after 2 only 0: the answer is known.
    cycle = NGram(jnp.full(3, 1 / 3), jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    given = jnp.array([[2, 2, 1, 1], [0, 0, 0, 0]])
    for prompt, want in (
        (None, [[2, 0, 1, 2], [0, 1, 2, 0]]),
        (3, [[2, 2, 1, 2], [0, 0, 0, 1]]),
        (4, given),
    ):
        family = cj.families.ngram(3, length=4, prompt=prompt)
        np.testing.assert_array_equal(family.respond(jax.random.key(0), cycle, given), want)
    trigram = cj.families.ngram(2, 3, length=4)
    # The next token is the first of the two before it: the order of the digits of a context.
    older = NGram(jnp.full(4, 0.25), jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    answer = trigram.respond(jax.random.key(0), older, jnp.array([[0, 1, 1, 1], [1, 0, 0, 1]]))
    np.testing.assert_array_equal(answer, [[0, 1, 0, 1], [1, 0, 1, 0]])


def test_decodings_act_on_every_row():
    params = NGram(jnp.array([0.5, 0.5]), jnp.array([[0.8, 0.2], [0.25, 0.75]]))
    decodings = cj.families.ngram(2).decodings
    cold = decodings["temperature"].apply(params, 0.5)
    np.testing.assert_allclose(cold.following, [[16 / 17, 1 / 17], [0.1, 0.9]], rtol=1e-5)
    np.testing.assert_array_equal(cold.first, params.first)
    np.testing.assert_allclose(decodings["top_k"].apply(params, 1.0).following, np.eye(2), atol=1e-6)


def test_the_truth_of_an_ngram_is_stationary():
    truth = cj.families.ngram(5, 2).truth
    np.testing.assert_allclose(truth.first @ truth.following, truth.first, atol=1e-6)
    np.testing.assert_allclose(truth.following.sum(axis=1), 1.0, atol=1e-6)


def draw_regression(n, d):
    x = RNG.normal(size=(n, d))
    return x, x @ np.ones(d) + RNG.normal(size=n), RNG.uniform(size=n)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_least_squares_are_numpys(ridge):
    x, y, weights = draw_regression(30, 4)
    a = weights / weights.sum()
    # A ridge is one more example for each coefficient.
    design = np.concatenate([np.sqrt(a)[:, None] * x, np.sqrt(ridge) * np.eye(4)])
    want = np.linalg.lstsq(design, np.concatenate([np.sqrt(a) * y, np.zeros(4)]))[0]
    with jax.enable_x64(True):
        family = cj.families.regression(4, ridge=ridge)
        got = family.fit(jax.random.key(0), family.truth, {"x": jnp.array(x), "y": jnp.array(y)}, jnp.array(weights))
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_with_too_few_examples_the_coefficients_are_the_shortest():
    x, y, _ = draw_regression(3, 8)
    examples = {"x": jnp.array(x, jnp.float32), "y": jnp.array(y, jnp.float32)}
    family = cj.families.regression(8)
    got = family.fit(jax.random.key(0), family.truth, examples, jnp.ones(3))
    np.testing.assert_allclose(got, np.linalg.lstsq(x, y)[0], rtol=1e-3, atol=1e-4)


def test_answers_scatter_around_the_line_by_the_noise():
    family, n = cj.families.regression(3, noise=0.5), 20_000
    w = jnp.array([1.0, -2.0, 0.5])
    drawn = family.sample(jax.random.key(0), w, n)
    again = family.respond(jax.random.key(1), w, drawn)
    np.testing.assert_array_equal(again["x"], drawn["x"])
    for examples in (drawn, again):
        x, y = (np.asarray(examples[name], np.float64) for name in "xy")
        noise = y - x @ np.asarray(w, np.float64)
        assert abs(noise.mean()) < 4 * 0.5 / np.sqrt(n)
        assert abs(noise.std() / 0.5 - 1) < 4 / np.sqrt(2 * n)
        assert (np.abs(x.T @ noise / n) < 4 * 0.5 / np.sqrt(n)).all()
        assert (np.abs(x.T @ x / n - np.eye(3)) < 4 * np.sqrt(2 / n)).all()
        want = scipy.stats.norm(0, 0.5).logpdf(noise)
        np.testing.assert_allclose(family.log_prob(w, examples), want, rtol=1e-3, atol=1e-4)
    assert abs(np.corrcoef(drawn["y"] - drawn["x"] @ w, again["y"] - again["x"] @ w)[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.parametrize("respond", [True, False])
def test_errors_of_regression_follow_their_laws(respond):
    """σ²d/(T-d-1) times t when replacing; on the same inputs times Σ 1/i² when accumulating, and less on new ones."""
    d, size, noise, generations, seeds = 6, 14, 0.7, 4, 6000
    plan = cj.make_plan([cj.REGIMES["replace"], cj.REGIMES["accumulate"]], generations, size)
    family = cj.families.regression(d, noise=noise)
    process = cj.make_recursion(family, plan, respond=respond)
    result = cj.sweep(process, {**plan.axes, "seed": range(seeds)}, progress=False, vmap_members=500)
    error = ((result["mean"] - np.asarray(family.truth)) ** 2).sum("dim").isel(samples=0, ratio=0)
    error = error.to_numpy().astype(float)
    t, one = np.arange(1, generations + 1), noise**2 * d / (size - d - 1)
    laws = (one * t, one * np.cumsum(1 / t**2))
    z = [(got.mean(axis=0) - want) / (got.std(axis=0) / np.sqrt(seeds)) for got, want in zip(error, laws, strict=True)]
    assert np.abs(z[0]).max() < 4
    if respond:
        assert np.abs(z[1]).max() < 4
    else:
        assert (z[1][2:] < -4).all()


def test_logistic_coefficients_are_scipys():
    x, _, weights = draw_regression(60, 3)
    y = (RNG.uniform(size=60) < 1 / (1 + np.exp(-x @ [1.0, -1.0, 2.0]))).astype(int)
    ridge = 0.01

    def loss(w):
        return np.average(np.logaddexp(0, -(2 * y - 1) * (x @ w)), weights=weights) + ridge / 2 * w @ w

    want = scipy.optimize.minimize(loss, np.zeros(3), tol=1e-10).x
    with jax.enable_x64(True):
        family = cj.families.logistic(3, ridge=ridge)
        got = family.fit(jax.random.key(0), jnp.zeros(3), {"x": jnp.array(x), "y": jnp.array(y)}, jnp.array(weights))
    np.testing.assert_allclose(got, want, atol=1e-5)  # BFGS with numerical slopes


def test_separable_examples_have_finite_logistic_coefficients():
    x = jnp.array([[-2.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    family, weights = cj.families.logistic(2), jnp.ones(4)
    w = family.fit(jax.random.key(0), jnp.zeros(2), {"x": x, "y": jnp.array([0, 0, 1, 1])}, weights)
    assert np.isfinite(w).all()
    assert float(w[0]) > 3
    assert float(w[1]) == pytest.approx(0.0, abs=1e-5)


def test_logistic_answers_have_their_probabilities_and_variance():
    family, n, w = cj.families.logistic(2), 20_000, jnp.array([2.0, -1.0])
    drawn = family.sample(jax.random.key(0), w, n)
    again = family.respond(jax.random.key(1), w, drawn)
    np.testing.assert_array_equal(again["x"], drawn["x"])
    for examples in (drawn, again):
        x, y = (np.asarray(examples[name], np.float64) for name in "xy")
        p = 1 / (1 + np.exp(-x @ np.asarray(w, np.float64)))
        for weight in (1.0, x[:, 0], x[:, 1]):
            residual = weight * (y - p)
            assert abs(residual.mean()) < 4 * residual.std() / np.sqrt(n)
        want = scipy.stats.bernoulli(p).logpmf(y.astype(int))
        np.testing.assert_allclose(family.log_prob(w, examples), want, rtol=1e-3, atol=1e-4)
        variance = p * (1 - p)
        assert abs(variance.mean() - float(family.moments(w).variance)) < 4 * variance.std() / np.sqrt(n)


@pytest.mark.parametrize(
    ("make", "options", "match"),
    [
        ("ngram", {"vocabulary": 0}, "vocabulary is 0"),
        ("ngram", {"vocabulary": 300, "order": 3}, r"vocabulary\*\*order is 300\*\*3"),
        ("ngram", {"order": 3, "length": 2}, "length is 2"),
        ("ngram", {"prompt": 0}, "prompt is 0.*from 1 to 32"),
        ("ngram", {"exponent": -1.0}, "exponent is -1.0"),
        ("regression", {"d": 0}, "d is 0"),
        ("regression", {"noise": 0.0}, "noise is 0.0"),
        ("regression", {"ridge": -0.1}, "ridge is -0.1"),
        ("logistic", {"ridge": 0.0}, "ridge is 0"),
        ("logistic", {"steps": 0}, "steps is 0"),
    ],
)
def test_bad_parameters_are_refused(make, options, match):
    with pytest.raises(ValueError, match=match):
        getattr(cj.families, make)(**options)
