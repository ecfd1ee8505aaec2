"""Writing with a transformer, a token at a time and with a cache: sampling by rules, and beam search."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from collapse_jax.generative.decoding import Scalar, keep_top_k, keep_top_p
from collapse_jax.generative.text.reading import Reader, visible
from collapse_jax.nets.transformer import Cache, Transformer, Weights

_BATCH = 64


class Rules(NamedTuple):
    """What is done to the probabilities of the next token, in this order; None where nothing is."""

    repetition_penalty: Scalar | None = None
    temperature: Scalar | None = None
    top_k: Scalar | None = None
    top_p: Scalar | None = None


class Progress(NamedTuple):
    """How far writing has come: the cache, the token to read next, where its document began, which tokens occurred."""

    cache: Cache
    token: Int[Array, " n"]
    began: Int[Array, " n"]
    seen: Bool[Array, "n v"] | None


def write(
    transformer: Transformer,
    reader: Reader,
    key: Key[Array, ""],
    weights: Weights,
    rules: Rules,
    prompts: Int[Array, "n prompt"],
    length: int,
) -> Int[Array, "n length"]:
    """Return rows of `length` tokens that begin with the prompts; the rest is drawn."""

    def one(carry: tuple[Progress, Key[Array, ""]], place: Array) -> tuple[tuple[Progress, Key[Array, ""]], Array]:
        progress, key = carry
        key, own_key = jax.random.split(key)
        scores, progress = read_next(transformer, reader, weights, progress, place)
        token = draw(own_key, probabilities(scores, rules, progress.seen))
        return (note(reader, progress, token, place), key), token

    progress = begin(transformer, reader, weights, prompts, length, remember=rules.repetition_penalty is not None)
    given = prompts.shape[1]
    drawn = jax.lax.scan(one, (progress, key), jnp.arange(given, length))[1]
    return jnp.concatenate([prompts, drawn.T], axis=1)


def in_batches(
    writer: Callable[[Key[Array, ""], Int[Array, "rows prompt"]], Int[Array, "rows length"]],
    key: Key[Array, ""],
    prompts: Int[Array, "n prompt"],
) -> Int[Array, "n length"]:
    """Return what `writer(key, prompts)` writes: on a CPU 64 rows at a time, whose cache of keys and values it holds.

    All at once on an accelerator, and where 64 does not divide the number of rows.
    """
    n, given = prompts.shape
    if jax.default_backend() != "cpu" or n % _BATCH:
        return writer(key, prompts)

    def one(key: Key[Array, ""], batch: Array) -> tuple[Key[Array, ""], Array]:
        key, own_key = jax.random.split(key)
        return key, writer(own_key, batch)

    rows: Array = jax.lax.scan(one, key, prompts.reshape(n // _BATCH, _BATCH, given))[1]
    return rows.reshape(n, -1)


def beam_search(
    transformer: Transformer,
    reader: Reader,
    beams: int,
    key: Key[Array, ""],
    weights: Weights,
    rules: Rules,
    prompts: Int[Array, "n prompt"],
    length: int,
) -> Int[Array, "n length"]:
    """Return rows of `length` tokens that begin with the prompts, the most probable of `beams` kept at each place.

    The score is the sum of log-probabilities, each under the repetition penalty, as in the Hugging Face library.
    Nothing is drawn; the key is there because sampling has one.
    """
    n, given = prompts.shape

    def one(carry: tuple[Progress, Array, Array], place: Array) -> tuple[tuple[Progress, Array, Array], None]:
        progress, rows, score = carry
        scores, progress = read_next(transformer, reader, weights, progress, place)
        step = penalise(jax.nn.log_softmax(scores, axis=-1), progress.seen, rules.repetition_penalty)
        both = (score[:, :, None] + step.reshape(n, beams, -1)).reshape(n, -1)
        score, best = jax.lax.top_k(both, beams)
        parent, token = best // reader.vocabulary, (best % reader.vocabulary).reshape(-1)
        chosen = (jnp.arange(n)[:, None] * beams + parent).reshape(-1)
        rows, progress = jax.tree.map(lambda leaf: leaf[chosen], (rows, progress))
        rows = jax.lax.dynamic_update_slice_in_dim(rows, token[:, None], place, axis=1)
        return (note(reader, progress, token, place), rows, score), None

    progress = begin(transformer, reader, weights, prompts, length, remember=rules.repetition_penalty is not None)
    rows = jnp.pad(prompts, ((0, 0), (0, length - given)))
    progress, rows = jax.tree.map(lambda leaf: jnp.repeat(leaf, beams, axis=0), (progress, rows))
    # All beams are alike at first: only one of them may be continued.
    score = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)
    carry = (progress, rows, jnp.tile(score[None], (n, 1)))
    _, rows, _ = jax.lax.scan(one, carry, jnp.arange(given, length))[0]
    # The best stands first: top_k returns them in order.
    best: Array = rows.reshape(n, beams, length)[:, 0]
    return best


def probabilities(scores: Float[Array, "n v"], rules: Rules, seen: Bool[Array, "n v"] | None) -> Float[Array, "n v"]:
    """Return the probabilities of the next token under the rules."""
    scores = penalise(scores, seen, rules.repetition_penalty)
    if rules.temperature is not None:
        scores = scores / rules.temperature
    p = jax.nn.softmax(scores, axis=-1)
    if rules.top_k is not None:
        p = keep_top_k(p, rules.top_k)
    if rules.top_p is not None:
        p = keep_top_p(p, rules.top_p)
    return p


def penalise(
    scores: Float[Array, "n v"], seen: Bool[Array, "n v"] | None, penalty: Scalar | None
) -> Float[Array, "n v"]:
    """Return the scores, those of seen tokens divided by the penalty if positive and multiplied if negative."""
    if seen is None or penalty is None:
        return scores
    return jnp.where(seen, jnp.where(scores > 0, scores / penalty, scores * penalty), scores)


def draw(key: Key[Array, ""], p: Float[Array, "n v"]) -> Int[Array, " n"]:
    """Return a token a row, by its probability, at the cost of one random number."""
    cumulative = jnp.cumsum(p, axis=-1)
    threshold = jax.random.uniform(key, (len(p), 1)) * cumulative[:, -1:]
    # Not below the threshold but strictly above it: a token of probability 0 is never drawn.
    return jnp.argmax(cumulative > threshold, axis=-1).astype(jnp.int32)


def begin(
    transformer: Transformer,
    reader: Reader,
    weights: Weights,
    prompts: Int[Array, "n prompt"],
    length: int,
    *,
    remember: bool,
) -> Progress:
    """Return the progress after the prompts: all but their last token read into the cache."""
    n, given = prompts.shape
    cache = transformer.empty(n, length)
    token, began, seen = jnp.full(n, reader.start, jnp.int32), jnp.zeros(n, jnp.int32), None
    if given:
        read = reader.inputs(prompts)
        starts = reader.starts(read)
        keys = jnp.arange(length)
        _, cache = transformer.extend(weights, cache, read, jnp.arange(given)[None] - starts, visible(starts, keys), 0)
        token = jnp.maximum(prompts[:, -1], 0).astype(jnp.int32)
        began = jnp.where(token == reader.start, given, starts[:, -1])
    if remember:
        seen = jnp.zeros((n, reader.vocabulary), bool).at[jnp.arange(n)[:, None], prompts].set(True)
    return Progress(cache, token, began, seen)


def read_next(
    transformer: Transformer, reader: Reader, weights: Weights, progress: Progress, place: Array
) -> tuple[Float[Array, "n v"], Progress]:
    """Return the logits of the token at a place, having read the one before it."""
    keys = jnp.arange(progress.cache[0].keys.shape[2])
    began = progress.began[:, None]
    hidden, cache = transformer.extend(
        weights, progress.cache, progress.token[:, None], place - began, visible(began, keys, place), place
    )
    return reader.logits(weights, hidden[:, 0]), progress._replace(cache=cache)


def note(reader: Reader, progress: Progress, token: Int[Array, " n"], place: Array) -> Progress:
    """Return the progress with the token at a place as the next one to read."""
    seen = progress.seen
    if seen is not None:
        seen = seen.at[jnp.arange(len(token)), token].set(True)
    return progress._replace(token=token, began=jnp.where(token == reader.start, place + 1, progress.began), seen=seen)
