"""Images with a class each: what the image families share. The shares of the classes are part of a model."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.generative.family import Fit, Params

__all__ = ["LabelledImages"]


class LabelledImages(NamedTuple):
    """Images with values in [0, 1], and the class of each, a whole number from 0 on."""

    images: Float[Array, "n height width channel"]
    labels: Int[Array, " n"]


Generate = Callable[[Key[Array, ""], Params, Int[Array, " n"]], LabelledImages]
"""Makes an image for each label: (key, params, labels) -> images."""


# The parameters of an image family are a named tuple, with the network's `weights` and the `shares` of the classes.


def fit_by_class(
    classes: int,
    fit_weights: Fit,
    key: Key[Array, ""],
    params: Params,
    examples: LabelledImages,
    weights: Float[Array, " n"],
    **hyper: Array | float,
) -> Params:
    """Return the parameters with the network's weights fitted, and with the classes' shares among the examples."""
    fitted = fit_weights(key, params.weights, examples, weights, **hyper)
    return params._replace(weights=fitted, shares=class_shares(examples.labels, weights, classes))


def sample_by_class(generate: Generate, key: Key[Array, ""], params: Params, n: int) -> LabelledImages:
    """Return n images, of labels that are drawn by the model's shares."""
    label_key, key = jax.random.split(key)
    return generate(key, params, draw_labels(label_key, params.shares, n))


def respond_by_class(
    generate: Generate, key: Key[Array, ""], params: Params, examples: LabelledImages
) -> LabelledImages:
    """Return new images for the labels of the examples."""
    return generate(key, params, examples.labels)


def class_shares(labels: Int[Array, " n"], weights: Float[Array, " n"], classes: int) -> Float[Array, " {classes}"]:
    """Return the weighted frequencies of the classes: exactly 0 for one that doesn't occur, NaN without any weight."""
    counted = jnp.where(weights[:, None] > 0, weights[:, None] * one_hot(labels, classes), 0.0).sum(axis=0)
    return counted / weights.sum()


def draw_labels(key: Key[Array, ""], shares: Float[Array, " class"], n: int) -> Int[Array, " {n}"]:
    """Return independent labels of these shares; a class of share 0 never comes."""
    return jax.random.categorical(key, jnp.log(shares), shape=(n,)).astype(jnp.int32)


def one_hot(labels: Int[Array, " n"], classes: int) -> Float[Array, "n {classes}"]:
    """Return indicators of the classes, in float32; zeros for what is none."""
    return (labels[:, None] == jnp.arange(classes)[None]).astype(jnp.float32)


def check_sizes(shape: Sequence[int], hidden: Sequence[int], **others: int) -> None:
    """Raise ValueError unless the shape is (height, width, channel) and all are whole numbers from 1 on."""
    if len(shape) != 3:
        raise ValueError(f"shape is {tuple(shape)}; it must be (height, width, channel)")
    several = {"shape": shape, "hidden": hidden}
    for name, values in [*several.items(), *((name, (value,)) for name, value in others.items())]:
        if any(not numbers.is_whole(one) or one < 1 for one in values):
            shown = tuple(values) if name in several else values[0]
            raise ValueError(f"{name} is {shown!r}; it must be of whole numbers from 1 on")
