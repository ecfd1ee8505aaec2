"""Image generators on their own images: digits blend, a rare class dies out, and guidance buys precision for a while.

Variational autoencoders (Shumailov et al., Nature 631:755) and flows with classifier-free guidance (Alemohammad et al.,
arXiv 2307.01850), conditional on the class, on real digits of which one class is rare. Each generation is trained from
scratch on images of the one before, on all images so far, on a sample of these, or with a tenth of real images replayed
or fresh; the control trains on fresh real images alone. "Fresh" is a new draw from the same real images.

    python -m experiments.recursion_images
    python -m experiments.recursion_images --source mnist --path FOLDER

Measured are all images that a generation emits, against held-out real ones with as few of the rare class, by their
first 32 principal components: precision and recall (k = 3), Fréchet distance and Vendi score; whether a classifier of
real images finds the class asked for; the share of the rare class, and the recall of its real images. That the rare
class is alive under replace has an exact law (Wright and Fisher).

Expected: real or older images bound the drift of autoencoders, but none of them keeps the recall, while precision and
the classifier's agreement rise, as all images of a class come to be its mean. Flows lose their recall as well; guidance
buys precision in the first generation and, where it is strong, saturates the pixels in later ones.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure
from scipy import stats

import collapse_jax as cj
from collapse_jax import metrics, plotting
from collapse_jax.generative.families.image_classes import LabelledImages
from experiments.shared.bounds import check_config
from experiments.shared.intervals import interval
from experiments.shared.launch import Options, script, watched
from experiments.shared.sources import IMAGES, ImageName, read_source

COMPONENTS = 32
CONTROL = "fresh real"
FLOW_REGIMES = ("replace", "replayed tenth", CONTROL)
MEASURES = {
    "recall": "recall",
    "precision": "precision",
    "frechet": "Fréchet distance",
    "vendi": "Vendi score",
    "agreement": "class recognised",
    "minority_share": "share of the rare class",
    "minority_recall": "recall of the rare class",
}


@dataclass(frozen=True)
class Config(Options):
    """Data, sizes and lineages."""

    source: ImageName = "digits"
    """Real images: scikit-learn's digits, at hand offline, or MNIST."""
    path: Path | None = None
    """Folder with the idx files of MNIST."""
    samples: int = 500
    """Images that train a generation."""
    seeds: int = 4
    """Lineages for each regime."""
    minority: int = 8
    """The rare class."""
    share: float = 0.02
    """Its share of the real images."""
    vae_generations: int = 20
    """Autoencoders in a row."""
    vae_steps: int = 1000
    """Optimiser steps of an autoencoder."""
    flow_generations: int = 6
    """Flows in a row."""
    flow_steps: int = 1000
    """Optimiser steps of a flow."""
    guidances: tuple[float, ...] = (0.0, 0.25, 1.0)
    """Guidance of the flows."""


SMALL = {
    "samples": 200,
    "seeds": 2,
    "vae_generations": 3,
    "vae_steps": 150,
    "flow_generations": 2,
    "flow_steps": 150,
    "guidances": (0.0, 1.0),
}


def regimes() -> dict[str, cj.generative.Regime]:
    """Return the regimes by name; those that have a real share have it set."""
    replayed, fresh = (cj.REGIMES[f"real_fraction_{kind}"] for kind in ("replayed", "fresh"))
    every = [
        cj.REGIMES["replace"],
        cj.REGIMES["accumulate"],
        cj.REGIMES["accumulate_subsample"]._replace(name="subsample"),
        cj.with_share(replayed, 0.1, "replayed tenth"),
        cj.with_share(fresh, 0.1, "fresh tenth"),
        cj.with_share(fresh, 1.0, CONTROL),
    ]
    return {one.name: one for one in every}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Run both families; return measures, an image of each class and generation, and the law of the rare class."""
    check_config(config)
    splits = read_source(IMAGES, config.source, config.path, config.data_dir)
    real = cj.data.minority(splits.train, config.minority, config.share)
    if config.samples > len(real.labels):
        raise ValueError(
            f"samples is {config.samples}; with share {config.share} there are {len(real.labels)} real images"
        )
    truth = cj.resample(LabelledImages(jnp.asarray(real.images), jnp.asarray(real.labels, jnp.int32)))
    shape, classes = real.images.shape[1:], len(real.class_names)
    inspect = make_inspect(splits, config)
    dims = {"shares": ("class",), "image": ("class", "height", "width")}

    def sweep(family: cj.generative.Family, names: tuple[str, ...], generations: int, **axes: Any) -> xr.Dataset:
        plan = cj.make_plan([regimes()[name] for name in names], generations, config.samples)
        process = cj.make_recursion(
            family,
            plan,
            truth,
            decoding=tuple(axes),
            measure=lambda key, params: {"shares": params.shares},
            inspect=inspect,
            dims=dims,
            coords={"class": list(real.class_names)},
        )
        return cj.sweep(
            process,
            {**axes, "seed": range(config.seeds)},
            **watched(config, directory / family.name),
        )

    fitting = partial(cj.generative.Fitting, batch_size=64, learning_rate=6e-3)
    vae = cj.families.vae(shape, classes, fitting=fitting(steps=config.vae_steps))
    flow = cj.families.flow(shape, classes, fitting=fitting(steps=config.flow_steps))
    found = sweep(vae, tuple(regimes()), config.vae_generations)
    guided = sweep(flow, FLOW_REGIMES, config.flow_generations, guidance=config.guidances)
    guided = guided.rename(
        {"regime": "flow_regime", "generation": "flow_generation"} | {name: f"flow_{name}" for name in guided.data_vars}
    )
    share = float((real.labels == config.minority).mean())
    alive = cj.generative.laws.survival_probability(share, [config.samples] * config.vae_generations)
    law = xr.DataArray(alive, {"generation": found["generation"]}, ("generation",), "alive_law")
    merged = xr.merge([found, guided, law], combine_attrs="drop_conflicts")
    return merged.assign_coords(minority=real.class_names[config.minority])


def make_inspect(splits: cj.data.ImageSplits, config: Config) -> Any:
    """Return what is measured of emitted images, against held-out real ones."""
    classify = metrics.fit_classifier(splits.train.images, splits.train.labels)
    pixels = splits.train.images.reshape(len(splits.train.images), -1)
    axes = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)[2][:COMPONENTS].T
    held_out = cj.data.minority(splits.test, config.minority, config.share)
    reference = jnp.asarray(held_out.images.reshape(len(held_out.images), -1) @ axes)
    rare = splits.test.images[splits.test.labels == config.minority]
    rare = jnp.asarray(rare.reshape(len(rare), -1) @ axes)
    bandwidth = 0.5 * float(np.sqrt(reference.var(axis=0).sum()))
    classes = len(splits.train.class_names)

    def inspect(key: Array, examples: LabelledImages, weights: Array) -> dict[str, Array]:
        features = jnp.matmul(examples.images.reshape(len(weights), -1), axes, precision="highest")
        overlap = metrics.precision_recall(reference, features)
        of_class = examples.labels[None] == jnp.arange(classes)[:, None]
        shown = examples.images[of_class.argmax(axis=1), :, :, 0]
        return {
            "precision": overlap.precision,
            "recall": overlap.recall,
            "frechet": metrics.sample_frechet_distance(reference, features),
            "vendi": metrics.vendi_score(metrics.gaussian_similarities(features[:300], bandwidth=bandwidth)),
            "agreement": metrics.classifier_agreement(classify(examples.images), examples.labels),
            "minority_share": of_class[config.minority].mean(),
            "minority_recall": metrics.precision_recall(rare, features).recall,
            "image": jnp.where(of_class.any(axis=1)[:, None, None], shown, jnp.nan),
        }

    return inspect


def _support(name: str) -> tuple[float, float]:
    if name == "change":
        return (-1.0, 1.0)
    return plotting.POSITIVE if name in ("frechet", "vendi") else plotting.SHARE


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return images by generation, and the measures, of both families."""
    last, flow_last = int(dataset["generation"][-1]), int(dataset["flow_generation"][-1])
    shown = sorted({1, *np.linspace(1, last, 6).round().astype(int).tolist()})
    flow_shown = sorted({1, *np.linspace(1, flow_last, 4).round().astype(int).tolist()})
    images = dataset["image"].isel(seed=-1).sel(generation=shown)
    guided = dataset["flow_image"].isel(seed=-1).sel(flow_generation=flow_shown, flow_regime="replace")
    curves = {label: plotting.Curve(dataset[name], support=_support(name)) for name, label in MEASURES.items()}
    flow_curves = {
        MEASURES[name]: plotting.Curve(dataset[f"flow_{name}"], support=_support(name))
        for name in ("precision", "recall", "agreement", "vendi")
    }
    return {
        "figure.png": plotting.image_grids(images, panel="regime", row="generation", column="class"),
        "measures.png": plotting.curves(curves, x="generation", hue="regime"),
        "flow_images.png": plotting.image_grids(
            guided.rename(flow_generation="generation"),
            panel="guidance",
            row="generation",
            column="class",
            title="replaced, guidance {}",
        ),
        "flow_measures.png": plotting.curves(
            flow_curves,
            x="flow_generation",
            hue="guidance",
            column="flow_regime",
            xlabel="generation",
            titles={name: name for name in FLOW_REGIMES},
        ),
    }


def _interval(name: str, values: xr.DataArray) -> str:
    """Return a measure's mean over seeds with its 95 % interval, by Student's t: seeds are few."""
    errors = float(stats.t.ppf(0.975, values.size - 1)) if values.size > 1 else np.nan
    return interval(values, ".3g", ".2g", support=_support(name), errors=errors)


def table(dataset: xr.Dataset) -> str:
    """Return the measures of the last generation and, of recall, the difference from the control by seeds."""
    last = dataset.isel(generation=-1, flow_generation=-1)
    lines = [
        f"autoencoders, generation {int(last['generation'])}; mean over seeds, and 95 % interval",
        f"{'regime':<16}" + "".join(f"{name:>24}" for name in MEASURES) + f"{'recall-control':>24}{'rare alive':>12}",
    ]
    control = last["recall"].sel(regime=CONTROL)
    alive = (last["shares"].sel({"class": str(last["minority"].item())}) > 0).mean("seed")
    for regime in dataset["regime"].to_numpy():
        at = last.sel(regime=regime)
        law = f" (law {float(last['alive_law']):.2f})" if regime == "replace" else ""
        lines.append(
            f"{regime:<16}"
            + "".join(f"{_interval(name, at[name]):>24}" for name in MEASURES)
            + f"{_interval('change', at['recall'] - control):>24}{float(alive.sel(regime=regime)):>12.2f}{law}"
        )
    names = ("precision", "recall", "agreement", "frechet", "vendi")
    lines += [
        f"\nflows, generations 1 and {int(last['flow_generation'])}",
        f"{'regime':<16}{'guidance':>9}{'':>6}" + "".join(f"{name:>24}" for name in names),
    ]
    for regime in dataset["flow_regime"].to_numpy():
        for guidance in dataset["guidance"].to_numpy():
            for place in (0, -1):
                at = dataset.sel(flow_regime=regime, guidance=guidance).isel(flow_generation=place)
                number = int(at["flow_generation"])
                values = "".join(f"{_interval(name, at[f'flow_{name}']):>24}" for name in names)
                lines.append(f"{regime:<16}{guidance:>9.3g}{number:>6}{values}")
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return what autoencoders keep, and the precision of flows by guidance, in the last generation."""
    last = dataset.isel(generation=-1, flow_generation=-1)
    arms = ", ".join(
        f"{_interval('recall', last['recall'].sel(regime=one))} and "
        f"{_interval('frechet', last['frechet'].sel(regime=one))} {one}"
        for one in dataset["regime"].to_numpy()
    )
    replaced = last.sel(flow_regime="replace")
    guided = ", ".join(
        f"{_interval('precision', replaced['flow_precision'].sel(guidance=one))} at {one:g}"
        for one in dataset["guidance"].to_numpy()
    )
    return (
        f"recall and Fréchet distance, and 95 % intervals; autoencoders, t = {int(last['generation'])}: {arms}. "
        f"Precision of flows, replaced, t = {int(last['flow_generation'])}, by guidance: {guided}"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
