"""Token editing: real sequences, of which only what a model finds too likely is written anew."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Decoding, Scalar
from collapse_jax.generative.family import Family, Params
from collapse_jax.generative.rebuilding import rebuildable

_BATCH = 64


class Edited(NamedTuple):
    """Parameters of the family whose tokens are edited, decoded: with the probability from which one is."""

    params: Params
    threshold: Scalar


@checked
@rebuildable
def token_edited(family: Family, *, threshold: float = 0.99) -> Family:
    """Return a family of sequences of tokens as it is, but one that answers given sequences by editing them.

    `respond` keeps a token whose probability under the model, given those before it, is below `threshold`; any other
    is drawn anew from that distribution. So a recursion with `respond` trains on the real set, edited by its models,
    and on no sequence that a model wrote by itself. `threshold`, in [0, 1], is a decoding too: above the largest
    probability nothing is edited, and at 0 every token is. Tokens below 0 are padding and stay; a prompt is edited too.

    Raises ValueError for a family without `tokens.probabilities` and a threshold outside [0, 1]. Source: Zhu et al.,
    arXiv 2412.14689.
    """
    probabilities = None if family.tokens is None else family.tokens.probabilities
    if probabilities is None:
        raise ValueError(
            f"family {family.name!r} has no `tokens` with `probabilities`; only sequences of tokens can be edited"
        )
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold is {threshold}; it must be a probability in [0, 1]")
    if "threshold" in family.decodings:
        raise ValueError(f"family {family.name!r} has a decoding 'threshold' already")

    def opened(params: Params | Edited) -> Edited:
        return params if isinstance(params, Edited) else Edited(params, threshold)

    def respond(key: Key[Array, ""], params: Params | Edited, examples: Int[Array, "n ..."]) -> Int[Array, "n ..."]:
        inner, limit = opened(params)

        def edit(pair: tuple[Array, Array]) -> Array:
            tokens, drawn = pair
            p = probabilities(inner, tokens[None])[0]
            cumulative = jnp.cumsum(p, axis=-1)
            # Strictly above: a token of probability 0 is never drawn.
            fresh = jnp.argmax(cumulative > (drawn * cumulative[..., -1])[..., None], axis=-1)
            own = jnp.take_along_axis(p, jnp.maximum(tokens, 0)[..., None], axis=-1)[..., 0]
            return jnp.where((tokens >= 0) & (own >= limit), fresh.astype(tokens.dtype), tokens)

        # A distribution over the vocabulary at each place: a part of the rows at a time.
        edited: Array = jax.lax.map(edit, (examples, jax.random.uniform(key, examples.shape)), batch_size=_BATCH)
        return edited

    def on_inner(decoding: Decoding) -> Decoding:
        def apply(params: Params | Edited, value: Scalar) -> Edited:
            inner, limit = opened(params)
            return Edited(decoding.apply(inner, value), limit)

        return decoding._replace(apply=apply)

    return family._replace(
        name=f"token_edited({family.name})",
        sample=lambda key, params, n: family.sample(key, opened(params).params, n),
        respond=respond,
        decodings={
            **{name: on_inner(one) for name, one in family.decodings.items()},
            "threshold": Decoding(lambda params, value: Edited(opened(params).params, value), threshold, 0.0, 1.0),
        },
        statistics=None,
        matching=None,
        source="Zhu et al., arXiv 2412.14689",
    )
