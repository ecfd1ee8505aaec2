"""Every kind of work of the library in a small sweep, with the law that it follows where there is one."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

import collapse_jax as cj

SAMPLES, GENERATIONS = 40, 5
ROUNDING, PRODUCTS, CHOICES = 1e-3, 1e-2, 2e-2
"""How far first records may lie apart, see `right`."""
_FAIR = 0.9  # the total variance of a fair die with ten sides, 1 - Σ p²


class Kind(NamedTuple):
    """A sweep of one kind of work: `make(members)` returns the process and its axes.

    `first` is how far the first records of two platforms may lie apart, in standard deviations of the record, as the
    median over members. `law(dataset)` returns the number of standard errors, or another measure that must be below 4,
    by which the results miss their law.
    """

    name: str
    make: Callable[[int], tuple[cj.engine.Process, Mapping[str, Any]]]
    first: float
    law: Callable[[xr.Dataset], float] | None = None
    members: int = 400
    """Lineages: many, where they are small and a law wants them."""
    small: bool = False
    """Whether --small runs it, which takes one kind of each form that this file has."""


_FEW = 8
"""Members of a sweep of networks, each of which takes long."""


def kinds() -> list[Kind]:
    """Return all kinds, the most used first."""
    return [*_readers_and_writers(), *_moments(), *_chosen_and_together(), *_families()]


def _readers_and_writers() -> list[Kind]:
    """Return the kinds of reward models and language models."""
    return [
        Kind("reward perceptron", _perceptron, PRODUCTS, _optimum, _FEW, small=True),
        Kind(
            "reward text encoder, each completion",
            lambda members: _encoder(members, cj.reward.text_encoder),
            PRODUCTS,
            None,
            _FEW,
        ),
        Kind(
            "reward text encoder, each prompt",
            lambda members: _encoder(members, cj.reward.prefix_encoder),
            PRODUCTS,
            None,
            _FEW,
            small=True,
        ),
        Kind("language model, training and writing", _language_model, PRODUCTS, None, _FEW, small=True),
    ]


def _moments() -> list[Kind]:
    """Return the kinds of families that match moments, as they run by statistics and by examples."""
    return [
        Kind(
            "Gaussian by statistics",
            lambda members: _by_statistics(members, cj.families.gaussian(1)),
            ROUNDING,
            partial(_variance, cj.families.gaussian(1)),
            small=True,
        ),
        Kind(
            "Gaussian by examples",
            lambda members: _by_examples(members, cj.families.gaussian(1)),
            ROUNDING,
            partial(_variance, cj.families.gaussian(1)),
        ),
        Kind(
            "Gaussian in 10 dimensions",
            lambda members: _by_examples(members, cj.families.gaussian(10)),
            ROUNDING,
            partial(_variance, cj.families.gaussian(10)),
        ),
        Kind(
            "categorical by statistics",
            lambda members: _by_statistics(members, _dice()),
            CHOICES,
            partial(_variance, _dice()),
        ),
        Kind(
            "categorical by examples",
            lambda members: _by_examples(members, _dice()),
            CHOICES,
            partial(_variance, _dice()),
        ),
    ]


def _chosen_and_together() -> list[Kind]:
    """Return the kinds in which models share a pool, or choose what trains the next."""
    return [
        Kind("ecosystem of 4 models", _ecosystem, CHOICES, _ecosystem_law, small=True),
        Kind("reward model in the loop", _learned_reward, PRODUCTS, None, _FEW, small=True),
        Kind("selection with memory", _remembering, CHOICES, partial(_variance, _dice()), small=True),
    ]


def _families() -> list[Kind]:
    """Return the kinds of all other families."""
    return [
        Kind("VAE", lambda members: _images(members, cj.families.vae), PRODUCTS, None, _FEW, small=True),
        Kind("flow", lambda members: _images(members, cj.families.flow), PRODUCTS, None, _FEW),
        Kind(
            "regression",
            lambda members: _by_examples(members, cj.families.regression(4)),
            ROUNDING,
            _regression_law,
            small=True,
        ),
        Kind("logistic", lambda members: _by_examples(members, cj.families.logistic(4)), CHOICES, None, 64),
        Kind("mixture", lambda members: _by_examples(members, cj.families.mixture()), CHOICES, None, 64),
        Kind("n-gram", lambda members: _by_examples(members, cj.families.ngram()), CHOICES, None, 64),
        *(
            Kind(name, partial(_by_examples, family=family), CHOICES, partial(_variance, family))
            for name, family in (
                ("ECDF", cj.families.ecdf()),
                ("KDE", cj.families.kde(bandwidth=0.5)),
                ("histogram", cj.families.histogram()),
            )
        ),
    ]


def _by_examples(members: int, family: cj.generative.Family) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    return cj.make_recursion(family, _plan()), {"seed": range(members)}


def _by_statistics(members: int, family: cj.generative.Family) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    return cj.make_recursion(family, _plan(), by="statistics"), {"seed": range(members)}


def _plan() -> cj.generative.Plan:
    return cj.make_plan(cj.REGIMES["replace"], GENERATIONS, SAMPLES)


def _dice() -> cj.generative.Family:
    """Return the family of dice with ten sides, the truth a fair one."""
    return cj.families.categorical(10, exponent=0.0)


def _variance(family: cj.generative.Family, dataset: xr.Dataset) -> float:
    """Return by how many standard errors the last variances miss their law, that of a family that matches moments."""
    assert family.matching is not None and family.moments is not None  # noqa: PT018
    truth = family.matching.truth_variance or float(family.moments(family.truth).variance)
    law = cj.predict_moments(_plan(), family)["variance"].isel(generation=-1).item()
    return _errors(dataset["variance"].isel(generation=-1).to_numpy().astype(float), truth * law)


def _errors(values: np.ndarray, law: float) -> float:
    return float(abs(values.mean() - law) / (values.std(ddof=1) / len(values) ** 0.5))


def _ecosystem(members: int) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    return cj.make_recursion(_dice(), cj.make_plan(cj.generative.ecosystem(4), GENERATIONS, SAMPLES)), {
        "seed": range(members)
    }


def _ecosystem_law(dataset: xr.Dataset) -> float:
    law = cj.generative.laws.ecosystem_heterozygosity(_FAIR, 4, SAMPLES, GENERATIONS).within[-1]
    return _errors(dataset["variance"].isel(generation=-1).mean("model").to_numpy(), float(law))


def _regression_law(dataset: xr.Dataset) -> float:
    """Return by how many standard errors the last squared errors of the coefficients miss their law."""
    law = cj.generative.laws.regression_replace(SAMPLES, 4, 1.0, GENERATIONS)[-1]
    wrong = ((dataset["mean"].isel(generation=-1) - 0.5) ** 2).sum("dim").to_numpy()
    return _errors(wrong, float(law))


_CHOICE = cj.choose(cj.UTILITIES["log"], offset=0.1)
_ITEMS = 4


def _perceptron(members: int) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    """Return training on free rewards, one feature for each completion, to the optimum that the law tells."""
    features = 8.0 * np.eye(2 * _ITEMS, dtype=np.float32).reshape(2, _ITEMS, -1)
    rankings = cj.make_rankings(features, np.ones((2, _ITEMS), bool), np.zeros(2, np.int32))
    schemes = cj.make_schemes({"log": _CHOICE})
    training = cj.reward.Training(1500, 100, 2)
    return cj.make_training(rankings, cj.mlp((16,)), schemes, training=training), {"seed": range(members)}


def _optimum(dataset: xr.Dataset) -> float:
    """Return how far the last rewards lie from the law's, in hundredths."""
    law = cj.finite_law(_CHOICE, _ITEMS).rewards
    return float(abs(dataset["rewards"].isel(step=-1).to_numpy() - law).max() / 0.01)


def _encoder(members: int, model: Callable[..., cj.reward.Model]) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    """Return two records of text reward models, prefixes of two texts as completions."""
    length = 16
    text = np.random.default_rng(0).integers(32, size=(2, length)).astype(np.int32)
    last = np.tile(np.arange(_ITEMS, 0, -1) * (length // _ITEMS) - 1, (2, 1)).astype(np.int32)
    features: Any = cj.reward.Prefixes(text, np.zeros(2, np.int32), last)
    if model is cj.reward.text_encoder:
        features = np.where(np.arange(length) <= last[:, :, None], text[:, None], -1).astype(np.int32)
    rankings = cj.make_rankings(features, np.ones((2, _ITEMS), bool), np.zeros(2, np.int32))
    sizes = cj.nets.Architecture(1, 16, 2, positions="learned")
    schemes = cj.make_schemes({"log": _CHOICE})
    process = cj.make_training(rankings, model(32, architecture=sizes), schemes, training=cj.reward.Training(8, 8, 2))
    return process, {"seed": range(members)}


def _language_model(members: int) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    """Return two generations of language models, with the loss of each on the real rows and what each writes."""
    rows = jnp.asarray(np.random.default_rng(0).integers(16, size=(64, 8)).astype(np.int32))
    family = cj.families.language_model(
        16,
        8,
        architecture=cj.nets.Architecture(1, 16, 2),
        fitting=cj.generative.Fitting(8, 8, 3e-3),
        truth=cj.resample(rows),
    )

    def measure(key: Array, params: Any) -> dict[str, Array]:
        assert family.log_prob is not None
        return {"loss": -family.log_prob(params, rows[:16]).mean()}

    def inspect(key: Array, tokens: Array, weights: Array) -> dict[str, Array]:
        return {"tokens": jax.nn.one_hot(tokens, 16).mean((0, 1))}

    plan = cj.make_plan(cj.REGIMES["replace"], 2, 32)
    process = cj.make_recursion(family, plan, measure=measure, inspect=inspect, dims={"tokens": ("token",)})
    return process, {"seed": range(members)}


def _images(
    members: int, family_of: Callable[..., cj.generative.Family]
) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    """Return two generations of image models, with the mean images that each emits."""
    rng = np.random.default_rng(0)
    data = cj.families.LabelledImages(
        jnp.asarray(rng.uniform(size=(64, 4, 4, 1)).astype(np.float32)),
        jnp.asarray(rng.integers(3, size=64).astype(np.int32)),
    )
    family = family_of((4, 4, 1), 3, hidden=(16,), fitting=cj.generative.Fitting(8, 16, 3e-3), truth=cj.resample(data))

    def measure(key: Array, params: Any) -> dict[str, Array]:
        emitted = family.sample(key, params, 32)
        return {"pixels": emitted.images.mean(0).reshape(-1)}

    plan = cj.make_plan(cj.REGIMES["replace"], 2, 32)
    return cj.make_recursion(family, plan, measure=measure, dims={"pixels": ("pixel",)}), {"seed": range(members)}


def _learned_reward(members: int) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    """Return Gaussians curated by a reward model that was trained on rankings by nearness to 1."""
    schemes = cj.make_schemes({"log": _CHOICE})

    def read(examples: Array) -> tuple[Array, Array]:
        return examples, jnp.zeros(len(examples), jnp.int32)

    def rank(key: Array, examples: Array) -> cj.reward.RankingData:
        return cj.loop.rank_answers(*read(examples), -jnp.abs(examples[:, 0] - 1.0), _ITEMS)

    reward = cj.loop.learned_reward(
        cj.mlp((8,)), schemes, rank, read, answers=_ITEMS, training=cj.reward.Training(20, 1, 4), refit_steps=4
    )
    process = cj.make_recursion(cj.families.gaussian(1), _plan(), curate=cj.selections.best_of(reward, _ITEMS))
    return process, {"seed": range(members)}


def _remembering(members: int) -> tuple[cj.engine.Process, Mapping[str, Any]]:
    """Return dice under a selection that remembers how often it was asked, and keeps all."""
    counting = cj.Selection(
        "counting",
        lambda key, candidates, pool, memory, **params: candidates.weights * (1.0 + 0.0 * memory),
        start=lambda key, real, **params: jnp.float32(0.0),
        learn=lambda key, candidates, pool, memory, **params: memory + 1.0,
        inspect=lambda key, candidates, pool, memory, **params: {"asked": memory},
    )
    return cj.make_recursion(_dice(), _plan(), curate=counting), {"seed": range(members)}
