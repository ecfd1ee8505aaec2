"""Prompts whose answers are single tokens, curated by a reward model in the loop: the exact testbed of curated_loop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from experiments.testbeds.loop_curation import Curation, Way, by_type, curate, recursion


def answer_tokens(
    prompts: int,
    answers: int,
    curation: Curation,
    schemes: cj.reward.Schemes,
    plan: cj.generative.Plan,
    way: Way = "soft",
) -> cj.engine.Process:
    """Return the recursion over rows (prompt, answer), all answers equally likely at first.

    The reward model is trained on a ranking of all answers to each prompt, by their true quality and noise. Raises
    ValueError for fewer than two prompts.
    """
    if prompts < 2:
        raise ValueError(f"prompts is {prompts}; it must be at least 2, one of each type")
    quality = token_quality(prompts, answers)
    types = jnp.asarray(np.arange(prompts) >= prompts // 2, jnp.int32)
    size = max(prompts, answers)
    family = cj.families.ngram(size, 2, length=2, prompt=1)
    following = np.broadcast_to(np.where(np.arange(size) < answers, 1.0 / answers, 0.0), (size, size))
    first = np.where(np.arange(size) < prompts, 1.0 / prompts, 0.0)
    uniform = family.truth._replace(  # type: ignore[union-attr]
        first=jnp.asarray(first, jnp.float32), following=jnp.asarray(following, jnp.float32)
    )

    def read(rows: Array) -> tuple[Array, Array]:
        # Indicators of 8 instead of 1: Adam moves rewards eight times as fast, so that they get near their law.
        return 8.0 * jax.nn.one_hot(rows[:, 0] * answers + rows[:, 1], prompts * answers), types[rows[:, 0]]

    def noisy_quality(key: Array, rows: Array) -> Array:
        true = jnp.asarray(quality, jnp.float32)[rows[:, 0], rows[:, 1]]
        return true + curation.noise * jax.random.normal(key, true.shape)

    def rank(key: Array, real: Array) -> cj.reward.RankingData:
        rows = jnp.stack([jnp.repeat(jnp.arange(prompts), answers), jnp.tile(jnp.arange(answers), prompts)], axis=1)
        return cj.loop.rank_answers(*read(rows), noisy_quality(key, rows), answers)

    def measure(key: Array, params: Any) -> dict[str, Array]:
        p, right = params.following[:prompts, :answers], jnp.asarray(quality > 0.5)
        among = jnp.where(right, p, 0.0)
        among = among / among.sum(axis=1, keepdims=True)
        recorded = {
            "diversity": 1.0 - (p**2).sum(axis=1),
            "diversity_right": 1.0 - (among**2).sum(axis=1),
            "quality": (p * jnp.asarray(quality, p.dtype)).sum(axis=1),
            "drift": 0.5 * jnp.abs(p - 1.0 / answers).sum(axis=1),
        }

        def of(where: Array) -> dict[str, Array]:
            means = {name: jnp.mean(values, where=where) for name, values in recorded.items()}
            return {**means, "share": params.first[:prompts].sum(where=where)}

        measured: dict[str, Array] = by_type(of, types)
        return measured

    selection = curate(curation, schemes, rank, read, noisy_quality, way)
    dims = dict.fromkeys(("diversity", "diversity_right", "quality", "drift", "share"), ("type",))
    return recursion(family, plan, uniform, selection, measure=measure, dims=dims)


def token_quality(prompts: int, answers: int) -> np.ndarray:
    """Return the true quality (prompt, answer): graded for the first half of prompts, then right (1) or wrong (0)."""
    graded = np.linspace(1.0, 0.0, answers)
    return np.where((np.arange(prompts) < prompts // 2)[:, None], graded[None], (graded > 0.5)[None])
