"""Any metric by subgroup, with static shapes: samples of other groups are masked, not removed."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.checks.user_functions import call

Value = TypeVar("Value")


@checked
def by_group(metric: Callable[..., Value], *labels: Int[Array, "..."], groups: int) -> Value:
    """Return `metric(where, ...)` of each of the groups 0 ... groups - 1, along a first axis.

    `metric` gets one mask for each array of labels, true where a sample's label is the group: the metrics of one set
    take one mask. Of an empty group they are NaN, its share is 0. Raises ValueError unless there are labels and
    groups >= 1.

    >>> labels = jnp.array([0, 0, 2, 0])
    >>> by_group(lambda where: where.mean(), labels, groups=3).tolist()
    [0.75, 0.0, 0.25]
    """
    if groups < 1 or not labels:
        raise ValueError(f"groups={groups} must be at least 1, with at least one array of labels; got {len(labels)}")

    def of_group(group: Array) -> Value:
        masks: list[Bool[Array, ...]] = [label == group for label in labels]
        value: Value = call("metric", metric, *masks)
        return value

    return jax.vmap(of_group)(jnp.arange(groups))
