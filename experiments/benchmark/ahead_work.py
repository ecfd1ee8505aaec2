"""Every kind of work that is compiled ahead: its processes, and how many members each sweep has."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import collapse_jax as cj
from experiments.benchmark.family_workloads import EXAMPLES, STATISTICS, by_examples, by_statistics
from experiments.benchmark.network_workloads import (
    CLASSES,
    LATENT,
    LENGTH,
    SHAPE,
    VOCABULARY,
    fit_and_sample,
    image_models,
    language_models,
)
from experiments.benchmark.reward_workloads import perceptrons, text_encoders
from experiments.benchmark.workloads import Workload, process_of
from experiments.testbeds.loop_curation import Curation
from experiments.testbeds.loop_tokens import answer_tokens

_RECURSION = {"samples": 1000, "generations": 20, "lineages": 1000}
_MEMBERS, _STEPS = 64, 64


class Work(NamedTuple):
    """A process, and how many seeds of it a sweep takes."""

    name: str
    process: cj.engine.Process
    members: int


def _timed(*workloads: Workload) -> list[Work]:
    return [Work(one.name, one.process, one.members) for one in workloads]


def _language(dtype: Any) -> list[Work]:
    sizes = cj.nets.Architecture(2, 64, dtype=dtype)
    return [
        one._replace(name=f"{one.name}, {dtype}")
        for one in _timed(*language_models(sizes, members=_MEMBERS, steps=_STEPS, rows=256))
    ]


def _recursions() -> list[Work]:
    """Return networks fitted generation after generation: the engine hands each member its own fitting's settings."""
    fitting = cj.generative.Fitting(_STEPS, 32, 1e-3)
    images = cj.families.LabelledImages(jnp.zeros((512, *SHAPE)), jnp.zeros(512, jnp.int32))
    rows = jnp.zeros((512, LENGTH), jnp.int32)
    plan = cj.make_plan(cj.REGIMES["replace"], 4, 256)

    def measure(key: Any, model: Any) -> dict[str, Any]:
        return {"sum": sum(jnp.sum(leaf) for leaf in jax.tree.leaves(model))}

    return [
        Work(f"{name}, recursion", cj.make_recursion(family, plan, cj.resample(real), measure=measure), _MEMBERS)
        for name, family, real in (
            ("language model", cj.families.language_model(VOCABULARY, LENGTH, fitting=fitting), rows),
            ("VAE", cj.families.vae(SHAPE, CLASSES, fitting=fitting), images),
            ("flow", cj.families.flow(SHAPE, CLASSES, fitting=fitting), images),
        )
    ]


def _beams() -> list[Work]:
    family = cj.families.language_model(VOCABULARY, LENGTH, prompt=16, beams=4)
    rows = np.zeros((256, LENGTH), np.int32)
    return [Work("beams, 4", process_of(fit_and_sample(family, rows, 256)[1]), 16)]


def _convolutions() -> list[Work]:
    images = cj.families.LabelledImages(jnp.zeros((512, *SHAPE)), jnp.zeros(512, jnp.int32))
    fitting = cj.generative.Fitting(_STEPS, 64, 1e-3)
    family = cj.families.vae(SHAPE, CLASSES, hidden=(16, 32), latent=LATENT, kind="convolutional", fitting=fitting)
    train, sample = (process_of(one) for one in fit_and_sample(family, images, 512))
    return [
        Work("convolutional VAE, training", train, _MEMBERS),
        Work("convolutional VAE, sampling", sample, _MEMBERS),
    ]


def _learned_reward() -> list[Work]:
    training = cj.reward.Training(500, records=1)
    curation = Curation(2, cj.mlp(()), training, 50, 0.1)
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)}, type_names=("open", "closed"))
    plan = cj.make_plan(cj.REGIMES["replace"], 16, 4000)
    frozen = cj.engine.with_arms(answer_tokens(4, 8, curation, schemes, plan), {"frozen": {"refit": "frozen"}})
    return [Work("a reward model in the loop", frozen, _MEMBERS)]


def _selections() -> list[Work]:
    tokens = 100

    def count(candidates: cj.generative.Candidates) -> Any:
        return jnp.ones(tokens) + candidates.weights @ (candidates.examples[:, None] == jnp.arange(tokens)[None])

    rare = cj.Selection(
        "rare first",
        lambda key, candidates, pool, seen: candidates.weights / seen[candidates.examples],
        oversample=4,
        start=lambda key, real: count(real),
        learn=lambda key, candidates, pool, seen: seen + count(candidates),
    )
    detector = cj.selections.learned_detector(lambda x: jnp.concatenate([x, x**2], axis=1))
    apart = cj.selections.novel(lambda x, y: jnp.abs(x - y).sum(), threshold=0.01)
    plan = cj.make_plan(cj.REGIMES["replace"], 20, 1000)
    return [
        Work(f"selection: {name}", cj.make_recursion(family, plan, curate=selection), _MEMBERS)
        for name, family, selection in (
            ("with memory, the rarest", cj.families.categorical(tokens), rare),
            ("resampled by a detector", cj.families.gaussian(), cj.selections.importance_resampled(detector)),
            ("the novel", cj.families.gaussian(), apart),
        )
    ]


def _ecosystem() -> list[Work]:
    plan = cj.make_plan(cj.generative.ecosystem(4), 20, 1000)
    return [Work("ecosystem of 4 models", cj.make_recursion(cj.families.categorical(100), plan), _MEMBERS)]


def _gpt2() -> list[Work]:
    vocabulary, length, rows = 32_768, 1024, 8
    family = cj.families.language_model(
        vocabulary,
        length,
        architecture=cj.nets.Architecture(12, 768, heads=12, dtype="bfloat16"),
        fitting=cj.generative.Fitting(16, rows, 1e-3),
    )
    train, write = fit_and_sample(family, np.zeros((64, length), np.int32), rows)
    size = "12 blocks of 768, bfloat16"
    return [Work(f"{size}, training", process_of(train), 2), Work(f"{size}, writing", process_of(write), 2)]


KINDS: dict[str, Callable[[], Iterable[Work]]] = {
    "perceptrons": lambda: _timed(perceptrons(64, steps=_STEPS), perceptrons(4096, steps=_STEPS)),
    "encoders": lambda: _timed(
        *text_encoders(cj.nets.Architecture(2, 128, positions="learned"), members=16, steps=8 * _STEPS)
    ),
    "families": lambda: _timed(*(by_examples(name, **_RECURSION) for name in EXAMPLES)),
    "statistics": lambda: _timed(*(by_statistics(name, **_RECURSION) for name in STATISTICS)),
    "language": lambda: [*_language("float32"), *_language("bfloat16")],
    "beams": _beams,
    "recursions": _recursions,
    "images": lambda: [*_timed(*image_models(members=_MEMBERS, steps=_STEPS, rows=512)), *_convolutions()],
    "learned_reward": _learned_reward,
    "selections": _selections,
    "ecosystem": _ecosystem,
    "gpt2": _gpt2,
}
"""What each kind of work consists of. Call them within `compiled_ahead`: some ask which accelerator they run on."""

LARGE = ("gpt2",)
"""Kinds of work that are compiled only where they are named."""
