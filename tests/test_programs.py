"""What programs consist of on a GPU, for every kind of work: same bits in each run, closed forms in full precision.

Read off traces: nothing is compiled, and no GPU is needed.
"""

from collections.abc import Iterator
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax import metrics
from collapse_jax.generative import selections
from collapse_jax.generative.selection import Candidates
from collapse_jax.loop.learned_rewards import learned_reward
from collapse_jax.reward.prompt_objective import make_objective, value_and_gap
from experiments.benchmark import speed
from experiments.benchmark.family_workloads import EXAMPLES, STATISTICS
from tests.jaxprs import inside

PLATFORM = "cuda"


def equations(jaxpr) -> Iterator:
    """Yield the equations of a jaxpr and of those inside it, leaving out what another platform runs in their place."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in inside(equation, PLATFORM):
            yield from equations(inner)


def is_float(variable) -> bool:
    return jnp.issubdtype(variable.aval.dtype, jnp.inexact)


def population(process):
    """Return the jaxpr of beginning two members and taking a step, as the engine runs them on an accelerator."""
    hyper = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), process.hyper)

    def member(seed, hyper):
        return process.step(process.init(jax.random.key(seed), hyper), hyper, jnp.int32(0))

    # Where members choose between branches, both are taken, and the key of one counts as used twice.
    with jax.debug_key_reuse(False):
        return jax.make_jaxpr(jax.vmap(member))(jnp.arange(2, dtype=jnp.uint32), hyper).jaxpr


CONFIG = speed.Config(
    populations=(2,), perceptron_steps=4, encoders=(2,), members=2, steps=1, rows=64, layers=1, width=16, samples=12,
    generations=2, lineages=100,
)  # fmt: skip
SIZES = cj.nets.Architecture(1, 16, 2)


@cache
def workloads():
    return {one.name.split(", P =")[0]: one.process for one in speed.workloads(CONFIG)}


def large_vocabulary():
    family = cj.families.language_model(4000, 8, architecture=SIZES, fitting=cj.generative.Fitting(2, 4))

    def truth(key, n):
        return jax.random.randint(key, (n, 8), 0, 4000)

    return recursion(family, truth=truth, measure=lambda key, params: {"none": jnp.zeros(())})


def recursion(family, regime="replace", **options):
    chosen = cj.REGIMES[regime] if isinstance(regime, str) else regime
    return cj.make_recursion(family, cj.make_plan(chosen, 2, 12), **options)


def judged():
    features = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    rankings = cj.make_rankings(features, np.ones((4, 3), bool), np.zeros(4, np.int32))
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)})
    judge = learned_reward(
        cj.mlp((4,)), schemes, rankings, lambda x: (x, jnp.zeros(len(x), jnp.int32)), answers=2,
        training=cj.reward.Training(2, 1, 2), refit_steps=2,
    )  # fmt: skip
    return recursion(cj.families.gaussian(2), curate=selections.curated(judge, 2))


def detected():
    detector = selections.learned_detector(lambda x: x, steps=2, folds=2)
    return recursion(cj.families.gaussian(2), "accumulate", reweigh=selections.importance_resampled(detector))


def world():
    space = cj.families.instruction_space(4, 3)
    family = cj.families.evolved(space.deepen, space.broaden, truth=space.draw)
    novel = selections.novel(lambda x, y: jnp.abs(x - y).astype(float))
    return recursion(family, measure=space.measure, curate=novel)


OTHERS = {
    "large vocabulary": large_vocabulary,
    "judge in the loop": judged,
    "detector": detected,
    "instructions": world,
    "ecosystem": lambda: recursion(cj.families.categorical(6), cj.generative.ecosystem(2)),
}
NAMES = [
    "reward perceptrons",
    *(f"reward text encoders, each {what}" for what in ("completion", "prompt")),
    *(f"{name}, 12 examples" for name in EXAMPLES),
    *(f"{name}, 12 by statistics" for name in STATISTICS),
    *(f"{name}, training" for name in ("language model", "VAE", "flow")),
    *(f"{name}, {what}" for name, what in {"language model": "writing", "VAE": "sampling", "flow": "sampling"}.items()),
    *OTHERS,
]


@cache
def traced(name):
    return population(OTHERS[name]() if name in OTHERS else workloads()[name])


def test_every_kind_of_work_is_looked_at():
    assert set(NAMES) == {*workloads(), *OTHERS}


@pytest.mark.parametrize("name", NAMES)
def test_no_order_of_threads_changes_bits(name):
    """A GPU scatters with atomic operations, in any order.

    What counts is a scatter of inexact numbers that adds or multiplies without word that its indices differ, or that
    writes so to more than one index. Sums of whole numbers are the same in any order, and so are the largest and
    smallest of several; booleans are only ever set to true.
    """
    check_scatters(traced(name))


def check_scatters(jaxpr):
    for equation in equations(jaxpr):
        kind, given = equation.primitive.name, equation.params
        assert kind != "select_and_scatter_add", equation
        if kind in ("scatter", "scatter-add", "scatter-sub", "scatter-mul") and is_float(equation.outvars[0]):
            batching = given["dimension_numbers"].scatter_indices_batching_dims
            shape = equation.invars[1].aval.shape[:-1]
            indices = np.prod([size for axis, size in enumerate(shape) if axis not in batching])
            assert given["unique_indices"] or (kind == "scatter" and indices == 1), equation


# Draws of binomials, not fits: by search and by rejection, for some levels of a tree at a time.
LOOPS = {f"{name}, 12 by statistics" for name in ("categorical", "histogram")}


@pytest.mark.parametrize("name", NAMES)
def test_no_loop_waits_for_its_end(name):
    """A loop of unknown length makes an accelerator's host wait at every turn; one of known length is a scan."""
    loops = any(equation.primitive.name == "while" for equation in equations(traced(name)))
    assert loops == (name in LOOPS)


def example_of(family):
    """Return parameters and examples of a family, as shapes."""

    def draw(key):
        draw_key, init_key = jax.random.split(key)
        truth = family.truth
        examples = truth(draw_key, 12) if callable(truth) else family.sample(draw_key, truth, 12)
        return family.init(init_key, examples, jnp.ones(12)), examples

    return jax.eval_shape(draw, jax.random.key(0))


@cache
def closed_forms():
    return {
        **{name: cj.FAMILIES[name] for name in cj.FAMILIES},
        "gaussian in ten dimensions": cj.families.gaussian(10),
        "mixture in three dimensions": cj.families.mixture(2, 3),
    }


def check_products(fn, *args):
    """Fail for a product of matrices that an accelerator would round what goes into; return how many there are."""
    highest = jax.lax.Precision.HIGHEST
    found = [one for one in equations(jax.make_jaxpr(fn)(*args).jaxpr) if one.primitive.name == "dot_general"]
    for one in found:
        assert one.params["precision"] in (highest, (highest, highest)) or not is_float(one.outvars[0]), one
    return len(found)


@pytest.mark.parametrize("name", [*cj.FAMILIES, "gaussian in ten dimensions", "mixture in three dimensions"])
def test_closed_forms_multiply_in_full_precision(name):
    family, key = closed_forms()[name], jax.random.key(0)
    params, examples = example_of(family)
    weights = jnp.ones(12)
    check_products(family.init, key, examples, weights)
    check_products(lambda params, x: family.fit(key, params, x, weights), params, examples)
    check_products(lambda params: family.sample(key, params, 12), params)
    of_tokens = family.tokens and (family.tokens.log_prob, family.tokens.probabilities)
    for read in (family.log_prob, *(of_tokens or ()), family.respond and partial(family.respond, key)):
        if read is not None:
            check_products(read, params, examples)
    if family.moments is not None:
        check_products(family.moments, params)
    if family.statistics is not None:
        process = cj.make_recursion(family, cj.make_plan(cj.REGIMES["accumulate"], 2, 12), by="statistics")
        check_products(process.init, key, process.hyper)
        state = jax.eval_shape(process.init, key, process.hyper)
        assert check_products(process.step, state, process.hyper, jnp.int32(0))


X, Y = jnp.ones((12, 3)), jnp.ones((12, 3))
TOKENS = jnp.ones((4, 6), jnp.int32)
MEASURED = {
    "Fréchet distance": (metrics.sample_frechet_distance, X, Y),
    "Kullback-Leibler divergence": (metrics.gaussian_kl_divergence, X[0], jnp.eye(3), X[0], jnp.eye(3)),
    "semantic drift": (metrics.semantic_drift, X, Y),
    "embedding": (metrics.hashed_ngram_embedding, TOKENS),
    "n-grams": (partial(metrics.ngram_frequencies, n=2), TOKENS),
    "self-BLEU": (partial(metrics.self_bleu, n=2), TOKENS),
    "certificate": (partial(value_and_gap, make_objective(jnp.log1p, jnp.ones(3, bool))), X[0]),
    "centres": (partial(selections.find_centres, jax.random.key(0), number=2), X),
    "detector": (
        selections.learned_detector(lambda x: x),
        jax.random.key(0),
        Candidates(X, jnp.ones(12), jnp.arange(12), jnp.zeros(12, int)),
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_measured_is_in_full_precision_and_the_same_in_each_run(name):
    fn, *args = MEASURED[name]
    check_products(fn, *args)
    check_scatters(jax.make_jaxpr(fn)(*args).jaxpr)
