"""Real examples deserve the golden ratio of the weight, whatever is estimated.

Every generation is fitted to n fresh real and n generated examples, the real ones with total weight w. He, Xu, Cheng
(arXiv 2502.18049): the error is least at w* = (√5 - 1)/2 = .618, where it is w* times that of n real examples alone;
pooling both alike (w = 1/2) gives 2/3. Five estimators, each in units of its error on real examples alone.

    python -m experiments.golden_ratio

Expected: the best weight .618 for all five estimators, with errors of .618 there and .667 at w = 1/2; logistic
regression, which is biased at this size, comes out lower.
"""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.intervals import span
from experiments.shared.launch import Options, script, watched


@dataclass(frozen=True)
class Config(Options):
    """Weights, sizes and lineages."""

    weights: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.55, 0.618, 0.7, 0.8, 0.9, 1.0)
    """Total weight of the real examples."""
    samples: int = 200
    """Examples in a training set, half of them fresh real ones."""
    generations: int = 60
    """Models in a row; errors are means over the second half, where they are stationary."""
    seeds: int = 200
    """Lineages for each weight and estimator."""


SMALL = {"weights": (0.3, 0.5, 0.618, 0.8, 1.0), "generations": 20, "seeds": 40}


def estimators() -> dict[str, tuple[cj.generative.Family, str]]:
    """Return, for each of the five estimators, its family and which parameter of it is estimated."""
    return {
        "Gaussian mean": (cj.families.gaussian(1, unbiased=True), "mean"),
        "Gaussian variance": (cj.families.gaussian(1, unbiased=True), "variance"),
        "token probabilities": (cj.families.categorical(20, exponent=1.0), "mean"),
        "linear regression": (cj.families.regression(5), "mean"),
        "logistic regression": (cj.families.logistic(3, steps=5), "mean"),
    }


def run(config: Config, directory: Path) -> xr.Dataset:
    """Sweep the weights for every estimator; return squared errors over those of real examples alone, and the law."""
    check_config(config)
    plan = cj.make_plan([cj.generative.weighted(w) for w in config.weights], config.generations, config.samples, 0.5)
    errors = {}
    for name, (family, what) in estimators().items():
        assert family.moments is not None
        true = getattr(family.moments(family.truth), what)

        def measure(
            key: Array, params: object, *, family: cj.generative.Family = family, what: str = what, true: Array = true
        ) -> dict[str, Array]:
            assert family.moments is not None
            return {"error": jnp.sum((getattr(family.moments(params), what) - true) ** 2)}

        swept = cj.sweep(
            cj.make_recursion(family, plan, measure=measure),
            {"regime": plan.axes["regime"], "seed": range(config.seeds)},
            **watched(config, directory / name.replace(" ", "-")),
            vmap_members=16,
        )
        errors[name] = swept["error"]
    error = xr.concat(list(errors.values()), xr.DataArray(list(errors), dims="estimator", name="estimator"))
    error = error.rename(regime="weight").assign_coords(weight=list(config.weights))
    late = error.isel(generation=slice(config.generations // 2, None)).mean("generation")
    law = [cj.generative.laws.weighted_error(w, 0.5) for w in config.weights]
    return xr.Dataset(
        {
            "error": late / late.sel(weight=1.0).mean("seed"),
            "law": ("weight", law),
            "pooling": cj.generative.laws.pooled_error(0.5),
            "best": cj.generative.laws.golden_weight(0.5),
        }
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return error against weight, one panel for each estimator."""
    measured = dataset["error"].expand_dims(quantity=["measured"])
    law = dataset["law"].expand_dims(estimator=dataset["estimator"].to_numpy())
    return {
        "figure.png": plotting.curves(
            {"squared error / error on real alone": plotting.Curve(measured, law, support=plotting.POSITIVE)},
            x="weight",
            hue="quantity",
            column="estimator",
            xlabel="weight of real examples",
            titles={name: name for name in dataset["estimator"].to_numpy()},
        )
    }


def _best_weight(error: xr.DataArray) -> float:
    """Return the minimum of a parabola through the lowest point and its neighbours, since the grid is coarse."""
    i = int(np.clip(np.argmin(error.to_numpy()), 1, error.size - 2))
    near = slice(i - 1, i + 2)
    a, b, _ = np.polyfit(error["weight"].to_numpy()[near], error.to_numpy()[near], 2)
    return float(-b / (2 * a))


def table(dataset: xr.Dataset) -> str:
    """Return the relative error at three weights beside the law, and the best weight measured."""
    lines = [f"{'estimator':<22}{'w = 1/2 (law)':>20}{'w = .618 (law)':>20}{'best w (law)':>22}"]
    mean = dataset["error"].mean("seed")
    for name in dataset["estimator"].to_numpy():
        row = mean.sel(estimator=name)
        half, gold = float(row.sel(weight=0.5)), float(row.sel(weight=0.618))
        lines.append(
            f"{name:<22}{half:>12.3f} ({float(dataset['pooling']):.3f}){gold:>12.3f} ({float(dataset['best']):.3f})"
            f"{_best_weight(row):>14.2f} ({float(dataset['best']):.3f})"
        )
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return the best weights of the estimators, and the errors there and where all examples are pooled."""
    mean = dataset["error"].mean("seed")
    best = [_best_weight(mean.sel(estimator=name)) for name in dataset["estimator"].to_numpy()]
    golden, pooling = float(dataset["best"]), float(dataset["pooling"])
    return (
        f"best w {span(best, '.2f')} (law {golden:.3f}); error at .618 {span(mean.sel(weight=0.618), '.2f')} (law "
        f"{golden:.3f}) of that on real data alone; pooling {span(mean.sel(weight=0.5), '.2f')} (law {pooling:.3f})"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
