"""Language models: transformers that train on rows of tokens and write rows of tokens."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Decoding, Scalar
from collapse_jax.generative.family import Draw, Family, Fit, Params, Tokens
from collapse_jax.generative.fitting import Fitting, make_fit
from collapse_jax.generative.rebuilding import rebuildable
from collapse_jax.generative.text.reading import Reader, make_reader
from collapse_jax.generative.text.writing import Rules, beam_search, in_batches, write
from collapse_jax.nets.accumulation import Total
from collapse_jax.nets.transformer import Architecture, Transformer, Weights, make_transformer


class LanguageModel(NamedTuple):
    """The weights of a transformer, and the rules by which it writes; None where a rule isn't used."""

    weights: Weights
    rules: Rules = Rules()


@checked
@rebuildable
def language_model(
    vocabulary: int = 257,
    length: int = 64,
    *,
    end: int | None = None,
    prompt: int = 0,
    beams: int = 1,
    architecture: Architecture = Architecture(),
    fitting: Fitting = Fitting(),
    pretrained: Weights | None = None,
    truth: Params | Draw | None = None,
) -> Family:
    """Return the family of autoregressive transformers; examples are rows (n, length) of tokens below `vocabulary`.

    Tokens below 0 are padding. A row may hold several documents, each closed by the token `end`: one doesn't see the
    others (packed sequences), and writing goes on with a new document after it. `respond` keeps the first `prompt`
    tokens of each row and writes the rest anew. `fit` takes the mean over tokens; its `learning_rate` and `steps`
    can be swept. Models start from random weights in each generation, or from those `pretrained`.

    The decodings act in the order of the Hugging Face library: `repetition_penalty`, `temperature`, `top_k`, `top_p`.
    The penalty divides the positive and multiplies the negative logits of tokens that the row already has (Keskar et
    al., arXiv 1909.05858). With `beams` above 1 writing is beam search: of each prompt the most probable continuation
    found, under the penalty alone; without given prompts, the first `prompt` tokens are drawn.

    Raises ValueError for sizes, `end`, `prompt` or `beams` out of range, and for `pretrained` weights of another form.
    """
    numbers.whole("vocabulary", vocabulary, 1)
    numbers.whole("length", length, 1)
    if not (end is None or (numbers.is_whole(end) and 0 <= end < vocabulary)):
        raise ValueError(f"end is {end!r}; it must be a token below the vocabulary, {vocabulary}, or None")
    low = 1 if beams != 1 else 0
    if not numbers.is_whole(prompt) or not low <= prompt < length:
        raise ValueError(
            f"prompt is {prompt!r}; with {beams} beams it must be a whole number from {low} to {length - 1}"
        )
    if not numbers.is_whole(beams) or not 1 <= beams <= vocabulary:
        raise ValueError(f"beams is {beams!r}; it must be a whole number from 1 to the vocabulary, {vocabulary}")
    # A row starts as if a document had just ended.
    start = vocabulary if end is None else end
    transformer = make_transformer(architecture, vocabulary=max(vocabulary, start + 1), length=length)
    if pretrained is not None:
        _require_weights(transformer, pretrained)
    reader = make_reader(transformer, vocabulary=vocabulary, start=start)
    writing = _Writing(transformer, reader, length, prompt, beams)
    return Family(
        "language_model",
        partial(_init, transformer, pretrained),
        partial(_fit, make_fit(partial(_loss, reader), fitting)),
        partial(_sample, writing),
        lambda params, examples: reader.token_log_prob(params.weights, examples).sum(axis=1),
        respond=partial(_respond, writing),
        embed=partial(_embed, reader),
        tokens=Tokens(
            lambda params, examples: reader.token_log_prob(params.weights, examples),
            lambda params, examples: reader.token_probabilities(params.weights, examples),
            vocabulary,
        ),
        decodings=_rules_of(vocabulary, beams),
        truth=truth,
        hyper=fitting.hyper,
        ranges=fitting.ranges,
        source="Shumailov et al., Nature 631:755",
    )


class _Writing(NamedTuple):
    """What writes: a transformer and how it reads; the tokens of a row, those that are given, and the beams."""

    transformer: Transformer
    reader: Reader
    length: int
    prompt: int
    beams: int


def _require_weights(transformer: Transformer, pretrained: Weights) -> None:
    """Raise ValueError unless weights have the names and shapes of those of a transformer."""
    own = jax.eval_shape(transformer.init, jax.eval_shape(lambda: jax.random.key(0)))
    expected = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(own)}
    given = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree.leaves_with_path(pretrained)}
    if wrong := [name for name in {**expected, **given} if expected.get(name) != given.get(name)]:
        found = (
            f"{pretrained!r:.60}"
            if isinstance(pretrained, str)
            else f"{given.get(wrong[0])} at {wrong[0] or 'its top'}"
        )
        raise ValueError(
            f"pretrained is {found}; it must be weights of this architecture, vocabulary and length, such as the field "
            f"`weights` of a fitted model of this family, which have {expected.get(wrong[0])} there; it takes no names"
        )


def _init(
    transformer: Transformer, pretrained: Weights | None, key: Key[Array, ""], examples: Array, weights: Array
) -> LanguageModel:
    return LanguageModel(transformer.init(key) if pretrained is None else jax.tree.map(jnp.asarray, pretrained))


def _loss(reader: Reader, weights: Weights, key: Key[Array, ""], rows: Int[Array, "n length"]) -> Total:
    return -reader.token_log_prob(weights, rows).sum(), (rows >= 0).sum()


def _fit(
    fit_weights: Fit,
    key: Key[Array, ""],
    params: LanguageModel,
    examples: Int[Array, "n length"],
    weights: Float[Array, " n"],
    **hyper: Array,
) -> LanguageModel:
    return params._replace(weights=fit_weights(key, params.weights, examples, weights, **hyper))


def _continued(
    writing: _Writing,
    key: Key[Array, ""],
    params: LanguageModel,
    prompts: Int[Array, "n prompt"],
    upto: int,
    beams: int,
) -> Int[Array, "n upto"]:
    """Return rows of `upto` tokens that begin with the prompts: drawn, or with several beams searched for."""

    def continue_rows(key: Key[Array, ""], rows: Int[Array, "n prompt"]) -> Int[Array, "n upto"]:
        if beams == 1:
            return write(writing.transformer, writing.reader, key, params.weights, params.rules, rows, upto)
        return beam_search(
            writing.transformer, writing.reader, writing.beams, key, params.weights, params.rules, rows, upto
        )

    return in_batches(continue_rows, key, prompts)


def _respond(
    writing: _Writing, key: Key[Array, ""], params: LanguageModel, examples: Int[Array, "n length"]
) -> Int[Array, "n length"]:
    return _continued(writing, key, params, examples[:, : writing.prompt], writing.length, writing.beams)


def _sample(writing: _Writing, key: Key[Array, ""], params: LanguageModel, n: int) -> Int[Array, "n length"]:
    rows, beams = jnp.zeros((n, 0), jnp.int32), writing.beams
    if beams > 1:
        # Beams would begin all rows alike: their first tokens are drawn.
        prompt_key, key = jax.random.split(key)
        rows = _continued(writing, prompt_key, params, rows, writing.prompt, 1)
    return _continued(writing, key, params, rows, writing.length, beams)


def _embed(reader: Reader, params: LanguageModel, examples: Int[Array, "n length"]) -> Float[Array, "n width"]:
    """Return the mean hidden state of each row, over the tokens that are no padding."""
    hidden, counted = reader.hidden(params.weights, examples), (examples >= 0)[:, :, None]
    return (hidden * counted).sum(axis=1) / jnp.maximum(counted.sum(axis=1), 1)


def _rules_of(vocabulary: int, beams: int) -> dict[str, Decoding]:
    """Return the rules of writing as decodings; beam search draws nothing, so that only the penalty acts on it."""

    def rule(name: str) -> Callable[[LanguageModel, Scalar], LanguageModel]:
        return lambda params, value: params._replace(rules=params.rules._replace(**{name: value}))

    bounds = {"repetition_penalty": (1.0, 1.0, float("inf"))}
    if beams == 1:
        bounds |= {
            "temperature": (1.0, 1e-6, float("inf")),
            "top_k": (float(vocabulary), 1.0, float("inf")),
            "top_p": (1.0, 1e-6, 1.0),
        }
    return {name: Decoding(rule(name), *values) for name, values in bounds.items()}
