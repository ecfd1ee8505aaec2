"""Reward models that read text: transformers with a scalar head, in the place of an MLP on features."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.nets.transformer import Architecture, make_transformer
from collapse_jax.numerics.indexing import lookup
from collapse_jax.reward.models import Link, Model, link_config, linked
from collapse_jax.reward.rankings import Prefixes

_SIZES = Architecture(positions="learned")


@checked
def text_encoder(vocabulary: int, *, architecture: Architecture = _SIZES, link: Link | None = jax.nn.sigmoid) -> Model:
    """Return a bidirectional transformer over tokens 0 ... vocabulary - 1, a scalar head and a `link` onto [0, 1].

    The features are tokens (..., item, token), below 0 where there is none; the head reads the mean of the last hidden
    states over the tokens that are there. Without a link, None, it gives raw logits, and is not `bounded`. Rewards are
    NaN for a token outside the vocabulary, which `make_training` refuses. Raises ValueError for a vocabulary below 1.
    """
    numbers.whole("vocabulary", vocabulary, 1)

    def init(key: Key[Array, ""], features: Int[Array, "... item token"]) -> PyTree:
        return _init(key, architecture, vocabulary, features.shape[-1])

    def apply(params: PyTree, features: Int[Array, "... item token"]) -> Float[Array, "... item"]:
        length = features.shape[-1]
        tokens = features.reshape(-1, length)
        there = tokens >= 0
        places = jnp.arange(length)[None]
        mask = jnp.repeat(there[:, None], length, axis=1)
        hidden = _encode(architecture, vocabulary, params, tokens, places, mask)
        mean = (hidden * there[:, :, None]).sum(axis=1) / jnp.maximum(there.sum(axis=1), 1)[:, None]
        return linked(link, _head(params, mean)).reshape(features.shape[:-1])

    config = _config("text_encoder", vocabulary, architecture, link)
    return Model(init, apply, vocabulary, bounded=link is not None, config=config)


@checked
def prefix_encoder(
    vocabulary: int, *, architecture: Architecture = _SIZES, link: Link | None = jax.nn.sigmoid
) -> Model:
    """Return a causal transformer over tokens 0 ... vocabulary - 1, a scalar head and a `link` onto [0, 1].

    The features are `Prefixes`: one text a prompt, of which the completions are prefixes. It is read once, and the head
    reads each completion's last token, which sees no further: the rewards are those of completions encoded one by one,
    at the cost of the longest alone. Places are counted from the start of the prompt, and anew from where the
    completions begin, so that the last one tells the length. Without a link, None, it gives raw logits, and is not
    `bounded`. Rewards are NaN for a token outside the vocabulary, which `make_training` refuses. Raises ValueError for
    a vocabulary below 1.
    """
    numbers.whole("vocabulary", vocabulary, 1)

    def init(key: Key[Array, ""], features: Prefixes) -> PyTree:
        return _init(key, architecture, vocabulary, features.tokens.shape[-1])

    def apply(params: PyTree, features: Prefixes) -> Float[Array, "... item"]:
        length = features.tokens.shape[-1]
        tokens = jnp.asarray(features.tokens).reshape(-1, length)
        last = jnp.asarray(features.last).reshape(-1, features.last.shape[-1])
        start = jnp.asarray(features.start).reshape(-1, 1)
        places = jnp.arange(length)[None]
        places = jnp.where(places < start, places, places - start)
        causal = jnp.tril(jnp.ones((length, length), bool))
        mask = jnp.repeat(causal[None], len(tokens), axis=0)
        hidden = _encode(architecture, vocabulary, params, tokens, places, mask)
        ends = jax.vmap(lookup)(hidden, last)
        return linked(link, _head(params, ends)).reshape(features.last.shape)

    config = _config("prefix_encoder", vocabulary, architecture, link)
    return Model(init, apply, vocabulary, bounded=link is not None, config=config)


def _config(kind: str, vocabulary: int, architecture: Architecture, link: Link | None) -> dict[str, Any]:
    sizes = dataclasses.asdict(architecture)
    return {"kind": kind, "vocabulary": int(vocabulary), "architecture": sizes, "link": link_config(link)}


def _init(key: Key[Array, ""], architecture: Architecture, vocabulary: int, length: int) -> PyTree:
    transformer = make_transformer(architecture, vocabulary=vocabulary, length=length)
    return {"transformer": transformer.init(key), "head": jnp.zeros(architecture.width), "bias": jnp.zeros(())}


def _encode(
    architecture: Architecture, vocabulary: int, params: PyTree, tokens: Array, places: Array, mask: Array
) -> Array:
    transformer = make_transformer(architecture, vocabulary=vocabulary, length=tokens.shape[1])
    return transformer.encode(params["transformer"], jnp.maximum(tokens, 0), places, mask)


def _head(params: PyTree, hidden: Float[Array, "... width"]) -> Float[Array, "..."]:
    scores: Array = hidden @ params["head"] + params["bias"]
    return scores
