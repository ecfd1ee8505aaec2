"""One transformer for language models and text reward models: pre-norm blocks, as pure functions of their parameters.

Parameters are float32; with `dtype` "bfloat16" activations and matrix products are bfloat16, while norms, softmax and
what comes out stay float32. Source: Vaswani et al., arXiv 1706.03762; Su et al., arXiv 2104.09864 (rotary positions).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import check_fields
from collapse_jax.numerics.indexing import lookup

_BASE = 10_000.0
_SCALE = 0.02
_UNSEEN = -1e30

Weights: TypeAlias = PyTree


@dataclass(frozen=True)
class Architecture:
    """The sizes of a transformer."""

    layers: int = 2
    """Blocks."""
    width: int = 64
    """Size of a token's vector, a multiple of heads."""
    heads: int = 4
    """Attention heads."""
    expansion: int = 4
    """Width of the hidden layer of a block, in multiples of `width`."""
    positions: Literal["rotary", "learned"] = "rotary"
    """How a token knows its place; learned positions end at the length that the weights were made for."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of activations and matrix products; parameters stay float32."""
    remat: bool = False
    """Compute a block's activations again in the backward pass instead of storing them."""

    def __post_init__(self) -> None:
        check_fields("architecture", self)
        numbers.whole("layers", self.layers, 1)
        numbers.whole("width", self.width, 1)
        numbers.whole("heads", self.heads, 1)
        numbers.whole("expansion", self.expansion, 1)
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}; it must be a multiple of heads, {self.heads}")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(
                f"width / heads is {self.width // self.heads}; rotary positions turn pairs, so it must be even"
            )


class KeyValues(NamedTuple):
    """Keys and values of the tokens that a block has read so far."""

    keys: Float[Array, "n heads length size"]
    values: Float[Array, "n heads length size"]


# A tuple and not one array over the blocks: each is then written in place.
Cache: TypeAlias = tuple[KeyValues, ...]


class Rotation(NamedTuple):
    """Angles of rotary positions, by their cosines and sines."""

    cosine: Float[Array, "n length 1 half"]
    sine: Float[Array, "n length 1 half"]


class Transformer(NamedTuple):
    """A transformer as pure functions.

    `init(key)` returns the weights. `encode(weights, tokens, positions, mask)` returns the hidden states (n, length,
    width) of tokens (n, length), after the last norm; the mask (n, length, length) is true where a query may look at a
    key. `extend(weights, cache, tokens, positions, mask, at)` does so for tokens (n, new) that follow at place `at` of
    a cache, with a mask (n, new, cached), and returns the cache with them. `logits(weights, hidden)` are those of the
    next token, by the transposed embedding; a third argument limits them to that many tokens, the first of the
    vocabulary. `empty(n, length)` is a cache.
    """

    init: Callable[[Key[Array, ""]], Weights]
    encode: Callable[..., Float[Array, "n length width"]]
    extend: Callable[..., tuple[Float[Array, "n new width"], Cache]]
    logits: Callable[..., Float[Array, "n ... v"]]
    empty: Callable[[int, int], Cache]


def make_transformer(architecture: Architecture, *, vocabulary: int, length: int) -> Transformer:
    """Return the transformer over tokens 0 ... vocabulary - 1 and places 0 ... length - 1.

    Raises ValueError for a vocabulary or length below 1.
    """
    numbers.whole("vocabulary", vocabulary, 1)
    numbers.whole("length", length, 1)
    dtype = jnp.dtype(architecture.dtype)
    size = architecture.width // architecture.heads
    network = _Network(architecture, vocabulary, length)

    def init(key: Key[Array, ""]) -> Weights:
        tokens = jnp.zeros((1, length), jnp.int32)
        return network.init(key, tokens, tokens, jnp.ones((1, length, length), bool))["params"]

    def encode(
        weights: Weights,
        tokens: Int[Array, "n length"],
        positions: Int[Array, "#n length"],
        mask: Bool[Array, "n length length"],
    ) -> Float[Array, "n length width"]:
        hidden, _ = network.apply({"params": weights}, tokens, positions, mask)
        return cast(Array, hidden)

    def extend(
        weights: Weights,
        cache: Cache,
        tokens: Int[Array, "n new"],
        positions: Int[Array, "n new"],
        mask: Bool[Array, "n new cached"],
        at: Int[Array, ""] | int,
    ) -> tuple[Float[Array, "n new width"], Cache]:
        return cast(tuple[Array, Cache], network.apply({"params": weights}, tokens, positions, mask, cache, at))

    def logits(
        weights: Weights, hidden: Float[Array, "n ... width"], tokens: int = vocabulary
    ) -> Float[Array, "n ... v"]:
        table = jax.lax.optimization_barrier(weights["embedding"]["embedding"][:tokens].astype(dtype).T)
        flat = hidden.reshape(-1, architecture.width).astype(dtype)
        return jnp.matmul(flat, table, preferred_element_type=jnp.float32).reshape(*hidden.shape[:-1], tokens)

    def empty(n: int, length: int) -> Cache:
        shape = (n, architecture.heads, length, size)
        return tuple(KeyValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(architecture.layers))

    return Transformer(init, encode, extend, logits, empty)


class _Network(nn.Module):
    architecture: Architecture
    vocabulary: int
    length: int

    @nn.compact
    def __call__(
        self, tokens: Array, positions: Array, mask: Array, cache: Cache | None = None, at: Array | int = 0
    ) -> tuple[Array, Cache | None]:
        sizes, dtype = self.architecture, jnp.dtype(self.architecture.dtype)
        embed = nn.Embed(self.vocabulary, sizes.width, embedding_init=nn.initializers.normal(_SCALE), name="embedding")
        # Scaled up to the size of a normalised vector: the table is also the last layer's, where it must be small.
        # One row a token from here on: XLA multiplies matrices faster on a CPU than arrays of more axes.
        x = (lookup(embed.embedding, tokens.reshape(-1)) / _SCALE).astype(dtype)
        if sizes.positions == "learned":
            table = self.param("positions", nn.initializers.normal(1.0), (self.length, sizes.width))
            placed = jnp.broadcast_to(lookup(table, positions), (*tokens.shape, sizes.width))
            x = x + placed.reshape(x.shape).astype(dtype)
        turn = None
        if sizes.positions == "rotary":
            turn = rotation(positions, sizes.width // sizes.heads, dtype)
        block = nn.remat(_Block) if sizes.remat else _Block
        read: list[KeyValues] = []
        for layer in range(sizes.layers):
            own = None if cache is None else cache[layer]
            x, own = block(sizes, name=f"block_{layer}")(x, turn, mask, own, at)
            if own is not None:
                read.append(own)
        x = nn.RMSNorm(name="norm")(x.astype(jnp.float32)).reshape(*tokens.shape, -1)
        return x, None if cache is None else tuple(read)


class _Block(nn.Module):
    architecture: Architecture

    @nn.compact
    def __call__(
        self, x: Array, turn: Rotation | None, mask: Array, cache: KeyValues | None, at: Array | int
    ) -> tuple[Array, KeyValues | None]:
        sizes, dtype = self.architecture, jnp.dtype(self.architecture.dtype)
        size = sizes.width // sizes.heads
        # What a block adds to the states starts small, and the smaller the more blocks there are.
        towards = nn.initializers.variance_scaling(0.5 / sizes.layers, "fan_in", "normal")

        n, new = mask.shape[:2]
        y = nn.RMSNorm(name="attention_norm")(x.astype(jnp.float32)).astype(dtype)
        qkv = nn.DenseGeneral((3, sizes.heads, size), use_bias=False, dtype=dtype, name="qkv")(y)
        parts = jnp.split(qkv.reshape(-1, 3 * sizes.width), 3, axis=1)
        query, key, value = (part.reshape(n, new, sizes.heads, size) for part in parts)
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        query, key, value = (part.transpose(0, 2, 1, 3) for part in (query, key, value))
        if cache is not None:
            key = jax.lax.dynamic_update_slice_in_dim(cache.keys, key, at, axis=2)
            value = jax.lax.dynamic_update_slice_in_dim(cache.values, value, at, axis=2)
            cache = KeyValues(key, value)
        attended = attend(query, key, value, mask).transpose(0, 2, 1, 3).reshape(-1, sizes.heads, size)
        x = x + nn.DenseGeneral(
            sizes.width, axis=(-2, -1), use_bias=False, dtype=dtype, kernel_init=towards, name="out"
        )(attended)

        y = nn.RMSNorm(name="mlp_norm")(x.astype(jnp.float32)).astype(dtype)
        y = nn.gelu(nn.Dense(sizes.expansion * sizes.width, use_bias=False, dtype=dtype, name="up")(y))
        x = x + nn.Dense(
            sizes.width, use_bias=False, dtype=dtype, kernel_init=towards, dot_general=_narrow, name="down"
        )(y)
        return x, cache


def rotation(positions: Int[Array, "n length"], size: int, dtype: jnp.dtype) -> Rotation:
    """Return the angles by which queries and keys of a head turn, in proportion to their positions."""
    half = size // 2
    speeds = _BASE ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = positions[:, :, None, None].astype(jnp.float32) * speeds[None, None, None]
    return Rotation(jnp.cos(angles).astype(dtype), jnp.sin(angles).astype(dtype))


def rotate(x: Float[Array, "n length heads size"], turn: Rotation) -> Float[Array, "n length heads size"]:
    """Return queries or keys turned, pair (i, i + size/2) by pair."""
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate(
        [first * turn.cosine - second * turn.sine, second * turn.cosine + first * turn.sine], axis=-1
    )


def attend(
    query: Float[Array, "n heads new size"],
    key: Float[Array, "n heads cached size"],
    value: Float[Array, "n heads cached size"],
    mask: Bool[Array, "n new cached"],
) -> Float[Array, "n heads new size"]:
    """Return the values averaged by the softmax of scaled products of queries and keys, over the keys that are seen.

    A query that sees no key averages over all of them.
    """
    scores = jnp.einsum("nhqs,nhks->nhqk", query, key, preferred_element_type=jnp.float32)
    scores = jnp.where(mask[:, None], scores / jnp.sqrt(float(query.shape[-1])), _UNSEEN)
    shares = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    # Divided by their sum last, where the array is smaller.
    total = shares.sum(axis=-1, keepdims=True)
    mixed = jnp.einsum("nhqk,nhks->nhqs", shares.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return (mixed / total).astype(value.dtype)


def _narrow(x: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
    """Return the rows of x times a kernel with more rows than columns.

    The kernel is turned behind a barrier, so that its gradient is computed turned: with a tall result XLA takes twice
    as long on a CPU.
    """
    turned = jax.lax.optimization_barrier(kernel.T)
    return jax.lax.dot_general(x, turned, (((1,), (1,)), ((), ())), **options)
