"""N-gram models of token sequences: tables of what follows a context, as relative frequencies."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Decoding, of_probabilities
from collapse_jax.generative.families.categorical import draw_tokens, zipf
from collapse_jax.generative.family import FAMILIES, Family, Moments, Tokens, exact_family
from collapse_jax.generative.rebuilding import rebuildable
from collapse_jax.numerics.indexing import segment_sum

__all__ = ["ngram"]

_LARGEST = 2**24
_SETTLE = 100


class NGram(NamedTuple):
    """The probabilities of the first context, and of the next token after each context.

    A context is order - 1 tokens; its number has them as digits, the earliest first.
    """

    first: Float[Array, " context"]
    following: Float[Array, "context v"]


@checked
@rebuildable
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
        numbers.whole(name, value, 1)
    if vocabulary**order > _LARGEST:
        raise ValueError(f"vocabulary**order is {vocabulary}**{order}; it must be at most 2**24")
    if length < order:
        raise ValueError(f"length is {length}; it must be at least the order, {order}")
    memory = order - 1
    kept = memory if prompt is None else prompt
    numbers.whole("prompt", kept, memory, length)
    sizes = _Sizes(vocabulary, memory, length, kept)
    family = Family(
        "ngram",
        partial(_init, sizes),
        partial(_fit, sizes),
        partial(_sample, sizes),
        partial(_log_prob, sizes),
        partial(_moments, sizes),
        partial(_respond, sizes),
        tokens=Tokens(partial(_token_log_prob, sizes), partial(_token_probabilities, sizes), vocabulary, padding=False),
        decodings={name: _on_following(one) for name, one in of_probabilities(vocabulary).items()},
        truth=_stationary(sizes, zipf(vocabulary, exponent)),
        source="Suresh et al., arXiv 2412.17646",
    )
    return exact_family(family)


class _Sizes(NamedTuple):
    """Numbers of tokens: in the vocabulary, in a context, in an example, and those of an example that stay."""

    vocabulary: int
    memory: int
    length: int
    kept: int

    @property
    def contexts(self) -> int:
        return int(self.vocabulary**self.memory)

    @property
    def digits(self) -> Int[Array, " memory"]:
        """What each token of a context counts for in the number of the context."""
        return self.vocabulary ** jnp.arange(self.memory - 1, -1, -1)


def _context_of(sizes: _Sizes, tokens: Int[Array, "n memory"]) -> Int[Array, " n"]:
    """Return the number of each context."""
    return (tokens * sizes.digits[None]).sum(axis=1).astype(jnp.int32)


def _contexts_in(sizes: _Sizes, examples: Int[Array, "n length"]) -> Int[Array, "n predicted"]:
    """Return the number of the context before each token but those of the first context."""
    places = range(sizes.length - sizes.memory)
    return jnp.stack([_context_of(sizes, examples[:, i : i + sizes.memory]) for i in places], axis=1)


def _first_table(sizes: _Sizes, params: NGram) -> Float[Array, "*memory"]:
    """Return the probabilities of the first context as a table with an axis a token."""
    return params.first.reshape((sizes.vocabulary,) * sizes.memory)


def _init(sizes: _Sizes, key: Key[Array, ""], examples: Array, weights: Array) -> NGram:
    contexts, vocabulary = sizes.contexts, sizes.vocabulary
    return NGram(jnp.full(contexts, 1.0 / contexts), jnp.full((contexts, vocabulary), 1.0 / vocabulary))


def _fit(
    sizes: _Sizes, key: Key[Array, ""], params: NGram, examples: Int[Array, "n length"], weights: Float[Array, " n"]
) -> NGram:
    contexts, vocabulary = sizes.contexts, sizes.vocabulary
    a = weights / weights.sum()
    seen = _contexts_in(sizes, examples)
    first = segment_sum(a, seen[:, 0], contexts)
    cells = seen * vocabulary + examples[:, sizes.memory :]
    each = jnp.broadcast_to(a[:, None], cells.shape)
    counts = segment_sum(each.reshape(-1), cells.reshape(-1), contexts * vocabulary).reshape(contexts, vocabulary)
    total = counts.sum(axis=1, keepdims=True)
    overall = counts.sum(axis=0) / counts.sum()
    return NGram(first, jnp.where(total > 0, counts / jnp.where(total > 0, total, 1.0), overall[None]))


def _write(
    sizes: _Sizes, key: Key[Array, ""], params: NGram, start: Int[Array, "n given"], context: Int[Array, " n"]
) -> Int[Array, "n length"]:
    """Return rows that begin with `start`, the last tokens of which are the contexts; the rest is drawn."""

    def one(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        context, key = carry
        key, own_key = jax.random.split(key)
        rows = params.following[context]
        token = jax.vmap(lambda key, p: draw_tokens(key, p, 1)[0])(jax.random.split(own_key, len(context)), rows)
        return ((context * sizes.vocabulary + token) % sizes.contexts, key), token

    rest = jax.lax.scan(one, (context, key), None, length=sizes.length - start.shape[1])[1]
    return jnp.concatenate([start, rest.T], axis=1)


def _sample(sizes: _Sizes, key: Key[Array, ""], params: NGram, n: int) -> Int[Array, "n length"]:
    first_key, key = jax.random.split(key)
    context = draw_tokens(first_key, params.first, n)
    start = ((context[:, None] // sizes.digits[None]) % sizes.vocabulary).astype(jnp.int32)
    return _write(sizes, key, params, start, context)


def _respond(
    sizes: _Sizes, key: Key[Array, ""], params: NGram, examples: Int[Array, "n length"]
) -> Int[Array, "n length"]:
    start = examples[:, : sizes.kept]
    return _write(sizes, key, params, start, _context_of(sizes, start[:, sizes.kept - sizes.memory :]))


def _log_prob(sizes: _Sizes, params: NGram, examples: Int[Array, "n length"]) -> Float[Array, " n"]:
    seen = _contexts_in(sizes, examples)
    steps = jnp.log(params.following)[seen, examples[:, sizes.memory :]]
    return jnp.log(params.first)[seen[:, 0]] + steps.sum(axis=1)


def _token_probabilities(sizes: _Sizes, params: NGram, examples: Int[Array, "n length"]) -> Float[Array, "n length v"]:
    # The first context is drawn as a whole: its tokens come one after the other, given those before them.
    first, memory = _first_table(sizes, params), sizes.memory
    given = []
    for place in range(memory):
        joint = first.sum(axis=tuple(range(place + 1, memory)))[tuple(examples[:, i] for i in range(place))]
        joint = jnp.broadcast_to(joint, (len(examples), sizes.vocabulary))
        total = joint.sum(axis=1, keepdims=True)
        given.append(joint / jnp.where(total > 0, total, 1.0))
    following = params.following[_contexts_in(sizes, examples)]
    return jnp.concatenate([*(one[:, None] for one in given), following], axis=1)


def _token_log_prob(sizes: _Sizes, params: NGram, examples: Int[Array, "n length"]) -> Float[Array, "n length"]:
    p = _token_probabilities(sizes, params, examples)
    return jnp.log(jnp.take_along_axis(p, examples[:, :, None], axis=2))[:, :, 0]


def _moments(sizes: _Sizes, params: NGram) -> Moments:
    # The frequencies at each place of the first context: its other places summed out.
    first, memory = _first_table(sizes, params), sizes.memory
    given = [first.sum(axis=tuple(j for j in range(memory) if j != i)) for i in range(memory)]

    def advance(context: Array, _: None) -> tuple[Array, Array]:
        both = context[:, None] * params.following
        return both.reshape(sizes.vocabulary, sizes.contexts).sum(axis=0), both.sum(axis=0)

    predicted = jax.lax.scan(advance, params.first, None, length=sizes.length - memory)[1].sum(axis=0)
    p = (predicted + sum(given, jnp.zeros(sizes.vocabulary))) / sizes.length
    return Moments(p, 1.0 - p @ p)


def _on_following(decoding: Decoding) -> Decoding:
    """Return a map of probabilities as one of models: of what follows each context."""
    return decoding._replace(
        apply=lambda params, value: params._replace(following=decoding.apply(params.following, value))
    )


def _stationary(sizes: _Sizes, p: Float[Array, " v"]) -> NGram:
    """Return a chain of about these frequencies, perturbed at random, whose first context is that of the long run."""
    vocabulary, contexts = sizes.vocabulary, sizes.contexts
    following = np.asarray(p, np.float64) * np.random.default_rng(0).exponential(size=(contexts, vocabulary))
    following /= following.sum(axis=1, keepdims=True)
    first = np.full(contexts, 1.0 / contexts)
    for _ in range(_SETTLE):
        first = (first[:, None] * following).reshape(vocabulary, contexts).sum(axis=0)
    return NGram(jnp.asarray(first, jnp.float32), jnp.asarray(following, jnp.float32))


FAMILIES.promise("ngram", ngram)
