"""What every family must do, each on its own truth; a family of one's own is held to the same."""

from functools import partial

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
def test_without_any_weight_a_model_is_not_a_number(family):
    examples, none = resolve_truth(family, None)(key(1), SIZE), jnp.zeros(SIZE)
    params = jax.jit(family.fit)(key(4), family.init(key(3), examples, jnp.ones(SIZE)), examples, none)
    moments = family.moments(params)
    assert not (np.isfinite(moments.mean).all() and np.isfinite(moments.variance))


def embedded(examples):
    """Return vectors (n, place, dim) of which the moments are those of the model; whole numbers as indicators."""
    if jnp.issubdtype(examples.dtype, jnp.integer):
        examples = np.asarray(examples).reshape(len(examples), -1)
        return np.eye(examples.max() + 1)[examples]
    return np.asarray(examples, np.float64).reshape(len(examples), 1, -1)


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
