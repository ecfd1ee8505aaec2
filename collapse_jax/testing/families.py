"""A family of one's own, checked."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Process
from collapse_jax.engine.sweep import sweep
from collapse_jax.generative.family import Examples, Family, ModelMoments, MomentMatching, Params
from collapse_jax.generative.laws.prediction import predict_moments
from collapse_jax.generative.recursion.guards import guarded_family
from collapse_jax.generative.recursion.plan import make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import REGIMES
from collapse_jax.generative.recursion.resolving import resolve_truth
from collapse_jax.testing.claims import alike, claim, counted, near, runs_in_one_program

_DRAWS = 5000
_LINEAGES = 1000
_FEW = 12


@checked
def check_family(family: Family, *, samples: int = 200) -> None:
    """Check a family on its own truth, with so many samples.

    Examples of weight 0 are padding: whatever they hold must not matter, to a start or to a fit. Only the ratios of
    weights do, and one of weight 2 is an example twice. A fit among others side by side is the fit alone. What a model
    emits must have the `moments` that it declares, and the probabilities of `log_prob`: under another model of the
    family they are compared by E[q(x)/p(x)] = 1 for x ~ p. Neutral decodings must change nothing, statistics lead to
    models with the law of those of examples, and a recursion run in one program. A family that declares its `matching`
    of moments must have the law of `predict_moments`, over 1000 lineages.

    What can't be told of a family without `moments` is told by `log_prob`; without either, only the start and the
    recursion are checked.

    Raises ValueError for a family without a truth and for functions that don't return what they should, AssertionError
    for what does not hold.
    """
    if family.truth is None:
        raise ValueError(f"family {family.name!r} has no truth; check it with one: family._replace(truth=...)")
    fits = _fit(guarded_family(family), samples)
    _check_weights(family, fits)
    _check_emission(family, fits)
    _check_decodings(family, fits)
    if family.statistics is not None and family.moments is not None:
        _check_statistics(family)
    if family.matching is not None and family.moments is not None:
        _check_scales(family, family.matching, family.moments, fits)
        _check_law(family, family.matching)
    plan = make_plan([REGIMES["replace"], REGIMES["accumulate"]], 3, samples)

    def make(calls: list[int]) -> Process:
        return make_recursion(
            family._replace(fit=counted(family.fit, calls)),
            plan,
            by="examples",
            measure=lambda key, params: {"one": jnp.zeros(())},
        )

    runs_in_one_program(f"fit of family {family.name!r}", make)


class _Fits(NamedTuple):
    """A family fitted to examples of its truth, plainly, and what of each fit is compared, by case."""

    examples: Examples
    params: Params
    seen: dict[str, Float[np.ndarray, " number"]]
    start: PyTree


def _fit(family: Family, samples: int) -> _Fits:
    """Fit the family in one program to the same examples in several guises."""
    examples = resolve_truth(family, None)(jax.random.key(1), samples)
    weights = jax.random.randint(jax.random.key(2), (samples,), 0, 4).astype(float)
    one, none = jnp.ones(samples), jnp.zeros(samples)
    first = (jnp.arange(samples) < samples // 2).astype(float)
    lead = min(7, samples)

    def plain(leaf: Array) -> Array:
        return jnp.concatenate([leaf, leaf])

    def padded(leaf: Array) -> Array:
        garbage = jnp.full_like(leaf, 1e30 if jnp.issubdtype(leaf.dtype, jnp.floating) else 10**9)
        return jnp.concatenate([garbage[:lead], leaf, -garbage[lead:]])

    cases = {
        "plain": (plain, [weights, none]),
        "padded": (padded, [none[:lead], weights, none[lead:]]),
        "scaled": (plain, [300.0 * weights, none]),
        "heavy": (plain, [one + first, none]),
        "twice": (plain, [one, first]),
        "even": (plain, [one, none]),
    }
    inputs = {name: (jax.tree.map(change, examples), jnp.concatenate(w)) for name, (change, w) in cases.items()}
    start = family.init(jax.random.key(3), *inputs["plain"])

    def fit(examples: Examples, weights: Array) -> tuple[Params, Array]:
        params = family.fit(jax.random.key(4), start, examples, weights, **family.hyper)
        return params, _summary(family, params, jax.tree.map(lambda leaf: leaf[:samples], inputs["plain"][0]))

    together = jax.tree.map(lambda *parts: jnp.stack(parts), *inputs.values())
    seen = dict(zip(inputs, np.asarray(jax.jit(jax.vmap(fit))(*together)[1]), strict=True))
    params, alone = jax.jit(fit)(*inputs["plain"])
    return _Fits(
        examples, params, {**seen, "alone": np.asarray(alone)}, family.init(jax.random.key(5), *inputs["padded"])
    )


def _summary(family: Family, params: Params, examples: Examples) -> Float[Array, " number"]:
    """Return what is compared of two models: moments, else log-probabilities of examples, else nothing."""
    if family.moments is not None:
        moments = family.moments(params)
        return jnp.concatenate([jnp.ravel(moments.mean), jnp.ravel(moments.variance)])
    return jnp.zeros(0) if family.log_prob is None else family.log_prob(params, examples)


def _check_weights(family: Family, fits: _Fits) -> None:
    for leaf in jax.tree.leaves(fits.start):
        numbers = np.asarray(leaf, np.float64) if jnp.issubdtype(leaf.dtype, jnp.number) else np.zeros(0)
        claim((np.abs(numbers) < 1e6).all(), f"init of family {family.name!r} depends on examples of weight 0")
    seen, what = fits.seen, f"a moment or log-probability of a model of family {family.name!r}"
    alike(seen["padded"], seen["plain"], f"{what} fitted among garbage of weight 0", "as without it,")
    alike(seen["scaled"], seen["plain"], f"{what} fitted with all weights times 300", "as with the weights,")
    alike(seen["alone"], seen["plain"], f"{what} fitted alone", "as side by side with others,")
    # A variance may depend on the effective number of examples, which a repetition changes.
    last = -1 if family.moments is not None else None
    alike(seen["heavy"][:last], seen["twice"][:last], f"{what} fitted with half of the weights 2", "as with it twice,")
    changed = np.abs(seen["heavy"] - seen["even"])[:last]
    claim(not changed.size or changed.max() > 1e-4, f"fit of family {family.name!r} does not read the weights")


def _check_emission(family: Family, fits: _Fits) -> None:
    emitted = jax.jit(family.sample, static_argnums=2)(jax.random.key(6), fits.params, _DRAWS)
    if family.moments is not None and not isinstance(fits.examples, dict):
        moments = family.moments(fits.params)
        x = _vectors(emitted)
        mean = np.asarray(moments.mean, np.float64).ravel()[: x.shape[-1]]
        direction = np.random.default_rng(0).normal(size=mean.size)
        near((x @ direction).mean(axis=1), float(mean @ direction), f"a mean of what family {family.name!r} emits")
        squares = ((x - mean) ** 2).sum(axis=2).mean(axis=1)
        near(squares, float(moments.variance), f"the variance of what family {family.name!r} emits")
    if family.log_prob is not None:
        # A model close to this one, so that the ratio has a small variance, and independent of the examples.
        others, key = (
            jax.jit(family.sample, static_argnums=2)(jax.random.key(7), fits.params, _DRAWS),
            jax.random.key(8),
        )
        other = family.fit(key, fits.params, others, jnp.ones(_DRAWS), **family.hyper)
        ratio = np.exp(np.asarray(family.log_prob(other, emitted) - family.log_prob(fits.params, emitted), np.float64))
        near(ratio, 1.0, f"the mean of q(x)/p(x) under p by log_prob of family {family.name!r}")


def _vectors(examples: Any) -> Float[np.ndarray, "n place d"]:
    """Return vectors of which the moments are those of the model: whole numbers as indicators."""
    if jnp.issubdtype(examples.dtype, jnp.integer):
        tokens = np.asarray(examples).reshape(len(examples), -1)
        indicators: np.ndarray = np.eye(tokens.max() + 1)[tokens]
        return indicators
    return np.asarray(examples, np.float64).reshape(len(examples), 1, -1)


def _check_decodings(family: Family, fits: _Fits) -> None:
    for name, decoding in family.decodings.items():
        claim(
            decoding.low <= decoding.neutral <= decoding.high,
            f"decoding {name!r} of family {family.name!r} is neutral at {decoding.neutral:g}, outside its range",
        )
        decoded = decoding.apply(fits.params, decoding.neutral)
        for found, expected in zip(jax.tree.leaves(decoded), jax.tree.leaves(fits.params), strict=True):
            alike(found, expected, f"a parameter after the neutral decoding {name!r}", "as before,")


def _check_statistics(family: Family) -> None:
    """Compare mean and spread of the models' moments, fitted to examples and to drawn statistics of as many."""
    samples, models = 25, 4000
    truth = jax.tree.map(jnp.asarray, family.truth)
    assert family.statistics is not None and family.moments is not None  # noqa: PT018
    statistics, moments = family.statistics, family.moments

    def of_examples(seed: Array) -> Any:
        data_key, fit_key = jax.random.split(jax.random.key(seed))
        examples = family.sample(data_key, truth, samples)
        return moments(family.fit(fit_key, truth, examples, jnp.ones(samples), **family.hyper))

    def of_statistics(seed: Array) -> Any:
        drawn = statistics.draw(jax.random.key(seed), truth, jnp.int32(samples))
        return moments(statistics.fit(jax.tree.map(lambda leaf: leaf[None], drawn), jnp.ones(1)))

    one = jax.jit(jax.vmap(of_examples))(jnp.arange(models))
    other = jax.jit(jax.vmap(of_statistics))(jnp.arange(models, 2 * models))
    direction = np.random.default_rng(0).normal(size=one.mean.reshape(models, -1).shape[1])
    for what, found, expected in (
        ("mean", other.mean.reshape(models, -1) @ direction, one.mean.reshape(models, -1) @ direction),
        ("variance", other.variance, one.variance),
    ):
        found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        centre = expected.mean()
        for power in (1, 2):
            a, b = (found - centre) ** power, (expected - centre) ** power
            error = np.sqrt((a.var() + b.var()) / models)
            claim(
                abs(a.mean() - b.mean()) < 5 * error + 1e-9,
                f"models of family {family.name!r} fitted to drawn statistics have another law than those fitted to "
                f"examples: moment {power} of their {what} is {a.mean():g}, not {b.mean():g} ± {error:g}",
            )


def _check_scales(family: Family, matching: MomentMatching, moments: ModelMoments, fits: _Fits) -> None:
    """Compare models after a decoding that is to scale their variance with what they are before."""
    before = moments(fits.params)
    for name, factor in matching.emitted.items():
        claim(
            name in family.decodings,
            f"`matching` of family {family.name!r} has a factor for the decoding {name!r}, which the family lacks",
        )
        decoding = family.decodings[name]
        value = float(np.clip(0.5 * decoding.neutral, decoding.low, decoding.high))
        after = moments(decoding.apply(fits.params, value))
        what = f"after the decoding {name!r} = {value:g} of family {family.name!r}, by its `matching`,"
        alike(after.mean, before.mean, f"the mean {what}", "as before,")
        alike(after.variance, factor(value) * before.variance, f"the variance {what}", "scaled,")


def _check_law(family: Family, matching: MomentMatching) -> None:
    """Compare lineages that are replaced with the law that the declared `matching` gives them."""
    plan = make_plan(REGIMES["replace"], 3, _FEW)
    law = predict_moments(plan, family).squeeze()
    process = make_recursion(family, plan, by="examples")
    swept = sweep(process, {"seed": range(_LINEAGES)}, vmap_members=_LINEAGES // 2, progress=False).squeeze()
    # Independent lineages have the true mean in expectation, so that their own mean stands for it.
    means = swept["mean"] - swept["mean"].mean("seed")
    error = (means**2).sum([d for d in means.dims if d not in ("seed", "generation")]) * _LINEAGES / (_LINEAGES - 1)
    truth = _true_variance(family, matching)
    for what, values in {"variance": swept["variance"], "mean_error": error}.items():
        for generation in values["generation"].to_numpy():
            near(
                values.sel(generation=generation).to_numpy() / truth,
                float(law[what].sel(generation=generation)),
                f"{what} of generation {generation} of family {family.name!r}, by its `matching`,",
            )


def _true_variance(family: Family, matching: MomentMatching) -> float:
    """Return the total variance of the family's truth; that of many examples where it is not declared."""
    if matching.truth_variance is not None and family.truth is matching.truth:
        return matching.truth_variance
    if not callable(family.truth) and family.moments is not None:
        return float(family.moments(jax.tree.map(jnp.asarray, family.truth)).variance)
    examples = _vectors(resolve_truth(family, None)(jax.random.key(9), 40 * _DRAWS))
    return float(examples.var(axis=0).sum(axis=-1).mean())
