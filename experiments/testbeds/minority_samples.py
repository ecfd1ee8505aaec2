"""Minorities among samples: components of a mixture of Gaussians, and classes of digits that autoencoders make."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

import collapse_jax as cj
from collapse_jax import metrics
from collapse_jax.generative import laws, selections
from collapse_jax.generative.families.image_classes import LabelledImages
from collapse_jax.generative.families.mixture import Mixture
from experiments.testbeds.minority_testbeds import (
    CONTROL,
    MEASURES,
    Minorities,
    compare,
    group_names,
    make_mitigations,
    require_groups,
    with_laws,
)


def make_points(config: Minorities, directory: Path) -> xr.Dataset:
    """Return measures of the mixture of Gaussians, and what perfectly fitted components would do under replace."""
    own, shares = config.points, np.array(config.shares)
    require_groups("points", config, own.samples)
    k = len(shares)
    angle = 2 * np.pi * np.arange(k) / k
    centres = jnp.asarray(own.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), jnp.float32)
    truth = Mixture(jnp.asarray(shares, jnp.float32), centres, jnp.broadcast_to(jnp.eye(2), (k, 2, 2)))
    family = cj.families.mixture(k)
    log_prob = family.log_prob
    assert log_prob is not None
    noise = jax.random.normal(jax.random.key(2024), (k, own.held_out, 2))
    real = (centres[:, None] + noise).reshape(-1, 2)
    known = log_prob(truth, real)

    def nearest(points: Array) -> Array:
        found: Array = jnp.linalg.norm(points[:, None] - centres[None], axis=-1).argmin(axis=1)
        return found

    def features(points: Array) -> Array:
        place = jax.nn.one_hot(nearest(points), k)
        return jnp.concatenate([place, points, jnp.square(points - place @ centres)], axis=1)

    def measure(key: Array, params: Mixture) -> dict[str, Array]:
        drawn = nearest(family.sample(key, params, own.drawn))
        share = metrics.by_group(lambda where: where.mean(), drawn, groups=k)
        worse = (known - log_prob(params, real)).reshape(k, -1)
        alive = share > 0.1 * truth.shares
        return {
            "share": share,
            "alive": alive.astype(float),
            "coverage": (worse < jnp.log(10.0)).mean(axis=1),
            "error": jnp.where(alive, worse.mean(axis=1), jnp.nan),
        }

    mitigations = make_mitigations(config, lambda points: nearest(points) == 0)
    detector = selections.learned_detector(features, folds=2)
    mitigations["importance"] = cj.Mitigation(
        mitigations["fresh"].regime, reweigh=selections.importance_resampled(detector)
    )
    mitigations["novel"] = cj.Mitigation(
        curate=selections.novel(lambda x, y: jnp.linalg.norm(x - y), threshold=0.1, oversample=2)
    )
    options = {"truth": truth, "measure": measure, "dims": dict.fromkeys(MEASURES, ("group",))}
    found = compare(family, mitigations, own, config, directory, options)
    dataset = found[list(MEASURES)].assign_coords(group=group_names(shares))
    law = laws.survival_probability(shares, [own.samples] * own.generations)
    replaced = {
        "share": np.tile(shares, (own.generations, 1)),
        "alive": law,
        "time": laws.disappearance_time(law).mean,
    }
    return with_laws(dataset, {"replace": replaced}, shares, found["program"].to_numpy())


def make_images(config: Minorities, directory: Path) -> xr.Dataset:
    """Return measures of autoencoders of digits, and the law of the shares of classes under replace."""
    own = config.images
    splits = cj.data.digits(data_dir=config.data_dir)
    names = splits.train.class_names
    zipf = np.arange(1.0, len(names) + 1) ** -own.exponent
    zipf /= zipf.sum()
    by_class = {name: splits.train.images[splits.train.labels == i] for i, name in enumerate(names)}
    mixed = cj.data.mix_groups(by_class, dict(zip(names, zipf.tolist(), strict=True)), own.samples)
    labels = mixed.groups.astype(np.int32)
    shares = np.bincount(labels, minlength=len(names)) / own.samples
    family = cj.families.vae(
        splits.train.images.shape[1:],
        len(names),
        fitting=cj.generative.Fitting(steps=own.steps, batch_size=64, learning_rate=6e-3),
    )
    real, of_class = jnp.asarray(splits.test.images.reshape(len(splits.test.images), -1)), splits.test.labels

    def measure(key: Array, params: Any) -> dict[str, Array]:
        return {"share": params.shares, "alive": (params.shares > 0).astype(float)}

    def inspect(key: Array, examples: LabelledImages, weights: Array) -> dict[str, Array]:
        emitted = examples.images.reshape(len(weights), -1)

        def of_group(where: Array) -> dict[str, Array]:
            return {
                "coverage": metrics.ball_coverage(real, emitted, where=where),
                "error": metrics.group_misses(real, groups, emitted, examples.labels, where=where),
            }

        groups = jnp.asarray(of_class, jnp.int32)
        return metrics.by_group(of_group, groups, groups=len(names))

    found = compare(
        family,
        make_mitigations(config, lambda examples: examples.labels == 0),
        own,
        config,
        directory,
        {
            "truth": cj.resample(LabelledImages(jnp.asarray(mixed.examples), jnp.asarray(labels))),
            "measure": measure,
            "inspect": inspect,
            "dims": dict.fromkeys(MEASURES, ("group",)),
        },
    )
    dataset = found[list(MEASURES)].assign_coords(group=[f"digit {one}" for one in names])
    # The first model is fitted to the whole real set, in which no class is missing.
    alive = np.ones((own.generations, len(shares)))
    if own.generations > 1:
        alive[1:] = laws.survival_probability(shares, [own.samples] * (own.generations - 1))
    constant, there = np.tile(shares, (own.generations, 1)), np.ones_like(alive)
    found_laws: dict[str, dict[str, np.ndarray]] = {
        **{name: {"share": constant} for name in ("replayed", "fresh", "subsample")},
        **{name: {"share": constant, "alive": there} for name in ("accumulate", CONTROL)},
        "replace": {"share": constant, "alive": alive, "time": laws.disappearance_time(alive).mean},
    }
    return with_laws(dataset, found_laws, shares, found["program"].to_numpy())
