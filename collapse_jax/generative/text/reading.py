"""Reading rows of tokens with a transformer: which token sees which, and the probability of each."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from collapse_jax.nets.transformer import Transformer, Weights


class Reader(NamedTuple):
    """How rows of tokens are read, one place at a time or all at once.

    `inputs(rows)` are the tokens that predict the rows: shifted by one, from the start token on, padding replaced.
    `starts(inputs)` is the place, for each, where its document began. `hidden(weights, rows)` are the hidden states
    that predict each token, `token_log_prob(weights, rows)` its log-probability, 0 for padding, and
    `token_probabilities(weights, rows)` those of all tokens in its place. `logits(weights, hidden)` are the
    transformer's, of proper tokens only. `start` is the start token, `vocabulary` their number.
    """

    inputs: Callable[..., Int[Array, "n length"]]
    starts: Callable[..., Int[Array, "n length"]]
    hidden: Callable[..., Float[Array, "n length width"]]
    token_log_prob: Callable[..., Float[Array, "n length"]]
    token_probabilities: Callable[..., Float[Array, "n length v"]]
    logits: Callable[..., Float[Array, "n ... v"]]
    start: int
    vocabulary: int


def make_reader(transformer: Transformer, *, vocabulary: int, start: int) -> Reader:
    """Return how a causal transformer reads rows of documents that end with the token `start`."""

    def inputs(rows: Int[Array, "n length"]) -> Int[Array, "n length"]:
        shifted = jnp.pad(rows, ((0, 0), (1, 0)), constant_values=start)[:, : rows.shape[1]]
        return jnp.maximum(shifted, 0)

    def starts(read: Int[Array, "n length"]) -> Int[Array, "n length"]:
        places = jnp.arange(read.shape[1])[None]
        return jax.lax.cummax(jnp.where(read == start, places, 0), axis=1)

    def hidden(weights: Weights, rows: Int[Array, "n length"]) -> Float[Array, "n length width"]:
        read = inputs(rows)
        began = starts(read)
        places = jnp.arange(rows.shape[1])
        return transformer.encode(weights, read, places[None] - began, visible(began, places))

    def logits(weights: Weights, hidden: Float[Array, "n ... width"]) -> Float[Array, "n ... v"]:
        return transformer.logits(weights, hidden, vocabulary)

    def token_log_prob(weights: Weights, rows: Int[Array, "n length"]) -> Float[Array, "n length"]:
        scores = logits(weights, hidden(weights, rows))
        # The sum of zeros and one score is that score; the gradient of choosing it by its index would be a scatter.
        own = rows[:, :, None] == jnp.arange(vocabulary)[None, None]
        chosen = jnp.where(rows < vocabulary, jnp.where(own, scores, 0.0).sum(axis=-1), jnp.nan)
        return jnp.where(rows >= 0, chosen - jax.nn.logsumexp(scores, axis=-1), 0.0)

    def token_probabilities(weights: Weights, rows: Int[Array, "n length"]) -> Float[Array, "n length v"]:
        return jax.nn.softmax(logits(weights, hidden(weights, rows)), axis=-1)

    return Reader(inputs, starts, hidden, token_log_prob, token_probabilities, logits, start, vocabulary)


def visible(
    starts: Int[Array, "n new"], keys: Int[Array, " length"], first: Int[Array, ""] | int = 0
) -> Bool[Array, "n new length"]:
    """Return which keys a token sees, for tokens at places `first` on: those of its document, up to itself."""
    places = first + jnp.arange(starts.shape[1])
    return (keys[None, None] >= starts[:, :, None]) & (keys[None, None] <= places[None, :, None])
