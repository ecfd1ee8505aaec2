"""What every family must do, each on its own truth; a family of one's own is held to the same."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative.recursion.resolving import resolve_truth


def exponential():
    """A family of one's own."""
    return cj.generative.Family(
        "exponential",
        init=lambda key, x, w: jnp.ones(()),
        fit=lambda key, scale, x, w: w @ x / w.sum(),
        sample=lambda key, scale, n: scale * jax.random.exponential(key, (n,)),
        log_prob=lambda scale, x: -x / scale - jnp.log(scale),
        moments=lambda scale: cj.generative.Moments(scale[None], scale**2),
        truth=jnp.array(2.0),
    )


EVERY = [*cj.FAMILIES.values(), exponential()]
MEASURED = [one for one in EVERY if one.moments is not None]
SIZE = 200


def named(families):
    return pytest.mark.parametrize("family", families, ids=lambda one: one.name)


def key(number):
    return jax.random.key(number)


@cache
def cases_of(index):
    """Fit a family, in one program, to its truth's examples in several guises; return the cases and their moments."""
    family = EVERY[index]
    examples = resolve_truth(family, None)(key(1), SIZE)
    weights = jax.random.randint(key(2), (SIZE,), 0, 4).astype(float)
    start = family.init(key(3), examples, weights)
    half, none = SIZE // 2, jnp.zeros(SIZE)

    def plain(leaf):
        return jnp.concatenate([leaf, leaf])

    def padded(leaf):
        garbage = jnp.full_like(leaf, 1e30 if jnp.issubdtype(leaf.dtype, jnp.floating) else 10**9)
        return jnp.concatenate([garbage[:7], leaf, -garbage[7:]])

    twice = jnp.where(jnp.arange(SIZE) < half, 1.0, 0.0)
    cases = {
        "plain": (plain, [weights, none]),
        "padded": (padded, [none[:7], weights, none[7:]]),
        "scaled": (plain, [300.0 * weights, none]),
        "heavy": (plain, [1.0 + twice, none]),
        "twice": (plain, [1.0 + none, twice]),
        "even": (plain, [1.0 + none, none]),
        "nothing": (plain, [none, none]),
    }
    inputs = {name: (jax.tree.map(change, examples), jnp.concatenate(w)) for name, (change, w) in cases.items()}
    many, all_weights = jax.tree.map(lambda *parts: jnp.stack(parts), *inputs.values())

    def fit(examples, weights):
        params = family.fit(key(4), start, examples, weights)
        return params, (family.moments(params) if family.moments else None)

    moments = jax.jit(jax.vmap(fit))(many, all_weights)[1]
    rows = np.concatenate([moments.mean, moments.variance[:, None]], axis=1) if family.moments else None
    params, alone = jax.jit(fit)(*inputs["plain"])
    return Cases(examples, inputs, params, alone, None if rows is None else dict(zip(cases, rows, strict=True)))


class Cases(NamedTuple):
    """What a family was fitted to, by name of the case; the plain case alone; the moments of all, fitted together."""

    examples: Any
    inputs: dict
    params: Any
    alone: cj.generative.Moments
    moments: dict


def of(family):
    return cases_of(next(i for i, one in enumerate(EVERY) if one is family))


def same(got, want):
    # Rounding, of sums in another order too.
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=1e-5)


@pytest.mark.slow
@named(MEASURED)
def test_estimates_approach_the_truth_at_the_rate_of_the_root_of_n(family):
    seeds, sizes = 48, (160, 2560)
    if callable(family.truth):
        many = embedded(family.truth(key(0), 2**18))[:, 0]
        mean, variance = many.mean(axis=0), many.var(axis=0).sum()
    else:
        mean, variance = (np.asarray(one) for one in family.moments(jax.tree.map(jnp.asarray, family.truth)))

    def one(seed, size):
        data_key, init_key, fit_key = jax.random.split(jax.random.key(seed), 3)
        examples = resolve_truth(family, None)(data_key, sizes[-1])
        weights = (jnp.arange(sizes[-1]) < size).astype(float)
        return family.moments(family.fit(fit_key, family.init(init_key, examples, weights), examples, weights))

    refit = jax.jit(jax.vmap(one, in_axes=(0, None)))
    small, large = (jax.tree.map(np.asarray, refit(jnp.arange(seeds), size)) for size in sizes)
    rate = np.sqrt(((small.mean - mean) ** 2).mean() / ((large.mean - mean) ** 2).mean())
    # 4; each root mean square is known to 1/√(2·48) at worst, both to a factor exp(±4·.144).
    assert 2.25 < rate < 7.1
    error_small, error_large = (np.abs(one.variance - variance).mean() for one in (small, large))
    assert error_large < 0.7 * error_small + 1e-6


@named(MEASURED)
def test_examples_without_weight_do_not_matter(family):
    cases = of(family)
    same(cases.moments["padded"], cases.moments["plain"])


@named(EVERY)
def test_a_start_among_examples_without_weight_is_finite(family):
    examples, weights = of(family).inputs["padded"]
    for leaf in jax.tree.leaves(family.init(key(5), examples, weights)):
        assert (np.abs(leaf) < 1e6).all()


@named(MEASURED)
def test_only_the_ratios_of_weights_matter(family):
    cases = of(family)
    same(cases.moments["scaled"], cases.moments["plain"])


@named(MEASURED)
def test_a_weight_of_two_is_an_example_twice(family):
    moments = of(family).moments
    # Means; a variance may depend on the effective number of examples, which a repetition changes.
    same(moments["heavy"][:-1], moments["twice"][:-1])
    assert np.abs(moments["heavy"] - moments["even"])[:-1].max() > 1e-3  # the weights do matter


@named(MEASURED)
def test_without_any_weight_a_model_is_not_a_number(family):
    assert not np.isfinite(of(family).moments["nothing"]).all()


@named(MEASURED)
def test_side_by_side_is_one_by_one(family):
    cases = of(family)
    same(cases.moments["plain"], np.concatenate([cases.alone.mean, cases.alone.variance[None]]))


def embedded(examples):
    """Return vectors (n, place, dim) of which the moments are those of the model; whole numbers as indicators."""
    if jnp.issubdtype(examples.dtype, jnp.integer):
        examples = np.asarray(examples).reshape(len(examples), -1)
        return np.eye(examples.max() + 1)[examples]
    return np.asarray(examples, np.float64).reshape(len(examples), 1, -1)


@named(MEASURED)
def test_samples_have_the_moments_of_the_model(family):
    cases = of(family)
    if isinstance(cases.examples, dict):
        pytest.skip("moments of answers to given inputs: in a test of their own")
    moments = cases.alone
    x = embedded(jax.jit(family.sample, static_argnums=2)(key(6), cases.params, 20_000))
    mean = np.asarray(moments.mean, np.float64)[: x.shape[-1]]
    direction = np.random.default_rng(0).normal(size=len(mean))
    for got, want in (
        ((x @ direction).mean(axis=1), mean @ direction),
        (((x - mean) ** 2).sum(axis=2).mean(axis=1), float(moments.variance)),
    ):
        assert abs(got.mean() - want) < 4 * got.std() / np.sqrt(len(got)) + 1e-5


@named([one for one in EVERY if one.decodings])
def test_neutral_decodings_change_nothing(family):
    params = of(family).params
    for name, decoding in family.decodings.items():
        assert decoding.low <= decoding.neutral <= decoding.high
        for got, want in zip(
            jax.tree.leaves(decoding.apply(params, decoding.neutral)), jax.tree.leaves(params), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6, err_msg=name)


@named([one for one in EVERY if one.statistics])
def test_a_model_of_statistics_has_the_law_of_one_of_examples(family):
    n, seeds = 25, 4000
    truth = jax.tree.map(jnp.asarray, family.truth)

    def of_examples(seed):
        data_key, fit_key = jax.random.split(jax.random.key(seed))
        return family.moments(family.fit(fit_key, truth, family.sample(data_key, truth, n), jnp.ones(n)))

    def of_statistics(seed):
        drawn = family.statistics.draw(jax.random.key(seed), truth, jnp.int32(n))
        return family.moments(family.statistics.fit(jax.tree.map(lambda leaf: leaf[None], drawn), jnp.ones(1)))

    one = jax.jit(jax.vmap(of_examples))(jnp.arange(seeds))
    other = jax.jit(jax.vmap(of_statistics))(jnp.arange(seeds, 2 * seeds))
    direction = np.random.default_rng(0).normal(size=one.mean.shape[1])
    for got, want in ((other.mean @ direction, one.mean @ direction), (other.variance, one.variance)):
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        centre = want.mean()
        for power in (1, 2):
            a, b = (got - centre) ** power, (want - centre) ** power
            assert abs(a.mean() - b.mean()) < 4 * np.sqrt((a.var() + b.var()) / seeds) + 1e-9


@named([one for one in MEASURED if one.truth is not None])
def test_a_family_recurs_in_one_program_and_stays_finite(family):
    plan = cj.make_plan([cj.REGIMES["replace"], cj.REGIMES["accumulate"]], generations=3, samples=60)
    traces = []

    def fit(*arguments):
        traces.append(1)
        return family.fit(*arguments)

    process = cj.make_recursion(family._replace(fit=fit), plan, decoding=family.decodings)
    result = cj.sweep(process, {**plan.axes, "seed": range(4)}, progress=False)
    assert result.sizes["generation"] == 3
    assert not result["diverged"].any()
    assert np.isfinite(result["mean"]).all()
    assert len(traces) == 1
    # Both regimes train the first model on the same real set, and differ from the second on.
    replaced, accumulated = result["mean"][0], result["mean"][1]
    np.testing.assert_allclose(replaced.sel(generation=1), accumulated.sel(generation=1), rtol=1e-3, atol=1e-4)
    assert (np.abs(replaced - accumulated).sel(generation=3) > 1e-4).any()


def test_a_family_of_ones_own_can_be_entered():
    table = type(cj.FAMILIES)("family", list(cj.FAMILIES.values()))
    table.add(exponential())
    assert "exponential" in table
    with pytest.raises(ValueError, match="exists already"):
        table.add(exponential())


def plain_family(**fields):
    """A family whose functions are of every kind that a user may write: a function, a lambda, a partial, a method."""

    def fit(key, params, examples, weights):
        return weights @ examples / weights.sum()

    class Emitter:
        def sample(self, key, params, n):
            return params + jax.random.normal(key, (n,))

    return cj.generative.Family(
        **{
            "name": "plain",
            "init": lambda *_: jnp.zeros(()),
            "fit": fit,
            "sample": Emitter().sample,
            "respond": partial(lambda scale, key, params, x: scale * x, 1.0),
            "tokens": cj.generative.Tokens(lambda params, x: 0.0 * x, lambda params, x: jnp.ones((*x.shape, 3)) / 3),
            "truth": lambda key, n: jax.random.normal(key, (n,)),
            **fields,
        }
    )


def test_plain_functions_make_a_family():
    edited = cj.families.token_edited(plain_family())
    plan = cj.make_plan(cj.REGIMES["replace"], generations=1, samples=4)
    process = cj.make_recursion(edited, plan, measure=lambda key, params: {"mean": params})
    assert np.isfinite(cj.sweep(process, {}, progress=False)["mean"]).all()


@pytest.mark.parametrize("field", ["init", "fit", "sample", "respond", "embed", "tokens"])
def test_what_is_no_function_is_refused_by_the_name_of_its_field(field):
    needed = "Tokens" if field == "tokens" else "a function"
    with pytest.raises(ValueError, match=rf"family\.{field} is 3; Family needs .*{needed}"):
        cj.families.token_edited(plain_family(**{field: 3}))
