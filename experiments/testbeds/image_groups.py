"""Images of several classes, of which some are minorities, as a testbed: handwritten digits by Zipf's law."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from collapse_jax import metrics
from collapse_jax.generative.families.image_classes import LabelledImages
from experiments.shared.sources import IMAGES, ImageName, read_source
from experiments.testbeds.testbed import Senses, Testbed, make_learned_reward, make_mitigations, nearness

_COMPONENTS = 32
_MIXED = (0.0, 0.2, 0.4, 0.6)
_HELD_OUT = 24
_FAR = 1e6


@dataclass(frozen=True)
class ImageConfig:
    """Images and autoencoders."""

    source: ImageName = "digits"
    """Real images: scikit-learn's digits, at hand offline, or MNIST."""
    path: Path | None = None
    """Folder with the idx files of MNIST."""
    exponent: float = 1.0
    """Exponent of Zipf's law for the shares of the classes; 0 makes them equal."""
    samples: int = 300
    """Images that train a generation."""
    generations: int = 8
    """Autoencoders in a row."""
    steps: int = 500
    """Optimiser steps of an autoencoder, from scratch in each generation."""


def make_images(config: ImageConfig, data_dir: Path | None = None) -> Testbed:
    """Return the testbed of a configuration; raises ValueError for shares that can't be met, and as `read_source`."""
    splits = read_source(IMAGES, config.source, config.path, data_dir)
    names = splits.train.class_names
    real, shares = _mix_by_zipf(splits.train, config)
    fitting = cj.generative.Fitting(config.steps, batch_size=64, learning_rate=6e-3)
    family = cj.families.vae(splits.train.images.shape[1:], len(names), fitting=fitting)
    logits = metrics.fit_classifier(splits.train.images, splits.train.labels)
    features = _make_features(splits.train.images)
    measure, inspect = _make_records(splits.test, shares, family, features)
    recognised = np.asarray(logits(jnp.asarray(splits.test.images))).argmax(axis=1) == splits.test.labels
    group = ("group",)
    return Testbed(
        family,
        cj.resample(jax.tree.map(jnp.asarray, real)),
        measure,
        inspect,
        {"group_share": group, "group_risk": group, "group_coverage": group},
        {"group": list(names)},
        {},
        make_mitigations(_make_senses(real, len(names), logits, features), family),
        shares,
        3.0 * config.steps * 64 / config.samples,
        {"images recognised by class": float(recognised.mean())},
    )


def _mix_by_zipf(images: cj.data.Images, config: ImageConfig) -> tuple[LabelledImages, np.ndarray]:
    """Return as many images as allow shares by Zipf's law, and these shares. Raises ValueError for too few images."""
    names, labels = images.class_names, images.labels
    zipf = np.arange(1.0, len(names) + 1.0) ** -config.exponent
    shares = zipf / zipf.sum()
    size = min(int((labels == i).sum() / share) for i, share in enumerate(shares))
    if size < config.samples:
        raise ValueError(f"samples is {config.samples}; with exponent {config.exponent} there are {size} real images")
    groups = {
        name: LabelledImages(images.images[labels == i], labels[labels == i].astype(np.int32))
        for i, name in enumerate(names)
    }
    real: LabelledImages = cj.data.mix_groups(groups, dict(zip(names, shares, strict=True)), size).examples
    return real, shares


def _make_features(images: np.ndarray) -> Callable[[LabelledImages], Array]:
    """Return the function from images to their coordinates along the principal components of these images."""
    pixels = images.reshape(len(images), -1)
    centre, axes = pixels.mean(0), np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)[2][:_COMPONENTS].T

    def features(examples: LabelledImages) -> Array:
        flat = examples.images.reshape(len(examples.labels), -1) - centre[None]
        return jnp.matmul(flat, axes, precision="highest")

    return features


def _make_senses(
    real: LabelledImages, classes: int, logits: Callable[[Array], Array], features: Callable[[LabelledImages], Array]
) -> Senses:
    """Return how images are graded: a classifier knows how well each shows the class that it was made for."""

    def with_class(examples: LabelledImages) -> Array:
        return jnp.concatenate([features(examples), jax.nn.one_hot(examples.labels, classes)], axis=1)

    def evidence(examples: LabelledImages) -> Array:
        found = features(examples)
        # Squares too: what a generator loses first is spread, which no linear rule sees.
        return jnp.concatenate([found, found**2], axis=1)

    def chosen(examples: LabelledImages) -> Array:
        """Return the classifier's log-probability of the class that an image was made for."""
        scores = jax.nn.log_softmax(logits(examples.images))
        return jnp.take_along_axis(scores, examples.labels[:, None], axis=1)[:, 0]

    return Senses(
        quality=chosen,
        correct=lambda examples: logits(examples.images).argmax(axis=1) == examples.labels,
        evidence=evidence,
        features=features,
        distance=nearness(np.asarray(features(jax.tree.map(jnp.asarray, real)))),
        learned=make_learned_reward(with_class, _spoil, chosen),
    )


def _make_records(
    test: cj.data.Images, shares: np.ndarray, family: cj.generative.Family, features: Callable[[LabelledImages], Array]
) -> tuple[Callable[..., dict[str, Array]], Callable[..., dict[str, Array]]]:
    """Return what is recorded of models and of what they emit, against held-out images."""
    log_prob, classes = family.log_prob, len(shares)
    assert log_prob is not None
    rows = np.concatenate([np.flatnonzero(test.labels == i)[:_HELD_OUT] for i in range(classes)])
    held_out = LabelledImages(jnp.asarray(test.images[rows]), jnp.asarray(test.labels[rows], jnp.int32))
    looked_at = features(held_out)
    # Where all classes are compared at once, each has as many images as its share asks for.
    number = min(int((test.labels == i).sum() / share) for i, share in enumerate(shares))
    parts = [np.flatnonzero(test.labels == i)[: max(1, round(share * number))] for i, share in enumerate(shares)]
    typical = np.concatenate(parts)
    reference = features(
        LabelledImages(jnp.asarray(test.images[typical]), jnp.asarray(test.labels[typical], jnp.int32))
    )
    of_class = held_out.labels[None] == jnp.arange(classes)[:, None]
    weights = jnp.asarray(shares[test.labels[rows]])
    weights = weights / weights.sum()
    bandwidth = 0.5 * float(jnp.sqrt(looked_at.var(axis=0).sum()))

    def measure(key: Array, params: Any) -> dict[str, Array]:
        # The risk of images given their class: a class that the model no longer emits has one too.
        risk = -log_prob(params._replace(shares=jnp.ones(classes)), held_out)
        return {"risk": risk @ weights, "group_risk": (of_class * risk[None]).sum(axis=1) / of_class.sum(axis=1)}

    def inspect(key: Array, examples: LabelledImages, kept: Array) -> dict[str, Array]:
        there, found = kept > 0, features(examples)
        drift = metrics.semantic_drift(reference, found, generated_where=there)
        overlap = metrics.precision_recall(reference, found, generated_where=there)

        # Images that were not kept are put far away, so that they cover nothing.
        reach = jnp.where(there[:, None], found, _FAR)
        coverage = jax.lax.map(lambda where: metrics.ball_coverage(looked_at, reach, where=where), of_class)
        share = jnp.mean(examples.labels[:, None] == jnp.arange(classes)[None], axis=0, where=there[:, None])
        similar = metrics.gaussian_similarities(found, bandwidth=bandwidth)
        return {
            "tail": coverage @ shares,
            "diversity": metrics.vendi_score(similar, where=there),
            "drift": drift.distance,
            "variance": drift.spread,
            "off_support": 1.0 - overlap.precision,
            "modes": (share > 0.25 * shares).sum(),
            "group_share": share,
            "group_coverage": coverage,
        }

    return measure, inspect


def _spoil(key: Array, real: LabelledImages) -> list[LabelledImages]:
    """Return the images as they are, then mixed with ever more of another image."""
    others = jax.random.permutation(key, real.images)
    return [real._replace(images=(1.0 - share) * real.images + share * others) for share in _MIXED]
