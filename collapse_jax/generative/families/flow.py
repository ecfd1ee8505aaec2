"""Flow matching of images, conditional on a class, with classifier-free guidance.

Lipman et al., arXiv 2210.02747, with straight paths from noise (time 0) to images (time 1); guidance: Ho and Salimans,
arXiv 2207.12598.
"""

from collections.abc import Callable, Sequence
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

__all__ = ["Flow", "flow"]

_FREQUENCIES = 16
_HIGHEST = 64.0

Weights: TypeAlias = PyTree
Velocity: TypeAlias = Callable[[Array, Float[Array, ""]], Array]


class Flow(NamedTuple):
    """The weights of the velocity network, the shares of the classes, and the guidance; None where unused."""

    weights: Weights
    shares: Float[Array, " class"]
    guidance: Scalar | None = None


@checked
@rebuildable
def flow(
    shape: Sequence[int] = (8, 8, 1),
    classes: int = 10,
    *,
    hidden: Sequence[int] = (128, 128),
    integration_steps: int = 12,
    method: str = "heun",
    drop: float = 0.1,
    fitting: Fitting = Fitting(steps=1500, batch_size=64, learning_rate=6e-3),
    truth: Params | Draw | None = None,
) -> Family:
    """Return the family of flows of `LabelledImages` of one shape, conditional on their class.

    The fit takes the shares of the classes from the examples, a class that doesn't occur being gone for good, and
    minimises the mean square error of the velocity; its `learning_rate` and `steps` can be swept. An example is trained
    without its class with probability `drop`. What is emitted is the flow at time 1 by `integration_steps` steps of
    Heun's (two evaluations each) or Euler's method, clipped to [0, 1]. `respond` keeps the labels and makes the images
    anew.

    The decoding `guidance` g >= 0 makes the velocity (1 + g) v(x | class) - g v(x), the sampling bias of Alemohammad et
    al. (arXiv 2307.01850); at drop = 0 v(x) isn't learned, and there is no such decoding.

    The network is a residual multilayer perceptron with a block for each width in `hidden`, all of the first one's
    residual width. Raises ValueError for sizes, `drop` or `method` out of range.
    """
    check_sizes(shape, hidden, classes=classes, integration_steps=integration_steps)
    if not hidden:
        raise ValueError("hidden is (); it must have at least one width")
    if not 0 <= drop < 1:
        raise ValueError(f"drop is {drop}; it must be a probability in [0, 1)")
    if method not in ("heun", "euler"):
        raise ValueError(f"method is {method!r}; it must be 'heun' or 'euler'")
    net = _Setting(_Network(tuple(hidden)), tuple(shape), classes, integration_steps, method, drop)
    guidance = Decoding(lambda params, value: params._replace(guidance=value), 0.0, 0.0, float("inf"))
    generate = partial(_generate, net)
    return Family(
        "flow",
        partial(_init, net),
        partial(fit_by_class, classes, make_fit(partial(_loss, net), fitting)),
        partial(sample_by_class, generate),
        respond=partial(respond_by_class, generate),
        decodings={"guidance": guidance} if drop > 0 else {},
        truth=truth,
        hyper=fitting.hyper,
        ranges=fitting.ranges,
        source="Alemohammad et al., arXiv 2307.01850",
    )


class _Setting(NamedTuple):
    """The network and what it is of: images of a shape, in classes; how it is integrated, and how often unclassed."""

    network: "_Network"
    shape: tuple[int, ...]
    classes: int
    steps: int
    method: str
    drop: float

    @property
    def size(self) -> int:
        """Numbers in an image."""
        return self.shape[0] * self.shape[1] * self.shape[2]


def _velocity(
    net: _Setting, weights: Weights, x: Float[Array, "n d"], time: Float[Array, " n"], label: Float[Array, "n class"]
) -> Float[Array, "n d"]:
    """Return the velocity of images at their times, given the indicators of their classes, zeros for none."""
    return cast(Array, net.network.apply({"params": weights}, x, time, label))


def _init(net: _Setting, key: Key[Array, ""], examples: LabelledImages, weights: Array) -> Flow:
    start = net.network.init(key, jnp.zeros((1, net.size)), jnp.zeros(1), jnp.zeros((1, net.classes)))["params"]
    return Flow(start, jnp.full(net.classes, 1.0 / net.classes))


def _loss(net: _Setting, weights: Weights, key: Key[Array, ""], batch: LabelledImages) -> Total:
    """Return the squared errors of the velocity at random times of straight paths, and their number."""
    noise_key, key = jax.random.split(key)
    images = 2.0 * batch.images.reshape(-1, net.size) - 1.0
    noise = jax.random.normal(noise_key, images.shape)
    time, chance = jax.random.uniform(key, (2, len(images)))
    kept = (chance >= net.drop)[:, None]
    x = (1.0 - time)[:, None] * noise + time[:, None] * images
    predicted = _velocity(net, weights, x, time, kept * one_hot(batch.labels, net.classes))
    return jnp.square(predicted - (images - noise)).sum(), images.size


def _generate(net: _Setting, key: Key[Array, ""], params: Flow, labels: Int[Array, " n"]) -> LabelledImages:
    """Return an image for each label: noise, carried to time 1."""
    label = one_hot(labels, net.classes)

    def field(x: Array, time: Float[Array, ""]) -> Array:
        if params.guidance is None:
            return _velocity(net, params.weights, x, jnp.full(len(x), time), label)
        both = _velocity(
            net,
            params.weights,
            jnp.concatenate([x, x]),
            jnp.full(2 * len(x), time),
            jnp.concatenate([label, jnp.zeros_like(label)]),
        )
        of_class, of_all = jnp.split(both, 2)
        return of_class + params.guidance * (of_class - of_all)

    noise = jax.random.normal(key, (len(labels), net.size))
    images = 0.5 * (integrate(field, noise, net.steps, net.method) + 1.0)
    return LabelledImages(jnp.clip(images, 0.0, 1.0).reshape(-1, *net.shape), labels)


def integrate(velocity: Velocity, x: Array, steps: int, method: str) -> Array:
    """Return where the field velocity(x, time) takes x from time 0 to 1, in equal steps of "euler" or "heun"."""
    length = 1.0 / steps

    def step(index: Array, x: Array) -> Array:
        time = index * length
        here = velocity(x, time)
        if method == "euler":
            return x + length * here
        there = velocity(x + length * here, time + length)
        return x + 0.5 * length * (here + there)

    moved: Array = jax.lax.fori_loop(0, steps, step, x)
    return moved


class _Network(nn.Module):
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array, time: Array, label: Array) -> Array:
        width = self.hidden[0]
        speeds = jnp.geomspace(1.0, _HIGHEST, _FREQUENCIES)
        angles = time[:, None] * speeds[None]
        known = jnp.concatenate([jnp.cos(angles), jnp.sin(angles), label], axis=1)
        known = nn.gelu(nn.Dense(width)(known))
        hidden = nn.Dense(width)(x)
        for size in self.hidden:
            inner = nn.gelu(nn.Dense(size)(nn.RMSNorm()(hidden)) + nn.Dense(size, use_bias=False)(known))
            # A block begins as the identity.
            hidden = hidden + nn.Dense(width, kernel_init=nn.initializers.zeros)(inner)
        return nn.Dense(x.shape[1], kernel_init=nn.initializers.zeros, name="velocity")(nn.RMSNorm()(hidden))
