"""N-gram models of token sequences: tables of what follows a context, as relative frequencies."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Decoding, of_probabilities
from collapse_jax.generative.families.categorical import draw_tokens, zipf
from collapse_jax.generative.family import FAMILIES, Family, Moments, exact_family
from collapse_jax.numerics.indexing import segment_sum

_LARGEST = 2**24
_SETTLE = 100


class NGram(NamedTuple):
    """The probabilities of the first context, and of the next token after each context.

    A context is order - 1 tokens; its number has them as digits, the earliest first.
    """

    first: Float[Array, " context"]
    following: Float[Array, "context v"]


@checked
def ngram(
    vocabulary: int = 16, order: int = 2, *, length: int = 32, exponent: float = 1.0, prompt: int | None = None
) -> Family:
    """Return the family of n-gram models of the given order; examples are (n, length) whole numbers.

    Probabilities are relative frequencies: what never followed a context never will, exactly. After a context that was
    never seen, the next token comes by the frequencies of all that were predicted. `respond` keeps the first `prompt`
    tokens of each example (by default order - 1) and writes the rest anew. `temperature`, `top_k` and `top_p` act on
    the next token after each context, not on the first context. The mean is the frequencies of tokens that the model
    implies, averaged over the `length` positions; the variance is 1 - Σp² of these.

    The truth is a stationary chain: the next token has Zipf's probabilities i^-exponent, each multiplied by random
    exponential noise that is the same in every session.

    Raises ValueError for tables of more than 2**24 entries, a length below `order`, a prompt outside
    [order - 1, length].
    """
    for name, value in (("vocabulary", vocabulary), ("order", order), ("length", length)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 on")
    if vocabulary**order > _LARGEST:
        raise ValueError(f"vocabulary**order is {vocabulary}**{order}; it must be at most 2**24")
    if length < order:
        raise ValueError(f"length is {length}; it must be at least the order, {order}")
    memory = order - 1
    kept = memory if prompt is None else prompt
    if isinstance(kept, bool) or not isinstance(kept, int) or not memory <= kept <= length:
        raise ValueError(f"prompt is {prompt!r}; it must be a whole number from {memory} to {length}")
    contexts = vocabulary**memory

    def context_of(tokens: Int[Array, "n memory"]) -> Int[Array, " n"]:
        digits = vocabulary ** jnp.arange(memory - 1, -1, -1)
        return (tokens * digits[None]).sum(axis=1).astype(jnp.int32)

    def contexts_in(examples: Int[Array, "n length"]) -> Int[Array, "n predicted"]:
        return jnp.stack([context_of(examples[:, i : i + memory]) for i in range(length - memory)], axis=1)

    def init(key: Key[Array, ""], examples: Array, weights: Array) -> NGram:
        return NGram(jnp.full(contexts, 1.0 / contexts), jnp.full((contexts, vocabulary), 1.0 / vocabulary))

    def fit(key: Key[Array, ""], params: NGram, examples: Int[Array, "n length"], weights: Float[Array, " n"]) -> NGram:
        a = weights / weights.sum()
        seen = contexts_in(examples)
        first = segment_sum(a, seen[:, 0], contexts)
        cells = seen * vocabulary + examples[:, memory:]
        each = jnp.broadcast_to(a[:, None], cells.shape)
        counts = segment_sum(each.reshape(-1), cells.reshape(-1), contexts * vocabulary).reshape(contexts, vocabulary)
        total = counts.sum(axis=1, keepdims=True)
        overall = counts.sum(axis=0) / counts.sum()
        return NGram(first, jnp.where(total > 0, counts / jnp.where(total > 0, total, 1.0), overall[None]))

    def write(
        key: Key[Array, ""], params: NGram, start: Int[Array, "n given"], context: Int[Array, " n"]
    ) -> Int[Array, "n length"]:
        def one(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
            context, key = carry
            key, own_key = jax.random.split(key)
            rows = params.following[context]
            token = jax.vmap(lambda key, p: draw_tokens(key, p, 1)[0])(jax.random.split(own_key, len(context)), rows)
            return ((context * vocabulary + token) % contexts, key), token

        rest = jax.lax.scan(one, (context, key), None, length=length - start.shape[1])[1]
        return jnp.concatenate([start, rest.T], axis=1)

    def sample(key: Key[Array, ""], params: NGram, n: int) -> Int[Array, "n length"]:
        first_key, key = jax.random.split(key)
        context = draw_tokens(first_key, params.first, n)
        digits = vocabulary ** jnp.arange(memory - 1, -1, -1)
        start = ((context[:, None] // digits[None]) % vocabulary).astype(jnp.int32)
        return write(key, params, start, context)

    def respond(key: Key[Array, ""], params: NGram, examples: Int[Array, "n length"]) -> Int[Array, "n length"]:
        start = examples[:, :kept]
        return write(key, params, start, context_of(start[:, kept - memory :]))

    def log_prob(params: NGram, examples: Int[Array, "n length"]) -> Float[Array, " n"]:
        seen = contexts_in(examples)
        steps = jnp.log(params.following)[seen, examples[:, memory:]]
        return jnp.log(params.first)[seen[:, 0]] + steps.sum(axis=1)

    def token_probabilities(params: NGram, examples: Int[Array, "n length"]) -> Float[Array, "n length v"]:
        # The first context is drawn as a whole: its tokens come one after the other, given those before them.
        first = params.first.reshape((vocabulary,) * memory)
        given = []
        for place in range(memory):
            joint = first.sum(axis=tuple(range(place + 1, memory)))[tuple(examples[:, i] for i in range(place))]
            joint = jnp.broadcast_to(joint, (len(examples), vocabulary))
            total = joint.sum(axis=1, keepdims=True)
            given.append(joint / jnp.where(total > 0, total, 1.0))
        following = params.following[contexts_in(examples)]
        return jnp.concatenate([*(one[:, None] for one in given), following], axis=1)

    def moments(params: NGram) -> Moments:
        # The frequencies at each place of the first context: its other places summed out.
        first = params.first.reshape((vocabulary,) * memory)
        given = [first.sum(axis=tuple(j for j in range(memory) if j != i)) for i in range(memory)]

        def advance(context: Array, _: None) -> tuple[Array, Array]:
            both = context[:, None] * params.following
            return both.reshape(vocabulary, contexts).sum(axis=0), both.sum(axis=0)

        predicted = jax.lax.scan(advance, params.first, None, length=length - memory)[1].sum(axis=0)
        p = (predicted + sum(given, jnp.zeros(vocabulary))) / length
        return Moments(p, 1.0 - p @ p)

    def on_rows(decoding: Decoding) -> Decoding:
        return decoding._replace(
            apply=lambda params, value: params._replace(following=decoding.apply(params.following, value))
        )

    family = Family(
        "ngram",
        init,
        fit,
        sample,
        log_prob,
        moments,
        respond,
        decodings={name: on_rows(one) for name, one in of_probabilities(vocabulary).items()},
        token_probabilities=token_probabilities,
        truth=_stationary(vocabulary, contexts, zipf(vocabulary, exponent)),
        source="Suresh et al., arXiv 2412.17646",
    )
    return exact_family(family)


def _stationary(vocabulary: int, contexts: int, p: Float[Array, " v"]) -> NGram:
    following = np.asarray(p, np.float64) * np.random.default_rng(0).exponential(size=(contexts, vocabulary))
    following /= following.sum(axis=1, keepdims=True)
    first = np.full(contexts, 1.0 / contexts)
    for _ in range(_SETTLE):
        first = (first[:, None] * following).reshape(vocabulary, contexts).sum(axis=0)
    return NGram(jnp.asarray(first, jnp.float32), jnp.asarray(following, jnp.float32))


FAMILIES.promise("ngram", ngram)
