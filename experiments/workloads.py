"""What `throughput` times: pieces of work, each done in several ways, in units of work a second."""

import importlib.util
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj

LOOP, ONE_BY_ONE, POPULATION, STATISTICS = "loop", "one by one, jitted", "population", "population, statistics"


class Workload(NamedTuple):
    """A piece of work: its unit, the floating-point operations of a unit, and units a second of each way, timed."""

    name: str
    unit: str
    operations: float
    ways: Mapping[str, Callable[[], float]]


def numpy_loop(samples: int, generations: int, lineages: int) -> np.ndarray:
    """Return mean and variance of every generation of Gaussians: the plain loop."""
    records = np.empty((lineages, generations, 2))
    for lineage in range(lineages):
        rng = np.random.default_rng(lineage)
        mean, scale = 0.0, 1.0
        for generation in range(generations):
            x = rng.normal(mean, scale, samples)
            mean, scale = x.mean(), x.std()
            records[lineage, generation] = mean, scale**2
    return records


def gaussian(samples: int, generations: int, lineages: int) -> Workload:
    """Return the recursion of one-dimensional Gaussians, replaced, in generations of a lineage."""
    family, plan = cj.families.gaussian(1), cj.make_plan(cj.REGIMES["replace"], generations, samples)
    few = max(20_000 // (generations * (1 + samples // 1000)), 5)

    def loop() -> float:
        begin = time.perf_counter()
        numpy_loop(samples, generations, few)
        return few * generations / (time.perf_counter() - begin)

    def swept(make: Callable[..., cj.Process]) -> Callable[[], float]:
        axes = {"seed": range(lineages)}
        return lambda: lineages * generations / _seconds(make(family, plan), axes, vmap_members=256)

    ways = {LOOP: loop, POPULATION: swept(cj.make_recursion), STATISTICS: swept(cj.make_fused_recursion)}
    return Workload(f"Gaussian, {samples} samples", "generations", np.nan, ways)


def language_models(architecture: cj.Architecture, *, members: int, steps: int, rows: int) -> list[Workload]:
    """Return training and writing of language models, in tokens; 512 tokens in the vocabulary, 64 in a row."""
    vocabulary, length, batch = 512, 64, 32
    family = cj.families.language_model(
        vocabulary, length, architecture=architecture, fitting=cj.Fitting(steps, batch, 1e-3)
    )
    data = np.random.default_rng(0).integers(vocabulary, size=(512, length)).astype(np.int32)
    ones = jnp.ones(len(data))

    def train(key: Array) -> Any:
        init_key, fit_key = jax.random.split(key)
        return family.fit(fit_key, family.init(init_key, jnp.asarray(data), ones), jnp.asarray(data), ones)

    def write(key: Array) -> Array:
        init_key, sample_key = jax.random.split(key)
        rows_written: Array = family.sample(sample_key, family.init(init_key, jnp.asarray(data), ones), rows)
        return rows_written

    forward = _operations(architecture, length) + 2 * vocabulary * architecture.width
    trained, written = steps * batch * length, rows * length
    return [
        _neural(
            "language model, training",
            "tokens",
            3 * forward,
            trained,
            train,
            members,
            _torch("train_language_model", architecture, vocabulary, data, steps, batch),
        ),
        _neural(
            "language model, writing",
            "tokens",
            forward,
            written,
            write,
            members,
            _torch("sample_language_model", architecture, vocabulary, rows, length),
        ),
    ]


def reward_models(architecture: cj.Architecture, *, members: int, steps: int) -> list[Workload]:
    """Return training of text reward models on 8 completions of 8 prompts a step, in pairs: 28 a prompt.

    Completions are prefixes of texts of 192 tokens, the shortest an eighth of it: encoded each once, or each prompt
    once by `prefix_encoder`.
    """
    vocabulary, length, batch, items = 512, 192, 8, 8
    text = np.random.default_rng(0).integers(vocabulary, size=(32, length)).astype(np.int32)
    last = np.tile(np.arange(items, 0, -1) * (length // items) - 1, (len(text), 1)).astype(np.int32)
    tokens = np.where(np.arange(length) <= last[:, :, None], text[:, None], -1).astype(np.int32)
    mask, types = np.ones(last.shape, bool), np.zeros(len(text), np.int32)
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)})

    def training(model: cj.Model, features: Any) -> Callable[[Array], Any]:
        process = cj.make_training(
            cj.make_rankings(features, mask, types), model, schemes, training=cj.Training(steps, 1, batch)
        )

        def train(key: Array) -> Any:
            return process.step(process.init(key, process.hyper), process.hyper, jnp.int32(0))[0].params

        return train

    each = training(cj.text_encoder(vocabulary, architecture=architecture), tokens)
    once = training(
        cj.prefix_encoder(vocabulary, architecture=architecture), cj.Prefixes(text, np.zeros(len(text), np.int32), last)
    )
    pairs = items * (items - 1) // 2
    cost = 3 * _operations(architecture, length) * length / pairs
    loop = _torch("train_reward_model", architecture, vocabulary, tokens, steps, batch)
    done = steps * batch * pairs
    return [
        _neural("reward model, each completion", "pairs", cost * items, done, each, members, loop),
        _neural("reward model, each prompt", "pairs", cost, done, once, members, loop),
    ]


def matrix_peak(size: int = 1024, repeats: int = 20) -> float:
    """Return the float32 operations a second of products of square matrices, on all devices at once."""
    devices = jax.devices()
    product = jax.jit(lambda a: jax.lax.fori_loop(0, repeats, lambda _, b: a @ b, a))
    operands = [jax.device_put(jnp.eye(size), device) for device in devices]
    jax.block_until_ready([product(one) for one in operands])
    begin = time.perf_counter()
    jax.block_until_ready([product(one) for one in operands])
    return len(devices) * repeats * 2.0 * size**3 / (time.perf_counter() - begin)


def _operations(architecture: cj.Architecture, length: int) -> float:
    """Return the operations of the blocks, a token, forward: products with weights, and with keys and values."""
    width, expansion = architecture.width, architecture.expansion
    return architecture.layers * (2.0 * width**2 * (4 + 2 * expansion) + 4.0 * length * width)


def _neural(
    name: str,
    unit: str,
    operations: float,
    done: int,
    work: Callable[[Array], Any],
    members: int,
    loop: Callable[[], float] | None,
) -> Workload:
    """Return a piece of work for each of `members`: in one program, one jitted call after the other, in a loop."""

    def advance(state: dict[str, Array], hyper: Any, index: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        key, own_key = jax.random.split(state["key"])
        return {"key": key, "sum": _sum(work(own_key))}, {"index": index}

    process = cj.Process(
        lambda key, hyper: {"key": key, "sum": jnp.zeros(())},
        advance,
        num_steps=1,
    )
    jitted = jax.jit(work)
    keys = jax.random.split(jax.random.key(0), members)

    def one_by_one() -> float:
        jax.block_until_ready(jitted(keys[0]))
        begin = time.perf_counter()
        for key in keys:
            jax.block_until_ready(jitted(key))
        return members * done / (time.perf_counter() - begin)

    ways = {ONE_BY_ONE: one_by_one, POPULATION: lambda: members * done / _seconds(process, {"seed": range(members)})}
    if loop is not None:
        timed = loop
        ways = {LOOP: lambda: done / timed(), **ways}
    return Workload(name, unit, operations, ways)


def _sum(tree: Any) -> Array:
    return sum((jnp.sum(leaf).astype(float) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


def _seconds(process: cj.Process, axes: Mapping[str, Any], **options: Any) -> float:
    """Return the seconds of running: compilation happens once, and is shown by every experiment's provenance."""
    swept = cj.sweep(process, axes, segment=process.num_steps, progress=False, **options)
    return float(json.loads(swept.attrs["provenance"])["run_seconds"])


def _torch(name: str, *arguments: Any) -> Callable[[], float] | None:
    """Return the PyTorch loop of that name, as a function that returns its seconds, or None without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    loops = importlib.import_module("experiments.torch_loops")
    return lambda: getattr(loops, name)(*arguments)
