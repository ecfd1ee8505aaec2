"""Language models: transformers that train on rows of tokens and write rows of tokens."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.generative.decoding import Decoding, Scalar
from collapse_jax.generative.family import Draw, Family, Params, Tokens
from collapse_jax.generative.fitting import Fitting, make_fit
from collapse_jax.generative.text.reading import make_reader
from collapse_jax.generative.text.writing import Rules, beam_search, in_batches, write
from collapse_jax.nets.accumulation import Total
from collapse_jax.nets.transformer import Architecture, Weights, make_transformer, require_whole


class LanguageModel(NamedTuple):
    """The weights of a transformer, and the rules by which it writes; None where a rule isn't used."""

    weights: Weights
    rules: Rules = Rules()


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

    Raises ValueError for sizes, `end`, `prompt` or `beams` out of range.
    """
    require_whole(vocabulary=vocabulary)
    if not (end is None or (not isinstance(end, bool) and isinstance(end, int) and 0 <= end < vocabulary)):
        raise ValueError(f"end is {end!r}; it must be a token below the vocabulary, {vocabulary}, or None")
    low = 1 if beams != 1 else 0
    if isinstance(prompt, bool) or not isinstance(prompt, int) or not low <= prompt < length:
        raise ValueError(
            f"prompt is {prompt!r}; with {beams} beams it must be a whole number from {low} to {length - 1}"
        )
    if isinstance(beams, bool) or not isinstance(beams, int) or not 1 <= beams <= vocabulary:
        raise ValueError(f"beams is {beams!r}; it must be a whole number from 1 to the vocabulary, {vocabulary}")
    # A row starts as if a document had just ended.
    start = vocabulary if end is None else end
    transformer = make_transformer(architecture, vocabulary=max(vocabulary, start + 1), length=length)
    reader = make_reader(transformer, vocabulary=vocabulary, start=start)

    def init(key: Key[Array, ""], examples: Array, weights: Array) -> LanguageModel:
        return LanguageModel(transformer.init(key) if pretrained is None else jax.tree.map(jnp.asarray, pretrained))

    def loss(weights: Weights, key: Key[Array, ""], rows: Int[Array, "n length"]) -> Total:
        return -reader.token_log_prob(weights, rows).sum(), (rows >= 0).sum()

    fit_weights = make_fit(loss, fitting)

    def fit(
        key: Key[Array, ""],
        params: LanguageModel,
        examples: Int[Array, "n length"],
        weights: Float[Array, " n"],
        **hyper: Array,
    ) -> LanguageModel:
        return params._replace(weights=fit_weights(key, params.weights, examples, weights, **hyper))

    sampler, searcher = partial(write, transformer, reader), partial(beam_search, transformer, reader, beams)

    def continued(key: Key[Array, ""], params: LanguageModel, prompts: Array, upto: int, beams: int) -> Array:
        writer = sampler if beams == 1 else searcher
        return in_batches(lambda key, rows: writer(key, params.weights, params.rules, rows, upto), key, prompts)

    def respond(key: Key[Array, ""], params: LanguageModel, examples: Int[Array, "n length"]) -> Int[Array, "n length"]:
        return continued(key, params, examples[:, :prompt], length, beams)

    def sample(key: Key[Array, ""], params: LanguageModel, n: int) -> Int[Array, "n length"]:
        nothing = jnp.zeros((n, 0), jnp.int32)
        if beams == 1:
            return continued(key, params, nothing, length, 1)
        prompt_key, key = jax.random.split(key)
        return continued(key, params, continued(prompt_key, params, nothing, prompt, 1), length, beams)

    def token_log_prob(params: LanguageModel, examples: Int[Array, "n length"]) -> Float[Array, "n length"]:
        return reader.token_log_prob(params.weights, examples)

    def log_prob(params: LanguageModel, examples: Int[Array, "n length"]) -> Float[Array, " n"]:
        return token_log_prob(params, examples).sum(axis=1)

    def embed(params: LanguageModel, examples: Int[Array, "n length"]) -> Float[Array, "n width"]:
        hidden, counted = reader.hidden(params.weights, examples), (examples >= 0)[:, :, None]
        return (hidden * counted).sum(axis=1) / jnp.maximum(counted.sum(axis=1), 1)

    def rule(name: str) -> Callable[[LanguageModel, Scalar], LanguageModel]:
        return lambda params, value: params._replace(rules=params.rules._replace(**{name: value}))

    bounds = {"repetition_penalty": (1.0, 1.0, float("inf"))}
    if beams == 1:
        bounds |= {
            "temperature": (1.0, 1e-6, float("inf")),
            "top_k": (float(vocabulary), 1.0, float("inf")),
            "top_p": (1.0, 1e-6, 1.0),
        }
    return Family(
        "language_model",
        init,
        fit,
        sample,
        log_prob,
        respond=respond,
        decodings={name: Decoding(rule(name), *values) for name, values in bounds.items()},
        truth=truth,
        hyper=fitting.hyper,
        ranges=fitting.ranges,
        tokens=Tokens(token_log_prob, lambda params, examples: reader.token_probabilities(params.weights, examples)),
        embed=embed,
        source="Shumailov et al., Nature 631:755",
    )
