"""What both testbeds of curated_loop share: a reward model that chooses in the loop, and records by type of prompt."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

import collapse_jax as cj

TYPES = ("open", "closed")
Way = Literal["soft", "best", "top"]


class Curation(NamedTuple):
    """The choice of one of `choose_from` candidates, and how the reward model that makes it is trained."""

    choose_from: int
    model: cj.reward.Model
    training: cj.reward.Training
    refit_steps: int
    noise: float


def curate(
    curation: Curation,
    schemes: cj.reward.Schemes,
    rank: Callable[..., cj.reward.RankingData],
    read: Callable[[Array], tuple[Array, Array]],
    quality: Callable[[Array, Array], Array],
    way: Way,
    levels: int = 8,
) -> cj.Selection:
    """Return the choice by a reward model, which records the rewards of its candidates by type of prompt.

    `offered` is the mean reward of all candidates, `judged` that of the chosen ones, and `rewards` are `levels`
    quantiles of what was offered. `rank`, `read` and `quality` are those of `cj.loop.learned_reward`.
    """
    reward = cj.loop.learned_reward(
        curation.model,
        schemes,
        rank,
        read,
        answers=curation.choose_from,
        quality=quality,
        training=curation.training,
        refit_steps=curation.refit_steps,
    )
    choices = {"soft": cj.selections.curated, "best": cj.selections.best_of, "top": cj.selections.top_share}

    def inspect(key: Array, candidates: Any, pool: Any, memory: Any, **_: Any) -> dict[str, Array]:
        score, types = reward.score(memory, candidates.examples), read(candidates.examples)[1]
        # The best first, at (i - ½) / levels, as a law of so many items has them.
        places = (jnp.arange(levels, 0, -1) - 0.5) / levels

        def of(where: Array) -> dict[str, Array]:
            return {
                "judged": jnp.mean(score, where=where & (candidates.weights > 0)),
                "offered": jnp.mean(score, where=where),
                "rewards": jnp.nanquantile(jnp.where(where, score, jnp.nan), places, method="nearest"),
            }

        described: dict[str, Array] = by_type(of, types)
        return described

    return choices[way](reward, curation.choose_from)._replace(inspect=inspect)


def by_type(metric: Callable[[Array], Any], types: Array) -> Any:
    """Return the metric of the examples of each type; `metric(where)` is asked with which examples count."""
    return cj.metrics.by_group(metric, types, groups=len(TYPES))


def recursion(
    family: cj.generative.Family,
    plan: cj.generative.Plan,
    truth: Any,
    selection: cj.Selection,
    *,
    dims: dict[str, Any],
    **options: Any,
) -> cj.engine.Process:
    """Return the recursion that answers real prompts and records by type; `dims` are those of its other records."""
    dims = {**dims, "judged": ("type",), "offered": ("type",), "rewards": ("type", "item")}
    return cj.make_recursion(
        family, plan, truth, curate=selection, respond=True, dims=dims, coords={"type": list(TYPES)}, **options
    )
