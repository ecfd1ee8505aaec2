"""Variational autoencoders of images, conditional on a class.

Kingma and Welling, arXiv 1312.6114; conditional: Sohn et al., Learning Structured Output Representation using Deep
Conditional Generative Models, NeurIPS 2015.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import Decoding, Scalar
from collapse_jax.generative.families.image_classes import (
    LabelledImages,
    check_sizes,
    fit_by_class,
    one_hot,
    respond_by_class,
    sample_by_class,
)
from collapse_jax.generative.family import Draw, Family, Params
from collapse_jax.generative.fitting import Fitting, make_fit
from collapse_jax.generative.rebuilding import rebuildable
from collapse_jax.nets.accumulation import Total

# Draws of the latent variable behind each number that `log_prob` returns.
_DRAWS = 32

Weights: TypeAlias = PyTree


class VAE(NamedTuple):
    """The weights of encoder and decoder, the shares of the classes, and the sampling bias; None where unused."""

    weights: Weights
    shares: Float[Array, " class"]
    bias: Scalar | None = None


@checked
@rebuildable
def vae(
    shape: Sequence[int] = (8, 8, 1),
    classes: int = 10,
    *,
    kind: str = "mlp",
    hidden: Sequence[int] = (128, 128),
    latent: int = 8,
    deviation: float = 0.15,
    fitting: Fitting = Fitting(steps=1000, batch_size=64, learning_rate=6e-3),
    truth: Params | Draw | None = None,
) -> Family:
    """Return the family of variational autoencoders of `LabelledImages` of one shape, conditional on their class.

    The fit takes the shares of the classes from the examples, a class that doesn't occur being gone for good, and
    maximises the evidence lower bound of the images given their class; its `learning_rate` and `steps` can be swept.
    Pixels are normal about the decoder's mean, of standard deviation `deviation`: unlike a Bernoulli likelihood, that
    is a density of grey levels. The smaller it is, the less of an image the latent variable, of `latent` dimensions,
    leaves out. What is emitted is the decoder's mean, in [0, 1], without the noise of pixels, as in Shumailov et al.
    `respond` keeps the labels and makes the images anew.

    `log_prob` is log p(class) plus the lower bound, not the log-likelihood itself: the mean over 32 draws of the latent
    variable from the encoder, always the same ones, so that it is below the log-likelihood but for their error. `embed`
    gives the encoder's means. The decoding `bias` λ multiplies the variance of the latent prior (the sampling bias of
    Alemohammad et al., arXiv 2307.01850).

    `hidden` are the widths of the encoder's layers, the decoder's in reverse: channels of 3 x 3 convolutions of stride
    2 if `kind` is "convolutional", when height and width must be multiples of 2 to their number. Raises ValueError for
    sizes, `deviation` or `kind` out of range.
    """
    check_sizes(shape, hidden, classes=classes, latent=latent)
    if not 0 < deviation < float("inf"):
        raise ValueError(f"deviation is {deviation}; it must be finite and above 0")
    if kind not in ("mlp", "convolutional"):
        raise ValueError(f"kind is {kind!r}; it must be 'mlp' or 'convolutional'")
    shrunk = 2 ** len(hidden)
    if kind == "convolutional" and (shape[0] % shrunk or shape[1] % shrunk):
        raise ValueError(
            f"shape is {tuple(shape)}; {len(hidden)} convolutions need multiples of {shrunk} in height and width"
        )
    shape = tuple(shape)
    net = _Autoencoder(
        _Encoder(kind, tuple(hidden), latent), _Decoder(kind, tuple(hidden), shape), shape, classes, latent, deviation
    )
    generate = partial(_generate, net)
    return Family(
        "vae",
        partial(_init, net),
        partial(fit_by_class, classes, make_fit(partial(_loss, net), fitting)),
        partial(sample_by_class, generate),
        partial(_log_prob, net),
        respond=partial(respond_by_class, generate),
        embed=lambda params, examples: _encode(net, params.weights, examples)[0],
        decodings={"bias": Decoding(lambda params, value: params._replace(bias=value), 1.0, 0.0, float("inf"))},
        truth=truth,
        hyper=fitting.hyper,
        ranges=fitting.ranges,
        source="Shumailov et al., Nature 631:755",
    )


class _Autoencoder(NamedTuple):
    """The two networks; the shape of an image, the classes, the latent dimensions and the pixels' deviation."""

    encoder: "_Encoder"
    decoder: "_Decoder"
    shape: tuple[int, ...]
    classes: int
    latent: int
    deviation: float


def _encode(net: _Autoencoder, weights: Weights, examples: LabelledImages) -> tuple[Array, Array]:
    """Return mean and logarithm of the variance of the latent variable."""
    found = net.encoder.apply({"params": weights["encoder"]}, examples.images, one_hot(examples.labels, net.classes))
    return cast(tuple[Array, Array], found)


def _decode(
    net: _Autoencoder, weights: Weights, latents: Float[Array, "n latent"], labels: Int[Array, " n"]
) -> Float[Array, "n height width channel"]:
    return cast(Array, net.decoder.apply({"params": weights["decoder"]}, latents, one_hot(labels, net.classes)))


def _bound(net: _Autoencoder, weights: Weights, key: Key[Array, ""], examples: LabelledImages) -> Float[Array, " n"]:
    """Return the evidence lower bound of each image given its class, with one draw of the latent variable."""
    mean, log_variance = _encode(net, weights, examples)
    latents = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
    z = (examples.images - _decode(net, weights, latents, examples.labels)) / net.deviation
    density = -0.5 * z**2 - jnp.log(net.deviation) - 0.5 * jnp.log(2.0 * jnp.pi)
    log_likelihood: Array = density.sum(axis=(1, 2, 3))
    divergence: Array = 0.5 * (mean**2 + jnp.exp(log_variance) - 1.0 - log_variance).sum(axis=1)
    return log_likelihood - divergence


def _init(net: _Autoencoder, key: Key[Array, ""], examples: LabelledImages, weights: Array) -> VAE:
    encoder_key, decoder_key = jax.random.split(key)
    label = jnp.zeros((1, net.classes))
    parts = {
        "encoder": net.encoder.init(encoder_key, jnp.zeros((1, *net.shape)), label)["params"],
        "decoder": net.decoder.init(decoder_key, jnp.zeros((1, net.latent)), label)["params"],
    }
    return VAE(parts, jnp.full(net.classes, 1.0 / net.classes))


def _loss(net: _Autoencoder, weights: Weights, key: Key[Array, ""], batch: LabelledImages) -> Total:
    # A mean over pixels: gradients of a size that doesn't depend on the image's.
    return -_bound(net, weights, key, batch).sum(), batch.images.size


def _generate(net: _Autoencoder, key: Key[Array, ""], params: VAE, labels: Int[Array, " n"]) -> LabelledImages:
    """Return an image for each label."""
    latents = jax.random.normal(key, (len(labels), net.latent))
    if params.bias is not None:
        latents = jnp.sqrt(params.bias) * latents
    return LabelledImages(_decode(net, params.weights, latents, labels), labels)


def _log_prob(net: _Autoencoder, params: VAE, examples: LabelledImages) -> Float[Array, " n"]:
    def add(number: Array, total: Array) -> Array:
        return total + _bound(net, params.weights, jax.random.fold_in(jax.random.key(0), number), examples)

    total: Array = jax.lax.fori_loop(0, _DRAWS, add, jnp.zeros(len(examples.labels)))
    return jnp.log(params.shares)[examples.labels] + total / _DRAWS


class _Encoder(nn.Module):
    kind: str
    hidden: tuple[int, ...]
    latent: int

    @nn.compact
    def __call__(self, images: Array, label: Array) -> tuple[Array, Array]:
        # Centred: pixels are mostly near 0 or 1.
        x = images - 0.5
        if self.kind == "convolutional":
            for channels in self.hidden:
                x = nn.gelu(nn.Conv(channels, (3, 3), strides=(2, 2))(x))
        x = jnp.concatenate([x.reshape(len(x), -1), label], axis=1)
        if self.kind == "mlp":
            for width in self.hidden:
                x = nn.gelu(nn.Dense(width)(x))
        return nn.Dense(self.latent, name="mean")(x), nn.Dense(self.latent, name="log_variance")(x)


class _Decoder(nn.Module):
    kind: str
    hidden: tuple[int, ...]
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, latents: Array, label: Array) -> Array:
        x = jnp.concatenate([latents, label], axis=1)
        height, width, channels = self.shape
        if self.kind == "mlp":
            for size in reversed(self.hidden):
                x = nn.gelu(nn.Dense(size)(x))
            x = nn.Dense(height * width * channels, name="image")(x)
        else:
            shrunk = 2 ** len(self.hidden)
            start = (height // shrunk, width // shrunk, self.hidden[-1])
            x = nn.gelu(nn.Dense(start[0] * start[1] * start[2])(x)).reshape(-1, *start)
            for size in reversed(self.hidden[:-1]):
                x = nn.gelu(nn.ConvTranspose(size, (3, 3), strides=(2, 2))(x))
            x = nn.ConvTranspose(channels, (3, 3), strides=(2, 2), name="image")(x)
        return nn.sigmoid(x.reshape(-1, *self.shape))
