"""Token editing: real sequences, of which only what a model finds too likely is written anew."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.generative.decoding import Decoding, Scalar
from collapse_jax.generative.family import Family, Params

_BATCH = 64


class Edited(NamedTuple):
    """The parameters of the family whose tokens are edited, and the probability from which one is."""

    params: Params
    threshold: Scalar


def token_edited(family: Family, *, threshold: float = 0.99) -> Family:
    """Return a family of sequences of tokens as it is, but one that answers given sequences by editing them.

    `respond` keeps a token whose probability under the model, given those before it, is below `threshold`; any other
    is drawn anew from that distribution. So a recursion with `respond` trains on the real set, edited by its models,
    and on no sequence that a model wrote by itself. `threshold`, in [0, 1], is a decoding too: above the largest
    probability nothing is edited, and at 0 every token is. Tokens below 0 are padding and stay.

    Raises ValueError for a family without `token_probabilities` and a threshold outside [0, 1]. Source: Zhu et al.,
    arXiv 2412.14689.
    """
    probabilities = family.token_probabilities
    if probabilities is None:
        raise ValueError(f"family {family.name!r} has no `token_probabilities`; only sequences of tokens can be edited")
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold is {threshold}; it must be a probability in [0, 1]")
    if "threshold" in family.decodings:
        raise ValueError(f"family {family.name!r} has a decoding 'threshold' already")

    def init(key: Key[Array, ""], examples: Array, weights: Float[Array, " n"]) -> Edited:
        return Edited(family.init(key, examples, weights), jnp.asarray(threshold, float))

    def fit(key: Key[Array, ""], params: Edited, examples: Array, weights: Array, **hyper: Array) -> Edited:
        return params._replace(params=family.fit(key, params.params, examples, weights, **hyper))

    def respond(key: Key[Array, ""], params: Edited, examples: Int[Array, "n ..."]) -> Int[Array, "n ..."]:
        def edit(pair: tuple[Array, Array]) -> Array:
            tokens, drawn = pair
            p = probabilities(params.params, tokens[None])[0]
            cumulative = jnp.cumsum(p, axis=-1)
            # Strictly above: a token of probability 0 is never drawn.
            fresh = jnp.argmax(cumulative > (drawn * cumulative[..., -1])[..., None], axis=-1)
            own = jnp.take_along_axis(p, jnp.maximum(tokens, 0)[..., None], axis=-1)[..., 0]
            return jnp.where((tokens >= 0) & (own >= params.threshold), fresh.astype(tokens.dtype), tokens)

        # A distribution over the vocabulary at each place: a part of the rows at a time.
        edited: Array = jax.lax.map(edit, (examples, jax.random.uniform(key, examples.shape)), batch_size=_BATCH)
        return edited

    def on_inner(decoding: Decoding) -> Decoding:
        return decoding._replace(
            apply=lambda params, value: params._replace(params=decoding.apply(params.params, value))
        )

    log_prob, token_log_prob, embed, moments = family.log_prob, family.token_log_prob, family.embed, family.moments
    return family._replace(
        name=f"token_edited({family.name})",
        init=init,
        fit=fit,
        sample=lambda key, params, n: family.sample(key, params.params, n),
        log_prob=log_prob and (lambda params, examples: log_prob(params.params, examples)),
        moments=moments and (lambda params: moments(params.params)),
        respond=respond,
        decodings={
            **{name: on_inner(one) for name, one in family.decodings.items()},
            "threshold": Decoding(lambda params, value: params._replace(threshold=value), threshold, 0.0, 1.0),
        },
        statistics=None,
        token_log_prob=token_log_prob and (lambda params, examples: token_log_prob(params.params, examples)),
        token_probabilities=lambda params, examples: probabilities(params.params, examples),
        embed=embed and (lambda params, examples: embed(params.params, examples)),
        source="Zhu et al., arXiv 2412.14689",
    )
