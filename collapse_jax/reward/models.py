"""Reward models: pure functions from the features of completions to rewards in [0, 1]."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Key, PyTree

from collapse_jax.checks.annotations import checked


@runtime_checkable
class Link(Protocol):
    """What maps the real line onto rewards."""

    def __call__(self, x: Float[Array, "*shape"], /) -> Float[Array, "*shape"]:
        """Return rewards in [0, 1], elementwise and in jax.numpy."""


@runtime_checkable
class Init(Protocol):
    """Parameters to start training from."""

    def __call__(self, key: Key[Array, ""], features: PyTree, /) -> PyTree:
        """Return parameters for features such as these, (prompt, item, ...), of which only the shapes should matter."""


@runtime_checkable
class Apply(Protocol):
    """The rewards that a model gives."""

    def __call__(self, params: PyTree, features: PyTree, /) -> Float[Array, "*prompt item"]:
        """Return rewards in [0, 1], one for each item: the features have the same leading axes, prompts and items."""


class Model(NamedTuple):
    """A reward model of any library: `init(key, features)` returns parameters, `apply(parameters, features)` rewards.

    Rewards (..., item) lie in [0, 1]: without the box a bounded utility has no optimum, and no law or certificate
    holds; a sweep's `gap`, and what `summarize_rewards` compares with a law, are NaN outside it. Features are what the
    rankings hold, an array or several with the same leading axes: (..., item, feature) for `mlp`. Those of a model with
    a `vocabulary` are tokens below it, or below 0 where there is none, and are examined before the model is trained.

    A model that is not `bounded` gives raw logits, any numbers, as Bradley-Terry trainers have them. Utilities that are
    two-sided are then taken as they are, at any gap, and centring draws (better + worse) to 0 instead of to 1.

    `config` is JSON, kind and sizes, by which a saved model of this library is built again: None for one of your own.
    """

    init: Init
    apply: Apply
    vocabulary: int | None = None
    bounded: bool = True
    config: Mapping[str, Any] | None = None


LINKS: Mapping[str, Link] = {"sigmoid": jax.nn.sigmoid}
"""The links that a saved model is built with again, by name."""


def link_config(link: Link | None) -> str | dict[str, str] | None:
    """Return a link as JSON: its name where it is one of `LINKS`, None for none, else its own, under "function".

    >>> link_config(jax.nn.sigmoid)
    'sigmoid'
    """
    if link is None:
        return None
    known = next((name for name, one in LINKS.items() if one is link), None)
    called = getattr(link, "__qualname__", type(link).__qualname__)
    return known or {"function": f"{getattr(link, '__module__', '?')}.{called}"}


@checked
def mlp(hidden: Sequence[int] = (128,), *, link: Link | None = jax.nn.sigmoid) -> Model:
    """Return a multilayer perceptron with GELU layers of the given widths, a scalar head and a `link` onto [0, 1].

    Without a link, None, it gives raw logits, and is not `bounded`. Raises ValueError for a width below 1.
    """
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden is {tuple(hidden)}; widths must be at least 1")

    class RewardMLP(nn.Module):
        @nn.compact
        def __call__(self, features: Array) -> Array:
            # Rows of one matrix: XLA multiplies several leading axes more slowly on a CPU.
            x = features.reshape(-1, features.shape[-1])
            for width in hidden:
                x = nn.gelu(nn.Dense(width)(x))
            return linked(link, nn.Dense(1, name="head")(x)[:, 0]).reshape(features.shape[:-1])

    module = RewardMLP()

    def apply(params: PyTree, features: Array) -> Array:
        return cast(Array, module.apply(params, features))

    config = {"kind": "mlp", "hidden": [int(width) for width in hidden], "link": link_config(link)}
    return Model(module.init, apply, bounded=link is not None, config=config)


def linked(link: Link | None, scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the rewards of scores: the scores themselves where there is no link."""
    return scores if link is None else link(scores)
